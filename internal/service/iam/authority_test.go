package iam_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/service/iam"
)

func none(string) ([]byte, error) { return nil, os.ErrNotExist }

func TestAuthorityFileIsStrict(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ src, want string }{
		"empty":               {"", "names no account"},
		"unknown key":         {"accounts: {}\nrolls: []", "rolls"},
		"unknown role key":    {`accounts: {"111122223333": {roles: [{name: a, trust: {}}]}}`, "trust"},
		"not an account":      {`accounts: {analytics: {}}`, "12 digits"},
		"account twice":       {"accounts:\n  \"111122223333\": {}\n  \"111122223333\": {}", "already defined"},
		"two documents":       {"accounts: {\"111122223333\": {}}\n---\naccounts: {}", "more than one document"},
		"no trust policy":     {`accounts: {"111122223333": {roles: [{name: a}]}}`, "no trust_policy"},
		"duration":            {`accounts: {"111122223333": {roles: [{name: a, max_session_duration: 4, trust_policy: "{}"}]}}`, "max_session_duration"},
		"no metadata":         {`accounts: {"111122223333": {saml_providers: [{name: a}]}}`, "exactly one of metadata"},
		"both metadata":       {`accounts: {"111122223333": {saml_providers: [{name: a, metadata: x, metadata_file: y}]}}`, "exactly one of metadata"},
		"missing file":        {`accounts: {"111122223333": {saml_providers: [{name: a, metadata_file: y}]}}`, "not exist"},
		"bucket without":      {`accounts: {"111122223333": {buckets: [{name: a}]}}`, "neither policy nor cors"},
		"alias in a policy":   {"accounts:\n  \"111122223333\":\n    buckets:\n      - {name: a, policy: {Statement: &x {Effect: Deny}, Id: *x}}", "aliases"},
		"list as a key":       {`accounts: {"111122223333": {buckets: [{name: a, policy: {[x]: y}}]}}`, "plain text"},
		"not YAML":            {"accounts: {", "malformed"},
		"too deep":            {`accounts: {"111122223333": {buckets: [{name: a, policy: {a: ` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}}]}}`, "too deeply"},
		"merge key in policy": {"accounts:\n  \"111122223333\":\n    buckets:\n      - {name: a, policy: {<<: {a: b}}}", "plain text"},
	} {
		_, err := iam.ParseAuthority([]byte(tc.src), none)
		f := fault.Of(err)
		if err == nil || f.Code != "authority.malformed" || !strings.Contains(f.Public, tc.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, tc.want)
		}
	}
}

// TestPolicyTextSurvivesYAML holds what YAML would like to change: account
// numbers, dates, booleans, duplicate keys.
func TestPolicyTextSurvivesYAML(t *testing.T) {
	t.Parallel()
	a, err := iam.ParseAuthority([]byte(`
accounts:
  "111122223333":
    buckets:
      - name: a
        policy:
          Version: 2012-10-17
          Statement:
            - Principal: {AWS: 011122223333}
              Condition: {Bool: {"aws:SecureTransport": no}, NumericEquals: {"s3:max-keys": 1_0}}
              Effect: Deny
              Effect: Allow
`), none)
	if err != nil {
		// The YAML reader refuses a key that stands twice, which is as good.
		if !strings.Contains(err.Error(), "already defined") {
			t.Fatal(err)
		}
		return
	}
	got := string(a.Accounts["111122223333"].Buckets[0].Policy)
	want := `{"Version":"2012-10-17","Statement":[{"Principal":{"AWS":"011122223333"},"Condition":{"Bool":{"aws:SecureTransport":"no"},"NumericEquals":{"s3:max-keys":"1_0"}},"Effect":"Deny","Effect":"Allow"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzAuthority feeds authority files: none may panic, and every refusal is a
// fault that a person can read.
func FuzzAuthority(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	if len(files) == 0 {
		f.Fatal("no seed in testdata")
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		_, err := iam.ParseAuthority(src, none)
		var known *fault.Fault
		if err != nil && !errors.As(err, &known) {
			t.Fatalf("%T %v", err, err)
		}
	})
}

// empty is a store that holds nothing yet.
type empty struct{ iam.Store }

func (empty) Load(context.Context) (iam.State, error) { return iam.State{}, nil }

func (empty) Since(context.Context, int64) (iam.Change, bool, error) { return iam.Change{}, true, nil }

// TestSampleCanBeApplied keeps the documented sample true.
func TestSampleCanBeApplied(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("../../../docs/samples/authority.yaml")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	metadata := forge.NewECDSA(t, now).Metadata()
	a, err := iam.ParseAuthority(src, func(name string) ([]byte, error) {
		return append(metadata, strings.Repeat("\n", max(0, 1000-len(metadata)))...), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := iam.Open(t.Context(), iam.Config{
		Store: empty{}, Now: time.Now, Accounts: []iam.Account{{ID: "111122223333"}},
		BucketAccount: func(string) (string, bool) { return "111122223333", true },
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Plan(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Steps) != 11 {
		t.Errorf("%v", p.Steps)
	}
}
