package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/access"
)

// asking decides by a tag, as a policy with s3:ExistingObjectTag/class does.
type asking struct{ tags []string }

func (a *asking) Decide(_ context.Context, _ access.Caller, checks []s3.Check, env access.Environment) access.Decision {
	for _, c := range checks {
		version := ""
		for _, v := range c.Context {
			if v.Key == "s3:versionid" {
				version = v.Values[0]
			}
		}
		for range 2 { // the second time from memory
			object, err := env.Stored.ObjectTags(c.Bucket, c.Key, version)
			bucket, err2 := env.Stored.BucketTags(c.Bucket)
			if err != nil || err2 != nil {
				return access.Decision{Reason: "unread"}
			}
			a.tags = append(a.tags, object["class"]+" "+bucket["team"])
		}
	}
	return access.Decision{Allow: true}
}

func TestTagsOfWhatIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do(t, &s3.Outgoing{Method: "PUT", Bucket: "sales", Key: "dir/closed", Header: map[string][]string{"X-Amz-Tagging": {"class=secret"}}, Body: strings.NewReader("v"), Length: 1}, 200)
	w.put(t, "sales", "plain", "v")
	if res, body := send(t, w.request(t, "PUT", "/sales?tagging", `<Tagging><TagSet><Tag><Key>team</Key><Value>blue</Value></Tag></TagSet></Tagging>`, nil)); res.StatusCode != 204 {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	decider := &asking{}
	w.keeping(t, func(c *gateway.Config) { c.Decider = decider })
	for target, want := range map[string]string{"/sales/dir/closed": "secret blue", "/sales/plain": " blue", "/sales/none": " blue", "/sales/dir": " blue", "/hr/none": " "} {
		decider.tags = nil
		send(t, w.request(t, "GET", target, "", nil))
		if len(decider.tags) < 2 || decider.tags[0] != want || decider.tags[1] != want {
			t.Errorf("%s: %q", target, decider.tags)
		}
	}
	// Here the store finds the tags of the key without its last slash.
	refused(t, w.request(t, "GET", "/sales/plain/", "", nil), 403, "AccessDenied")
}

func TestTagsThatAStoreDoesNotGive(t *testing.T) {
	t.Parallel()
	const none = `<Error><Code>NoSuchTagSet</Code><Message>x</Message></Error>`
	for name, c := range map[string]struct {
		store answers
		want  string // "": denied
	}{
		"no set": {func(*s3.Outgoing) (*http.Response, error) { return response(404, none, nil), nil }, " "},
		"a delete marker": {func(out *s3.Outgoing) (*http.Response, error) {
			return response(map[bool]int{true: 405, false: 404}[out.Key != ""], "", nil), nil
		}, " "},
		"its operator": {func(*s3.Outgoing) (*http.Response, error) {
			return response(403, `<Error><Code>AccessDenied</Code></Error>`, nil), nil
		}, ""},
		"not served": {func(*s3.Outgoing) (*http.Response, error) {
			return response(501, `<Error><Code>NotImplemented</Code></Error>`, nil), nil
		}, ""},
		"no document": {func(*s3.Outgoing) (*http.Response, error) { return response(200, "x", nil), nil }, ""},
		"a key twice": {func(*s3.Outgoing) (*http.Response, error) {
			return response(200, `<Tagging><TagSet><Tag><Key>class</Key><Value>a</Value></Tag><Tag><Key>class</Key><Value>b</Value></Tag></TagSet></Tagging>`, nil), nil
		}, ""},
		"away": {func(*s3.Outgoing) (*http.Response, error) { return nil, fault.New(fault.Unavailable, "away") }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decider := &asking{}
			var asked []string
			w := before(t, func(out *s3.Outgoing) (*http.Response, error) {
				asked = append(asked, fmt.Sprint(out.Method, " ", out.Key, out.Query))
				if len(out.Query) == 0 || out.Query[0].Name != "tagging" {
					return response(200, "value", nil), nil
				}
				return c.store(out)
			}, func(g *gateway.Config) {
				g.Decider = decider
				g.Stores = map[string]gateway.Store{"embedded": {Upstream: g.Stores["embedded"].Upstream, Keys: s3.Literal}}
			})
			req := w.request(t, "GET", "/sales/k?versionId=v1", "", nil)
			if c.want == "" {
				refused(t, req, 403, "AccessDenied")
				return
			}
			if res, body := send(t, req); res.StatusCode != 200 || decider.tags[0] != c.want || asked[0] != "GET k[{tagging } {versionId v1}]" || len(asked) != 3 {
				t.Errorf("%d %s, tags %q, asked %q", res.StatusCode, body, decider.tags, asked)
			}
		})
	}
}

// closing counts the answers of a store that are still held.
type closing struct {
	io.Reader
	held *atomic.Int32
}

func (c *closing) Close() error {
	if c.held != nil {
		c.held.Add(-1)
		c.held = nil
	}
	return nil
}

// TestAttackPlacesHeldWhileWaiting: a store answers so many requests at a time. Who
// held one answer while waiting for the next would, with as many others, close the
// store to everybody.
func TestAttackPlacesHeldWhileWaiting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, target, source string }{
		{"GET", "/sales/k", ""}, {"GET", "/sales/none", ""}, {"GET", "/sales/none?acl", ""}, {"PUT", "/sales/copy", "/sales/k"},
	} {
		held := new(atomic.Int32)
		w := before(t, func(out *s3.Outgoing) (*http.Response, error) {
			if held.Add(1) > 1 {
				t.Errorf("%s %s: %s %s %v is asked while an answer is held", c.method, c.target, out.Method, out.Key, out.Query)
			}
			res := response(200, `<Tagging><TagSet><Tag><Key>class</Key><Value>a</Value></Tag></TagSet></Tagging>`, nil)
			if out.Key == "none" {
				res = response(404, "", nil)
			}
			if out.Method == "HEAD" {
				res.Body = http.NoBody
			}
			res.Body = &closing{res.Body, held}
			return res, nil
		}, func(g *gateway.Config) { g.Decider = &asking{} })
		send(t, w.request(t, c.method, c.target, "", func(r *http.Request) {
			if c.source != "" {
				r.Header.Set("X-Amz-Copy-Source", c.source)
			}
		}))
		if held.Load() != 0 {
			t.Errorf("%s %s: %d answers are still held", c.method, c.target, held.Load())
		}
	}
}
