package s3client_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// cloud answers for every host, as AWS's endpoints would, and remembers which
// ones were dialled and asked.
type cloud struct {
	server *httptest.Server
	answer func(w http.ResponseWriter, r *http.Request)

	mu     sync.Mutex
	dialed []string
	asked  []string // "METHOD host path region"
	bodies []string
}

func newCloud(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *cloud {
	c := &cloud{answer: answer}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.server.Close)
	return c
}

func (c *cloud) serve(w http.ResponseWriter, r *http.Request) {
	request := &sigv4.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength}
	p, err := sigv4.Parse(request)
	if err == nil {
		err = p.Verify(request, secret.New("role-secret"), sigv4.Scope{Service: "s3", Region: p.Region}, "", p.Time)
	}
	if err != nil || p.SessionToken.Reveal() == "" || !slices.Contains(p.SignedHeaders, "x-amz-security-token") {
		http.Error(w, fmt.Sprint(err), http.StatusTeapot)
		return
	}
	c.mu.Lock()
	c.asked = append(c.asked, r.Method+" "+r.Host+r.URL.EscapedPath()+" "+p.Region)
	c.mu.Unlock()
	c.answer(w, r)
}

func (c *cloud) dial(ctx context.Context, _, address string) (net.Conn, error) {
	c.mu.Lock()
	c.dialed = append(c.dialed, address)
	c.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", c.server.Listener.Addr().String())
}

// said gives what was asked since the last call.
func (c *cloud) said() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

func (c *cloud) took(r *http.Request) {
	b, err := io.ReadAll(r.Body)
	c.mu.Lock()
	c.bodies = append(c.bodies, fmt.Sprintf("%s %v", b, err))
	c.mu.Unlock()
}

func role(id string) *credential.Temporary {
	return &credential.Temporary{AccessKeyID: id, SecretAccessKey: secret.New("role-secret"), SessionToken: secret.New("token-" + id)}
}

// atAWS makes a client with role keys whose every connection ends at the cloud.
func (c *cloud) client(t *testing.T, change func(*s3client.Config)) *s3client.Client {
	config := s3client.Config{Endpoint: "http://s3.eu-central-1.amazonaws.com", Region: "eu-central-1", RoleKeys: true, PlainBodies: true, Virtual: true, Dial: c.dial}
	if change != nil {
		change(&config)
	}
	client, err := s3client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func do(t *testing.T, c *s3client.Client, out *s3.Outgoing) (int, string, error) {
	t.Helper()
	if out.As == nil {
		out.As = role("ASIA1")
	}
	res, err := c.Do(context.Background(), out)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(b), nil
}

// far is where the bucket of these tests lies.
const far = "ap-southeast-2"

// inFar answers as AWS does for a bucket in another region than eu-central-1.
func inFar(c *cloud, refuse func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Host, far) {
			refuse(w, r)
			return
		}
		c.took(r)
		fmt.Fprint(w, "content")
	}
}

var refusals = map[string]func(w http.ResponseWriter, r *http.Request){
	"301 with a header": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", far)
		w.Header().Set("Location", "http://evil.example/")
		w.WriteHeader(301)
		fmt.Fprint(w, "<Error><Code>PermanentRedirect</Code><Endpoint>evil.example</Endpoint></Error>")
	},
	"307 with a header": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", far)
		w.Header().Set("Location", "http://evil.example/")
		w.WriteHeader(307)
	},
	"400 with a document": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		fmt.Fprint(w, "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code><Region>"+far+"</Region></Error>")
	},
	"400 without one": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", far)
		w.WriteHeader(400)
	},
}

func TestRegionOfABucketIsLearnt(t *testing.T) {
	t.Parallel()
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCloud(t, nil)
			c.answer = inFar(c, refuse)
			now := time.Now()
			client := c.client(t, func(config *s3client.Config) { config.Now = func() time.Time { return now } })
			near, there := "lake.s3.eu-central-1.amazonaws.com/k eu-central-1", "lake.s3."+far+".amazonaws.com/k "+far
			ask := func(want ...string) {
				t.Helper()
				if status, body, err := do(t, client, &s3.Outgoing{Method: "GET", Bucket: "lake", Key: "k"}); err != nil || status != 200 || body != "content" {
					t.Errorf("%d %q, %v", status, body, err)
				}
				if got := c.said(); !slices.Equal(got, want) {
					t.Errorf("asked %q, want %q", got, want)
				}
			}
			ask("GET "+near, "GET "+there)
			ask("GET " + there) // remembered
			now = now.Add(2 * time.Hour)
			ask("GET "+near, "GET "+there) // for a while
			if slices.ContainsFunc(c.dialed, func(to string) bool { return !strings.HasSuffix(to, ".amazonaws.com:80") }) {
				t.Errorf("dialled %q", c.dialed)
			}
		})
	}
}

// TestContentIsSentOnceToTheRightRegion: where the store is asked first, all of
// it arrives; where a byte was read, the client is asked to come again.
func TestContentIsSentOnceToTheRightRegion(t *testing.T) {
	t.Parallel()
	c := newCloud(t, nil)
	c.answer = inFar(c, refusals["301 with a header"])
	client := c.client(t, nil)
	content := strings.Repeat("x", 100_000)
	put := func(bucket, content string) error {
		_, _, err := do(t, client, &s3.Outgoing{Method: "PUT", Bucket: bucket, Key: "k", Body: strings.NewReader(content), Length: int64(len(content))})
		return err
	}
	if err := put("lake", content); err != nil {
		t.Error(err)
	}
	if err := put("small", "tiny"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("content that was read: %v", err)
	}
	if err := put("small", "tiny"); err != nil {
		t.Errorf("and again: %v", err)
	}
	if want := []string{content + " <nil>", "tiny <nil>"}; !slices.Equal(c.bodies, want) {
		t.Errorf("%d uploads arrived", len(c.bodies))
	}
}

// TestAttackRedirects: no answer of a store leads to another host, whatever its
// Location, its Endpoint element or its name of a region says; nor round and
// round.
func TestAttackRedirects(t *testing.T) {
	t.Parallel()
	for _, region := range []string{
		"evil.example/", "evil.example", "x.evil.example#", "eu-west-1.evil.example", "cn-north-1", "us-gov-west-1", "-", "a", "EU-WEST-1", "eu-west-1 x",
		"eu-central-1", strings.Repeat("a", 40) + "-b-1", "eu--1", "../x", "eu-west-1@evil.example",
	} {
		c := newCloud(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["X-Amz-Bucket-Region"] = []string{region}
			w.Header().Set("Location", "http://evil.example/lake/k")
			w.WriteHeader(301)
			fmt.Fprint(w, "<Error><Code>PermanentRedirect</Code><Endpoint>evil.example</Endpoint><Region>", region, "</Region></Error>")
		})
		status, body, err := do(t, c.client(t, nil), &s3.Outgoing{Method: "GET", Bucket: "lake", Key: "k"})
		if err != nil || status != 301 || !strings.Contains(body, "PermanentRedirect") {
			t.Errorf("%q: %d %q, %v", region, status, body, err)
		}
		if got := c.said(); len(got) != 1 || len(c.dialed) != 1 {
			t.Errorf("%q: asked %q, dialled %q", region, got, c.dialed)
		}
	}
	round := newCloud(t, func(w http.ResponseWriter, r *http.Request) {
		next := "eu-west-1"
		if strings.Contains(r.Host, next) {
			next = "eu-west-2"
		}
		w.Header().Set("X-Amz-Bucket-Region", next)
		w.WriteHeader(307)
	})
	status, _, err := do(t, round.client(t, nil), &s3.Outgoing{Method: "GET", Bucket: "lake", Key: "k"})
	if got := round.said(); err != nil || status != 307 || len(got) != 2 {
		t.Errorf("%d, %v, asked %q", status, err, got)
	}
}

// TestOtherEndpointsKeepTheirHost: a region that is learnt changes what requests
// are signed for, but not where they go, unless AWS's own endpoint names it.
func TestOtherEndpointsKeepTheirHost(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"http://bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com": "bucket.vpce-1.s3.eu-central-1.vpce.amazonaws.com",
		"http://s3.example.com":                                   "s3.example.com",
		"http://s3.eu-central-1.example.com":                      "s3.eu-central-1.example.com",
		"http://s3.dualstack.eu-central-1.amazonaws.com":          "s3.dualstack." + far + ".amazonaws.com",
		"http://s3-fips.dualstack.eu-central-1.amazonaws.com":     "s3-fips.dualstack." + far + ".amazonaws.com",
	} {
		c := newCloud(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Authorization"), far) {
				refusals["400 with a document"](w, r)
			}
		})
		client := c.client(t, func(config *s3client.Config) { config.Endpoint = endpoint })
		if status, _, err := do(t, client, &s3.Outgoing{Method: "GET", Bucket: "lake"}); err != nil || status != 200 {
			t.Errorf("%s: %d, %v", endpoint, status, err)
		}
		if got := c.said(); len(got) != 2 || got[1] != "GET lake."+want+"/ "+far {
			t.Errorf("%s: asked %q", endpoint, got)
		}
	}
}

func TestWhereRequestsGo(t *testing.T) {
	t.Parallel()
	c := newCloud(t, func(http.ResponseWriter, *http.Request) {})
	for name, x := range map[string]struct {
		change func(*s3client.Config)
		out    s3.Outgoing
		want   string
	}{
		"virtual":         {nil, s3.Outgoing{Method: "GET", Bucket: "lake", Key: "/k"}, "GET lake.s3.eu-central-1.amazonaws.com//k eu-central-1"},
		"dots":            {nil, s3.Outgoing{Method: "GET", Bucket: "my.lake", Key: "k"}, "GET s3.eu-central-1.amazonaws.com/my.lake/k eu-central-1"},
		"no bucket":       {nil, s3.Outgoing{Method: "GET"}, "GET s3.eu-central-1.amazonaws.com/ eu-central-1"},
		"path":            {func(c *s3client.Config) { c.Virtual = false }, s3.Outgoing{Method: "GET", Bucket: "lake"}, "GET s3.eu-central-1.amazonaws.com/lake eu-central-1"},
		"made elsewhere":  {nil, s3.Outgoing{Method: "PUT", Bucket: "new", Region: "eu-west-1"}, "PUT new.s3.eu-west-1.amazonaws.com/ eu-west-1"},
		"made too far":    {nil, s3.Outgoing{Method: "PUT", Bucket: "new", Region: "cn-north-1"}, "PUT new.s3.eu-central-1.amazonaws.com/ eu-central-1"},
		"bucket endpoint": {func(c *s3client.Config) { c.BucketEndpoints = map[string]string{"lake": "http://own.example:9000"} }, s3.Outgoing{Method: "GET", Bucket: "lake"}, "GET lake.own.example:9000/ eu-central-1"},
		"the other bucket": {func(c *s3client.Config) { c.BucketEndpoints = map[string]string{"lake": "http://own.example:9000"} },
			s3.Outgoing{Method: "GET", Bucket: "pond"}, "GET pond.s3.eu-central-1.amazonaws.com/ eu-central-1"},
	} {
		if status, body, err := do(t, c.client(t, x.change), &x.out); err != nil || status != 200 {
			t.Errorf("%s: %d %s, %v", name, status, body, err)
		}
		if got := c.said(); len(got) != 1 || got[0] != x.want {
			t.Errorf("%s: asked %q, want %q", name, got, x.want)
		}
	}
	for region, want := range map[string]string{"eu-west-3": "https://s3.eu-west-3.amazonaws.com", "cn-north-1": "https://s3.cn-north-1.amazonaws.com.cn", "us-gov-west-1": "https://s3.us-gov-west-1.amazonaws.com"} {
		client, err := s3client.New(s3client.Config{Region: region, RoleKeys: true})
		if err != nil {
			t.Fatal(err)
		}
		if h := client.Health(); len(h) != 1 || h[0].Endpoint != want {
			t.Errorf("%s: %+v", region, h)
		}
	}
}

// TestKeysGoWhereTheyBelong: the keys of a role go to stores that decide by
// them, and a service key is for one store alone.
func TestKeysGoWhereTheyBelong(t *testing.T) {
	t.Parallel()
	c := newCloud(t, func(http.ResponseWriter, *http.Request) { t.Error("the store was asked") })
	if _, err := c.client(t, nil).Do(context.Background(), &s3.Outgoing{Method: "GET", Bucket: "lake"}); fault.KindOf(err) != fault.Internal {
		t.Errorf("without keys of a role: %v", err)
	}
	own := client(t, "http://store.example", func(config *s3client.Config) { config.Dial = c.dial })
	if _, err := own.Do(context.Background(), &s3.Outgoing{Method: "GET", Bucket: "lake", As: role("ASIA1")}); fault.KindOf(err) != fault.Internal {
		t.Errorf("keys of a role at a store with a service key: %v", err)
	}
	for name, config := range map[string]s3client.Config{
		"both":    {Region: "eu-west-1", RoleKeys: true, AccessKeyID: "A", SecretKey: secret.New("s")},
		"neither": {Region: "eu-west-1", Endpoint: "https://store.example"},
		"virtual": {Region: "eu-west-1", Endpoint: "https://127.0.0.1:9000", RoleKeys: true, Virtual: true},
	} {
		if _, err := s3client.New(config); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysPastTheirTimeAreAskedForOnce(t *testing.T) {
	t.Parallel()
	c := newCloud(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Security-Token") == "token-NEW" {
			return
		}
		w.WriteHeader(400)
		fmt.Fprint(w, "<Error><Code>ExpiredToken</Code></Error>")
	})
	client := c.client(t, nil)
	for name, x := range map[string]struct {
		out   s3.Outgoing
		fresh string
		want  int
		asked int
	}{
		"fresh":          {s3.Outgoing{Method: "GET", Bucket: "lake", Key: "k"}, "NEW", 200, 2},
		"head":           {s3.Outgoing{Method: "HEAD", Bucket: "lake", Key: "k"}, "NEW", 200, 2},
		"small document": {s3.Outgoing{Method: "POST", Bucket: "lake", Document: []byte("<x/>")}, "NEW", 200, 2},
		"no others":      {s3.Outgoing{Method: "GET", Bucket: "lake", Key: "k"}, "OLD", 400, 1},
		"as old":         {s3.Outgoing{Method: "GET", Bucket: "lake", Key: "k"}, "STALE", 400, 2},
	} {
		renewed := 0
		x.out.As = role("OLD")
		x.out.Renew = func(context.Context) (credential.Temporary, error) { renewed++; return *role(x.fresh), nil }
		status, _, err := do(t, client, &x.out)
		if got := c.said(); err != nil || status != x.want || renewed != 1 || len(got) != x.asked {
			t.Errorf("%s: %d, %v, renewed %d times, asked %q", name, status, err, renewed, got)
		}
	}
	out := &s3.Outgoing{Method: "PUT", Bucket: "lake", Key: "k", Body: strings.NewReader("tiny"), Length: 4, As: role("OLD"),
		Renew: func(context.Context) (credential.Temporary, error) { return *role("NEW"), nil }}
	if _, _, err := do(t, client, out); fault.KindOf(err) != fault.Unavailable || len(c.said()) != 1 {
		t.Errorf("content that was read is sent again: %v", err)
	}
}
