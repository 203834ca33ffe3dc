package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/sts"
)

// trusting is a server whose role nightly trusts its own issuer.
type trusting struct {
	*Server
	client *awssts.Client
	url    string
}

const nightly = "arn:aws:iam::111122223333:role/nightly"

func newTrusting(t *testing.T) *trusting {
	t.Helper()
	c, err := config.Parse("carnet.yaml", []byte(`base_url: http://127.0.0.1:8480
data: data
same_host: accept
listen: {aws: {address: "127.0.0.1:8481"}}
secrets: {key_encryption_key: kek}
iam: {loopback_providers: true}
accounts: [{id: "111122223333", name: lab, kind: local, exchanges: [web-identity]}]
`), t.TempDir())
	must(t, err)
	srv, err := New(t.Context(), Options{Config: c, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
	must(t, err)
	t.Cleanup(func() { must(t, srv.Close()) })
	name := strings.TrimPrefix(srv.RegisteredIssuer(), "http://")
	must(t, srv.ApplyAuthority(t.Context(), fmt.Appendf(nil, `accounts:
  "111122223333":
    oidc_providers: [{url: %q, client_ids: [sts.amazonaws.com]}]
    roles:
      - name: nightly
        trust_policy: {Version: "2012-10-17", Statement: [{Effect: Allow, Principal: {Federated: "arn:aws:iam::111122223333:oidc-provider/%s"},
          Action: ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"], Condition: {Bool: {"sts:RoleAuthorizedByIdp": "true"}}}]}
        policies: [{name: all, document: {Version: "2012-10-17", Statement: [{Effect: Allow, Action: "*", Resource: "*"}]}}]
`, srv.RegisteredIssuer(), name), nil))
	s := httptest.NewServer(srv.aws)
	t.Cleanup(s.Close)
	return &trusting{Server: srv, url: s.URL, client: awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.URL), RetryMaxAttempts: 1})}
}

func (s *trusting) mint(t *testing.T, subject string, session identity.LoginSessionID) string {
	t.Helper()
	role, err := arn.ParseRole(nightly)
	must(t, err)
	epoch, err := s.feed.Epoch()
	must(t, err)
	m, err := s.issuer.MintID(issuer.IDToken{Subject: subject, Audience: issuer.AudienceAWS, Role: role, LoginSession: session, Epoch: epoch})
	must(t, err)
	return m.Token.Reveal()
}

// assume trades a token, and gives a client with the keys.
func (s *trusting) assume(t *testing.T, token string) (*awssts.Client, error) {
	t.Helper()
	out, err := s.client.AssumeRoleWithWebIdentity(t.Context(), &awssts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(nightly), RoleSessionName: aws.String("nightly"), WebIdentityToken: aws.String(token)})
	if err != nil {
		return nil, err
	}
	k := out.Credentials
	return awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(*k.AccessKeyId, *k.SecretAccessKey, *k.SessionToken)}), nil
}

func (s *trusting) revoke(t *testing.T, kind, id string) {
	t.Helper()
	_, err := s.feed.Revoke(t.Context(), kind, id)
	must(t, err)
	must(t, s.feed.Confirm(t.Context()))
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// TestOwnTokensEnd: a token of our issuer buys keys at our STS while whoever it
// speaks of stands; taking them back ends token and keys, and what is minted
// afterwards is good again.
func TestOwnTokensEnd(t *testing.T) {
	t.Parallel()
	s := newTrusting(t)
	metadata := forge.NewECDSA(t, time.Now()).Metadata()
	idp, err := s.federation.Add(t.Context(), federation.IdP{Name: "Corp", Metadata: metadata, Enabled: true, AllowAutoCreate: true,
		Accounts: []string{"111122223333"}, RolePatterns: []string{"*"}, UserNameDomains: []string{"*"}})
	must(t, err)
	ann, _, err := s.directory.Arrive(t.Context(), directory.Arrival{IdP: idp.ID, Subject: "1", UserName: "ann@example.com", MayCreate: true})
	must(t, err)
	machine, err := s.directory.NewServicePrincipal(t.Context(), "nightly", "")
	must(t, err)
	session := identity.NewLoginSessionID()
	for _, tc := range []struct{ subject, kind, id string }{
		{"user:" + string(ann.ID), revocation.Person, string(ann.ID)},
		{"user:" + string(ann.ID), revocation.LoginSession, string(session)},
		{"sp:" + string(machine.ID), revocation.ServicePrincipal, string(machine.ID)},
		{"sp:" + string(machine.ID), revocation.Everything, revocation.Everything},
	} {
		sid := session
		if strings.HasPrefix(tc.subject, "sp:") {
			sid = ""
		}
		token := s.mint(t, tc.subject, sid)
		keys, err := s.assume(t, token)
		if err != nil {
			t.Fatalf("%s: %v", tc.kind, err)
		}
		if _, err := keys.GetCallerIdentity(t.Context(), nil); err != nil {
			t.Errorf("%s: %v", tc.kind, err)
		}
		s.revoke(t, tc.kind, tc.id)
		if _, err := s.assume(t, token); code(err) != "AccessDenied" {
			t.Errorf("%s is revoked, and its token taken: %v", tc.kind, err)
		}
		if _, err := keys.GetCallerIdentity(t.Context(), nil); code(err) != "ExpiredToken" {
			t.Errorf("%s is revoked, and its keys taken: %v", tc.kind, err)
		}
		if _, err := s.assume(t, s.mint(t, tc.subject, sid)); err != nil {
			t.Errorf("%s: what was minted afterwards: %v", tc.kind, err)
		}
	}

	must(t, s.directory.SetActive(t.Context(), ann.ID, false))
	must(t, s.directory.SetServicePrincipalActive(t.Context(), machine.ID, false))
	for _, subject := range []string{"user:" + string(ann.ID), "sp:" + string(machine.ID), "user:" + string(identity.NewPersonID()),
		"sp:" + string(identity.NewServicePrincipalID()), "job:" + string(identity.NewDelegationID())} {
		if _, err := s.assume(t, s.mint(t, subject, "")); code(err) != "AccessDenied" {
			t.Errorf("%s: %v", subject, err)
		}
	}
	must(t, s.directory.SetActive(t.Context(), ann.ID, true))
	_, err = s.federation.SetEnabled(t.Context(), idp.ID, false)
	must(t, err)
	if _, err := s.own.Standing(t.Context(), sts.OwnSubject{Person: ann.ID}); fault.KindOf(err) != fault.Denied {
		t.Errorf("of an identity provider that is switched off: %v", err)
	}
}

// TestAttackOurAccessTokenAsWebIdentity: what our API takes buys nothing at STS,
// also with the audience that STS asks for.
func TestAttackOurAccessTokenAsWebIdentity(t *testing.T) {
	t.Parallel()
	s := newTrusting(t)
	machine, err := s.directory.NewServicePrincipal(t.Context(), "nightly", "")
	must(t, err)
	m, err := s.issuer.MintAccess(issuer.AccessToken{Level: s.issuer.Registered(), Subject: "sp:" + string(machine.ID), ClientID: string(machine.ID), Scope: "all-apis", Epoch: 1})
	must(t, err)
	if _, err := s.assume(t, m.Token.Reveal()); code(err) != "InvalidIdentityToken" {
		t.Errorf("an access token: %v", err)
	}
	// Both issuers are known by their letters alone, and their keys by heart.
	for _, l := range issuer.Levels() {
		if keys, ours := s.issuer.KeySet(s.issuer.URL(l)); !ours || keys.Len() == 0 || !s.own.Issues(s.issuer.URL(l)) || s.own.Issues(s.issuer.URL(l)+"/") {
			t.Errorf("%s is not ours", l)
		}
	}
}
