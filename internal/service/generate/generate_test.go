package generate_test

import (
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/generate"
)

func setup() generate.AWS {
	return generate.AWS{Accounts: []string{"777788889999"}, Buckets: []generate.Access{{Bucket: "lake"}}, Role: "lake-analyst",
		SAML: &generate.SAML{URL: "https://carnet.example.com/saml/consume", Provider: "okta", Metadata: "idp-metadata.xml"}}
}

func made(t *testing.T, s generate.AWS) *generate.Setup {
	t.Helper()
	out, err := s.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCommands(t *testing.T) {
	t.Parallel()
	out := made(t, setup())
	if len(out.Warnings) != 0 {
		t.Errorf("warnings %q", out.Warnings)
	}
	want := []string{
		`aws iam create-saml-provider --name okta --saml-metadata-document file://idp-metadata.xml`,
		`aws iam create-role --role-name lake-analyst --max-session-duration 43200 --assume-role-policy-document '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::777788889999:saml-provider/okta"},"Action":["sts:AssumeRoleWithSAML"],"Condition":{"StringEquals":{"SAML:aud":["https://carnet.example.com/saml/consume"]}}}]}'`,
		`aws iam put-role-policy --role-name lake-analyst --policy-name s3-data --policy-document '{"Version":"2012-10-17","Statement":[{"Sid":"List","Effect":"Allow","Action":["s3:ListBucket","s3:GetBucketLocation","s3:ListBucketMultipartUploads"],"Resource":["arn:aws:s3:::lake"]},{"Sid":"Data","Effect":"Allow","Action":["s3:GetObject","s3:PutObject","s3:DeleteObject","s3:AbortMultipartUpload","s3:ListMultipartUploadParts"],"Resource":["arn:aws:s3:::lake/*"]}]}'`,
	}
	if got := strings.Join(out.Accounts[0].Commands, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if got := out.Accounts[0].RoleValue; got != "arn:aws:iam::777788889999:role/lake-analyst,arn:aws:iam::777788889999:saml-provider/okta" {
		t.Errorf("role value %s", got)
	}
}

// TestDecisions asks the engine what the generated policies allow.
func TestDecisions(t *testing.T) {
	t.Parallel()
	s := setup()
	s.Accounts = []string{"777788889999", "111122223333"}
	s.Partition = "aws-cn"
	s.Buckets = []generate.Access{{Bucket: "lake"}, {Account: "777788889999", Bucket: "hr", Prefix: "pay/"}}
	for _, tt := range []struct {
		account, action, resource, prefix string
		readOnly, want                    bool
	}{
		{"777788889999", "s3:GetObject", "arn:aws-cn:s3:::lake/x", "", false, true},
		{"777788889999", "s3:PutObject", "arn:aws-cn:s3:::lake/x", "", false, true},
		{"777788889999", "s3:PutObject", "arn:aws-cn:s3:::lake/x", "", true, false},
		{"777788889999", "s3:GetObject", "arn:aws-cn:s3:::hr/pay/x", "", true, true},
		{"777788889999", "s3:GetObject", "arn:aws-cn:s3:::hr/payments", "", false, false},
		{"777788889999", "s3:ListBucket", "arn:aws-cn:s3:::hr", "pay/", true, true},
		{"777788889999", "s3:ListBucket", "arn:aws-cn:s3:::hr", "", true, false},
		{"111122223333", "s3:GetObject", "arn:aws-cn:s3:::hr/pay/x", "", false, false},
		{"111122223333", "s3:ListBucket", "arn:aws-cn:s3:::lake", "", false, true},
		{"777788889999", "s3:DeleteBucket", "arn:aws-cn:s3:::lake", "", false, false},
		{"777788889999", "s3:PutBucketPolicy", "arn:aws-cn:s3:::lake", "", false, false},
	} {
		s.ReadOnly = tt.readOnly
		for _, a := range made(t, s).Accounts {
			if a.ID != tt.account {
				continue
			}
			d, err := policy.Parse(policy.Identity, "s3-data", []byte(a.Permissions))
			if err != nil {
				t.Fatal(err)
			}
			r := policy.Request{Principal: policy.Principal{Account: a.ID}, Action: tt.action, Resource: tt.resource, ResourceAccount: a.ID}
			if tt.action == "s3:ListBucket" {
				r.Context.Set("s3:prefix", tt.prefix)
			}
			if got := (&policy.Set{Identity: []*policy.Document{d}}).Decide(&r).Allow; got != tt.want {
				t.Errorf("%+v: allowed %v", tt, got)
			}
		}
	}
}

func TestTrust(t *testing.T) {
	t.Parallel()
	s := setup()
	s.SAML.Tags, s.SAML.SourceIdentity = true, true
	a := made(t, s).Accounts[0]
	provider, err := arn.ParseSAMLProvider(a.Provider)
	if err != nil {
		t.Fatal(err)
	}
	d, err := policy.Parse(policy.Trust, "trust", []byte(a.Trust))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		action, audience string
		want             bool
	}{
		{"sts:AssumeRoleWithSAML", s.SAML.URL, true}, {"sts:TagSession", s.SAML.URL, true}, {"sts:SetSourceIdentity", s.SAML.URL, true},
		{"sts:AssumeRoleWithSAML", policy.ConsoleAudience, false}, {"sts:AssumeRole", s.SAML.URL, false},
	} {
		r := policy.Request{Principal: policy.Principal{Provider: provider.String()}, Action: tt.action}
		r.Context.Set("saml:aud", tt.audience)
		if got := d.Trusts(&r).Allow; got != tt.want {
			t.Errorf("%+v: trusted %v", tt, got)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*generate.AWS){
		"AWS console":    func(s *generate.AWS) { s.SAML.Console = true },
		"every resource": func(s *generate.AWS) { s.Buckets = []generate.Access{{Bucket: "*"}} },
		"4 hours":        func(s *generate.AWS) { s.MaxSession = time.Hour },
	} {
		s := setup()
		change(&s)
		if got := strings.Join(made(t, s).Warnings, "\n"); !strings.Contains(got, want) {
			t.Errorf("warnings %q have no %q", got, want)
		}
	}
}

// TestNamesReachNoShell: whatever could be more than a name is refused.
func TestNamesReachNoShell(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*generate.AWS){
		"quote in URL":      func(s *generate.AWS) { s.SAML.URL = "https://a.example.com/'$(id)'" },
		"wildcard in URL":   func(s *generate.AWS) { s.SAML.URL = "https://*/saml/consume" },
		"policy variable":   func(s *generate.AWS) { s.SAML.URL = "https://${aws:x}/saml/consume" },
		"no URL":            func(s *generate.AWS) { s.SAML.URL = "carnet.example.com" },
		"role":              func(s *generate.AWS) { s.Role = "a b" },
		"role with path":    func(s *generate.AWS) { s.Role = "a/b" },
		"provider":          func(s *generate.AWS) { s.SAML.Provider = "a;id" },
		"metadata":          func(s *generate.AWS) { s.SAML.Metadata = "$(id)" },
		"metadata option":   func(s *generate.AWS) { s.SAML.Metadata = "-x" },
		"bucket":            func(s *generate.AWS) { s.Buckets[0].Bucket = "a'b" },
		"bucket wildcard":   func(s *generate.AWS) { s.Buckets[0].Bucket = "lake*" },
		"prefix wildcard":   func(s *generate.AWS) { s.Buckets[0].Prefix = "a*" },
		"prefix variable":   func(s *generate.AWS) { s.Buckets[0].Prefix = "${aws:username}" },
		"account":           func(s *generate.AWS) { s.Accounts[0] = "12345" },
		"account twice":     func(s *generate.AWS) { s.Accounts = append(s.Accounts, s.Accounts[0]) },
		"account of nobody": func(s *generate.AWS) { s.Buckets[0].Account = "111122223333" },
		"account of nothing": func(s *generate.AWS) {
			s.Accounts = append(s.Accounts, "111122223333")
			s.Buckets[0].Account = "777788889999"
		},
		"no account":          func(s *generate.AWS) { s.Accounts = nil },
		"no bucket":           func(s *generate.AWS) { s.Buckets = nil },
		"partition":           func(s *generate.AWS) { s.Partition = "aws'" },
		"too short a session": func(s *generate.AWS) { s.MaxSession = time.Minute },
		"too long a session":  func(s *generate.AWS) { s.MaxSession = 13 * time.Hour },
	} {
		s := setup()
		change(&s)
		if _, err := s.Generate(); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
