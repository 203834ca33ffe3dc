package cli

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api/client"
)

// Other programs and pages on this machine reach the callback too: what is not
// the answer to this sign-in changes nothing.
func TestCallbackTakesOnlyItsOwnAnswer(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := newCallback(ln)
	defer c.close()
	get := func(method, host, target string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+ln.Addr().String()+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: headers %v", target, res.Header)
		}
		return res.StatusCode
	}
	own, state := ln.Addr().String(), c.state.Reveal()
	for _, tc := range []struct {
		method, host, target string
		want                 int
	}{
		{"GET", "evil.example:80", "/callback?code=evil&state=" + state, http.StatusNotFound}, // DNS rebinding
		{"POST", own, "/callback?code=evil&state=" + state, http.StatusNotFound},
		{"GET", own, "/other?code=evil&state=" + state, http.StatusNotFound},
		{"GET", own, "/callback?code=evil", http.StatusBadRequest},
		{"GET", own, "/callback?code=evil&state=wrong", http.StatusBadRequest},
		{"GET", own, "/callback?error=access_denied&state=wrong", http.StatusBadRequest},
		{"GET", own, "/callback?state=" + state, http.StatusBadRequest},
		{"GET", own, "/callback?code=good&state=" + state, http.StatusOK},
		{"GET", own, "/callback?code=late&state=" + state, http.StatusOK},
	} {
		if got := get(tc.method, tc.host, tc.target); got != tc.want {
			t.Errorf("%s %s at %s: status %d, want %d", tc.method, tc.target, tc.host, got, tc.want)
		}
	}
	if code, err := c.wait(t.Context()); err != nil || code.Reveal() != "good" {
		t.Errorf("got %q, %v: want the first answer with the right state", code.Reveal(), err)
	}
}

func TestWaitEndsWithItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), signInTime)
		defer cancel()
		began := time.Now()
		if _, err := (&callback{answer: make(chan answer)}).wait(ctx); err == nil || time.Since(began) != signInTime {
			t.Errorf("ended after %s with %v", time.Since(began), err)
		}
	})
}

// What a server answers goes into shells and files, so it is held to the shape
// of keys first.
func TestCheckRefusesForeignShapes(t *testing.T) {
	t.Parallel()
	const analyst = "arn:aws:iam::111122223333:role/analyst"
	good := func() client.Credentials {
		return client.Credentials{
			Role: analyst, AccessKeyID: "ASIAEXAMPLEKEY111122", SecretAccessKey: secret.New("a/b+c="), SessionToken: secret.New("t-o_k.e~n"),
			Region: "us-east-1", Endpoints: client.CredentialEndpoints{S3: "http://[::1]:8481", STS: "https://sts.example.com"},
		}
	}
	for _, asked := range []string{analyst, "analyst", "111122223333/analyst", "analytics/analyst"} {
		if err := check(good(), asked); err != nil {
			t.Errorf("asked for %s: %v", asked, err)
		}
	}
	for asked, change := range map[string]func(*client.Credentials){
		"engineer":              func(*client.Credentials) {},
		"444455556666/analyst":  func(*client.Credentials) {},
		analyst:                 func(c *client.Credentials) { c.Role = "arn:aws:iam::111122223333:role/admin" },
		"analyst":               func(c *client.Credentials) { c.Role = "analyst" },
		analyst + " ":           func(c *client.Credentials) {},
		"111122223333/analyst":  func(c *client.Credentials) { c.AccessKeyID = "ASIA\nexport X" },
		"analytics/analyst":     func(c *client.Credentials) { c.SecretAccessKey = secret.New("a'b") },
		"analytics1/analyst":    func(c *client.Credentials) { c.SessionToken = secret.New("a b") },
		"analytics2/analyst":    func(c *client.Credentials) { c.SessionToken = secret.Text{} },
		"analytics3/analyst":    func(c *client.Credentials) { c.Region = "us-east-1\n[default]" },
		"analytics4/analyst":    func(c *client.Credentials) { c.Endpoints.S3 = "https://x/$(id)" },
		"analytics5/analyst":    func(c *client.Credentials) { c.Endpoints.STS = "file:///etc" },
		"analytics6/../analyst": func(c *client.Credentials) {},
	} {
		c := good()
		change(&c)
		if err := check(c, asked); err == nil || strings.Contains(err.Error(), "a'b") {
			t.Errorf("asked for %q, answer %+v: %v", asked, c, err)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	r := &run{Process: Process{Now: func() time.Time { return now }}}
	for in, want := range map[time.Duration]string{
		-time.Second: "ended", 0: "ended", 59 * time.Second: "59s", time.Minute: "1m", 59*time.Minute + 59*time.Second: "59m",
		time.Hour: "1h00m", 11*time.Hour + 5*time.Minute: "11h05m",
	} {
		if got := r.left(now.Add(in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestAttackCurlyQuotes: PowerShell ends a text in single quotes at curly ones, too.
func TestAttackCurlyQuotes(t *testing.T) {
	t.Parallel()
	for _, quote := range []string{"'", "\u2018", "\u2019", "\u201a", "\u201b"} {
		got := shells()["powershell"].set("AWS_REGION", "x"+quote+"; calc; "+quote)
		if want := "$Env:AWS_REGION = 'x" + quote + quote + "; calc; " + quote + quote + "'"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
