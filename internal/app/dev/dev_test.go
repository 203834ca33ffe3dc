package dev_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"carnet.dev/carnet/internal/app/visitor"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
)

// TestFromSignInToS3 is the spine: people sign in, and the AWS SDK for Go
// reads and writes with their keys, over http and https. All share one world.
func TestFromSignInToS3(t *testing.T) {
	t.Parallel()
	w := start(t, options(t, filepath.Join(t.TempDir(), "data")))
	t.Run("people", func(t *testing.T) { peoplesPages(t, w) })
	t.Run("listeners", func(t *testing.T) { listeners(t, w) })
	alice, bob := w.arrive(t, "alice"), w.arrive(t, "bob")
	analyst, engineer, pipeline := alice.keys(t, "analyst"), bob.keys(t, "engineer"), bob.keys(t, "pipeline")
	for _, s := range w.sides() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			t.Run("alice reads", func(t *testing.T) { analystReads(t, s, analyst) })
			t.Run("bob writes", func(t *testing.T) { engineerWrites(t, s, engineer, "sales") })
			t.Run("bob's other account", func(t *testing.T) { engineerWrites(t, s, pipeline, "lab") })
			t.Run("in parts", func(t *testing.T) { inParts(t, s, engineer, "sales") })
			t.Run("wrong keys", func(t *testing.T) { wrongKeys(t, s, engineer, pipeline) })
		})
	}
}

// peoplesPages: what each demo account finds after signing in.
func peoplesPages(t *testing.T, w *world) {
	bob := w.arrive(t, "bob")
	if got := bob.consume.Values("X-Databricks-PassThrough-Error"); got != nil || bob.consume.Get("Location") == "" {
		t.Errorf("bob's roles can all be had, and the answer to the post says %q", bob.consume)
	}
	for _, role := range []string{"analyst", "engineer", "pipeline"} {
		if !strings.Contains(bob.page.Body, ":role/"+role+"<") {
			t.Errorf("bob's page does not show %s", role)
		}
	}
	roles, err := bob.api.Roles(t.Context())
	if err != nil || len(roles) != 3 {
		t.Fatalf("bob's roles: %+v, %v", roles, err)
	}
	for _, r := range roles {
		if r.State != "ready" || r.SessionName != "bob" || r.Expiration == nil || time.Until(*r.Expiration) < time.Hour {
			t.Errorf("role %+v", r)
		}
	}
	if _, err := bob.api.Credentials(t.Context(), ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("bob named no role of three: %v", err)
	}
	if _, err := bob.api.Credentials(t.Context(), "boss"); fault.Of(err).Code != "role.unheld" || !strings.Contains(err.Error(), "pipeline") {
		t.Errorf("bob named a role that he does not hold: %v", err)
	}
	if page, err := bob.browser.Open(t.Context(), w.Web+"/admin/sso"); err != nil || page.Status != http.StatusForbidden {
		t.Errorf("the administrators' page answers bob with %+v, %v", page, err)
	}

	dave := w.arrive(t, "dave")
	if !strings.Contains(dave.page.Body, "You have no roles yet") || !strings.Contains(dave.page.Body, "<code>dave</code>") || dave.consume.Values("X-Databricks-PassThrough-Error") != nil {
		t.Errorf("dave's page:\n%s", dave.page.Body)
	}
	if roles, err := dave.api.Roles(t.Context()); err != nil || len(roles) != 0 {
		t.Errorf("dave's roles: %+v, %v", roles, err)
	}
	if _, err := dave.api.Credentials(t.Context(), "analyst"); fault.Of(err).Code != "role.none" {
		t.Errorf("dave got keys, or another refusal: %v", err)
	}

	carol := w.arrive(t, "carol")
	page, err := carol.browser.Open(t.Context(), w.Web+"/admin/sso")
	if err != nil || page.Status != http.StatusOK || !strings.Contains(page.Body, "Development identity provider") {
		t.Errorf("the administrators' page answers carol with %+v, %v", page, err)
	}
	if s, err := carol.api.Session(t.Context()); err != nil || !s.Administrator || s.Person.UserName != "carol" {
		t.Errorf("carol is %+v, %v", s, err)
	}
	if err := carol.api.SignOut(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := carol.api.Session(t.Context()); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("after signing out carol is answered with %v", err)
	}

	stranger := visitor.New(nil)
	page, _, err = stranger.SignIn(t.Context(), w.Web+"/", "bob", secret.New("not the password"))
	if err == nil && strings.HasPrefix(page.URL.String(), w.Web) {
		t.Errorf("a wrong password leads to %s", page.URL)
	}
}

// listeners: every port answers this machine alone, and only by its own name.
func listeners(t *testing.T, w *world) {
	ports := []string{w.Web, w.WebTLS, w.AWS, w.AWSTLS, w.IdP}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast() {
			continue
		}
		for _, address := range ports {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(n.IP.String(), portOf(t, address)), 2*time.Second)
			if err == nil {
				_ = c.Close()
				t.Errorf("%s can be reached at %s", address, n.IP)
			}
		}
	}
	for _, address := range ports {
		for _, path := range []string{"/", "/sales/products/products.csv", "/sign-in", "/sso", "/metadata"} {
			status, _, body := get(t, w.trust, address+path, func(r *http.Request) { r.Host = "evil.example:" + portOf(t, address) })
			if status != http.StatusBadRequest && status != http.StatusMisdirectedRequest {
				t.Errorf("%s%s answers a foreign host with %d %s", address, path, status, body)
			}
		}
	}
}

// TestDataPersists ends one run and starts others on the same folder.
func TestDataPersists(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	bucket, key := "sales", "notes/from the first run.txt"
	w := start(t, options(t, data))
	bob := w.arrive(t, "bob")
	c := w.sides()[0].s3(bob.keys(t, "engineer"))
	if _, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("still here")}); err != nil {
		t.Fatal(err)
	}
	first := bob.keys(t, "engineer")
	if err := w.stop(); err != nil {
		t.Fatalf("carnet dev did not end cleanly: %v\n%s", err, w.out)
	}
	for _, address := range []string{w.Web, w.WebTLS, w.AWS, w.AWSTLS, w.IdP} {
		if c, err := net.DialTimeout("tcp", "127.0.0.1:"+portOf(t, address), time.Second); err == nil {
			_ = c.Close()
			t.Errorf("%s still answers", address)
		}
	}

	// The keys of this run are short, so that their end can be seen.
	o := options(t, data)
	o.KeyLifetime = 5 * time.Second
	again := start(t, o)
	if again.CA != w.CA || again.Binary != w.Binary {
		t.Errorf("CA and program moved: %s, %s", again.CA, again.Binary)
	}
	if again.Password == w.Password {
		t.Error("the second run has the password of the first")
	}
	bob = again.arrive(t, "bob")
	keys := bob.keys(t, "engineer")
	for _, s := range again.sides() {
		if got := read(t, s.s3(keys), bucket, key); string(got) != "still here" {
			t.Errorf("%s: the object of the first run holds %q", s.name, got)
		}
	}
	if got := read(t, again.sides()[0].s3(first), bucket, key); string(got) != "still here" {
		t.Errorf("by the keys of the first run, which are not at their end, it holds %q", got)
	}
	expired(t, again, bob, keys)
	if err := again.stop(); err != nil {
		t.Fatalf("carnet dev did not end cleanly: %v\n%s", err, again.out)
	}

	reset := options(t, data)
	reset.Reset, reset.Check = true, true
	check(t, reset)
	if _, err := os.Stat(filepath.Join(data, "store", bucket, key)); !os.IsNotExist(err) {
		t.Errorf("the object of the first run outlived --reset: %v", err)
	}
}

// expired waits for keys to end. The bridge gives others, as long as the login
// session lasts: they read on.
func expired(t *testing.T, w *world, p *person, keys aws.Credentials) {
	t.Helper()
	if left := time.Until(keys.Expires); left > 5*time.Second {
		t.Fatalf("the keys live for %s", left)
	}
	time.Sleep(time.Until(keys.Expires) + 50*time.Millisecond)
	for _, s := range w.sides() {
		_, err := s.s3(keys).GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("sales"), Key: aws.String("products/products.csv")})
		refused(t, err, 400, "ExpiredToken")
	}
	next := p.keys(t, "engineer")
	if next.AccessKeyID == keys.AccessKeyID || !next.Expires.After(time.Now()) {
		t.Errorf("the same keys once more, until %s", next.Expires)
	}
	for _, s := range w.sides() {
		read(t, s.s3(next), "sales", "products/products.csv")
	}
	if roles, err := p.api.Roles(t.Context()); err != nil || !slices.ContainsFunc(roles, func(r client.Role) bool {
		return strings.HasSuffix(r.ARN, "role/engineer") && r.Served == "bridge" && r.Renewable && r.NeededBy != nil && time.Until(*r.NeededBy) > time.Hour
	}) {
		t.Errorf("%+v, %v", roles, err)
	}
}
