package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestClientCommands: a program and a service principal get what they prove
// themselves with, a running server takes it within a second, and what is taken
// back is taken back there too.
func TestClientCommands(t *testing.T) {
	t.Parallel()
	in := install(t)
	// An identity provider, so that the server answers for more than set-up.
	idp, _ := identityProvider(t, in.base+"/saml/consume")
	metadata := idp.Metadata()
	in.write(t, "corp.xml", string(metadata))
	in.must(t, "sso", "add", "--name", "Corp", "--metadata", "corp.xml", "--accounts", "111122223333", "--roles", "*", "--domains", "example.com")
	in.serve(t)
	var c struct{ ID string }
	must(t, json.Unmarshal([]byte(in.must(t, "client", "add", "Data app", "--redirect-uri", "https://app.example.com/cb", "--owner", "data", "--output", "json")), &c))
	in.must(t, "people", "service-principal", "add", "nightly")
	key := in.write(t, "key.pem", "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n-----END PUBLIC KEY-----\n")
	proves := func(id, secret string) bool {
		r, err := http.PostForm(in.base+"/oidc/v1/revoke", url.Values{"token": {"x"}, "client_id": {id}, "client_secret": {secret}})
		must(t, err)
		must(t, r.Body.Close())
		return r.StatusCode == http.StatusOK
	}
	for _, name := range []string{"data APP", "nightly"} {
		var s struct{ ID, Client_ID, Secret string } //nolint:revive,staticcheck // as they stand
		must(t, json.Unmarshal([]byte(in.must(t, "client", "secret", "add", name, "--output", "json")), &s))
		soon(t, "the secret of "+name, func() bool { return proves(s.Client_ID, s.Secret) })
		shown := in.must(t, "client", "show", name)
		if !strings.Contains(shown, s.ID) || strings.Contains(shown, s.Secret) || !strings.Contains(shown, s.Client_ID) {
			t.Errorf("%s is shown as %s", name, shown)
		}
		in.must(t, "client", "secret", "remove", name, s.ID)
		soon(t, "that it is gone", func() bool { return !proves(s.Client_ID, s.Secret) })
		if said := in.must(t, "client", "key", "add", name, key); !strings.Contains(said, s.Client_ID) || !strings.Contains(said, "/oidc/v1/token") {
			t.Errorf("%s", said)
		}
	}
	if said := in.must(t, "client", "show", "Data app"); !strings.Contains(said, "confidential") || !strings.Contains(said, "https://app.example.com/cb") || !strings.Contains(said, "key ") {
		t.Errorf("%s", said)
	}
	for _, tt := range []struct{ args, says string }{
		{"client add", "accepts 1 arg"}, {"client add X", "redirect URI"}, {"client add X --redirect-uri http://evil.example/", "plain http to another machine"},
		{"client set nightly --trusted", "no client"}, {"client set Data\u00a0app", "nothing is given"}, {"client secret add nobody", "no client"}, {"client secret remove nightly crd_x", "has no secret"},
		{"client key add nightly /nonexistent", "cannot read the file"}, {"client add Z --redirect-uri https://a/b --service-principal nobody", "nobody is called"},
	} {
		args := strings.Split(tt.args, " ")
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "\u00a0", " ")
		}
		if o := in.carnet(t, args...); o.code == 0 || !strings.Contains(o.err, tt.says) {
			t.Errorf("%s: %s, want %q", tt.args, o, tt.says)
		}
	}
	for _, word := range []string{"disable", "enable"} {
		in.must(t, "client", word, "data app")
	}
	if said := in.must(t, "client", "set", "Data app", "--scope", "openid", "--redirect-uri", "https://app.example.com/other"); !strings.Contains(said, "Changed") {
		t.Error(said)
	}
	in.must(t, "client", "remove", c.ID)
	if said := in.must(t, "client", "list"); !strings.Contains(said, "No program") {
		t.Error(said)
	}
}
