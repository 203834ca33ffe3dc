package dev_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
)

const (
	analystRole  = "arn:aws:iam::111122223333:role/analyst"
	engineerRole = "arn:aws:iam::111122223333:role/engineer"
)

// system is the provisioning system of the development identity provider.
type system struct {
	t      *testing.T
	base   string
	bearer string
}

func provisioning(t *testing.T, w *world) system {
	t.Helper()
	out, err := onHost(t, w, "provisioning", "credential", "add", "--idp", "Development identity provider", "--label", "tests", "--owner", "tests")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, bearer, _ := strings.Cut(out, "bearer token  ")
	s := system{t: t, base: w.Web + "/scim/v2", bearer: strings.TrimSpace(bearer)}
	eventually(t, "the credential counts", func() bool {
		status, _ := s.try(http.MethodGet, "/Users", "")
		return status == http.StatusOK
	})
	return s
}

func (s system) try(method, path, body string) (int, map[string]any) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.bearer)
	req.Header.Set("Content-Type", "application/scim+json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var out map[string]any
	if len(text) > 0 && json.Unmarshal(text, &out) != nil {
		s.t.Fatalf("%s %s answers %s", method, path, text)
	}
	return resp.StatusCode, out
}

// do is a request that has to succeed.
func (s system) do(method, path, body string) map[string]any {
	s.t.Helper()
	status, out := s.try(method, path, body)
	if status/100 != 2 {
		s.t.Fatalf("%s %s %s: %d %v", method, path, body, status, out)
	}
	return out
}

// id finds a person.
func (s system) id(userName string) string {
	s.t.Helper()
	found := s.do(http.MethodGet, `/Users?filter=userName%20eq%20%22`+userName+`%22`, "")
	list, _ := found["Resources"].([]any)
	if len(list) != 1 {
		s.t.Fatalf("%s is there %d times", userName, len(list))
	}
	return list[0].(map[string]any)["id"].(string)
}

func (s system) patch(path, operations string) {
	s.t.Helper()
	s.do(http.MethodPatch, path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+operations+`]}`)
}

// eventually waits for what has to come: within 20 s even where all else is slow.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came true: " + what)
		}
	}
}

// reads reports whether keys read sales; any refusal but a denial fails the test.
func reads(t *testing.T, w *world, keys aws.Credentials) bool {
	t.Helper()
	_, err := w.sides()[0].s3(keys).ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: aws.String("sales"), Prefix: aws.String("orders/"), MaxKeys: aws.Int32(1)})
	var refused smithy.APIError
	if errors.As(err, &refused) {
		if code := refused.ErrorCode(); code != "AccessDenied" && code != "ExpiredToken" && code != "InvalidToken" && code != "InvalidClientTokenId" && code != "InvalidAccessKeyId" {
			t.Fatalf("refused with %s: %v", code, err)
		}
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return true
}

func (p *person) roleNames(t *testing.T) (names []string) {
	t.Helper()
	roles, err := p.api.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles {
		names = append(names, r.ARN[strings.LastIndex(r.ARN, "/")+1:])
	}
	slices.Sort(names)
	return names
}

// TestProvisionedRoles: from the change at the provisioning system to the refusal at
// S3. What was given works, and what was taken away ends.
func TestProvisionedRoles(t *testing.T) {
	t.Parallel()
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	s := provisioning(t, w)

	t.Run("a role of their own", func(t *testing.T) {
		before := w.arrive(t, "dave")
		if names := before.roleNames(t); len(names) != 0 {
			t.Fatalf("dave begins with %v", names)
		}
		dave := s.id("dave")
		s.patch("/Users/"+dave, `{"op":"add","path":"roles","value":[{"value":"`+analystRole+`"}]}`)
		p := w.arrive(t, "dave")
		if names := p.roleNames(t); fmt.Sprint(names) != "[analyst]" {
			t.Fatalf("mapped, dave has %v", names)
		}
		keys := p.keys(t, "analyst")
		if !reads(t, w, keys) {
			t.Fatal("dave's keys read nothing")
		}
		s.patch("/Users/"+dave, `{"op":"remove","path":"roles[value eq \"`+analystRole+`\"]"}`)
		eventually(t, "the keys are refused", func() bool { return !reads(t, w, keys) })
		if names := w.arrive(t, "dave").roleNames(t); len(names) != 0 {
			t.Errorf("unmapped, dave has %v", names)
		}
	})
	t.Run("a role of a group", func(t *testing.T) {
		dave := s.id("dave")
		group := s.do(http.MethodPost, "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"readers","roles":[{"value":"`+analystRole+`"}],"members":[{"value":"`+dave+`"}]}`)["id"].(string)
		keys := w.arrive(t, "dave").keys(t, "analyst")
		if !reads(t, w, keys) {
			t.Fatal("the group's role reads nothing")
		}
		s.patch("/Groups/"+group, `{"op":"remove","path":"members[value eq \"`+dave+`\"]"}`)
		eventually(t, "the keys are refused", func() bool { return !reads(t, w, keys) })
		if names := w.arrive(t, "dave").roleNames(t); len(names) != 0 {
			t.Errorf("out of the group, dave has %v", names)
		}
	})
	t.Run("a role of a group around a group", func(t *testing.T) {
		dave := s.id("dave")
		group := func(name, rest string) string {
			return s.do(http.MethodPost, "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"`+name+`",`+rest+`}`)["id"].(string)
		}
		inner := group("inner", `"members":[{"value":"`+dave+`"}]`)
		outer := group("outer", `"roles":[{"value":"`+analystRole+`"}],"members":[{"value":"`+inner+`"}]`)
		keys := w.arrive(t, "dave").keys(t, "analyst")
		if !reads(t, w, keys) {
			t.Fatal("the role of the group around reads nothing")
		}
		s.patch("/Groups/"+outer, `{"op":"remove","path":"members[value eq \"`+inner+`\"]"}`)
		eventually(t, "the keys are refused", func() bool { return !reads(t, w, keys) })
	})
	t.Run("deactivation", func(t *testing.T) {
		alice := w.arrive(t, "alice")
		keys := alice.keys(t, "analyst")
		if !reads(t, w, keys) {
			t.Fatal("alice's keys read nothing")
		}
		s.patch("/Users/"+s.id("alice"), `{"op":"replace","value":{"active":false}}`)
		eventually(t, "the keys are refused", func() bool { return !reads(t, w, keys) })
		eventually(t, "the command line is refused", func() bool { _, err := alice.api.Roles(t.Context()); return err != nil })
		if page, _, err := visitor.New(nil).SignIn(t.Context(), w.Web+"/", "alice", secret.New(w.Password)); err == nil && page.Status == http.StatusOK {
			t.Errorf("alice signs in while she is switched off: %s", page.URL)
		}
	})
}

// TestProvisionedAgain: who was deleted and comes again under the same name is somebody
// else; what is outside the provider's list is given to nobody. (A world of its own: its
// identity provider takes ten passwords in a row.)
func TestProvisionedAgain(t *testing.T) {
	t.Parallel()
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	s := provisioning(t, w)
	w.arrive(t, "dave")

	t.Run("deleted, and there again under the same name", func(t *testing.T) {
		dave := s.id("dave")
		s.patch("/Users/"+dave, `{"op":"add","path":"roles","value":[{"value":"`+analystRole+`"}]}`)
		keys := w.arrive(t, "dave").keys(t, "analyst")
		s.do(http.MethodDelete, "/Users/"+dave, "")
		eventually(t, "the keys are refused", func() bool { return !reads(t, w, keys) })
		again := w.arrive(t, "dave")
		if names := again.roleNames(t); len(names) != 0 {
			t.Errorf("dave came again and has %v", names)
		}
		if id := s.id("dave"); id == dave {
			t.Error("dave came again under the id of before")
		}
		if reads(t, w, keys) {
			t.Error("the keys of before read again")
		}
	})
	t.Run("outside the list", func(t *testing.T) {
		for _, role := range []string{"arn:aws:iam::999999999999:role/analyst", "arn:aws:iam::111122223333:role/carnet-admin", "analyst"} {
			if status, out := s.try(http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"mallory","roles":[{"value":"`+role+`"}]}`); status < 400 || status >= 500 {
				t.Errorf("%s was given: %d %v", role, status, out)
			}
		}
	})
}

// TestRoleSync: on, a sign-in says what roles are mapped, whoever mapped them, and an
// absent role takes all; off, it maps nothing.
func TestRoleSync(t *testing.T) {
	t.Parallel()
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	s := provisioning(t, w)
	// mapped tells whether a role is stored for somebody.
	mapped := func(name, role string) bool {
		out, err := onHost(t, w, "people", "explain", name, role)
		return err == nil && (strings.Contains(out, "given by an administrator") || strings.Contains(out, "given by the last SAML sign-in"))
	}
	host := func(args ...string) {
		t.Helper()
		if out, err := onHost(t, w, args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	w.arrive(t, "bob")
	w.arrive(t, "dave")
	if mapped("bob", engineerRole) {
		t.Error("off, the sign-in mapped a role")
	}
	// Somebody maps a role to each, by hand and by provisioning.
	const nightly = "arn:aws:iam::111122223333:role/nightly"
	host("people", "map", "bob", nightly)
	if !mapped("bob", nightly) {
		t.Fatal("the role is not stored")
	}
	s.patch("/Users/"+s.id("dave"), `{"op":"add","path":"roles","value":[{"value":"`+analystRole+`"}]}`)
	keys := w.arrive(t, "dave").keys(t, "analyst")
	if !reads(t, w, keys) {
		t.Fatal("dave's keys read nothing")
	}
	host("sso", "switches", "--role-sync", "on")
	time.Sleep(1500 * time.Millisecond) // the server follows the host's command within a second

	if names := w.arrive(t, "bob").roleNames(t); fmt.Sprint(names) != "[analyst engineer pipeline]" {
		t.Errorf("on, bob has %v", names)
	}
	if !mapped("bob", engineerRole) || mapped("bob", nightly) {
		t.Error("on, the sign-in did not replace what was mapped")
	}
	// Dave's assertion has no role at all: what was provisioned goes, and its keys.
	if names := w.arrive(t, "dave").roleNames(t); len(names) != 0 {
		t.Errorf("on, dave keeps %v", names)
	}
	eventually(t, "dave's keys are refused", func() bool { return !reads(t, w, keys) })
	out, err := onHost(t, w, "audit", "search", "--event", "roles.sync", "--oldest")
	if err != nil || strings.Count(out, "roles.sync") != 2 {
		t.Errorf("the trail says %v:\n%s", err, out)
	}
}
