package access_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
)

const keyID = "ASIA2222222222222222"

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type ring map[string][32]byte

func (r ring) Current() (string, [32]byte)            { return "k1", r["k1"] }
func (r ring) ByID(id string) (key [32]byte, ok bool) { key, ok = r[id]; return key, ok }

type feed struct {
	revoked map[string]uint64
	away    bool
}

func (f *feed) Refused(kind, id string, epoch uint64) (bool, error) {
	if f.away {
		return false, fault.New(fault.Unavailable, "the view can't be confirmed")
	}
	at, ok := f.revoked[kind+" "+id]
	return ok && epoch <= at, nil
}

type authority struct{ snapshot *iam.Snapshot }

func (a *authority) Current() (*iam.Snapshot, error) {
	if a.snapshot == nil {
		return nil, fault.New(fault.Unavailable, "away")
	}
	return a.snapshot, nil
}

type world struct {
	*access.Access
	keys      ring
	feed      *feed
	authority *authority
	now       time.Time
}

const read = `{"Version":"2012-10-17","Statement":[{"Sid":"Read","Effect":"Allow","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::sales","arn:aws:s3:::sales/${aws:PrincipalTag/team}/*"]}]}`

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/x"},"Action":"sts:AssumeRoleWithSAML"}]}`

func snapshot(t testing.TB, change func(*iam.State)) *iam.Snapshot {
	t.Helper()
	state := iam.State{Roles: []iam.RoleRecord{{
		ID: "AROA1", Account: "111122223333", Path: "/", Name: "analyst", MaxSession: time.Hour,
		Trust: iam.Policy{Name: "trust", Document: trust}, Policies: []iam.Policy{{Name: "read", Document: read}},
		Tags: map[string]string{"Team": "red"},
	}}}
	if change != nil {
		change(&state)
	}
	s := iam.Compile(state, []iam.Account{{ID: "111122223333"}, {ID: "444455556666"}})
	return s
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{keys: ring{"k1": {1}}, feed: &feed{revoked: map[string]uint64{}}, authority: &authority{snapshot(t, nil)}, now: now}
	w.Access = access.New(access.Config{
		Authority: w.authority, Keys: w.keys, Revocations: w.feed, Region: "us-east-1", Now: func() time.Time { return w.now },
		Rule: func(bucket string) (access.Place, bool) {
			switch bucket {
			case "sales":
				return access.Place{Account: "111122223333", Upstream: "disk"}, true
			case "lab":
				return access.Place{Account: "444455556666", Upstream: "disk"}, true
			}
			return access.Place{}, false
		},
	})
	return w
}

func (w *world) token(t testing.TB, change func(*sessiontoken.Claims)) secret.Text {
	t.Helper()
	role, err := arn.ParseRole("arn:aws:iam::111122223333:role/analyst")
	if err != nil {
		t.Fatal(err)
	}
	c := sessiontoken.Claims{
		Role: role, RoleID: "AROA1", SessionName: "alice", SecretKey: secret.New("shh"), IssuedAt: now, Expires: now.Add(time.Hour),
		Epoch: 5, Person: "psn_1", LoginSession: "lgn_1", Tags: []sessiontoken.Tag{{Key: "team", Value: "blue"}},
	}
	if change != nil {
		change(&c)
	}
	text, err := sessiontoken.Seal(w.keys, keyID, c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestLookup(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, nil)
	for range 2 { // sealed, then remembered
		c, key, err := w.Lookup(context.Background(), keyID, token)
		if err != nil || key.Reveal() != "shh" || c.UserID != "AROA1:alice" || c.ARN != "arn:aws:sts::111122223333:assumed-role/analyst/alice" {
			t.Fatalf("got %+v, %v", c, err)
		}
	}
	for name, c := range map[string]struct {
		id    string
		token secret.Text
		code  string
	}{
		"no token":             {keyID, secret.Text{}, "InvalidToken"},
		"token of another key": {"ASIA3333333333333333", token, "InvalidToken"},
		"long-lived key":       {"AKIA2222222222222222", token, "InvalidAccessKeyId"},
		"no such key":          {"x", token, "InvalidAccessKeyId"},
		"token of AWS":         {keyID, secret.New("IQoJb3JpZ2luX2VjEAaCXVzLWVhc3QtMSJHMEUC"), "InvalidAccessKeyId"},
		"role made again":      {keyID, w.token(t, func(c *sessiontoken.Claims) { c.RoleID = "AROA0" }), "InvalidAccessKeyId"},
	} {
		if _, key, err := w.Lookup(context.Background(), c.id, c.token); code(err) != c.code || !key.IsZero() {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
	}
	w.now = now.Add(time.Hour)
	if _, _, err := w.Lookup(context.Background(), keyID, token); code(err) != "ExpiredToken" {
		t.Errorf("a remembered token past its end: got %v", err)
	}
}

func TestWhatWasTakenBackIsRefusedAlsoWhenRemembered(t *testing.T) {
	for _, what := range []string{
		"everything everything", "login-session lgn_1", "person psn_1", "role AROA1", "access-key " + keyID, "service-principal spn_1", "delegation dlg_1",
		"attachment att_1", "node nod_1", "cluster cls_1",
	} {
		w := newWorld(t)
		of := func(c *sessiontoken.Claims) {
			c.ServicePrincipal, c.Delegation = "spn_1", "dlg_1"
			c.OnNode = identity.OnNode{Attachment: "att_1", Node: "nod_1", Cluster: "cls_1", Owner: "1000(alice)"}
		}
		token := w.token(t, of)
		if _, _, err := w.Lookup(context.Background(), keyID, token); err != nil {
			t.Fatal(err)
		}
		w.feed.revoked[what] = 5
		if _, _, err := w.Lookup(context.Background(), keyID, token); !errors.Is(err, fault.New(fault.Revoked, "")) {
			t.Errorf("%s: got %v", what, err)
		}
		later := w.token(t, func(c *sessiontoken.Claims) { of(c); c.Epoch = 6 })
		if _, _, err := w.Lookup(context.Background(), keyID, later); err != nil {
			t.Errorf("%s: what was issued later is refused: %v", what, err)
		}
	}
	w := newWorld(t)
	w.feed.away = true
	if _, _, err := w.Lookup(context.Background(), keyID, w.token(t, nil)); !errors.Is(err, fault.New(fault.Unavailable, "")) {
		t.Errorf("an unconfirmed view says yes: %v", err)
	}
}

func (w *world) decide(t *testing.T, token secret.Text, checks ...s3.Check) access.Decision {
	t.Helper()
	c, _, err := w.Lookup(context.Background(), keyID, token)
	if err != nil {
		t.Fatal(err)
	}
	return w.Decide(context.Background(), c, checks, access.Environment{Now: now, SourceIP: netip.MustParseAddr("192.0.2.1"), AuthType: "REST-HEADER"})
}

func oneCheck(c s3.Check) []s3.Check { return []s3.Check{c} }

func get(bucket, key string) s3.Check {
	return s3.Check{Action: "s3:GetObject", Bucket: bucket, Key: key}
}

func TestDecide(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, nil)
	if d := w.decide(t, token, get("sales", "blue/x")); !d.Allow || len(d.Statements) != 1 || d.Statements[0] != "read#Read" {
		t.Errorf("own prefix: got %+v", d)
	}
	d := w.decide(t, token, get("sales", "red/x"))
	want := `User: arn:aws:sts::111122223333:assumed-role/analyst/alice is not authorized to perform: s3:GetObject on resource: "arn:aws:s3:::sales/red/x" because no identity-based policy allows the s3:GetObject action`
	if d.Allow || d.Reason != want {
		t.Errorf("got %+v", d)
	}
	for name, checks := range map[string][]s3.Check{
		"one of two":       {get("sales", "blue/x"), get("sales", "red/x")},
		"nothing asked":    {},
		"another account":  {get("lab", "blue/x")},
		"no rule":          {get("nowhere", "blue/x")},
		"wildcard in name": {get("sales", "*/x")},
	} {
		if d := w.decide(t, token, checks...); d.Allow {
			t.Errorf("%s is allowed", name)
		}
	}
	if d := w.Decide(context.Background(), access.Caller{Account: "111122223333", RoleID: "AROA1"}, []s3.Check{get("sales", "blue/x")}, access.Environment{Now: now}); d.Allow {
		t.Error("a caller that Lookup didn't make is allowed")
	}
}

func TestSessionPolicyOnlyNarrows(t *testing.T) {
	w := newWorld(t)
	token := w.token(t, func(c *sessiontoken.Claims) {
		c.SessionPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::sales/blue/one"}]}`
	})
	if !w.decide(t, token, get("sales", "blue/one")).Allow || w.decide(t, token, get("sales", "blue/two")).Allow || w.decide(t, token, get("sales", "red/one")).Allow {
		t.Error("a session policy is an intersection")
	}
}

func TestALostBucketPolicyDenies(t *testing.T) {
	w := newWorld(t)
	w.authority.snapshot = snapshot(t, func(s *iam.State) {
		s.Buckets = []iam.BucketRecord{{Account: "111122223333", Name: "sales", Policy: iam.Policy{Name: "bucket-policy", Document: `{"Version":"1999"}`}}}
	})
	if d := w.decide(t, w.token(t, nil), get("sales", "blue/x")); d.Allow || !strings.Contains(d.Reason, "can't be evaluated") {
		t.Errorf("got %+v", d)
	}
	c, _, err := w.Lookup(context.Background(), keyID, w.token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	w.authority.snapshot = nil
	if d := w.Decide(context.Background(), c, []s3.Check{get("sales", "blue/x")}, access.Environment{Now: now}); d.Allow {
		t.Error("allowed without a view of the authority")
	}
}

func TestListOfBucketsNeedsAllOfS3(t *testing.T) {
	for resource, want := range map[string]bool{"*": true, "arn:aws:s3:::*": true, "arn:aws:s3:::sales": false, "arn:aws:s3:::sales/*": false} {
		w := newWorld(t)
		w.authority.snapshot = snapshot(t, func(s *iam.State) {
			s.Roles[0].Policies[0].Document = `{"Statement":{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"` + resource + `"}}`
		})
		if d := w.decide(t, w.token(t, nil), s3.Check{Action: "s3:ListAllMyBuckets"}); d.Allow != want {
			t.Errorf("%s: got %+v", resource, d)
		}
	}
}

func TestBucketPolicyOfAnotherOwnerThanConfiguredDenies(t *testing.T) {
	w := newWorld(t)
	w.authority.snapshot = snapshot(t, func(s *iam.State) {
		s.Buckets = []iam.BucketRecord{{Account: "444455556666", Name: "sales", Policy: iam.Policy{Name: "bucket-policy", Document: `{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::sales/*"}}`}}}
	})
	if d := w.decide(t, w.token(t, nil), get("sales", "blue/x")); d.Allow {
		t.Errorf("got %+v", d)
	}
}

// TestGlobalKeys holds the context of AWS's global condition keys: each is
// asked as a condition of its own.
func TestGlobalKeys(t *testing.T) {
	for condition, want := range map[string]bool{
		`"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/analyst"}`: true,
		`"StringEquals":{"aws:userid":"AROA1:alice"}`:                                  true,
		`"Null":{"aws:username":"true"}`:                                               true,
		`"Bool":{"aws:PrincipalIsAWSService":"false","aws:ViaAWSService":"false"}`:     true,
		`"StringEquals":{"aws:PrincipalType":"AssumedRole"}`:                           true,
		`"StringEquals":{"aws:PrincipalAccount":"111122223333"}`:                       true,
		`"StringEquals":{"aws:PrincipalTag/TEAM":"blue"}`:                              true,
		`"StringEquals":{"aws:PrincipalTag/team":"red"}`:                               false,
		`"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}`:                                  true,
		`"Bool":{"aws:SecureTransport":"true"}`:                                        false,
		`"DateLessThan":{"aws:TokenIssueTime":"2026-03-01T11:59:59Z"}`:                 false,
		`"DateLessThanEquals":{"aws:TokenIssueTime":"2026-03-01T12:00:00Z"}`:           true,
		`"StringEquals":{"s3:ResourceAccount":"111122223333"}`:                         true,
		`"StringEquals":{"s3:authType":"REST-HEADER"}`:                                 true,
		`"Null":{"s3:signatureAge":"true"}`:                                            true,
		`"StringEquals":{"aws:RequestedRegion":"us-east-1"}`:                           true,
		`"StringLike":{"s3:prefix":"blue/*"}`:                                          true,
	} {
		w := newWorld(t)
		w.authority.snapshot = snapshot(t, func(s *iam.State) {
			s.Roles[0].Policies[0].Document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::sales","Condition":{` + condition + `}}}`
		})
		check := s3.Check{Action: "s3:ListBucket", Bucket: "sales", Context: []s3.Value{{Key: "s3:prefix", Values: []string{"blue/x"}}}}
		if d := w.decide(t, w.token(t, nil), check); d.Allow != want {
			t.Errorf("%s: got %+v", condition, d)
		}
	}
}

// TestWebIdentityStaysInTheSession: audience, subject and methods of the ID token
// are condition keys of what the keys may do, under the issuer's name.
func TestWebIdentityStaysInTheSession(t *testing.T) {
	for condition, want := range map[string]bool{
		`"StringEquals":{"id.example/oidc:sub":"job:nightly","id.example/oidc:aud":"sts.amazonaws.com"}`: true,
		`"ForAnyValue:StringEquals":{"id.example/oidc:amr":"mfa"}`:                                       true,
		`"StringLike":{"aws:FederatedProvider":"*:oidc-provider/id.example/oidc"}`:                       true,
		`"Null":{"saml:sub":"true"}`:                         true,
		`"StringEquals":{"other.example:sub":"job:nightly"}`: false,
	} {
		w := newWorld(t)
		w.authority.snapshot = snapshot(t, func(s *iam.State) {
			s.Roles[0].Policies[0].Document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{` + condition + `}}}`
		})
		token := w.token(t, func(c *sessiontoken.Claims) {
			c.Provider, c.Subject = "arn:aws:iam::111122223333:oidc-provider/id.example/oidc", "job:nightly"
			c.Audience, c.Methods = "sts.amazonaws.com", []string{"pwd", "mfa"}
		})
		if d := w.decide(t, token, get("sales", "x")); d.Allow != want {
			t.Errorf("%s: %+v", condition, d)
		}
	}
}

// BenchmarkLookupAndDecide is what each S3 request pays beside its signature,
// with its token remembered; the ratio is to opening the token anew.
func BenchmarkLookupAndDecide(b *testing.B) {
	w := newWorld(b)
	token := w.token(b, nil)
	checks := []s3.Check{get("sales", "blue/x")}
	env := access.Environment{Now: now, SourceIP: netip.MustParseAddr("192.0.2.1"), AuthType: "REST-HEADER"}
	b.ReportAllocs()
	for b.Loop() {
		c, _, err := w.Lookup(context.Background(), keyID, token)
		if err != nil || !w.Decide(context.Background(), c, checks, env).Allow {
			b.Fatal("denied")
		}
	}
	own := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	const rounds = 2000
	start := time.Now()
	for range rounds {
		if _, err := sessiontoken.Open(w.keys, keyID, token, now); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(own/(float64(time.Since(start).Nanoseconds())/rounds), "x-bare-open")
}
