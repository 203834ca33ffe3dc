package scimapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/scim"
	"carnet.dev/carnet/internal/service/provisioning"
)

// answer writes one resource, as asked for.
func answer(w http.ResponseWriter, r *http.Request, k provisioning.Kind, status int, found provisioning.Found) error {
	p, err := k.Type().ParseProjection(r.URL.Query().Get("attributes"), r.URL.Query().Get("excludedAttributes"))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", found.Version)
	if meta, ok := found.Resource["meta"].(map[string]any); ok && status == http.StatusCreated {
		if location, ok := meta["location"].(string); ok {
			h.Set("Location", location)
		}
	}
	if match := r.Header.Get("If-None-Match"); r.Method == http.MethodGet && (match == found.Version || match == "*") {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	b, err := k.Type().Write(p.Apply(found.Resource))
	if err == nil {
		write(w, status, b)
	}
	return err
}

func (f *face) create(k provisioning.Kind) handler {
	return func(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
		text, err := body(r)
		if err != nil {
			return err
		}
		found, err := f.Provisioning.Create(r.Context(), c, k, text)
		if err != nil {
			return err
		}
		return answer(w, r, k, http.StatusCreated, found)
	}
}

func (f *face) get(k provisioning.Kind) handler {
	return func(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
		found, err := f.Provisioning.Get(r.Context(), c, k, r.PathValue("id"))
		if err != nil {
			return err
		}
		return answer(w, r, k, http.StatusOK, found)
	}
}

func (f *face) replace(k provisioning.Kind) handler { return change(k, f.Provisioning.Replace) }

func (f *face) patch(k provisioning.Kind) handler { return change(k, f.Provisioning.Patch) }

// change answers what changes one resource by a document.
func change(k provisioning.Kind, do func(ctx context.Context, c provisioning.Caller, k provisioning.Kind, id string, text []byte, match string) (provisioning.Found, error)) handler {
	return func(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
		text, err := body(r)
		if err != nil {
			return err
		}
		found, err := do(r.Context(), c, k, r.PathValue("id"), text, r.Header.Get("If-Match"))
		if err != nil {
			return err
		}
		return answer(w, r, k, http.StatusOK, found)
	}
}

func (f *face) remove(k provisioning.Kind) handler {
	return func(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
		if err := f.Provisioning.Delete(r.Context(), c, k, r.PathValue("id"), r.Header.Get("If-Match")); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// list answers a query in the address.
func (f *face) list(k provisioning.Kind) handler {
	return func(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return fault.Coded(fault.Invalid, scim.CodeValue, "The query can't be read")
		}
		ask := asked{
			Filter: values.Get("filter"), SortBy: values.Get("sortBy"), SortOrder: values.Get("sortOrder"),
			attributes: values.Get("attributes"), excluded: values.Get("excludedAttributes"),
		}
		for name, into := range map[string]**int{"startIndex": &ask.StartIndex, "count": &ask.Count} {
			if text := values.Get(name); text != "" {
				n, err := strconv.Atoi(text)
				if err != nil {
					return fault.Coded(fault.Invalid, scim.CodeValue, name+" has to be a whole number")
				}
				*into = &n
			}
		}
		return f.page(w, r, c, k, ask)
	}
}

// asked is a query (RFC 7644, sections 3.4.2 and 3.4.3).
type asked struct {
	Filter             string   `json:"filter"`
	SortBy             string   `json:"sortBy"`
	SortOrder          string   `json:"sortOrder"`
	StartIndex         *int     `json:"startIndex"`
	Count              *int     `json:"count"`
	Attributes         []string `json:"attributes"`
	ExcludedAttributes []string `json:"excludedAttributes"`

	attributes, excluded string
}

// search answers a query in the body, which keeps names out of addresses.
func (f *face) search(k provisioning.Kind) handler {
	return func(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
		text, err := body(r)
		if err != nil {
			return err
		}
		ask, err := searched(text)
		if err != nil {
			return err
		}
		return f.page(w, r, c, k, ask)
	}
}

func searched(text []byte) (ask asked, err error) {
	if err := json.Unmarshal(text, &ask); err != nil {
		return ask, fault.Coded(fault.Invalid, scim.CodeSyntax, "The search can't be read").WithCause(err)
	}
	ask.attributes, ask.excluded = strings.Join(ask.Attributes, ","), strings.Join(ask.ExcludedAttributes, ",")
	return ask, nil
}

// searchAll looks at all kinds that the credential is for, one after the other. A
// kind that a filter's attributes are not of has nothing that matches.
func (f *face) searchAll(w http.ResponseWriter, r *http.Request, c provisioning.Caller) error {
	text, err := body(r)
	if err != nil {
		return err
	}
	ask, err := searched(text)
	if err != nil {
		return err
	}
	if ask.SortBy != "" {
		return fault.Coded(fault.Invalid, scim.CodeValue, "Resources of several kinds have no common order: search one of them, such as /Users/.search")
	}
	documents, total, start := []any{}, 0, 1
	var refused error
	found := false
	for _, k := range c.Kinds {
		q, err := ask.query(k)
		if err != nil {
			return err
		}
		if q.Count < 0 {
			q.Count = provisioning.DefaultCount
		}
		start = max(q.Start, 1)
		q.Start, q.Count = max(start-total, 1), min(q.Count, provisioning.MostCount)-len(documents)
		listed, err := f.Lists.List(r.Context(), c, k, q)
		if code := fault.Of(err); err != nil && (code.Code == scim.CodePath || code.Code == scim.CodeFilter) {
			refused = err
			continue
		}
		if err != nil {
			return err
		}
		found, total = true, total+listed.Total
		for _, x := range listed.Resources {
			documents = append(documents, k.Type().Document(x))
		}
	}
	if !found && refused != nil {
		return refused
	}
	b, err := scim.WriteList(documents, total, start)
	if err == nil {
		write(w, http.StatusOK, b)
	}
	return err
}

// query reads what is asked for of one kind.
func (ask asked) query(k provisioning.Kind) (provisioning.Query, error) {
	q := provisioning.Query{Filter: ask.Filter, SortBy: ask.SortBy, Count: -1, Start: 1}
	switch strings.ToLower(ask.SortOrder) {
	case "", "ascending":
	case "descending":
		q.Descending = true
	default:
		return q, fault.Coded(fault.Invalid, scim.CodeValue, "sortOrder has to be ascending or descending")
	}
	if ask.StartIndex != nil {
		q.Start = *ask.StartIndex
	}
	if ask.Count != nil {
		q.Count = max(*ask.Count, 0)
	}
	var err error
	q.Projection, err = k.Type().ParseProjection(ask.attributes, ask.excluded)
	return q, err
}

func (f *face) page(w http.ResponseWriter, r *http.Request, c provisioning.Caller, k provisioning.Kind, ask asked) error {
	q, err := ask.query(k)
	if err != nil {
		return err
	}
	listed, err := f.Lists.List(r.Context(), c, k, q)
	if err != nil {
		return err
	}
	b, err := k.Type().WriteList(listed.Resources, listed.Total, listed.Start)
	if err == nil {
		write(w, http.StatusOK, b)
	}
	return err
}

// me answers a person about themselves.
func (f *face) me(w http.ResponseWriter, r *http.Request) error {
	p := httpd.CallerOf(r).Session.Person
	if p.ID == "" {
		return fault.New(fault.NotFound, "A login session by a set-up link is nobody's")
	}
	found, err := f.Provisioning.Get(r.Context(), provisioning.Caller{IdP: p.IdP, Kinds: []provisioning.Kind{provisioning.User}}, provisioning.User, string(p.ID))
	if err != nil {
		return err
	}
	return answer(w, r, provisioning.User, http.StatusOK, found)
}
