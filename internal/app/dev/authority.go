package dev

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"strings"
	"text/template"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/devidp"
)

// The accounts of the demo.
const (
	analytics   = "111122223333"
	engineering = "444455556666"
	region      = "us-east-1"
	providerARN = ":saml-provider/dev-idp"
)

// administrators is the group whose members administer Carnet in dev.
const administrators = "carnet-administrators"

//go:embed authority.yaml
var authorityTemplate string

// demoAuthority gives the authority file of the demo: the providers, roles and
// policies that one would write with `carnet authority apply`.
func demoAuthority(metadata []byte, samlURL, issuer, workload string) ([]byte, error) {
	quoted, err := json.Marshal(string(metadata)) // a JSON string is a YAML string
	if err != nil {
		return nil, err
	}
	t, err := template.New("authority").Parse(authorityTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"Metadata": string(quoted), "SAMLURL": samlURL, "Issuer": issuer, "IssuerName": strings.TrimPrefix(issuer, "http://"), "Workload": workload,
	})
	return b.Bytes(), err
}

// demoUsers are the four accounts of the development identity provider.
func demoUsers() []devidp.User {
	pair := func(account, role string) string {
		return "arn:aws:iam::" + account + ":role/" + role + ",arn:aws:iam::" + account + providerARN
	}
	return []devidp.User{
		{Name: "alice", DisplayName: "Alice Analyst", Mail: "alice@dev.example", Groups: []string{"analysts"}, Roles: []string{pair(analytics, "analyst")}},
		{Name: "bob", DisplayName: "Bob Engineer", Mail: "bob@dev.example", Groups: []string{"engineers"}, Roles: []string{
			pair(analytics, "analyst"), pair(analytics, "engineer"), pair(engineering, "pipeline"),
		}},
		{Name: "carol", DisplayName: "Carol Administrator", Mail: "carol@dev.example", Groups: []string{administrators}},
		{Name: "dave", DisplayName: "Dave Newcomer", Mail: "dave@dev.example"},
	}
}

// newPassword is easy to type and hard to guess: other users of the machine
// reach loopback too.
func newPassword() secret.Text {
	const length = 14 // base64url of 10 random bytes: 80 bits
	return secret.New(secret.Random(10).Reveal()[:length])
}
