package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

// TestRoleSyncByOpenID: on, the roles claim of each sign-in says what roles are mapped,
// and one that is absent, empty or no list takes all. What rested on a role that went is
// refused at S3, and what is still there is had anew.
func TestRoleSyncByOpenID(t *testing.T) {
	t.Parallel()
	const engineer = "arn:aws:iam::111122223333:role/engineer"
	in := install(t, replace(`{id: "111122223333", name: analytics, kind: local}`, both),
		replace("buckets:", "iam: {loopback_providers: true}\negress: {allow: [127.0.0.1]}\nbuckets:"))
	op := issuertest.NewOP(t, in.base+"/sign-in/oidc/callback", time.Now)
	in.must(t, "sso", "add", "--name", "OP", "--oidc", op.URL, "--client-id", op.ClientID, "--client-secret-file", in.write(t, "secret.txt", op.Secret+"\n"),
		"--accounts", "111122223333", "--roles", "arn:aws:iam::1*:role/*", "--domains", "example.com", "--roles-claim", "roles")
	in.must(t, "sso", "switches", "--role-sync", "on")
	in.must(t, "authority", "apply", in.write(t, "authority.yaml", webAuthority(in.base)))
	in.serve(t)
	w := &machineWorld{installation: in}

	// arrive signs alice in anew, with a claim or without, and gives her roles.
	arrive := func(claim any) string {
		t.Helper()
		op.Person(map[string]any{"roles": claim})
		w.ann = visitor.New(nil)
		if page := open(t, w.ann, in.base+"/sign-in"); page.Status != http.StatusOK || page.URL.Path != "/" {
			t.Fatalf("with %v the sign-in ends at %s, which answers %d\n%s", claim, page.URL, page.Status, page.Body)
		}
		var list struct{ Roles []struct{ ARN string } }
		if status := ask(t, w.ann, http.MethodGet, in.base+"/api/v1/roles", "", &list); status != http.StatusOK {
			t.Fatal(status)
		}
		var names []string
		for _, r := range list.Roles {
			names = append(names, r.ARN[strings.LastIndex(r.ARN, "/")+1:])
		}
		return strings.Join(names, " ")
	}
	full := []string{analyst, engineer}
	if got := arrive(full); got != "analyst engineer" {
		t.Fatalf("alice begins with %s", got)
	}
	if _, err := w.own(t).s3.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("sales")}); err != nil {
		t.Fatal(err)
	}
	var old []taken
	for _, row := range []struct {
		what  string
		claim any
		want  string
	}{
		{"another order", []string{engineer, analyst}, "-"}, // nothing went: nothing ends
		{"one fewer", []string{analyst}, "analyst"},
		{"another one", []string{engineer}, "engineer"},
		{"a text in place of a list", analyst, "analyst"},
		{"absent", issuertest.Absent, ""},
		{"empty", []string{}, ""},
		{"null", nil, ""},
		{"an empty text", "", ""},
		{"no texts", []any{map[string]any{"arn": analyst}}, ""},
		{"of an account outside the list", []string{"arn:aws:iam::999999999999:role/analyst"}, ""},
	} {
		if got := arrive(full); len(strings.Fields(got)) != 2 {
			t.Fatalf("before %s alice has %s", row.what, got)
		}
		browser, keys := w.ann, w.own(t)
		all := map[string]taken{"the keys of before": keys}
		work(t, all)
		got := arrive(row.claim)
		if row.want == "-" {
			if work(t, all); len(strings.Fields(got)) != 2 {
				t.Errorf("%s: alice has %s", row.what, got)
			}
			continue
		}
		if got != row.want {
			t.Errorf("%s: alice has %q, want %q", row.what, got, row.want)
		}
		over(t, row.what, all)
		if status := ask(t, browser, http.MethodPost, in.base+"/api/v1/roles/credentials", `{"role":"analyst"}`, &struct{}{}); status < 400 {
			t.Errorf("%s: the earlier sign-in has keys still", row.what)
		}
		if strings.Contains(got, "analyst") {
			work(t, map[string]taken{"new keys": w.own(t)})
		}
		old = append(old, keys)
	}
	arrive(full)
	for _, k := range old { // the role came back: they do not
		over(t, "the roles came back", map[string]taken{"old": k})
	}
	if out := in.must(t, "audit", "search", "--event", "roles.sync", "--output", "json"); strings.Count(out, `"removed"`) != len(old) {
		t.Errorf("the trail says %s", out)
	}
}
