//go:build interop

package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
)

// Browser is a person's browser. Its cookies are good at every server.
type Browser struct {
	*visitor.Visitor
	fleet *Fleet
	at    int
}

// NewBrowser opens a browser that goes to one server.
func (f *Fleet) NewBrowser(at int) *Browser {
	b := &Browser{fleet: f, at: at}
	b.Visitor = visitor.New(b)
	return b
}

// RoundTrip goes to the server that was chosen last.
func (b *Browser) RoundTrip(r *http.Request) (*http.Response, error) {
	t := b.fleet.servers[b.at].Transport()
	t.DisableKeepAlives = true
	return t.RoundTrip(r)
}

// SignIn signs a person in at one server, and fails the test where that fails.
func (f *Fleet) SignIn(t testing.TB, at int, user string) *Browser {
	t.Helper()
	if err := f.pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := f.NewBrowser(at)
	page, _, err := b.Visitor.SignIn(t.Context(), f.Web+"/sign-in", user, secret.New(f.Password))
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != http.StatusOK || page.URL.Path != "/" {
		t.Fatalf("the sign-in of %s ends at %s with %d\n%s\n%s", user, page.URL, page.Status, page.Body, &f.servers[at].Process().Log)
	}
	return b
}

// Ask calls the API at one server: in goes there as JSON, out is read from an answer
// 2xx. Paths begin with /api/. An error means that there was no answer.
func (b *Browser) Ask(ctx context.Context, at int, method, path string, in, out any) (status int, body []byte, err error) {
	b.at = at
	var text io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return 0, nil, err
		}
		text = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, b.fleet.Web+path, text)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", b.fleet.Web)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := b.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err == nil && out != nil && resp.StatusCode/100 == 2 {
		err = json.Unmarshal(body, out)
	}
	return resp.StatusCode, body, err
}

// Cookie is what the browser sends to Carnet, for others to send it.
func (b *Browser) Cookie(t testing.TB) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.fleet.Web+"/api/v1/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.Do(req) // adds the cookies to req
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return req.Header.Get("Cookie")
}

// Must is Ask that has to succeed.
func (b *Browser) Must(t testing.TB, at int, method, path string, in, out any) {
	t.Helper()
	status, body, err := b.Ask(t.Context(), at, method, path, in, out)
	if err != nil || status/100 != 2 {
		t.Fatalf("%s %s at server %d: %d %v\n%s", method, path, at, status, err, body)
	}
}

// Keys are what a person is given for S3. Token is empty for gateway keys.
type Keys struct {
	ID, Secret, Token string
	Until             time.Time
}

// Keys fetches the keys of a role at one server.
func (b *Browser) Keys(t testing.TB, at int, role string) Keys {
	t.Helper()
	var c api.Credentials
	b.Must(t, at, http.MethodPost, "/api/v1/roles/credentials", api.CredentialsRequest{Role: role}, &c)
	return Keys{ID: c.AccessKeyID, Secret: c.SecretAccessKey, Token: c.SessionToken, Until: c.Expiration}
}

func (k Keys) provider() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)
}

// Client gives what asks this server from an address of loopback; none: the usual one.
// It follows no redirect.
func (s *Server) Client(from net.IP) *http.Client {
	t := s.Transport()
	dialer := &net.Dialer{}
	if from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: from}
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, s.Via("http://"+address))
	}
	return &http.Client{Transport: t, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// S3 gives a client of this server's gateway that does not try again.
func (s *Server) S3(by *http.Client, k Keys) *awss3.Client {
	return awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &s.fleet.AWS, UsePathStyle: true, Retryer: aws.NopRetryer{},
		HTTPClient: by, Credentials: k.provider()})
}

// STS gives a client of this server's STS that does not try again.
func (s *Server) STS(by *http.Client, k Keys) *awssts.Client {
	return awssts.New(awssts.Options{Region: "us-east-1", BaseEndpoint: &s.fleet.AWS, Retryer: aws.NopRetryer{}, HTTPClient: by, Credentials: k.provider()})
}

// Get reads Object with keys at this server's gateway: nil, or why not.
func (s *Server) Get(ctx context.Context, k Keys) error {
	by := s.Client(nil)
	defer by.CloseIdleConnections()
	return Read(ctx, s.S3(by, k))
}

// Read reads Object: nil, or why not.
func Read(ctx context.Context, by *awss3.Client) error {
	out, err := by.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(Bucket), Key: aws.String(Object)})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	if err == nil && string(content) != Content {
		err = errors.New("other content")
	}
	return err
}

// Code is the code of a refusal in AWS's words; empty where there was no answer, or no
// refusal.
func Code(err error) string {
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		return refusal.ErrorCode()
	}
	return ""
}
