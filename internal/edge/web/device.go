package web

import (
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/oauth"
)

// devicePage lets a person connect a device that shows a code (RFC 8628).
type devicePage struct {
	UserName, Host string
	Until          clock
	Refused        *fault.Fault // why the code was not taken
	// Asks is the device that waits under the code that was typed; nil: none was
	// typed yet.
	Asks *deviceAsks
	// Decided is set once the person said yes or no.
	Decided  bool
	Approved bool
}

// deviceAsks is a device, as its person sees it.
type deviceAsks struct {
	Code, Client, ClientID, Owner string
	Source, UserAgent             string
	Here                          string // the browser's own address
	Asked                         clock
	Wants                         []want
}

// Elsewhere reports whether the device is at another address than the browser.
func (d deviceAsks) Elsewhere() bool { return d.Source != d.Here }

// device asks for the code. What an address brings is not read: a link with a
// code in it is what a thief sends around, so the code is typed here.
func (web *Web) device(w http.ResponseWriter, r *http.Request) error {
	return web.showDevice(w, r, http.StatusOK, devicePage{})
}

func (web *Web) showDevice(w http.ResponseWriter, r *http.Request, status int, page devicePage) error {
	s := httpd.CallerOf(r).Session
	page.UserName, page.Host = displayName(s), web.BaseURL.Host
	page.Until = clock{s.Expires, left(s.Expires.Sub(web.Now()))}
	return web.show(w, r, status, "device", frame{Title: "Connect a device", Page: page})
}

// reviewDevice shows who waits under the code that was typed. Nothing is
// granted by it.
func (web *Web) reviewDevice(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	d, err := web.Devices.ReviewDevice(r.Context(), httpd.CallerOf(r).Session, httpd.Source(r), r.PostForm.Get("user_code"))
	if err != nil {
		return web.refuseCode(w, r, err)
	}
	return web.showDevice(w, r, http.StatusOK, devicePage{Asks: web.deviceAsks(r, d)})
}

func (web *Web) deviceAsks(r *http.Request, d oauth.DeviceReview) *deviceAsks {
	return &deviceAsks{
		Code: d.UserCode, Client: d.Client.Name, ClientID: d.Client.ID, Owner: d.Client.Owner,
		Source: d.Source, UserAgent: d.UserAgent, Here: httpd.Source(r).String(),
		Asked: clock{d.Asked, ago(web.Now().Sub(d.Asked))}, Wants: wants(d.Scopes),
	}
}

// refuseCode shows the form again, with the reason above it.
func (web *Web) refuseCode(w http.ResponseWriter, r *http.Request, err error) error {
	f, again := refusedForm(err)
	if !again {
		return err
	}
	return web.showDevice(w, r, httpd.Status(f.Kind), devicePage{Refused: f})
}

// decideDevice takes the person's word.
func (web *Web) decideDevice(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	word := r.PostForm.Get("decision")
	if word != "approve" && word != "refuse" {
		return badForm()
	}
	d, err := web.Devices.DecideDevice(r.Context(), httpd.CallerOf(r).Session, httpd.Source(r), r.PostForm.Get("user_code"), word == "approve")
	if err != nil {
		return web.refuseCode(w, r, err)
	}
	return web.showDevice(w, r, http.StatusOK, devicePage{Asks: web.deviceAsks(r, d), Decided: true, Approved: word == "approve"})
}
