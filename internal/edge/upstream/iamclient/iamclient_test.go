package iamclient

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

var (
	own    = arn.Role{Partition: "aws", Account: "777788889999", Path: "/", Name: "carnet-revocation"}
	target = arn.Role{Partition: "aws", Account: "777788889999", Path: "/team/", Name: "data+lake=1"}
)

const found = `<GetRolePolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetRolePolicyResult><RoleName>data+lake=1</RoleName>
<PolicyName>CarnetRevocation</PolicyName><PolicyDocument>%7B%22Version%22%3A%222012-10-17%22%2C%22a%22%3A%22x%2By%20z%22%7D</PolicyDocument></GetRolePolicyResult></GetRolePolicyResponse>`

func refused(code, message string) string {
	return `<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>` + code + `</Code><Message>` + message + `</Message></Error><RequestId>r</RequestId></ErrorResponse>`
}

// taker gives keys, each time others.
type taker struct {
	n   int
	err error
}

func (k *taker) Take(_ context.Context, role arn.Role) (credential.Temporary, error) {
	if role != own {
		return credential.Temporary{}, fmt.Errorf("role %s was taken", role)
	}
	k.n++
	return credential.Temporary{AccessKeyID: fmt.Sprintf("ASIA%d", k.n), SecretAccessKey: secret.New("s"), SessionToken: secret.New("t"), Expiration: time.Now().Add(time.Hour)}, k.err
}

// serve plays IAM and gives the forms that it was sent.
func serve(t *testing.T, answer func(n int, form url.Values) (int, string)) (*Client, *taker, *[]*http.Request) {
	t.Helper()
	var seen []*http.Request
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		r.Form = form
		seen = append(seen, r)
		status, text := answer(len(seen), form)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	k := &taker{}
	return New([]Account{{Role: own, Endpoint: s.URL, RootCAs: pool}}, k, time.Now), k, &seen
}

// TestCalls pins what IAM is asked.
func TestCalls(t *testing.T) {
	t.Parallel()
	c, k, seen := serve(t, func(n int, form url.Values) (int, string) {
		if form.Get("Action") == "GetRolePolicy" {
			return 200, found
		}
		return 200, "<" + form.Get("Action") + "Response/>"
	})
	ctx := t.Context()
	document, err := c.Get(ctx, target)
	if err != nil || document != `{"Version":"2012-10-17","a":"x+y z"}` {
		t.Errorf("Get: %q, %v", document, err)
	}
	if err := c.Put(ctx, target, `{"a": "&=+"}`); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, target); err != nil {
		t.Error(err)
	}
	for i, want := range []string{"GetRolePolicy", "PutRolePolicy", "DeleteRolePolicy"} {
		r := (*seen)[i]
		if r.Method != http.MethodPost || r.URL.String() != "/" || r.Form.Get("Action") != want || r.Form.Get("Version") != "2010-05-08" ||
			r.Form.Get("RoleName") != target.Name || r.Form.Get("PolicyName") != "CarnetRevocation" {
			t.Errorf("%s: %s %s %v", want, r.Method, r.URL, r.Form)
		}
		if a := r.Header.Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=ASIA1/") || !strings.Contains(a, "/us-east-1/iam/aws4_request") || r.Header.Get("X-Amz-Security-Token") != "t" {
			t.Errorf("%s is signed %q", want, a)
		}
	}
	if got := (*seen)[1].Form; got.Get("PolicyDocument") != `{"a": "&=+"}` || len(got) != 5 {
		t.Errorf("PutRolePolicy: %v", got)
	}
	if k.n != 1 {
		t.Errorf("keys were taken %d times", k.n)
	}
}

// TestRefusals: AWS's code decides the kind; what is away is not refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		status int
		text   string
		want   fault.Kind
	}{
		"denied":       {403, refused("AccessDenied", "not authorized"), fault.Denied},
		"no room":      {409, refused("LimitExceeded", "Maximum policy size of 10240 bytes exceeded"), fault.TooLarge},
		"no role":      {404, refused("NoSuchEntity", "The role cannot be found."), fault.NotFound},
		"throttled":    {400, refused("Throttling", "Rate exceeded"), fault.Limited},
		"at once":      {409, refused("ConcurrentModification", "x"), fault.Conflict},
		"broken":       {500, refused("ServiceFailure", "x"), fault.Unavailable},
		"no XML":       {502, "<html>", fault.Unavailable},
		"a redirect":   {302, "", fault.Unavailable},
		"unknown code": {400, refused("Strange", "x"), fault.Invalid},
	} {
		c, _, seen := serve(t, func(int, url.Values) (int, string) { return x.status, x.text })
		if err := c.Put(t.Context(), target, "{}"); fault.KindOf(err) != x.want {
			t.Errorf("%s: %v, want %s", name, err, x.want)
		}
		if len(*seen) != 1 {
			t.Errorf("%s: %d calls", name, len(*seen))
		}
	}
	c, _, _ := serve(t, func(int, url.Values) (int, string) { return 404, refused("NoSuchEntity", "gone") })
	if document, err := c.Get(t.Context(), target); err != nil || document != "" {
		t.Errorf("Get of nothing: %q, %v", document, err)
	}
	if err := c.Delete(t.Context(), target); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	c, _, _ = serve(t, func(int, url.Values) (int, string) { return 403, refused("AccessDenied", strings.Repeat("é", 1000)) })
	if err := c.Put(t.Context(), target, "{}"); len(fault.Of(err).Public) > mostMessage+10 {
		t.Errorf("%d bytes of AWS's words", len(fault.Of(err).Public))
	}
}

// TestKeysAreTakenAnew after they were refused, and not before.
func TestKeysAreTakenAnew(t *testing.T) {
	t.Parallel()
	c, k, _ := serve(t, func(n int, _ url.Values) (int, string) {
		if n == 1 {
			return 403, refused("ExpiredToken", "x")
		}
		return 200, found
	})
	if _, err := c.Get(t.Context(), target); fault.KindOf(err) != fault.Expired {
		t.Error(err)
	}
	for range 3 {
		if _, err := c.Get(t.Context(), target); err != nil {
			t.Error(err)
		}
	}
	if k.n != 2 {
		t.Errorf("keys were taken %d times", k.n)
	}
	k.err, c.accounts[own.Account].taken = fault.Coded(fault.Denied, "AccessDenied", "no"), credential.Temporary{}
	if _, err := c.Get(t.Context(), target); !strings.Contains(fault.Of(err).Mend, "carnet setup aws --revocation") {
		t.Errorf("a role that does not trust us: %v", err)
	}
}

// TestAttackRoleOfAnotherAccount: nothing is sent for a role outside the accounts
// that are configured.
func TestAttackRoleOfAnotherAccount(t *testing.T) {
	t.Parallel()
	c, k, seen := serve(t, func(int, url.Values) (int, string) { return 200, found })
	for _, role := range []arn.Role{{Partition: "aws", Account: "111122223333", Path: "/", Name: "x"}, {Partition: "aws-cn", Account: "777788889999", Path: "/", Name: "x"}} {
		if _, err := c.Get(t.Context(), role); fault.KindOf(err) != fault.Misconfigured {
			t.Error(err)
		}
	}
	if len(*seen) != 0 || k.n != 0 {
		t.Error("something was sent")
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	for partition, want := range map[string]string{"aws": "https://iam.amazonaws.com us-east-1", "aws-cn": "https://iam.cn-north-1.amazonaws.com.cn cn-north-1",
		"aws-us-gov": "https://iam.us-gov.amazonaws.com us-gov-west-1"} {
		if endpoint, region := place(partition); endpoint+" "+region != want {
			t.Errorf("%s: %s %s", partition, endpoint, region)
		}
	}
}

// FuzzAnswer: whatever IAM's place answers, it is read as a document of our policy or
// as nothing.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(found))
	f.Add([]byte(refused("NoSuchEntity", "The role policy with name CarnetRevocation cannot be found.")))
	f.Add([]byte(`<GetRolePolicyResponse><GetRolePolicyResult><PolicyName>Other</PolicyName><PolicyDocument>%7</PolicyDocument></GetRolePolicyResult></GetRolePolicyResponse>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if text, err := document(body); (text == "") == (err == nil) {
			t.Errorf("%q, %v", text, err)
		}
		if err := refusal(500, body); err == nil || fault.KindOf(err) == fault.Internal {
			t.Errorf("%v", err)
		}
	})
}
