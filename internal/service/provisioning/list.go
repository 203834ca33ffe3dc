package provisioning

import (
	"context"

	"carnet.dev/carnet/internal/protocol/scim"
)

// Query is what a list is asked for (RFC 7644, section 3.4.2).
type Query struct {
	Filter     string
	SortBy     string
	Descending bool
	Start      int // from 1; what is less counts as 1
	Count      int // negative: not said
	Projection scim.Projection
}

// How many resources one page has.
const (
	DefaultCount = 100
	MostCount    = 200
	// mostSorted bounds what is held to be sorted, or filtered row by row.
	mostScanned = 200_000
	scanPage    = 500
)

// Listed is one page.
type Listed struct {
	Resources    []scim.Resource
	Total, Start int
}

// List gives one page of a kind. Look-ups of one value and plain pages are
// answered by an index; other filters and orders look at every row.
func (s *Service) List(ctx context.Context, c Caller, k Kind, q Query) (Listed, error) {
	if err := s.may(c, k); err != nil {
		return Listed{}, err
	}
	q.Start = max(q.Start, 1)
	if q.Count < 0 {
		q.Count = DefaultCount
	}
	q.Count = min(q.Count, MostCount)
	var filter scim.Filter
	var err error
	if q.Filter != "" {
		if filter, err = k.Type().ParseFilter(q.Filter); err != nil {
			return Listed{}, err
		}
	}
	page := Page{Kind: k, IdP: c.IdP, Members: q.Projection.Wants("members")}
	switch by, ok := scim.AsEquality(filter); {
	case ok && indexed(k, by.Attribute):
		page.By, page.Value, page.Most = by.Attribute, by.Value, MostCount
		return s.some(ctx, page, q, filter)
	case filter != nil || q.SortBy != "" && q.SortBy != nameOf(k) || q.Descending:
		return s.scan(ctx, page, q, filter)
	}
	total, err := s.Store.Count(ctx, k, c.IdP)
	if err != nil {
		return Listed{}, err
	}
	out := Listed{Total: total, Start: q.Start}
	if q.Count == 0 {
		return out, nil
	}
	page.Skip, page.Most = q.Start-1, q.Count
	rows, err := s.Store.Rows(ctx, page)
	if err != nil {
		return Listed{}, err
	}
	for _, r := range rows {
		resource, err := s.resource(r)
		if err != nil {
			return Listed{}, err
		}
		out.Resources = append(out.Resources, q.Projection.Apply(resource))
	}
	return out, nil
}

func indexed(k Kind, attribute string) bool {
	return attribute == "id" || attribute == "externalId" || attribute == nameOf(k)
}

// some answers a look-up: few rows, held to the filter once more.
func (s *Service) some(ctx context.Context, page Page, q Query, filter scim.Filter) (Listed, error) {
	rows, err := s.Store.Rows(ctx, page)
	if err != nil {
		return Listed{}, err
	}
	var all []scim.Resource
	for _, r := range rows {
		resource, err := s.resource(r)
		if err != nil {
			return Listed{}, err
		}
		if filter.Match(resource) {
			all = append(all, resource)
		}
	}
	return q.page(all), nil
}

// scan looks at every row.
func (s *Service) scan(ctx context.Context, page Page, q Query, filter scim.Filter) (Listed, error) {
	var by *scim.Path
	if q.SortBy != "" {
		path, err := page.Kind.Type().ParsePath(q.SortBy)
		if err != nil {
			return Listed{}, err
		}
		by = &path
	}
	var all []scim.Resource
	for page.Most = scanPage; ; page.Skip += scanPage {
		rows, err := s.Store.Rows(ctx, page)
		if err != nil {
			return Listed{}, err
		}
		for _, r := range rows {
			resource, err := s.resource(r)
			if err != nil {
				return Listed{}, err
			}
			if filter == nil || filter.Match(resource) {
				all = append(all, resource)
			}
		}
		if len(rows) < scanPage {
			break
		}
		if page.Skip >= mostScanned {
			return Listed{}, invalid(scim.CodeTooMany, "more than %d resources would have to be looked at: filter by userName, displayName or externalId", mostScanned)
		}
	}
	switch {
	case by != nil:
		scim.Sort(all, *by, q.Descending)
	case q.Descending:
		reverse(all)
	}
	return q.page(all), nil
}

func reverse(list []scim.Resource) {
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
}

// page cuts one page out.
func (q Query) page(all []scim.Resource) Listed {
	out := Listed{Total: len(all), Start: q.Start}
	from := min(q.Start-1, len(all))
	for _, r := range all[from:min(from+q.Count, len(all))] {
		out.Resources = append(out.Resources, q.Projection.Apply(r))
	}
	return out
}
