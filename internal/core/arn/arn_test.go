package arn_test

import (
	"strings"
	"testing"

	"carnet.dev/carnet/internal/core/arn"
)

func TestParseRole(t *testing.T) {
	good := map[string]arn.Role{
		"arn:aws:iam::111122223333:role/analyst":      {Partition: "aws", Account: "111122223333", Path: "/", Name: "analyst"},
		"arn:aws-cn:iam::111122223333:role/a/b/x+=@-": {Partition: "aws-cn", Account: "111122223333", Path: "/a/b/", Name: "x+=@-"},
	}
	for s, want := range good {
		got, err := arn.ParseRole(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("ParseRole(%q) = %+v, %v, and back %q", s, got, err, got.String())
		}
	}
	for _, s := range []string{
		"", "arn", "arn:aws:iam::111122223333", "arn:aws:iam::111122223333:role/", "arn:aws:iam::111122223333:role",
		"arn:aws:iam::11112222333:role/x", "arn:aws:iam::1111222233334:role/x", "arn:aws:iam:us-east-1:111122223333:role/x",
		"arn:aws:sts::111122223333:role/x", "arn:aws:iam::111122223333:user/x", "arn:aws:iam::111122223333:role/x y",
		"arn:aws:iam::111122223333:role/é", "arn:aws:iam::111122223333:role//x", "arn:mars:iam::111122223333:role/x",
		"arn:aws:iam::111122223333:role/x*", "ARN:aws:iam::111122223333:role/x", " arn:aws:iam::111122223333:role/x",
		"arn:aws:iam::111122223333:role/" + strings.Repeat("x", 65), "arn:aws:iam::١١١١٢٢٢٢٣٣٣٣:role/x",
		"arn:aws:iam::111122223333:role/" + strings.Repeat("x", 3000),
	} {
		if got, err := arn.ParseRole(s); err == nil {
			t.Errorf("ParseRole(%.60q) gives %+v", s, got)
		}
	}
}

func TestAssumedRoleDropsThePath(t *testing.T) {
	r, _ := arn.ParseRole("arn:aws:iam::111122223333:role/team/x")
	if got, want := r.AssumedRole("alice"), "arn:aws:sts::111122223333:assumed-role/x/alice"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestParseSAMLProvider(t *testing.T) {
	p, err := arn.ParseSAMLProvider("arn:aws:iam::111122223333:saml-provider/dev-idp")
	if err != nil || p.Name != "dev-idp" || p.String() != "arn:aws:iam::111122223333:saml-provider/dev-idp" {
		t.Errorf("got %+v, %v", p, err)
	}
	for _, s := range []string{"arn:aws:iam::111122223333:saml-provider/a/b", "arn:aws:iam::111122223333:saml-provider/a@b", "arn:aws:iam::111122223333:role/a"} {
		if _, err := arn.ParseSAMLProvider(s); err == nil {
			t.Errorf("%s was accepted", s)
		}
	}
}
