package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/audit"
)

// Trail is the audit trail, for administrators; it records that it is read.
type Trail interface {
	Search(ctx context.Context, q audit.Query) (audit.Found, error)
	Export(ctx context.Context, q audit.Query, each func([]audit.Document) error) error
}

func (a api) auditRoutes(row rowMaker) []httpd.Route {
	export := row(http.MethodGet, "audit/export", httpd.Administrator, 0, a.exportTrail)
	export.InFlight = 2
	return []httpd.Route{row(http.MethodGet, "audit", httpd.Administrator, 0, a.searchTrail), export}
}

func (a api) searchTrail(w http.ResponseWriter, r *http.Request) error {
	q, err := audit.ParseQuery(r.URL.Query(), a.now())
	if err != nil {
		return err
	}
	if q.Most == 0 {
		q.Most = auditPage
	}
	found, err := a.Trail.Search(r.Context(), q)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, found)
}

// auditPage is how many events a page has where the caller doesn't say.
const auditPage = 100

// slowest is how long a client may take for one page of an export.
const slowest = time.Minute

// exportTrail writes events as JSON lines while they are read: nothing of the whole
// is kept. A failure in the middle cuts the connection, so that half an export can't
// be taken for one; so does the end of the sign-in that it rests on.
func (a api) exportTrail(w http.ResponseWriter, r *http.Request) error {
	q, err := audit.ParseQuery(r.URL.Query(), a.now())
	if err != nil {
		return err
	}
	if q.Most != 0 || q.After != "" || r.URL.Query().Get("order") != "" {
		return fault.Coded(fault.Invalid, "audit.filter", "An export has no pages and no order: it holds all that is found, oldest first").WithMend("leave most, after and order out")
	}
	out := http.NewResponseController(w)
	begun := false
	var lines bytes.Buffer
	e := json.NewEncoder(&lines)
	e.SetEscapeHTML(false)
	return a.Trail.Export(r.Context(), q, func(all []audit.Document) error {
		if err := httpd.Again(r); err != nil {
			return err
		}
		if !begun {
			w.Header().Set("Content-Type", "application/jsonl")
			w.Header().Set("Content-Disposition", `attachment; filename="carnet-audit.jsonl"`)
			w.WriteHeader(http.StatusOK)
			begun = true
		}
		lines.Reset()
		for _, d := range all {
			if err := e.Encode(d); err != nil {
				return err
			}
		}
		// An export may take hours; a client that doesn't read may not.
		if err := out.SetWriteDeadline(time.Now().Add(slowest)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(lines.Bytes()); err != nil {
			return err
		}
		return out.Flush()
	})
}
