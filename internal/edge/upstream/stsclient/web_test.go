package stsclient_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/broker"
)

func webCall(t testing.TB) broker.WebCall {
	t.Helper()
	return broker.WebCall{Role: call(t).Role, SessionName: "ann", Token: secret.New("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1c2VyOnBzbl9hIn0.c2ln"), Duration: time.Hour,
		LoginSession: "lgn_a", Person: "psn_a"}
}

var webResponse = strings.Replace(strings.ReplaceAll(response, "WithSAML", "WithWebIdentity"), "<Audience>", "<SourceIdentity>ann.smith</SourceIdentity><Audience>", 1)

// TestWebIdentityOnTheWire: unsigned, one role, and no session policy, as at the
// exchange by SAML.
func TestWebIdentityOnTheWire(t *testing.T) {
	t.Parallel()
	for _, internal := range []bool{false, true} {
		var got *http.Request
		var form url.Values
		endpoint := sts(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got, form = r, nil
			form, _ = url.ParseQuery(string(body))
			_, _ = io.WriteString(w, webResponse)
		})
		c := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: endpoint, Internal: internal}})
		a, err := c.AssumeRoleWithWebIdentity(t.Context(), webCall(t))
		if err != nil {
			t.Fatal(err)
		}
		if a.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/analyst/ann" || a.Credentials.AccessKeyID != "ASIAEXAMPLE" || a.SourceIdentity != "ann.smith" ||
			a.Credentials.SecretAccessKey.Reveal() != "the/secret+key" || a.Credentials.SessionToken.Reveal() != "the/token==" {
			t.Errorf("answer %+v", a)
		}
		if got.Method != "POST" || got.URL.Path != "/" || got.Header.Get("Authorization") != "" {
			t.Errorf("request %s %s, Authorization %q: want an unsigned POST /", got.Method, got.URL, got.Header.Get("Authorization"))
		}
		want := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "DurationSeconds": {"3600"}, "RoleSessionName": {"ann"},
			"RoleArn": {webCall(t).Role.String()}, "WebIdentityToken": {webCall(t).Token.Reveal()}}
		if form.Encode() != want.Encode() {
			t.Errorf("sent %v", form)
		}
		login, person := got.Header.Get(stsclient.HeaderLoginSession), got.Header.Get(stsclient.HeaderPerson)
		if internal && (login != "lgn_a" || person != "psn_a") || !internal && login+person != "" {
			t.Errorf("internal %v: login session %q, person %q", internal, login, person)
		}
	}
}

// TestWebIdentityRefusals: refusals keep code and text and are not repeated; a
// provider that AWS can't reach is asked for once more.
func TestWebIdentityRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status        int
		code, message string
		kind          fault.Kind
	}{
		{403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", fault.Denied},
		{400, "InvalidIdentityToken", "Incorrect token audience", fault.Unauthenticated},
		{400, "ExpiredTokenException", "Token expired", fault.Expired},
		{403, "IDPRejectedClaim", "no", fault.Denied},
		{400, "IDPCommunicationError", "no answer", fault.Unavailable},
		{400, "PackedPolicyTooLarge", "too large", fault.TooLarge},
	} {
		var calls atomic.Int32
		endpoint := sts(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, refusal(tt.code, tt.message))
		})
		_, err := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: endpoint}}).AssumeRoleWithWebIdentity(t.Context(), webCall(t))
		f := fault.Of(err)
		if f == nil || f.Kind != tt.kind || f.Code != tt.code || f.Public != tt.message {
			t.Errorf("%s: %v", tt.code, err)
		}
		if n := calls.Load(); tt.kind != fault.Unavailable && n != 1 || n > 2 {
			t.Errorf("%s: %d calls", tt.code, n)
		}
	}
	other := webCall(t)
	other.Role.Account = "999999999999"
	if _, err := stsclient.New(nil).AssumeRoleWithWebIdentity(t.Context(), other); fault.Of(err) == nil || fault.Of(err).Code != "AccessDenied" {
		t.Errorf("an account that isn't configured: %v", err)
	}
}
