//go:build interop

package policydiff

import (
	"encoding/json"
	"maps"
	"slices"
)

// smaller gives every case that is one step simpler: a policy, statement,
// condition, value or context key less, or an element that covers all.
func (c *Case) smaller() []Case {
	var out []Case
	try := func(change func(*Case)) {
		d := c.clone()
		change(&d)
		out = append(out, d)
	}
	for i := range c.Identity {
		try(func(d *Case) { d.Identity = slices.Delete(d.Identity, i, i+1) })
	}
	for i := range c.Service {
		try(func(d *Case) { d.Service = slices.Delete(d.Service, i, i+1) })
		for j := range c.Service[i] {
			try(func(d *Case) { d.Service[i] = slices.Delete(d.Service[i], j, j+1) })
		}
	}
	if c.Resources != nil {
		try(func(d *Case) { d.Resources = nil })
	}
	for _, at := range c.documents() {
		if slot := at(c); *slot != nil && slot != &c.Trust {
			try(func(d *Case) { *at(d) = nil })
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c.Context)) {
		try(func(d *Case) { delete(d.Context, k) })
		for i := range c.Context[k] {
			if len(c.Context[k]) > 1 {
				try(func(d *Case) { d.Context[k] = slices.Delete(d.Context[k], i, i+1) })
			}
		}
	}
	for _, at := range c.everyDocument() {
		for _, change := range simplerDocuments(*at(c)) {
			try(func(d *Case) { *at(d) = change })
		}
	}
	return out
}

func (c *Case) clone() Case {
	var d Case
	b, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		panic(err)
	}
	return d
}

// documents gives the places of the policies of which there is one.
func (c *Case) documents() []func(*Case) *object {
	return []func(*Case) *object{
		func(d *Case) *object { return &d.Bucket }, func(d *Case) *object { return &d.Boundary },
		func(d *Case) *object { return &d.Session }, func(d *Case) *object { return &d.Trust },
	}
}

// everyDocument gives the places of all policies there are.
func (c *Case) everyDocument() []func(*Case) *object {
	var out []func(*Case) *object
	for _, at := range c.documents() {
		if *at(c) != nil {
			out = append(out, at)
		}
	}
	for i := range c.Identity {
		out = append(out, func(d *Case) *object { return &d.Identity[i] })
	}
	for i := range c.Service {
		for j := range c.Service[i] {
			out = append(out, func(d *Case) *object { return &d.Service[i][j] })
		}
	}
	for i := range c.Resources {
		for j := range c.Resources[i] {
			out = append(out, func(d *Case) *object { return &d.Resources[i][j] })
		}
	}
	return out
}

func list(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

// names gives the names of o in order, so that a run can be repeated.
func names(o object) []string { return slices.Sorted(maps.Keys(o)) }

// with gives a copy of o in which name is v, or is missing where v is nil.
func with(o object, name string, v any) object {
	o = maps.Clone(o)
	if o[name] = v; v == nil {
		delete(o, name)
	}
	return o
}

func simplerDocuments(d object) []object {
	var out []object
	statements := list(d["Statement"])
	if d["Version"] == "2008-10-17" {
		out = append(out, with(d, "Version", "2012-10-17"))
	}
	for i, s := range statements {
		if len(statements) > 1 {
			out = append(out, with(d, "Statement", slices.Delete(slices.Clone(statements), i, i+1)))
		}
		for _, simpler := range simplerStatements(s.(object)) {
			changed := slices.Clone(statements)
			changed[i] = simpler
			out = append(out, with(d, "Statement", changed))
		}
	}
	return out
}

func simplerStatements(s object) []object {
	var out []object
	for _, name := range []string{"Action", "Resource", "NotAction", "NotResource"} {
		if s[name] == nil {
			continue
		}
		if plain := name[len(name)-6:] == "Action"; s[name] != "*" || name[0] == 'N' {
			to := "Resource"
			if plain || name == "NotAction" {
				to = "Action"
			}
			if _, isTrust := s["Resource"]; to == "Resource" || isTrust || s["NotResource"] != nil {
				out = append(out, with(with(s, name, nil), to, "*"))
			} else if s[name] != "sts:*" {
				out = append(out, with(with(s, name, nil), to, "sts:*"))
			}
		}
		out = append(out, fewer(s, name, s[name])...)
	}
	if c, ok := s["Condition"].(object); ok {
		out = append(out, with(s, "Condition", nil))
		for _, op := range names(c) {
			test := c[op].(object)
			if len(c) > 1 {
				out = append(out, with(s, "Condition", with(c, op, nil)))
			}
			for _, key := range names(test) {
				v := test[key]
				if len(test) > 1 {
					out = append(out, with(s, "Condition", with(c, op, with(test, key, nil))))
				}
				for _, less := range fewer(test, key, v) {
					out = append(out, with(s, "Condition", with(c, op, less)))
				}
			}
		}
	}
	for _, name := range []string{"Principal", "NotPrincipal"} {
		if p, ok := s[name].(object); ok {
			for _, kind := range names(p) {
				v := p[kind]
				for _, less := range fewer(p, kind, v) {
					out = append(out, with(s, name, less))
				}
			}
		}
	}
	return out
}

// fewer gives o with one value less under name.
func fewer(o object, name string, v any) []object {
	var out []object
	l := list(v)
	for i := range l {
		if len(l) > 1 {
			out = append(out, with(o, name, slices.Delete(slices.Clone(l), i, i+1)))
		} else if _, isList := v.([]any); isList {
			out = append(out, with(o, name, l[0]))
		}
	}
	return out
}

// reduce makes a differing case as small as it can be while both engines go on
// to answer as they did.
func (s *simulator) reduce(c Case, ours, theirs string) (Case, error) {
	for {
		var next []Case
		for _, d := range c.smaller() {
			if got, err := d.ours(); err == nil && got == ours {
				next = append(next, d)
			}
		}
		answers, err := s.ask(next)
		if err != nil {
			return c, err
		}
		found := false
		for i, a := range answers {
			if a.word() == theirs {
				c, found = next[i], true
				break
			}
		}
		if !found {
			return c, nil
		}
	}
}
