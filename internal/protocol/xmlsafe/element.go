package xmlsafe

import "bytes"

// element reads a start tag, with its attributes and declarations.
func (s *scanner) element() *Error {
	s.elements++
	if s.elements > s.limits.Elements {
		return s.fail(TooMany, "too many elements")
	}
	if len(s.stack)+1 > s.limits.Depth {
		return s.fail(TooMany, "elements are nested too deep")
	}
	s.at++ // "<"
	name, err := s.name()
	if err != nil {
		return err
	}
	s.attributes = s.attributes[:0]
	inside := len(s.scope)
	for {
		spaced := s.space()
		if s.at == len(s.src) {
			return s.fail(Malformed, "a start tag without end")
		}
		if s.src[s.at] == '>' || s.src[s.at] == '/' {
			break
		}
		if !spaced {
			return s.fail(Malformed, "no space before an attribute")
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
	if err := s.resolve(name); err != nil {
		return err
	}
	if s.src[s.at] == '/' {
		if !s.has("/>") {
			return s.fail(Malformed, "a stray slash in a start tag")
		}
		s.at += 2
		s.scope = s.scope[:inside]
		return nil
	}
	s.at++
	s.stack = append(s.stack, open{name: name, inside: inside})
	return nil
}

// end reads an end tag, which has to be that of the element opened last.
func (s *scanner) end() *Error {
	last := s.stack[len(s.stack)-1]
	s.at += 2
	name, err := s.name()
	if err != nil {
		return err
	}
	if !bytes.Equal(s.bytes(name), s.bytes(last.name)) {
		return s.fail(Malformed, "an end tag that closes another element")
	}
	s.space()
	if s.at == len(s.src) || s.src[s.at] != '>' {
		return s.fail(Malformed, "an end tag without end")
	}
	s.at++
	s.stack = s.stack[:len(s.stack)-1]
	s.scope = s.scope[:last.inside]
	return nil
}

// name reads a qualified name: one or two ASCII names, joined by one colon.
func (s *scanner) name() (span, *Error) {
	from := s.at
	for part := 0; ; part++ {
		start := s.at
		for s.at < len(s.src) && isNameByte(s.src[s.at], s.at == start) {
			s.at++
		}
		if s.at == start {
			return span{}, s.fail(Malformed, "a name that is not plain ASCII")
		}
		if part == 1 || s.at == len(s.src) || s.src[s.at] != ':' {
			return span{from, s.at}, nil
		}
		s.at++
	}
}

func isNameByte(c byte, first bool) bool {
	letter := c == '_' || (c|0x20 >= 'a' && c|0x20 <= 'z')
	return letter || (!first && (c == '-' || c == '.' || (c >= '0' && c <= '9')))
}

// attribute reads name="value" and, for a namespace declaration, binds it.
func (s *scanner) attribute() *Error {
	s.attrTotal++
	if s.attrTotal > s.limits.Attributes || len(s.attributes) >= s.limits.PerElement {
		return s.fail(TooMany, "too many attributes")
	}
	name, err := s.name()
	if err != nil {
		return err
	}
	s.space()
	if s.at == len(s.src) || s.src[s.at] != '=' {
		return s.fail(Malformed, "an attribute without value")
	}
	s.at++
	s.space()
	value, err := s.value()
	if err != nil {
		return err
	}
	for _, other := range s.attributes {
		if bytes.Equal(s.bytes(other.name), s.bytes(name)) {
			return s.fail(Malformed, "an attribute twice")
		}
	}
	s.attributes = append(s.attributes, attribute{name, value})
	prefix, local := s.split(name)
	switch {
	case string(prefix) == "xmlns":
		return s.bind(local, s.bytes(value))
	case prefix == nil && string(local) == "xmlns":
		return s.bind(nil, s.bytes(value))
	}
	return nil
}

// value reads a quoted attribute value.
func (s *scanner) value() (span, *Error) {
	if s.at == len(s.src) || (s.src[s.at] != '"' && s.src[s.at] != '\'') {
		return span{}, s.fail(Malformed, "an attribute value without quotes")
	}
	quote := s.src[s.at]
	s.at++
	from := s.at
	for s.at < len(s.src) {
		switch c := s.src[s.at]; c {
		case quote:
			s.at++
			return span{from, s.at - 1}, nil
		case '<':
			return span{}, s.fail(Malformed, "< in an attribute value")
		case '&':
			if err := s.reference(); err != nil {
				return span{}, err
			}
		default:
			if err := s.char(); err != nil {
				return span{}, err
			}
		}
	}
	return span{}, s.fail(Malformed, "an attribute value without end")
}

func (s *scanner) split(name span) (prefix, local []byte) {
	b := s.bytes(name)
	if i := bytes.IndexByte(b, ':'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return nil, b
}

// bind takes a namespace declaration. A nil prefix is the default namespace,
// the only one that may be undeclared again.
func (s *scanner) bind(prefix, uri []byte) *Error {
	switch {
	case len(s.scope) >= s.limits.Prefixes:
		return s.fail(TooMany, "too many namespaces in scope")
	case string(prefix) == "xmlns", string(uri) == xmlnsNamespace:
		return s.fail(Namespaced, "a reserved namespace")
	case (string(prefix) == "xml") != (string(uri) == xmlNamespace):
		return s.fail(Namespaced, "a reserved namespace")
	case len(uri) == 0 && prefix == nil:
	case !isAbsolute(uri):
		return s.fail(Namespaced, "a namespace that is no absolute URI")
	}
	s.scope = append(s.scope, binding{prefix, uri})
	return nil
}

// resolve checks that each prefix of the start tag is bound, and that no two
// attributes are one by namespace.
func (s *scanner) resolve(name span) *Error {
	if prefix, _ := s.split(name); prefix != nil {
		if _, ok := s.lookup(prefix); !ok {
			return s.fail(Namespaced, "an undeclared prefix")
		}
	}
	for i, a := range s.attributes {
		prefix, local := s.split(a.name)
		if prefix == nil || string(prefix) == "xmlns" {
			continue
		}
		uri, ok := s.lookup(prefix)
		if !ok {
			return s.fail(Namespaced, "an undeclared prefix")
		}
		for _, b := range s.attributes[:i] {
			p, l := s.split(b.name)
			if p == nil || string(p) == "xmlns" || !bytes.Equal(l, local) {
				continue
			}
			if u, _ := s.lookup(p); bytes.Equal(u, uri) {
				return s.fail(Malformed, "an attribute twice, by two prefixes")
			}
		}
	}
	return nil
}

func (s *scanner) lookup(prefix []byte) (uri []byte, ok bool) {
	switch string(prefix) {
	case "xml":
		return []byte(xmlNamespace), true
	case "xmlns":
		return nil, false // no element or attribute may be in it
	}
	for i := len(s.scope) - 1; i >= 0; i-- {
		if bytes.Equal(s.scope[i].prefix, prefix) {
			return s.scope[i].uri, true
		}
	}
	return nil, false
}

// isAbsolute holds for URIs with a scheme, written in plain printable ASCII
// without references: canonicalizers disagree about all others.
func isAbsolute(uri []byte) bool {
	colon := bytes.IndexByte(uri, ':')
	if colon < 1 {
		return false
	}
	for i, c := range uri {
		switch {
		case i < colon && !isNameByte(c, i == 0):
			return false
		case c <= 0x20, c >= 0x7f, bytes.IndexByte([]byte(`"<>\^{|}&`+"`"), c) >= 0:
			return false
		}
	}
	return true
}
