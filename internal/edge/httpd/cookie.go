package httpd

import (
	"net/http"
	"net/url"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/login"
)

// Cookies names, sets and reads the site's three cookies. All are HttpOnly and
// SameSite=Lax: Strict would not be sent on the way back from an identity
// provider (design 7.6). On https they carry the __Host- prefix, so that no
// other host and no plain http can set them.
type Cookies struct {
	prefix string
	secure bool
}

// NewCookies makes the cookies of the site at base.
func NewCookies(base *url.URL) Cookies {
	if base.Scheme == "https" {
		return Cookies{prefix: "__Host-", secure: true}
	}
	return Cookies{}
}

const (
	loginName    = "carnet"
	preLoginName = "carnet-sign-in"
	arrivalName  = "carnet-arrival"
)

// SetLogin gives the browser its login session, until expires.
func (c Cookies) SetLogin(w http.ResponseWriter, value secret.Text, age time.Duration) {
	c.set(w, loginName, value, age)
}

// Login reads the login cookie; zero when there is none, or more than one.
func (c Cookies) Login(r *http.Request) secret.Text { return c.get(r, loginName) }

// ClearLogin takes the login cookie away.
func (c Cookies) ClearLogin(w http.ResponseWriter) { c.set(w, loginName, secret.Text{}, -1) }

// SetPreLogin binds a sign-in under way to this browser, for age.
func (c Cookies) SetPreLogin(w http.ResponseWriter, value secret.Text, age time.Duration) {
	c.set(w, preLoginName, value, age)
}

// PreLogin reads the pre-login cookie.
func (c Cookies) PreLogin(r *http.Request) secret.Text { return c.read(r, preLoginName, maxPreLogin) }

// ClearPreLogin takes the pre-login cookie away.
func (c Cookies) ClearPreLogin(w http.ResponseWriter) { c.set(w, preLoginName, secret.Text{}, -1) }

// SetArrival binds a sign-in that began at the identity provider to the browser
// that brought it, for age.
func (c Cookies) SetArrival(w http.ResponseWriter, value secret.Text, age time.Duration) {
	c.set(w, arrivalName, value, age)
}

// Arrival reads the arrival cookie.
func (c Cookies) Arrival(r *http.Request) secret.Text { return c.get(r, arrivalName) }

// ClearArrival takes the arrival cookie away.
func (c Cookies) ClearArrival(w http.ResponseWriter) { c.set(w, arrivalName, secret.Text{}, -1) }

// set writes a cookie; a negative age removes it.
func (c Cookies) set(w http.ResponseWriter, name string, value secret.Text, age time.Duration) {
	seconds := int(age / time.Second)
	if age < 0 {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: c.prefix + name, Value: value.Reveal(), Path: "/", MaxAge: seconds,
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// maxPreLogin bounds the pre-login cookie, which keeps the way back (login's
// MaxReturnTo, in base64); the others are shorter.
const (
	maxPreLogin = 64 + login.MaxReturnTo*4/3
	maxCookie   = 512
)

func (c Cookies) get(r *http.Request, name string) secret.Text { return c.read(r, name, maxCookie) }

// read reads a cookie. Two of one name mean that someone else planted one:
// neither counts.
func (c Cookies) read(r *http.Request, name string, most int) secret.Text {
	found := r.CookiesNamed(c.prefix + name)
	if len(found) != 1 || len(found[0].Value) > most {
		return secret.Text{}
	}
	return secret.New(found[0].Value)
}
