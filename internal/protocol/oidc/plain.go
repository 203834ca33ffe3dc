package oidc

import (
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// plain reads what most tokens are, many times as fast as the decoder does: one
// object of texts of printable ASCII without escapes, and of whole numbers, with
// no space between them. It takes nothing that the decoder reads otherwise or
// refuses; whatever else it meets, faulty or not, is the decoder's.
type plain struct{ rest string }

func (p *plain) take(what string) (ok bool) {
	p.rest, ok = strings.CutPrefix(p.rest, what)
	return ok
}

func (p *plain) object() (o object, ok bool) {
	o = object{}
	for next := "{"; p.take(next); next = "," {
		name, ok := p.text()
		if _, twice := o[name]; !ok || twice || !p.take(":") {
			return nil, false
		}
		if o[name], ok = p.value(); !ok {
			return nil, false
		}
	}
	return o, len(o) > 0 && p.rest == "}"
}

func (p *plain) text() (text string, ok bool) {
	if p.take(`"`) {
		text, p.rest, ok = strings.Cut(p.rest, `"`)
	}
	return text, ok && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' || c == '\\' })
}

func (p *plain) value() (any, bool) {
	if strings.HasPrefix(p.rest, `"`) {
		return p.text()
	}
	number := p.rest
	p.rest = strings.TrimLeft(number, "0123456789") // a fraction that follows is not plain
	number = number[:len(number)-len(p.rest)]
	return json.Number(number), number != "" && number[0] != '0'
}
