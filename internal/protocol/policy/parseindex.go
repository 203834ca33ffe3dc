package policy

import "strings"

func (d *Document) buildIndex() {
	for i := range d.statements {
		s := &d.statements[i]
		x := &d.allows
		if s.deny {
			x = &d.denies
		}
		x.add(int32(i), s)
	}
	d.asks = d.asksFor()
}

func (x *index) add(i int32, s *statement) {
	put := func(m *map[string][]int32, keys map[string]bool) {
		if *m == nil {
			*m = map[string][]int32{}
		}
		for k := range keys {
			(*m)[k] = append((*m)[k], i)
		}
	}
	resources, actions := map[string]bool{}, map[string]bool{}
	for j := range s.resources {
		resources[s.resources[j].indexKey()] = true
	}
	for _, p := range s.actions {
		actions[p.actionKey()] = true
	}
	switch {
	case !s.noResource && !s.notResource && !resources[""]:
		put(&x.byKey, resources)
	case !s.notAction && !actions[""]:
		put(&x.byAction, actions)
	default:
		x.rest = append(x.rest, i)
	}
}

// actionKey is the key under which all actions that p can match are found, or
// "" where there is none.
func (p pattern) actionKey() string {
	if len(p) == 0 || p[0].kind != literal {
		return ""
	}
	colon := strings.IndexByte(p[0].text, ':')
	switch {
	case len(p) == 1 && len(p[0].text) <= longestAction:
		return p[0].text
	case colon < 0 || colon >= longestAction:
		return ""
	}
	return p[0].text[:colon+1]
}

// indexKey is the key under which all targets that r can match are found, or
// "" where there is no single one.
func (r *resourcePattern) indexKey() string {
	if r.any || r.literalHead == "" || len(r.last) == 0 || r.last[0].kind != literal {
		return ""
	}
	first, _, whole := strings.Cut(r.last[0].text, "/")
	if !whole && len(r.last) > 1 {
		return "" // the segment goes on with a wildcard or variable
	}
	return r.literalHead + first
}
