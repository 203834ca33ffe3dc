//go:build interop

package idp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/app/visitor"
)

const (
	bucket = "reports"
	object = "2026/november.csv"
	said   = "region,orders\nnorth,42\n"
)

// window is what a person looks at: a visitor that runs no script, or Chromium.
type window interface {
	open(ctx context.Context, address string) error
	// fill gives name and password to the identity provider's form.
	fill(ctx context.Context, user, password string) error
	// press submits the first form that posts to a path of that ending.
	press(ctx context.Context, ending string, set map[string]string) error
	state(ctx context.Context) (at, text string, err error)
	close()
}

// person is alice with a home of her own.
type person struct {
	*carnet
	window
	t        *testing.T
	password string
	home     string
}

func (c *carnet) person(t *testing.T, idp interface{ secret() string }) *person {
	t.Helper()
	return &person{carnet: c, window: &plain{browser: visitor.New(nil)}, t: t, password: idp.secret(), home: t.TempDir()}
}

// visit opens an address and goes where it leads: signs in on the way.
func (p *person) visit(ctx context.Context, address string) error {
	if err := p.open(ctx, address); err != nil {
		return err
	}
	return p.fill(ctx, user, p.password)
}

func (p *person) at(ctx context.Context) string {
	at, _, err := p.state(ctx)
	must(p.t, err)
	return at
}

func (p *person) text(ctx context.Context) string {
	_, text, err := p.state(ctx)
	must(p.t, err)
	return text
}

// plain walks without script.
type plain struct {
	browser *visitor.Visitor
	page    *visitor.Page
}

func (w *plain) close() {}

func (w *plain) state(context.Context) (at, text string, err error) {
	if w.page == nil {
		return "", "", errors.New("no page is open")
	}
	return w.page.URL.String(), fmt.Sprintf("%d %s", w.page.Status, w.page.Body), nil
}

func (w *plain) open(ctx context.Context, address string) (err error) {
	w.page, err = w.browser.Open(ctx, address)
	return err
}

// fill walks on: posts what posts itself, gives the password once, says yes to
// who one is.
func (w *plain) fill(ctx context.Context, user, password string) error {
	for range 12 {
		var page *visitor.Page
		var err error
		if form, set, ok := w.next(user, password); ok {
			page, err = w.browser.Submit(ctx, w.page, form, set)
		} else if to := onward.FindStringSubmatch(w.page.Body); to != nil && w.page.Status < 400 {
			page, err = w.browser.Open(ctx, html.UnescapeString(to[1]))
		} else {
			return nil
		}
		if err != nil {
			return err
		}
		w.page = page
	}
	return fmt.Errorf("it does not come to an end: %s\n%s", w.page.URL, w.page.Body)
}

// onward is the link of a page that leads on by redirect binding.
var onward = regexp.MustCompile(`<a class="button" href="([^"]+[?&;](?:SAML(?:Request|Response)|post_logout_redirect_uri)=[^"]+)"`)

func (w *plain) next(user, password string) (visitor.Form, map[string]string, bool) {
	if w.page.Status >= 400 {
		return visitor.Form{}, nil, false
	}
	for _, form := range w.page.Forms {
		switch {
		case form.Fields.Has("password") && form.Fields.Has("username") && user != "":
			return form, map[string]string{"username": user, "password": password}, true
		case form.Fields.Has("SAMLResponse"), form.Fields.Has("SAMLRequest"):
			return form, map[string]string{}, true
		case strings.HasSuffix(form.Action.Path, "/session/end/confirm"):
			return form, map[string]string{"logout": "yes"}, true
		case form.Method == http.MethodPost && (strings.HasSuffix(form.Action.Path, "/sign-in/continue") || strings.HasSuffix(form.Action.Path, "/logout-confirm")):
			return form, map[string]string{}, true
		}
	}
	return visitor.Form{}, nil, false
}

func (w *plain) press(ctx context.Context, ending string, set map[string]string) error {
	for _, form := range w.page.Forms {
		if strings.HasSuffix(form.Action.Path, ending) {
			page, err := w.browser.Submit(ctx, w.page, form, set)
			if err != nil {
				return err
			}
			w.page = page
			return nil
		}
	}
	return fmt.Errorf("%s has no form for %s", w.page.URL, ending)
}

var pageAddress = regexp.MustCompile(`https?://\S+/cli/authorize\S*`)

// env is a clean environment for the person's programs.
func (p *person) env() []string {
	_ = os.MkdirAll(p.home+"/run", 0o700)
	return []string{"HOME=" + p.home, "USER=" + user, "XDG_RUNTIME_DIR=" + p.home + "/run", "PATH=/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED=true"}
}

// login runs `carnet login` and approves it in the window.
func (p *person) login(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, "login", "--server", p.base, "--no-browser")
	cmd.Env = p.env()
	stderr, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	var text strings.Builder
	buf := make([]byte, 4096)
	address := ""
	for address == "" {
		n, err := stderr.Read(buf)
		text.Write(buf[:n])
		if m := pageAddress.FindString(text.String()); m != "" && strings.Contains(text.String(), m+"\n") {
			address = m
		} else if err != nil {
			t.Fatalf("carnet login printed no address: %v\n%s", err, text.String())
		}
	}
	must(t, p.visit(ctx, address))
	must(t, p.press(ctx, "/cli/authorize", map[string]string{"decision": "approve"}))
	rest, _ := io.ReadAll(stderr)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("carnet login: %v\n%s%s", err, text.String(), rest)
	}
}

// client is an S3 client with the keys that `carnet credentials` prints.
func (p *person) client(t testing.TB, role string) (*s3.Client, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.binary, "credentials", "--role", role)
	cmd.Env = p.env()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("carnet credentials: %w\n%s", err, errs.Bytes())
	}
	var k struct{ AccessKeyId, SecretAccessKey, SessionToken string } //nolint:revive // AWS's names
	if err := json.Unmarshal(out, &k); err != nil {
		return nil, err
	}
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(p.aws), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyId, k.SecretAccessKey, k.SessionToken),
	}), nil
}

// readsS3 reads the object as analyst, who must not write.
func (p *person) readsS3(t *testing.T) {
	t.Helper()
	client, err := p.client(t, analyst)
	must(t, err)
	out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)})
	must(t, err)
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	must(t, err)
	if string(body) != said {
		t.Errorf("read %q", body)
	}
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("x"), Body: strings.NewReader("x")})
	if err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("an analyst writes: %v", err)
	}
}

// writesS3 writes as engineer.
func (p *person) writesS3(t *testing.T) {
	t.Helper()
	client, err := p.client(t, engineer)
	must(t, err)
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("by-template.txt"), Body: strings.NewReader("x")})
	must(t, err)
}

// seed signs in once as engineer and puts the object there.
func (c *carnet) seed(t *testing.T, idp interface{ secret() string }) {
	t.Helper()
	p := c.person(t, idp)
	must(t, p.visit(t.Context(), c.base+"/"))
	p.login(t)
	client, err := p.client(t, engineer)
	must(t, err)
	_, err = client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	must(t, err)
	_, err = client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(object), Body: strings.NewReader(said)})
	must(t, err)
}
