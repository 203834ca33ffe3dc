package web

import (
	"context"
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/denial"
)

// Denials tells why requests were denied.
type Denials interface {
	Find(ctx context.Context, requestID string) (denial.Denial, error)
	Recent(ctx context.Context, most int) ([]denial.Denial, error)
}

// denialsPage asks for a request id, and shows what decided.
type denialsPage struct {
	Request string // as it was asked for
	Found   *denied
	Refused *fault.Fault // why there is nothing to show
	Recent  []denied
}

// denied is one denial, as pages show it.
type denied struct {
	denial.Denial
	When clock
}

// Who names the one who asked, in few words.
func (d denied) Who() string {
	switch {
	case d.PersonName != "":
		return d.PersonName
	case d.Person != "":
		return string(d.Person)
	case d.ServicePrincipal != "":
		return string(d.ServicePrincipal)
	}
	return d.Principal
}

// What names what was asked for.
func (d denied) What() string {
	if d.Bucket == "" {
		return "all buckets"
	}
	return "s3://" + strings.TrimSuffix(d.Bucket+"/"+d.Key, "/")
}

const mostRecent = 20

func (web *Web) denials(w http.ResponseWriter, r *http.Request) error {
	page := denialsPage{Request: strings.TrimSpace(r.URL.Query().Get("request"))}
	status := http.StatusOK
	if page.Request != "" {
		d, err := web.Denials.Find(r.Context(), page.Request)
		var known bool
		switch page.Refused, known = refusedForm(err); {
		case err == nil:
			page.Found = web.denied(d)
		case !known:
			return err
		default:
			status = httpd.Status(page.Refused.Kind)
		}
	}
	recent, err := web.Denials.Recent(r.Context(), mostRecent)
	if err != nil {
		return err
	}
	for _, d := range recent {
		page.Recent = append(page.Recent, *web.denied(d))
	}
	return web.show(w, r, status, "denials", frame{Title: "Why was this denied?", Here: "denials", Page: page})
}

func (web *Web) denied(d denial.Denial) *denied {
	return &denied{d, clock{d.At, ago(web.Now().Sub(d.At))}}
}
