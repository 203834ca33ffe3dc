package stsclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/broker"
)

const (
	account  = "111122223333"
	response = `<AssumeRoleWithSAMLResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithSAMLResult>
<Credentials><AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>the/secret+key</SecretAccessKey><SessionToken>the/token==</SessionToken>
<Expiration>2030-01-02T03:04:05Z</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>AROAEXAMPLE:ann</AssumedRoleId>
<Arn>arn:aws:sts::111122223333:assumed-role/analyst/ann</Arn></AssumedRoleUser><Audience>x</Audience></AssumeRoleWithSAMLResult>
<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleWithSAMLResponse>`
)

func call(t testing.TB) broker.Call {
	t.Helper()
	role, err := arn.ParseRole("arn:aws:iam::" + account + ":role/data/analyst")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := arn.ParseSAMLProvider("arn:aws:iam::" + account + ":saml-provider/dev-idp")
	if err != nil {
		t.Fatal(err)
	}
	return broker.Call{Role: role, Provider: provider, Assertion: secret.New("PHNhbWw+/w==\r\nPHg+"), Duration: 8 * time.Hour,
		LoginSession: "lgn_a", Person: "psn_a"}
}

func sts(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestOnTheWire(t *testing.T) {
	t.Parallel()
	for _, internal := range []bool{false, true} {
		var got *http.Request
		var form url.Values
		endpoint := sts(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			got, form = r, nil
			form, _ = url.ParseQuery(string(body))
			_, _ = io.WriteString(w, response)
		})
		c := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: endpoint, Internal: internal}})
		a, err := c.AssumeRoleWithSAML(t.Context(), call(t))
		if err != nil {
			t.Fatal(err)
		}
		if a.AssumedRoleARN != "arn:aws:sts::111122223333:assumed-role/analyst/ann" || a.Credentials.AccessKeyID != "ASIAEXAMPLE" ||
			a.Credentials.SecretAccessKey.Reveal() != "the/secret+key" || a.Credentials.SessionToken.Reveal() != "the/token==" ||
			a.Credentials.Expiration.Format(time.RFC3339) != "2030-01-02T03:04:05Z" {
			t.Errorf("answer %+v", a)
		}
		if got.Method != "POST" || got.URL.Path != "/" || got.Header.Get("Authorization") != "" {
			t.Errorf("request %s %s, Authorization %q: want an unsigned POST /", got.Method, got.URL, got.Header.Get("Authorization"))
		}
		for field, want := range map[string]string{
			"Action": "AssumeRoleWithSAML", "Version": "2011-06-15", "DurationSeconds": "28800",
			"RoleArn": call(t).Role.String(), "PrincipalArn": call(t).Provider.String(),
			"SAMLAssertion": call(t).Assertion.Reveal(),
		} {
			if form.Get(field) != want {
				t.Errorf("%s = %q, want %q", field, form.Get(field), want)
			}
		}
		login, person := got.Header.Get(stsclient.HeaderLoginSession), got.Header.Get(stsclient.HeaderPerson)
		if internal && (login != "lgn_a" || person != "psn_a") || !internal && login+person != "" {
			t.Errorf("internal %v: login session %q, person %q", internal, login, person)
		}
	}
}

func refusal(code, message string) string {
	return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>` + code +
		`</Code><Message>` + message + `</Message></Error><RequestId>r</RequestId></ErrorResponse>`
}

func TestRefusalsKeepCodeAndText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status        int
		code, message string
		kind          fault.Kind
	}{
		{403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML", fault.Denied},
		{400, "ValidationError", "Request ARN is invalid", fault.Invalid},
		{400, "InvalidIdentityToken", "Response signature invalid (Service: AWSOpenIdDiscoveryService)", fault.Unauthenticated},
		{400, "ExpiredTokenException", "Token must be redeemed within 5 minutes of issuance", fault.Expired},
		{403, "IDPRejectedClaim", "no", fault.Denied},
		{400, "PackedPolicyTooLarge", "too large", fault.TooLarge},
		{400, "MalformedPolicyDocument", "bad", fault.Invalid},
		{403, "RegionDisabledException", "off", fault.Denied},
	} {
		var calls atomic.Int32
		endpoint := sts(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, refusal(tt.code, tt.message))
		})
		_, err := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: endpoint}}).AssumeRoleWithSAML(t.Context(), call(t))
		f := fault.Of(err)
		if f.Code != tt.code || f.Public != tt.message || f.Kind != tt.kind {
			t.Errorf("%s: %v code %q public %q", tt.code, f.Kind, f.Code, f.Public)
		}
		if calls.Load() != 1 {
			t.Errorf("%s: a refused call was made %d times", tt.code, calls.Load())
		}
	}
}

func TestThrottlingIsTriedAgain(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	endpoint := sts(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, refusal("Throttling", "Rate exceeded"))
			return
		}
		_, _ = io.WriteString(w, response)
	})
	if _, err := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: endpoint}}).AssumeRoleWithSAML(t.Context(), call(t)); err != nil {
		t.Errorf("after %d calls: %v", calls.Load(), err)
	}
}

// TestNoAnswer: what came instead of an answer is no STS code, and nothing of
// the request is in the error.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(nil)
	gone.Close()
	slow := sts(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees a client leave only then
		<-r.Context().Done()
	})
	page := sts(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		_, _ = io.WriteString(w, "<html>the proxy says no</html>")
	})
	empty := sts(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `<AssumeRoleWithSAMLResponse><AssumeRoleWithSAMLResult/></AssumeRoleWithSAMLResponse>`)
	})
	for name, endpoint := range map[string]string{"refused": gone.URL, "slow": slow, "proxy page": page, "empty": empty} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: endpoint}}).AssumeRoleWithSAML(ctx, call(t))
		cancel()
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
		text := fmt.Sprintf("%v %+v", err, err)
		if strings.Contains(text, "PHNhbWw") {
			t.Errorf("%s: the assertion is in the error %q", name, text)
		}
	}
}

func TestUnconfiguredAccountIsNeverCalled(t *testing.T) {
	t.Parallel()
	_, err := stsclient.New(nil).AssumeRoleWithSAML(t.Context(), call(t))
	if f := fault.Of(err); f.Code != "AccessDenied" || f.Mend == "" {
		t.Errorf("error %v", err)
	}
}

// TestEnvironmentMovesNoEndpoint: a variable of whoever starts the server must
// not send assertions elsewhere.
func TestEnvironmentMovesNoEndpoint(t *testing.T) {
	var foreign atomic.Int32
	t.Setenv("AWS_ENDPOINT_URL_STS", sts(t, func(http.ResponseWriter, *http.Request) { foreign.Add(1) }))
	t.Setenv("AWS_ENDPOINT_URL", sts(t, func(http.ResponseWriter, *http.Request) { foreign.Add(1) }))
	var asked atomic.Value
	transport := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		asked.Store(r.URL.Scheme + "://" + r.URL.Host)
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(response)), Request: r}, nil
	})}
	for region, want := range map[string]string{
		"us-east-1": "https://sts.us-east-1.amazonaws.com", "eu-central-1": "https://sts.eu-central-1.amazonaws.com",
		"cn-north-1": "https://sts.cn-north-1.amazonaws.com.cn", "us-gov-west-1": "https://sts.us-gov-west-1.amazonaws.com",
	} {
		if _, err := stsclient.New([]stsclient.Account{{ID: account, Region: region, HTTP: transport}}).AssumeRoleWithSAML(t.Context(), call(t)); err != nil {
			t.Fatal(err)
		}
		if asked.Load() != want {
			t.Errorf("region %s: asked %v, want %s", region, asked.Load(), want)
		}
	}
	if foreign.Load() != 0 {
		t.Error("an endpoint of the environment was called")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
