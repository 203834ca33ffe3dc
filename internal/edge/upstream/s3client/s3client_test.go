package s3client_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/s3client"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

const storeSecret = "store-secret"

func client(t *testing.T, endpoint string, change func(*s3client.Config)) *s3client.Client {
	t.Helper()
	config := s3client.Config{Endpoint: endpoint, Region: "us-east-1", AccessKeyID: "AKSTORE", SecretKey: secret.New(storeSecret)}
	if change != nil {
		change(&config)
	}
	c, err := s3client.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// verifying is a store that holds each request to its signature with our own
// verifier and gives back what it read.
func verifying(t *testing.T) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := &sigv4.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength}
		p, err := sigv4.Parse(request)
		if err == nil {
			err = p.Verify(request, secret.New(storeSecret), sigv4.Scope{Service: "s3", Region: "us-east-1"}, "", time.Now())
		}
		if err != nil {
			t.Errorf("%s %s: %v", r.Method, r.RequestURI, err)
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		body, err := io.ReadAll(r.Body)
		w.Header().Set("Target", r.RequestURI)
		if err == nil {
			_, _ = w.Write(body)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

func TestRequestsAreSignedAndKeptAsTheyAre(t *testing.T) {
	t.Parallel()
	server := verifying(t)
	framed, plain := client(t, server.URL, nil), client(t, server.URL, func(c *s3client.Config) { c.PlainBodies = true })
	for _, c := range []struct {
		client     *s3client.Client
		out        s3.Outgoing
		path, body string
	}{
		{framed, s3.Outgoing{Method: "GET", Bucket: "b", Key: "a b+c%/é//../x/"}, "/b/a%20b%2Bc%25/%C3%A9//../x/?", ""},
		{framed, s3.Outgoing{Method: "GET", Bucket: "b", Query: []sigv4.Param{{Name: "prefix", Value: "a b&c"}, {Name: "list-type", Value: "2"}}}, "/b?list-type=2&prefix=a%20b%26c", ""},
		{framed, s3.Outgoing{Method: "GET"}, "/?", ""},
		{framed, s3.Outgoing{Method: "POST", Bucket: "b", Query: []sigv4.Param{{Name: "delete"}}, Document: []byte("<Delete/>")}, "/b?delete=", "<Delete/>"},
		{framed, s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: strings.NewReader("hello"), Length: 5}, "/b/k?", "5\r\nhello\r\n0\r\n\r\n"},
		{plain, s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: strings.NewReader("hello"), Length: 5}, "/b/k?", "hello"},
		{plain, s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Header: map[string][]string{"X-Amz-Meta-A": {"v  v"}}, Body: strings.NewReader("hello, world"), Length: 12,
			Trailer: &s3.Trailer{Algorithm: "crc32", Value: func() string { return "/6tyOg==" }}}, "/b/k?", "c\r\nhello, world\r\n0\r\nx-amz-checksum-crc32:/6tyOg==\r\n\r\n"},
	} {
		res, err := c.client.Do(context.Background(), &c.out)
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != c.body || res.Header.Get("Target") != strings.TrimSuffix(c.path, "?") {
			t.Errorf("%s: %s %q, %v", c.path, res.Header.Get("Target"), body, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	res, err := client(t, server.URL, nil).Do(context.Background(), &s3.Outgoing{Method: "GET", Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 307 || elsewhere != 0 {
		t.Errorf("status %d, %d requests elsewhere", res.StatusCode, elsewhere)
	}
}

// broken fails in the middle with a fault of its own.
type broken struct{ r io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = fault.Coded(fault.Invalid, "BadDigest", "no")
	}
	return n, err
}

func TestFailures(t *testing.T) {
	t.Parallel()
	whole := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		whole <- err == nil
	}))
	defer server.Close()
	for _, plain := range []bool{true, false} {
		c := client(t, server.URL, func(c *s3client.Config) { c.PlainBodies = plain })
		_, err := c.Do(context.Background(), &s3.Outgoing{Method: "PUT", Bucket: "b", Key: "k", Body: broken{strings.NewReader("some")}, Length: 500000})
		if fault.Of(err).Code != "BadDigest" {
			t.Errorf("a body that fails gives %v", err)
		}
		if <-whole {
			t.Error("the store took a body that failed for a whole one")
		}
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if _, err := client(t, gone.URL, nil).Do(context.Background(), &s3.Outgoing{Method: "GET"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a store that is away gives %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := client(t, server.URL, nil).Do(ctx, &s3.Outgoing{Method: "GET"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled request gives %v", err)
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	good := s3client.Config{Endpoint: "https://store:9000/", Region: "r", AccessKeyID: "a", SecretKey: secret.New("s")}
	if _, err := s3client.New(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*s3client.Config){
		"no scheme": func(c *s3client.Config) { c.Endpoint = "store:9000" }, "path": func(c *s3client.Config) { c.Endpoint = "https://store/s3" },
		"user": func(c *s3client.Config) { c.Endpoint = "https://u:p@store" }, "query": func(c *s3client.Config) { c.Endpoint = "https://store?x" },
		"no host": func(c *s3client.Config) { c.Endpoint = "https://" }, "scheme": func(c *s3client.Config) { c.Endpoint = "ftp://store" },
		"no key": func(c *s3client.Config) { c.SecretKey = secret.Text{} }, "no region": func(c *s3client.Config) { c.Region = "" },
	} {
		config := good
		change(&config)
		if _, err := s3client.New(config); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("%s: %v", name, err)
		}
	}
}
