package xmlsafe

import (
	"bytes"
	"unicode/utf8"
)

const (
	xmlNamespace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsNamespace = "http://www.w3.org/2000/xmlns/"
)

// Scan reports the first rule that src breaks, in one pass and constant memory
// beside the stack of open elements.
func Scan(src []byte, l Limits) error {
	if len(src) > l.Bytes {
		return &Error{Reason: TooLarge, Detail: "over the limit of bytes", Offset: l.Bytes}
	}
	s := scanner{src: src, limits: l}
	if err := s.document(); err != nil {
		return err
	}
	return nil
}

// span is a piece of the source.
type span struct{ from, to int }

// binding is one namespace declaration in scope.
type binding struct{ prefix, uri []byte }

// open is an element whose end tag has not come.
type open struct {
	name   span
	inside int // bindings in scope outside it
}

type attribute struct{ name, value span }

type scanner struct {
	src        []byte
	at         int
	limits     Limits
	stack      []open
	scope      []binding
	attributes []attribute // of the element being read
	elements   int
	attrTotal  int
}

func (s *scanner) fail(r Reason, detail string) *Error {
	return &Error{Reason: r, Detail: detail, Offset: s.at}
}

func (s *scanner) rest() []byte { return s.src[s.at:] }

func (s *scanner) has(prefix string) bool {
	return len(s.src)-s.at >= len(prefix) && string(s.src[s.at:s.at+len(prefix)]) == prefix
}

func (s *scanner) bytes(p span) []byte { return s.src[p.from:p.to] }

func (s *scanner) space() bool {
	from := s.at
	for s.at < len(s.src) && isSpace(s.src[s.at]) {
		s.at++
	}
	return s.at > from
}

// document reads prolog, root and what follows it.
func (s *scanner) document() *Error {
	if err := s.declaration(); err != nil {
		return err
	}
	if err := s.outside(); err != nil {
		return err
	}
	if s.at == len(s.src) {
		return s.fail(Malformed, "no root element")
	}
	if err := s.element(); err != nil {
		return err
	}
	for len(s.stack) > 0 {
		if err := s.content(); err != nil {
			return err
		}
	}
	if err := s.outside(); err != nil {
		return err
	}
	if s.at < len(s.src) {
		return s.fail(Trailing, "a second root element")
	}
	return nil
}

// declaration reads <?xml …?>, which may stand only at the very beginning.
func (s *scanner) declaration() *Error {
	if !s.has("<?xml") || (len(s.src) > 5 && !isSpace(s.src[5])) {
		return nil
	}
	end := bytes.Index(s.src, []byte("?>"))
	if end < 0 {
		return s.fail(Malformed, "the XML declaration has no end")
	}
	s.at = 5
	order := 0 // version, encoding, standalone: each at most once, in this order
	for {
		spaced := s.space()
		if s.at == end {
			break
		}
		name, value, err := s.pair(end)
		if err != nil {
			return err
		}
		rank := declarationRank(name, value)
		if !spaced || rank <= order || (order == 0 && rank != 1) {
			return s.fail(Malformed, "only version 1.0 in UTF-8 is taken")
		}
		order = rank
	}
	if order == 0 {
		return s.fail(Malformed, "the XML declaration has no version")
	}
	s.at = end + 2
	return nil
}

// declarationRank gives the place of a part of the XML declaration, 0 when it
// is not admitted.
func declarationRank(name, value []byte) int {
	switch string(name) {
	case "version":
		if string(value) == "1.0" {
			return 1
		}
	case "encoding":
		if bytes.EqualFold(value, []byte("utf-8")) {
			return 2
		}
	case "standalone":
		if v := string(value); v == "yes" || v == "no" {
			return 3
		}
	}
	return 0
}

// pair reads name="value" of the XML declaration.
func (s *scanner) pair(end int) (name, value []byte, err *Error) {
	from := s.at
	for s.at < end && s.src[s.at] >= 'a' && s.src[s.at] <= 'z' {
		s.at++
	}
	name = s.src[from:s.at]
	s.space()
	if s.at >= end || s.src[s.at] != '=' {
		return nil, nil, s.fail(Malformed, "the XML declaration is malformed")
	}
	s.at++
	s.space()
	if s.at >= end || (s.src[s.at] != '"' && s.src[s.at] != '\'') {
		return nil, nil, s.fail(Malformed, "the XML declaration is malformed")
	}
	quote := s.src[s.at]
	s.at++
	n := bytes.IndexByte(s.src[s.at:end], quote)
	if n < 0 {
		return nil, nil, s.fail(Malformed, "the XML declaration is malformed")
	}
	value = s.src[s.at : s.at+n]
	s.at += n + 1
	return name, value, nil
}

// outside reads what may stand before and after the root: white space and,
// where admitted, comments.
func (s *scanner) outside() *Error {
	for {
		s.space()
		switch {
		case s.at == len(s.src):
			return nil
		case s.src[s.at] != '<':
			return s.fail(Trailing, "text")
		case s.has("<!--"):
			if err := s.comment(); err != nil {
				return err
			}
		case s.has("<!"):
			return s.fail(Declared, "DOCTYPE and its kin are not read")
		case s.has("<?"):
			return s.fail(Instructed, "processing instructions are not read")
		default:
			return nil
		}
	}
}

// content reads one piece of an open element.
func (s *scanner) content() *Error {
	if err := s.text(); err != nil {
		return err
	}
	switch {
	case s.at == len(s.src):
		return s.fail(Malformed, "the document ends inside an element")
	case s.has("</"):
		return s.end()
	case s.has("<!--"):
		return s.comment()
	case s.has("<![CDATA["):
		return s.cdata()
	case s.has("<!"):
		return s.fail(Declared, "declarations are not read")
	case s.has("<?"):
		return s.fail(Instructed, "processing instructions are not read")
	default:
		return s.element()
	}
}

// text reads character data up to the next "<".
func (s *scanner) text() *Error {
	for s.at < len(s.src) {
		switch c := s.src[s.at]; {
		case c == '<':
			return nil
		case c == '&':
			if err := s.reference(); err != nil {
				return err
			}
		case c == ']' && s.has("]]>"):
			return s.fail(Malformed, "]]> in text")
		default:
			if err := s.char(); err != nil {
				return err
			}
		}
	}
	return nil
}

// char reads one character of the Char production (XML 1.0 section 2.2).
func (s *scanner) char() *Error {
	c := s.src[s.at]
	if c < utf8.RuneSelf {
		if c < 0x20 && !isSpace(c) {
			return s.fail(Malformed, "a control character")
		}
		s.at++
		return nil
	}
	r, n := utf8.DecodeRune(s.rest())
	if r == utf8.RuneError && n <= 1 {
		return s.fail(NotUTF8, "bytes that are no UTF-8")
	}
	if !isChar(r) {
		return s.fail(Malformed, "a character that XML forbids")
	}
	s.at += n
	return nil
}

// reference reads one of the five entities or a character reference. All
// others need a document type and are refused.
func (s *scanner) reference() *Error {
	const most = 10 // &#x10FFFF;
	window := s.rest()
	if len(window) > most {
		window = window[:most]
	}
	n := bytes.IndexByte(window, ';')
	if n < 0 {
		return s.fail(Malformed, "a reference without end")
	}
	switch name := window[1:n]; string(name) {
	case "lt", "gt", "amp", "apos", "quot":
	default:
		if !isCharReference(name) {
			return s.fail(Malformed, "an entity that is not predefined, or a bad character reference")
		}
	}
	s.at += n + 1
	return nil
}

func (s *scanner) comment() *Error {
	if !s.limits.Comments {
		return s.fail(Commented, "comments are not admitted here")
	}
	from := s.at + 4
	n := bytes.Index(s.src[from:], []byte("--"))
	if n < 0 || from+n+2 >= len(s.src) || s.src[from+n+2] != '>' {
		return s.fail(Malformed, "a comment without end, or with -- inside")
	}
	s.at = from
	for s.at < from+n {
		if err := s.char(); err != nil {
			return err
		}
	}
	s.at = from + n + 3
	return nil
}

func (s *scanner) cdata() *Error {
	from := s.at + len("<![CDATA[")
	n := bytes.Index(s.src[from:], []byte("]]>"))
	if n <= 0 {
		return s.fail(Malformed, "a CDATA section without content or end")
	}
	s.at = from
	for s.at < from+n {
		if err := s.char(); err != nil {
			return err
		}
	}
	s.at = from + n + 3
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isChar(r rune) bool {
	switch {
	case r == 0x9, r == 0xA, r == 0xD:
		return true
	case r < 0x20, r >= 0xD800 && r <= 0xDFFF, r == 0xFFFE, r == 0xFFFF:
		return false
	}
	return r <= 0x10FFFF
}

// isCharReference holds for #65 and #x41 where the character is one.
func isCharReference(name []byte) bool {
	if len(name) < 2 || name[0] != '#' {
		return false
	}
	digits, base := name[1:], rune(10)
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	if len(digits) == 0 || len(digits) > 7 {
		return false
	}
	var r rune
	for _, d := range digits {
		var v rune
		switch {
		case d >= '0' && d <= '9':
			v = rune(d - '0')
		case base == 16 && d >= 'a' && d <= 'f':
			v = rune(d-'a') + 10
		case base == 16 && d >= 'A' && d <= 'F':
			v = rune(d-'A') + 10
		default:
			return false
		}
		r = r*base + v
	}
	return isChar(r)
}
