//go:build interop

package servers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/api/ssodoc"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/test/running"
)

// cluster is some equal servers on one PostgreSQL, behind one address.
type cluster struct {
	place
	folder  string
	members []*member
}

// member is one server process.
type member struct {
	*cluster
	config   string
	web, aws string // its own addresses
	process  *exec.Cmd
	ended    chan struct{}
	log      running.Log
}

// newCluster writes the configurations of n servers that share one address, one
// database and one key-encryption key.
func newCluster(t *testing.T, n int, dsn func(i int) secret.Text) *cluster {
	t.Helper()
	c := &cluster{folder: t.TempDir(), place: newPlace(t, "http://"+freeAddress(t))}
	c.aws = "http://" + freeAddress(t)
	for i := range n {
		m := &member{cluster: c, config: filepath.Join(c.folder, fmt.Sprintf("carnet-%d.yaml", i)), web: freeAddress(t), aws: freeAddress(t)}
		file := fmt.Sprintf("given-dsn-%d", i)
		if err := os.WriteFile(filepath.Join(c.folder, file), []byte(dsn(i).Reveal()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.write(c.folder, filepath.Base(m.config), m.web, m.aws, fmt.Sprintf("data: data-%d", i),
			"database: {postgresql_dsn_file: "+file+"}", "secrets: {key_encryption_key: keys/kek}"); err != nil {
			t.Fatal(err)
		}
		c.members = append(c.members, m)
	}
	return c
}

// start runs `carnet server` until the test ends and gives what it printed
// before it served.
func (m *member) start(t *testing.T) string {
	t.Helper()
	m.process = exec.Command(running.Need(t, "CARNET_BINARY"), "server", "--config", m.config)
	m.process.Stderr = &m.log
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := m.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.process.Start(); err != nil {
		t.Fatal(err)
	}
	m.ended = make(chan struct{})
	serves := make(chan string, 1)
	go func() {
		defer close(m.ended)
		var text strings.Builder
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			text.WriteString(lines.Text() + "\n")
			if strings.HasPrefix(lines.Text(), "Serving pages on ") {
				serves <- text.String()
			}
		}
		_ = m.process.Wait()
	}()
	t.Cleanup(func() {
		_ = m.process.Process.Signal(os.Interrupt)
		select {
		case <-m.ended:
		case <-time.After(20 * time.Second):
			_ = m.process.Process.Kill()
			t.Errorf("a server does not end within 20 s\n%s", &m.log)
		}
	})
	select {
	case printed := <-serves:
		return printed
	case <-m.ended:
		t.Fatalf("a server ended at its start\n%s", &m.log)
	case <-time.After(time.Minute):
		t.Fatalf("a server does not serve after a minute\n%s", &m.log)
	}
	return ""
}

// carnet runs a command of this server's host.
func (m *member) carnet(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), running.Need(t, "CARNET_BINARY"), append(args, "--config", m.config)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("carnet %v: %v\n%s%s", args, err, &out, &errs)
	}
	return out.String()
}

// transport reaches this server by the address that all share, as a balancer
// that chose it would.
func (m *member) transport() *http.Transport {
	web, aws := strings.TrimPrefix(m.place.base, "http://"), strings.TrimPrefix(m.place.aws, "http://")
	return &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		switch address {
		case web:
			address = m.web
		case aws:
			address = m.aws
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
}

// browser is a person's browser. Its cookies go to whichever server answers.
type browser struct {
	*visitor.Visitor
	at *member
}

func newBrowser(m *member) *browser {
	b := &browser{at: m}
	b.Visitor = visitor.New(b)
	return b
}

// RoundTrip goes to the server that the balancer chose.
func (b *browser) RoundTrip(r *http.Request) (*http.Response, error) {
	t := b.at.transport()
	t.DisableKeepAlives = true
	return t.RoundTrip(r)
}

// signIn signs a person in at a server.
func (m *member) signIn(t *testing.T, user string) *browser {
	t.Helper()
	m.pause(t)
	b := newBrowser(m)
	page, _, err := b.SignIn(t.Context(), m.base+"/sign-in", user, secret.New(password))
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != http.StatusOK || page.URL.Path != "/" {
		t.Fatalf("the sign-in of %s ends at %s with %d\n%s", user, page.URL, page.Status, page.Body)
	}
	return b
}

// ask calls the API at a server.
func (b *browser) ask(t *testing.T, at *member, method, path string, in, out any) int {
	t.Helper()
	b.at = at
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, at.base+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode
}

// keys fetches the keys of a role.
func (b *browser) keys(t *testing.T, at *member, role string) api.Credentials {
	t.Helper()
	var c api.Credentials
	if status := b.ask(t, at, http.MethodPost, "/api/v1/roles/credentials", api.CredentialsRequest{Role: role}, &c); status != http.StatusOK {
		t.Fatalf("the keys of %s: %d", role, status)
	}
	return c
}

// get asks a server's gateway for an object and gives the code of its answer.
// NoSuchBucket says that the policy allows it: nobody made the bucket.
func (m *member) get(t *testing.T, k api.Credentials) string {
	t.Helper()
	client := awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(m.place.aws), UsePathStyle: true, Retryer: aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: m.transport(), Timeout: 10 * time.Second},
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.SecretAccessKey, k.SessionToken),
	})
	_, err := client.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("orders.csv")})
	var refusal smithy.APIError
	switch {
	case err == nil:
		return "OK"
	case errors.As(err, &refusal):
		return refusal.ErrorCode()
	}
	t.Fatal(err)
	return ""
}

const allowed = "NoSuchBucket"

// within holds that seen turns true at every one of some servers within a time,
// and gives how long it took.
func within(t *testing.T, limit time.Duration, what string, servers []*member, seen func(*member) bool) time.Duration {
	t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for _, m := range servers {
		wg.Go(func() {
			for !seen(m) {
				if time.Since(began) > 10*limit {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if took > limit {
		t.Errorf("%s: %v, want under %v", what, took, limit)
	}
	t.Logf("%s: %v", what, took.Round(time.Millisecond))
	return took
}

// assertion goes through the identity provider up to the form that the browser
// is to post to Carnet.
func (b *browser) assertion(t *testing.T, user string) url.Values {
	t.Helper()
	b.at.pause(t)
	page, err := b.Open(t.Context(), b.at.base+"/sign-in")
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.FormWith("password")
	if err != nil {
		t.Fatalf("%v\n%s", err, page.Body)
	}
	if page, err = b.Submit(t.Context(), page, form, map[string]string{"user": user, "password": password}); err != nil {
		t.Fatal(err)
	}
	if form, err = page.FormWith("SAMLResponse"); err != nil {
		t.Fatalf("%v\n%s", err, page.Body)
	}
	return form.Fields
}

// setUp enters the identity provider by the set-up link of the first start.
func (m *member) setUp(t *testing.T, printed string) (admin *browser) {
	t.Helper()
	admin = newBrowser(m)
	var link string
	for _, field := range strings.Fields(printed) {
		if strings.HasPrefix(field, m.base+"/setup?code=") {
			link = field
		}
	}
	page, err := admin.Open(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	form, err := page.FormWith("code")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Submit(t.Context(), page, form, nil); err != nil {
		t.Fatal(err)
	}
	in := ssodoc.NewIdentityProvider{Name: "Corp", Metadata: string(m.metadata), Accounts: []string{account}, RolePatterns: []string{"*"},
		UserNameDomains: []string{"example.com"}, AdministratorGroups: []string{"carnet-admins"}, AllowAutoCreate: true}
	if status := admin.ask(t, m, http.MethodPost, "/api/v1/identity-providers", in, nil); status != http.StatusCreated && status != http.StatusOK {
		t.Fatalf("the identity provider is answered with %d\n%s", status, &m.log)
	}
	return admin
}

// oneDatabase gives every server the same new database.
func oneDatabase(t *testing.T) func(int) secret.Text {
	t.Helper()
	dsn := sqltest.PostgreSQL(t)
	return func(int) secret.Text { return dsn }
}
