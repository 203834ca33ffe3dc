package api

import (
	"context"
	"net/http"

	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/denial"
)

// Denials tells why requests were denied.
type Denials interface {
	Find(ctx context.Context, requestID string) (denial.Denial, error)
	Recent(ctx context.Context, most int) ([]denial.Denial, error)
}

// DenialList lists the newest denials.
type DenialList struct {
	Denials []denial.Denial `json:"denials"`
}

// mostDenials bounds a list.
const mostDenials = 50

func (a api) denialRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{
		row(http.MethodGet, "denials", httpd.Administrator, 0, a.denials),
		row(http.MethodGet, "denials/{request}", httpd.Administrator, 0, a.denial),
	}
}

func (a api) denials(w http.ResponseWriter, r *http.Request) error {
	all, err := a.Denials.Recent(r.Context(), mostDenials)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, DenialList{Denials: all})
}

func (a api) denial(w http.ResponseWriter, r *http.Request) error {
	d, err := a.Denials.Find(r.Context(), r.PathValue("request"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, d)
}
