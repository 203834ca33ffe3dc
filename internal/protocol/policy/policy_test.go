package policy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/protocol/policy"
)

func TestPinnedPrincipalIsNotItsSuccessor(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::111122223333:role/data/analyst"
	d := mustParse(t, policy.Trust, "trust", []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["`+role+`","111122223333"]},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:userid":"x"}}}}`))
	if got := d.RolePrincipals(); !slices.Equal(got, []string{role}) {
		t.Fatalf("role principals %q", got)
	}
	ask := func(d *policy.Document, id string) bool {
		r := policy.Request{Principal: policy.Principal{Account: "444455556666", ARN: role, UniqueID: id}, Action: "sts:AssumeRole"}
		r.Context.Set("aws:userid", "x")
		return d.Trusts(&r).Allow
	}
	pinned := d.Pin(map[string]string{role: "AROAFIRST"})
	for name, tc := range map[string]struct {
		d    *policy.Document
		id   string
		want bool
	}{
		"the role that was named":     {pinned, "AROAFIRST", true},
		"made again":                  {pinned, "AROASECOND", false},
		"without id":                  {pinned, "", false},
		"unknown when pinned":         {d.Pin(nil), "AROAFIRST", false},
		"unknown when pinned, no id":  {d.Pin(nil), "", false},
		"the original is not touched": {d, "AROASECOND", true},
	} {
		if got := ask(tc.d, tc.id); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestFederatedPrincipals(t *testing.T) {
	t.Parallel()
	d := mustParse(t, policy.Trust, "t", []byte(`{"Statement":[
		{"Effect":"Allow","Principal":{"Federated":["arn:aws:iam::111122223333:saml-provider/a","arn:aws:iam::111122223333:saml-provider/b"]},"Action":"sts:AssumeRoleWithSAML"},
		{"Effect":"Deny","Principal":{"Federated":"arn:aws:iam::111122223333:saml-provider/a"},"Action":"sts:TagSession"}]}`))
	want := []string{"arn:aws:iam::111122223333:saml-provider/a", "arn:aws:iam::111122223333:saml-provider/b"}
	if got := d.FederatedPrincipals(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestBucketPolicyStaysInItsBucket(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]bool{
		"arn:aws:s3:::sales": true, "arn:aws:s3:::sales/*": true, "arn:aws:s3:::sales/a/${aws:userid}": true,
		"arn:aws:s3:::sales*": false, "arn:aws:s3:::sales-x/*": false, "arn:aws:s3:::hr/*": false, "*": false,
		"arn:aws:s3:::*": false, "arn:aws:s3:::${aws:userid}/*": false, "arn:*:s3:::sales/*": false, "arn:aws:s3:::sales?": false,
	} {
		d := mustParse(t, policy.Resource, "b", []byte(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":%q}}`, resource)))
		if got := d.Within("sales"); got != want {
			t.Errorf("%s: got %v", resource, got)
		}
	}
}

func TestTrustsRefusesOtherKinds(t *testing.T) {
	t.Parallel()
	d := mustParse(t, policy.Identity, "p", []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`))
	if d.Trusts(&policy.Request{Action: "sts:AssumeRoleWithSAML"}).Allow {
		t.Error("an identity policy served as trust")
	}
}

// TestOwnPolicyIsNoTrust: identity policies of the same account never replace
// the trust of a role, unlike any other resource policy.
func TestOwnPolicyIsNoTrust(t *testing.T) {
	t.Parallel()
	all := mustParse(t, policy.Identity, "p", []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`))
	for trust, want := range map[string][2]bool{ // with the identity policy, without
		`"Principal":{"AWS":"111122223333"},"Condition":{"StringEquals":{"sts:ExternalId":"x"}}`: {false, false},
		`"Principal":{"AWS":"444455556666"}`:                                                     {false, false},
		`"Principal":{"AWS":"111122223333"}`:                                                     {true, false},
		`"Principal":{"AWS":"arn:aws:iam::111122223333:role/data/analyst"}`:                      {true, true},
		`"Principal":{"Service":"ec2.amazonaws.com"}`:                                            {false, false},
	} {
		set := policy.Set{Resource: mustParse(t, policy.Trust, "t", []byte(`{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole",`+trust+`}}`))}
		r := defaultRequest()
		r.Action, r.Resource = "sts:AssumeRole", "arn:aws:iam::111122223333:role/job"
		without := set.Decide(&r)
		set.Identity = []*policy.Document{all}
		with := set.Decide(&r)
		if with.Allow != want[0] || without.Allow != want[1] {
			t.Errorf("%s: %v with an identity policy, %v without", trust, with.Allow, without.Allow)
		}
	}
}

func TestReasonReadsAsAWS(t *testing.T) {
	t.Parallel()
	allow := mustParse(t, policy.Identity, "p", []byte(`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`))
	deny := mustParse(t, policy.Identity, "stop", []byte(`{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`))
	session := mustParse(t, policy.Session, "s", []byte(`{"Statement":{"Effect":"Allow","Action":"s3:PutObject","Resource":"*"}}`))
	for want, set := range map[string]policy.Set{
		"because no identity-based policy allows the s3:GetObject action": {},
		"because no session policy allows the s3:GetObject action":        {Identity: []*policy.Document{allow}, Session: []*policy.Document{session}},
		"with an explicit deny in an identity-based policy":               {Identity: []*policy.Document{allow, deny}},
		"": {Identity: []*policy.Document{allow}},
	} {
		r := defaultRequest()
		if got := set.Explain(&r).Reason; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFindingsSayWhatIsUnmet(t *testing.T) {
	t.Parallel()
	d := mustParse(t, policy.Identity, "p", []byte(`{"Version":"2012-10-17","Statement":{"Sid":"Blue","Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::hr/*","Condition":{"StringEquals":{"aws:PrincipalTag/team":"blue"},"Bool":{"aws:SecureTransport":"true"}}}}`))
	set := policy.Set{Identity: []*policy.Document{d}}
	r := defaultRequest()
	r.Context.Set("aws:PrincipalTag/team", "red")
	r.Context.Set("aws:SecureTransport", "perhaps")
	e := set.Explain(&r)
	if len(e.Findings) != 1 || e.Findings[0].Statement != "p#Blue" {
		t.Fatalf("%+v", e.Findings)
	}
	all := strings.Join(e.Findings[0].Unmet, "\n")
	for _, want := range []string{"Action", "Resource", `StringEquals aws:PrincipalTag/team is not met: the request has ["red"]`, "Bool aws:SecureTransport can't be evaluated"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q lacks %q", all, want)
		}
	}
}

func TestContextKeysHaveNoLetterCase(t *testing.T) {
	t.Parallel()
	var c policy.Context
	c.Set("AWS:UserID", "a")
	c.Set("aws:userid", "b")
	if got := c.Get("Aws:Userid"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("got %q", got)
	}
	copied := c.Clone()
	copied.Set("aws:userid", "c")
	copied.Set("aws:new", "d")
	if got := c.Get("aws:userid"); got[0] != "b" || c.Get("aws:new") != nil {
		t.Errorf("the clone reached its original: %q", got)
	}
}

// many builds a set of n statements of which only the last allows. Written by
// bucket, each has a bucket of its own; else each has an action of its own on
// every resource.
func many(t testing.TB, n int, byBucket bool) policy.Set {
	var s policy.Set
	const perDocument = 60
	for i := 0; i < n; {
		var b strings.Builder
		b.WriteString(`{"Version":"2012-10-17","Statement":[`)
		for j := 0; j < perDocument && i < n; j++ {
			actions, resource := `["s3:GetObject","s3:PutObject"]`, fmt.Sprintf("arn:aws:s3:::team-bucket-%d/*", i)
			if !byBucket {
				actions, resource = fmt.Sprintf(`["service%d:Get*","s3:PutThing%d"]`, i, i), "*"
			}
			if i++; i == n {
				actions, resource = `["s3:GetObject","s3:PutObject"]`, "arn:aws:s3:::sales/*"
			}
			if j > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, `{"Effect":"Allow","Action":%s,"Resource":%q}`, actions, resource)
		}
		b.WriteString("]}")
		s.Identity = append(s.Identity, mustParse(t, policy.Identity, "p", []byte(b.String())))
	}
	s.Identity = []*policy.Document{policy.Unite(s.Identity)}
	return s
}

func TestDecideAllocatesNothing(t *testing.T) {
	set := many(t, 100, true)
	set.Resource = mustParse(t, policy.Resource, "b", []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::sales/*","Condition":{"Bool":{"aws:SecureTransport":"false"},"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"},"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"},"NumericLessThan":{"s3:signatureage":"5"}}}}`))
	set.Session = []*policy.Document{mustParse(t, policy.Session, "s", []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::sales/${aws:PrincipalTag/year}/*","Condition":{"StringEqualsIgnoreCase":{"aws:userid":"AROA:ALICE"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"},"ForAnyValue:StringLike":{"aws:TagKeys":"t*"}}}}`))}
	r := benchRequest()
	if v := set.Decide(&r); !v.Allow {
		t.Fatalf("%+v", set.Explain(&r))
	}
	if n := testing.AllocsPerRun(100, func() { set.Decide(&r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchRequest() policy.Request {
	r := defaultRequest()
	for key, value := range map[string]string{
		"aws:userid": "AROA:alice", "aws:PrincipalArn": r.Principal.ARN, "aws:SecureTransport": "true",
		"aws:SourceIp": "10.1.2.3", "aws:CurrentTime": "2026-03-01T08:00:00Z", "s3:signatureAge": "3",
		"aws:PrincipalTag/year": "2026", "aws:TagKeys": "team",
	} {
		r.Context.Set(key, value)
	}
	return r
}

// BenchmarkDecide reports its time as a multiple of the floor: a bare loop
// over bucket and prefix, as many statements, in the same run. Flat is the
// aim: an index finds the statements that may matter.
func BenchmarkDecide(b *testing.B) {
	for _, written := range []string{"by-bucket", "by-action"} {
		for _, n := range []int{3, 10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", written, n), func(b *testing.B) {
				set, r := many(b, n, written == "by-bucket"), benchRequest()
				b.ReportAllocs()
				for b.Loop() {
					if !set.Decide(&r).Allow {
						b.Fatal("denied")
					}
				}
				own := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
				b.ReportMetric(own/bareLoop(n, r.Resource), "x-bare-loop")
			})
		}
	}
}

// BenchmarkExplain is the complete answer, which looks at every statement.
func BenchmarkExplain(b *testing.B) {
	set, r := many(b, 100, true), benchRequest()
	b.ReportAllocs()
	for b.Loop() {
		if !set.Explain(&r).Allow {
			b.Fatal("denied")
		}
	}
}

func bareLoop(n int, resource string) float64 {
	prefixes := make([]string, n)
	for i := range prefixes {
		prefixes[i] = fmt.Sprintf("arn:aws:s3:::team-bucket-%d/", i)
	}
	prefixes[n-1] = "arn:aws:s3:::sales/"
	rounds, hits := 2_000_000/n, 0
	start := time.Now()
	for range rounds {
		for _, p := range prefixes {
			if strings.HasPrefix(resource, p) {
				hits++
			}
		}
	}
	if hits != rounds {
		panic("the floor missed its bucket")
	}
	return float64(time.Since(start).Nanoseconds()) / float64(rounds)
}

// FuzzParse feeds policies: none may panic, and what is accepted must give the
// same answer from Decide and Explain.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/policies/*.json")
	if len(files) == 0 {
		f.Fatal("no seed in testdata/policies")
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src, "arn:aws:s3:::sales/2026/a.csv", "alice")
	}
	f.Fuzz(func(t *testing.T, src []byte, resource, value string) {
		r := benchRequest()
		r.Resource = resource
		for _, key := range []string{"aws:userid", "saml:aud", "s3:prefix", "aws:SourceIp"} {
			r.Context.Set(key, value)
		}
		for _, kind := range kinds {
			d, err := policy.Parse(kind, "p", src)
			if err != nil {
				continue
			}
			var set policy.Set
			switch kind {
			case policy.Trust:
				if d.Trusts(&r) != d.ExplainTrust(&r).Verdict {
					t.Fatal("ExplainTrust differs")
				}
				continue
			case policy.Resource:
				set.Resource = d
			default:
				set.Identity = []*policy.Document{d}
			}
			v, e := set.Decide(&r), set.Explain(&r)
			if v != e.Verdict {
				t.Fatalf("Decide %+v, Explain %+v", v, e.Verdict)
			}
			for _, finding := range e.Findings {
				if finding.Applies && finding.Deny && !v.Explicit {
					t.Fatal("a deny applies and does not deny")
				}
			}
		}
	})
}

// TestEveryActionIsFound by the index, whatever its length and letter case.
func TestEveryActionIsFound(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100)
	for written, asked := range map[string]string{
		"s3:GetObject": "S3:GETOBJECT", "s3:Get*": "s3:getobject", "*:GetObject": "s3:GetObject", "s3:*": "s3:" + long,
		"s3:" + long: "S3:" + long, "s3:" + long + "*": "s3:" + long + "y", long + ":Get": long + ":get", long + ":*": long + ":get",
		long[:64] + ":Get": long[:64] + ":Get", long[:63] + ":G*": long[:63] + ":Get", "s3:?": "s3:*",
	} {
		d := mustParse(t, policy.Identity, "p", []byte(fmt.Sprintf(`{"Statement":[{"Effect":"Allow","Action":"ec2:*","Resource":"*"},{"Effect":"Allow","Action":["ec2:Run",%q],"Resource":"*"}]}`, written)))
		set := policy.Set{Identity: []*policy.Document{d}}
		r := defaultRequest()
		r.Action = asked
		if v := set.Decide(&r); !v.Allow || v.Statement != 1 {
			t.Errorf("%s does not allow %s: %+v", written, asked, v)
		}
	}
}

// TestEveryAWSPrincipalIsNoFederatedOne: {"AWS": "*"} in a trust policy does not
// admit whoever comes with a token of an identity provider, as measured at AWS;
// in a Deny it means them too.
func TestEveryAWSPrincipalIsNoFederatedOne(t *testing.T) {
	t.Parallel()
	federated := policy.Request{Principal: policy.Principal{Provider: "arn:aws:iam::111122223333:oidc-provider/id.example"}, Action: "sts:AssumeRoleWithWebIdentity", ResourceAccount: "111122223333"}
	role := federated
	role.Principal = policy.Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:role/x"}
	for principal, want := range map[string][2]bool{
		`"*"`:         {true, true},
		`{"AWS":"*"}`: {false, true},
		`{"AWS":["*"],"Federated":"arn:aws:iam::111122223333:oidc-provider/id.example"}`: {true, true},
	} {
		for effect, meant := range map[string][2]bool{"Allow": want, "Deny": {true, true}} {
			d, err := policy.Parse(policy.Trust, "trust", []byte(`{"Version":"2012-10-17","Statement":[
				{"Effect":"`+effect+`","Principal":`+principal+`,"Action":"sts:AssumeRoleWithWebIdentity"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range []policy.Request{federated, role} {
				v := d.Trusts(&r)
				if effect == "Allow" && v.Allow != meant[i] || effect == "Deny" && v.Explicit != meant[i] {
					t.Errorf("%s to %s, request %d: %+v", effect, principal, i, v)
				}
			}
		}
	}
}
