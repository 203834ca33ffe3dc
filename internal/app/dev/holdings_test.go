package dev_test

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

var shown = regexp.MustCompile(`access key id\s+(\S+)\s+secret access key\s+(\S+)`)

// gatewayKey makes a gateway key for somebody's newest login session.
func (w *world) gatewayKey(t *testing.T, person string) aws.Credentials {
	t.Helper()
	out, err := onHost(t, w, "gateway-key", "make", "--person", person, "--network", "127.0.0.0/8", "--network", "::1/128", "--default-role", analystRole)
	m := shown.FindStringSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return aws.Credentials{AccessKeyID: m[1], SecretAccessKey: m[2]}
}

// TestProvisionedHoldings: whatever way a role ends at the provisioning system, every
// key that rests on it is refused at S3: role keys and gateway keys that were made
// before. What comes back later, under the same name, revives none of them.
func TestProvisionedHoldings(t *testing.T) {
	t.Parallel()
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	s := provisioning(t, w)
	group := func(name, rest string) string {
		return "/Groups/" + s.do(http.MethodPost, "/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"`+name+`",`+rest+`}`)["id"].(string)
	}
	const role = `"roles":[{"value":"` + analystRole + `"}]`
	w.arrive(t, "dave")
	dave := s.id("dave")
	member := func(id string) string { return `"members":[{"value":"` + id[strings.LastIndex(id, "/")+1:] + `"}]` }
	var old []aws.Credentials
	for _, row := range []struct {
		what string
		give func() (take func())
	}{
		{"a role of their own, by PUT without roles", func() func() {
			s.patch("/Users/"+dave, `{"op":"add","path":"roles","value":[{"value":"`+analystRole+`"}]}`)
			return func() {
				s.do(http.MethodPut, "/Users/"+dave, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"dave","active":true}`)
			}
		}},
		{"the group's member list replaced by an empty one", func() func() {
			g := group("readers", role+","+member(dave))
			return func() { s.patch(g, `{"op":"replace","path":"members","value":[]}`) }
		}},
		{"the group's role", func() func() {
			g := group("more readers", role+","+member(dave))
			return func() { s.patch(g, `{"op":"remove","path":"roles"}`) }
		}},
		{"a group around the group, which is deleted", func() func() {
			g := group("outer", role+","+member(group("inner", member(dave))))
			return func() { s.do(http.MethodDelete, g, "") }
		}},
		{"the person, deleted", func() func() {
			s.patch("/Users/"+dave, `{"op":"add","path":"roles","value":[{"value":"`+analystRole+`"}]}`)
			return func() { s.do(http.MethodDelete, "/Users/"+dave, "") }
		}},
	} {
		take := row.give()
		keys := w.arrive(t, "dave").keys(t, "analyst")
		gateway := w.gatewayKey(t, "dave")
		eventually(t, row.what+": the gateway key reads", func() bool { return reads(t, w, gateway) })
		if !reads(t, w, keys) {
			t.Fatalf("%s: the role keys read nothing", row.what)
		}
		take()
		eventually(t, row.what+": the role keys are refused", func() bool { return !reads(t, w, keys) })
		eventually(t, row.what+": the gateway key is refused", func() bool { return !reads(t, w, gateway) })
		old = append(old, keys, gateway)
	}
	// Provisioned anew under the same name, with the same role: somebody else.
	again := s.do(http.MethodPost, "/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"dave","externalId":"dave-2",`+role+`}`)["id"].(string)
	if again == dave {
		t.Error("dave came again under the id of before")
	}
	if !reads(t, w, w.arrive(t, "dave").keys(t, "analyst")) {
		t.Error("whoever comes now under the name has none of their own role")
	}
	for i, keys := range old {
		if reads(t, w, keys) {
			t.Errorf("old keys %d read again", i)
		}
	}
}
