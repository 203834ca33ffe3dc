package dev_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/app/dev"
	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/edge/storeproc/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// options are those of `carnet dev --free-ports`, with the test binary as the
// embedded store.
func options(t testing.TB, data string) dev.Options {
	t.Helper()
	child, err := storetest.Child()
	if err != nil {
		t.Fatal(err)
	}
	return dev.Options{Data: data, Program: child.Binary, StoreArgs: child.Args, StoreEnv: child.Env}
}

// world is one running carnet dev.
type world struct {
	Web      string `json:"web"`
	WebTLS   string `json:"web_tls"`
	AWS      string `json:"aws"`
	AWSTLS   string `json:"aws_tls"`
	IdP      string `json:"identity_provider"`
	CA       string `json:"ca"`
	Binary   string `json:"binary"`
	Data     string `json:"data"`
	Password string `json:"password"`

	out   *log
	trust *http.Client // trusts the world's own CA and nothing else
	stop  func() error // as Ctrl-C does, and waits for the end
}

// start runs carnet dev until the test ends, or until stop is called.
func start(t *testing.T, o dev.Options) *world {
	t.Helper()
	o.Status = filepath.Join(t.TempDir(), "status.json")
	ctx, interrupt := context.WithCancel(context.Background())
	w := &world{out: &log{}}
	ended := make(chan error, 1)
	go func() { ended <- dev.Run(ctx, o, w.out, w.out) }()
	w.stop = sync.OnceValue(func() error {
		interrupt()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			t.Fatalf("carnet dev did not end within 20 s\n%s", w.out)
			return nil
		}
	})
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("carnet dev did not end cleanly: %v\n%s", err, w.out)
		}
	})
	for deadline := time.Now().Add(60 * time.Second); ; {
		raw, err := os.ReadFile(o.Status)
		if err == nil {
			if err := json.Unmarshal(raw, w); err != nil {
				t.Fatal(err)
			}
			break
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("carnet dev ended: %v\n%s", err, w.out)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("carnet dev is not ready after a minute\n%s", w.out)
		}
	}
	pem, err := os.ReadFile(w.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", w.CA)
	}
	w.trust = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(w.trust.CloseIdleConnections)
	return w
}

// log is what carnet dev prints, by several of its goroutines.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// person is somebody who signed in, with a browser and a command line.
type person struct {
	w       *world
	browser *visitor.Visitor
	page    *visitor.Page // where the sign-in ended
	consume http.Header   // the answer to the assertion's post
	api     *client.Client
}

// arrive signs an account in with a browser, then approves a command line.
func (w *world) arrive(t *testing.T, account string) *person {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := &person{w: w, browser: visitor.New(nil)}
	var err error
	p.page, p.consume, err = p.browser.SignIn(ctx, w.Web+"/", account, secret.New(w.Password))
	if err != nil {
		t.Fatal(err)
	}
	if p.page.Status != http.StatusOK {
		t.Fatalf("after the sign-in of %s: %s answers %d\n%s", account, p.page.URL, p.page.Status, p.page.Body)
	}
	p.api = p.commandLine(ctx, t)
	return p
}

// commandLine goes through `carnet login`: a loopback redirect with PKCE.
func (p *person) commandLine(ctx context.Context, t *testing.T) *client.Client {
	t.Helper()
	got := make(chan url.Values, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Query() }))
	defer callback.Close()
	c, err := client.New(p.w.Web, secret.Text{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	verifier := secret.Random(32)
	page, err := p.browser.Open(ctx, c.AuthorizeURL(client.Authorize{
		Verifier: verifier, State: "state of this login", RedirectURI: callback.URL + "/done", Machine: "a test",
	}))
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.FormWith("decision")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.browser.Submit(ctx, page, form, map[string]string{"decision": "approve"}); err != nil {
		t.Fatal(err)
	}
	answer := <-got
	if answer.Get("state") != "state of this login" {
		t.Fatalf("the command line was answered with %v", answer)
	}
	token, err := c.RedeemCode(ctx, secret.New(answer.Get("code")), verifier)
	if err != nil {
		t.Fatal(err)
	}
	c, err = client.New(p.w.Web, token.Token, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// keys gives the credentials of one role, through the API.
func (p *person) keys(t *testing.T, role string) aws.Credentials {
	t.Helper()
	c, err := p.api.Credentials(t.Context(), role)
	if err != nil {
		t.Fatal(err)
	}
	if c.Endpoints.S3 != p.w.AWS || c.Endpoints.STS != p.w.AWS || c.Region != "us-east-1" {
		t.Errorf("keys of %s are for %+v in %s", role, c.Endpoints, c.Region)
	}
	return aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey.Reveal(), SessionToken: c.SessionToken.Reveal(),
		CanExpire: true, Expires: c.Expiration,
	}
}

// side is the AWS port as clients reach it: with or without TLS.
type side struct {
	name     string
	endpoint string
	http     *http.Client
}

func (w *world) sides() []side {
	return []side{{"http", w.AWS, w.trust}, {"https", w.AWSTLS, w.trust}}
}

// s3 is the AWS SDK with its defaults but for the endpoint.
func (s side) s3(keys aws.Credentials) *awss3.Client {
	return awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: &s.endpoint, UsePathStyle: true, HTTPClient: s.http, Credentials: provider(keys),
	})
}

func (s side) sts(keys aws.Credentials) *awssts.Client {
	return awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: &s.endpoint, HTTPClient: s.http, Credentials: provider(keys)})
}

// provider hands keys out as they are: an expiry would make the SDK refuse
// expired ones before the server does.
func provider(k aws.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken)
}

// get fetches an address and gives status, header and body.
func get(t *testing.T, c *http.Client, address string, change ...func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
