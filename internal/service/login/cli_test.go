package login_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/login"
)

func (w *world) source() netip.Addr { return netip.MustParseAddr("192.0.2.7") }

// changed gives the response with one letter of the subject another.
func changed(t *testing.T, response string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(response)
	must(t, err)
	out := strings.Replace(string(raw), ">alice<", ">bobby<", 1)
	if out == string(raw) {
		t.Fatal("nothing was changed")
	}
	return base64.StdEncoding.EncodeToString([]byte(out))
}

// revoked names the login session of the first recorded sign-in, for the feed.
func revoked(t *testing.T, w *world) (kind, id string, epoch uint64) {
	t.Helper()
	must(t, w.feed.Confirm(t.Context()))
	calls := w.sts.calls
	if len(calls) == 0 {
		t.Fatal("nothing was exchanged")
	}
	return "login-session", string(calls[0].LoginSession), 1
}

func pkce() (verifier, challenge string) {
	verifier = secret.Random(32).Reveal()
	sum := sha256.Sum256([]byte(verifier))
	return verifier, base64.RawURLEncoding.EncodeToString(sum[:])
}

const loopback = "http://127.0.0.1:51234/done"

func TestCommandLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	verifier, challenge := pkce()
	code, err := w.StartCode(t.Context(), in.Session, challenge, loopback)
	must(t, err)
	token, err := w.RedeemCode(t.Context(), code, verifier)
	must(t, err)
	if token.UserName != "alice" || !token.Expires.Equal(in.Session.Expires) {
		t.Errorf("token %+v", token)
	}
	s, err := w.ResumeCLI(t.Context(), token.Token)
	must(t, err)
	if keys, err := w.Credentials(t.Context(), s, ""); err != nil || keys.Role.String() != analyst || s.ID != in.Session.ID {
		t.Errorf("keys %v, %v", keys, err)
	}
	// Cookie and token are different doors.
	_, err = w.ResumeCLI(t.Context(), in.Cookie)
	wantCode(t, err, "login.required")
	_, err = w.Resume(t.Context(), token.Token)
	wantCode(t, err, "login.required")

	_, err = w.RedeemCode(t.Context(), code, verifier)
	wantCode(t, err, "cli.code") // one use

	must(t, w.SignOutCLI(t.Context(), token.Token))
	_, err = w.ResumeCLI(t.Context(), token.Token)
	wantCode(t, err, "login.required")
	if _, err := w.Resume(t.Context(), in.Cookie); err != nil {
		t.Errorf("the browser was signed out too: %v", err)
	}
}

func TestSignOutEndsCommandLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	verifier, challenge := pkce()
	code, err := w.StartCode(t.Context(), in.Session, challenge, loopback)
	must(t, err)
	token, err := w.RedeemCode(t.Context(), code, verifier)
	must(t, err)
	late, err := w.StartCode(t.Context(), in.Session, challenge, loopback)
	must(t, err)
	if _, err := w.ResumeCLI(t.Context(), token.Token); err != nil {
		t.Fatal(err)
	}
	must(t, w.SignOut(t.Context(), in.Session.ID))
	_, err = w.ResumeCLI(t.Context(), token.Token)
	wantCode(t, err, "login.required")
	_, err = w.RedeemCode(t.Context(), late, verifier)
	wantCode(t, err, "cli.code")
	if _, err := w.StartCode(t.Context(), in.Session, challenge, loopback); err == nil {
		t.Error("an ended login session made a code")
	}
}

func TestCodesAreBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	verifier, challenge := pkce()
	start := func() secret.Text {
		code, err := w.StartCode(t.Context(), in.Session, challenge, loopback)
		must(t, err)
		return code
	}
	other, _ := pkce()
	for _, wrong := range []string{"", other, challenge, verifier[:42], verifier + strings.Repeat("a", 128)} {
		code := start()
		_, err := w.RedeemCode(t.Context(), code, wrong)
		wantCode(t, err, "cli.code")
		_, err = w.RedeemCode(t.Context(), code, verifier)
		wantCode(t, err, "cli.code") // a wrong try uses it up
	}
	code := start()
	w.pass(login.CodeLifetime)
	_, err := w.RedeemCode(t.Context(), code, verifier)
	wantCode(t, err, "cli.code")
	_, err = w.RedeemCode(t.Context(), secret.New("made up"), verifier)
	wantCode(t, err, "cli.code")
	if n := w.count("cli_token"); n != 0 {
		t.Errorf("%d tokens were made", n)
	}
}

func TestCodesGoToLoopbackOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.signIn()
	_, challenge := pkce()
	for uri, ok := range map[string]bool{
		"http://127.0.0.1:8123/x": true, "http://[::1]:8123/": true, "http://localhost:8123/done": true, "http://127.9.9.9:1": false, "http://127.0.0.1:80/?x": false,
		"https://127.0.0.1:8123/": false, "http://127.0.0.1/": false, "http://127.0.0.1:0/": false, "http://example.com:80/": false,
		"http://127.0.0.1.evil.example:80/": false, "http://a@127.0.0.1:80/": false, "http://127.0.0.1:80/#x": false, "http://localhost.:80/": false,
		"http://10.0.0.1:80/": false, "": false, "/x": false, "http://127.0.0.1:80:80/": false, "javascript:alert(1)": false, "http://[fe80::1%25lo]:80/": false,
		"http://[::ffff:10.0.0.1]:80/": false,
	} {
		if _, err := w.StartCode(t.Context(), in.Session, challenge, uri); (err == nil) != ok {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for _, bad := range []string{"", "short", challenge + "=", strings.Repeat("+", 43), challenge + "aa"} {
		if _, err := w.StartCode(t.Context(), in.Session, bad, loopback); err == nil {
			t.Errorf("challenge %q was taken", bad)
		}
	}
}

func TestSetupLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	needs, err := w.NeedsSetup(t.Context())
	if err != nil || needs {
		t.Errorf("with an identity provider: needs set-up %v, %v", needs, err)
	}
	must(t, w.fed.Remove(t.Context(), w.idp.ID))
	if needs, err = w.NeedsSetup(t.Context()); err != nil || !needs {
		t.Errorf("without one: needs set-up %v, %v", needs, err)
	}

	replaced, err := w.NewSetupLink(t.Context())
	must(t, err)
	link, err := w.NewSetupLink(t.Context())
	must(t, err)
	_, err = w.RedeemSetup(t.Context(), replaced)
	wantCode(t, err, "setup.code")
	in, err := w.RedeemSetup(t.Context(), link)
	must(t, err)
	if !in.Session.Administrator || in.Session.Person.ID != "" || len(in.Session.Roles) != 0 || in.ReturnTo != "/" ||
		in.Session.Expires.Sub(w.clock()) != 4*time.Hour {
		t.Errorf("set-up opened %+v", in)
	}
	s, err := w.Resume(t.Context(), in.Cookie)
	if err != nil || !s.Administrator {
		t.Errorf("resumed %+v, %v", s, err)
	}
	_, err = w.Credentials(t.Context(), s, "")
	wantCode(t, err, "role.none")
	_, err = w.RedeemSetup(t.Context(), link)
	wantCode(t, err, "setup.code")

	late, err := w.NewSetupLink(t.Context())
	must(t, err)
	w.pass(login.SetupLifetime)
	_, err = w.RedeemSetup(t.Context(), late)
	wantCode(t, err, "setup.code")
	for _, wrong := range []secret.Text{{}, secret.New("made up")} {
		_, err = w.RedeemSetup(t.Context(), wrong)
		wantCode(t, err, "setup.code")
	}
}

// TestSetupLinkEndsWithSetup: a link from the log must not open an
// administrator's login session once an identity provider is entered, by
// whatever way. A recovery link is made for that time.
func TestSetupLinkEndsWithSetup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, w.fed.Remove(t.Context(), w.idp.ID))
	link, err := w.NewSetupLink(t.Context())
	must(t, err)
	_, err = w.fed.Add(t.Context(), w.idp)
	must(t, err)
	_, err = w.RedeemSetup(t.Context(), link)
	wantCode(t, err, "setup.code")
	_, err = w.RedeemSetup(t.Context(), secret.New("recover."+link.Reveal()))
	wantCode(t, err, "setup.code")

	link, err = w.NewRecoveryLink(t.Context())
	must(t, err)
	if in, err := w.RedeemSetup(t.Context(), link); err != nil || !in.Session.Administrator {
		t.Errorf("a recovery link beside an identity provider: %v", err)
	}
	_, err = w.RedeemSetup(t.Context(), link)
	wantCode(t, err, "setup.code")
}
