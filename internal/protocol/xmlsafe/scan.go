package xmlsafe

import (
	"bytes"
	"regexp"
	"strconv"
	"unicode/utf8"
)

const (
	xmlNamespace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsNamespace = "http://www.w3.org/2000/xmlns/"

	space = `[ \t\r\n]+`
	is    = `[ \t\r\n]*=[ \t\r\n]*`
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

// declared is the XML declaration as it is admitted: version 1.0, in UTF-8.
var declared = regexp.MustCompile(`^<\?xml` + space + `version` + is + `("1\.0"|'1\.0')(` + space + `encoding` + is + `(?i:"utf-8"|'utf-8'))?(` +
	space + `standalone` + is + `("yes"|'yes'|"no"|'no'))?[ \t\r\n]*\?>`)

// declaration reads <?xml …?>, which may stand only at the very beginning.
func (s *scanner) declaration() *Error {
	if !s.has("<?xml") || (len(s.src) > 5 && !isSpace(s.src[5])) {
		return nil
	}
	if s.at = len(declared.Find(s.src[:min(len(s.src), 200)])); s.at == 0 {
		return s.fail(Malformed, "the XML declaration is malformed; only version 1.0 in UTF-8 is taken")
	}
	return nil
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
		return s.section("<![CDATA[", "]]>", "]]>")
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
	return s.section("<!--", "--", "-->")
}

// section reads from begin to the first stop, which has to be that of end.
func (s *scanner) section(begin, stop, end string) *Error {
	s.at += len(begin)
	n := bytes.Index(s.rest(), []byte(stop))
	if n < 0 || !bytes.HasPrefix(s.rest()[n:], []byte(end)) || (n == 0 && stop == end) {
		return s.fail(Malformed, "a comment or CDATA section without content or end, or with -- inside")
	}
	for stop := s.at + n; s.at < stop; {
		if err := s.char(); err != nil {
			return err
		}
	}
	s.at += len(end)
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isChar(r rune) bool {
	low := r < 0x20 && r != 0x9 && r != 0xA && r != 0xD
	return !low && (r < 0xD800 || r > 0xDFFF) && r != 0xFFFE && r != 0xFFFF && r <= 0x10FFFF
}

// isCharReference holds for #65 and #x41 where the character is one.
func isCharReference(name []byte) bool {
	digits, numeric := bytes.CutPrefix(name, []byte("#"))
	base := 10
	if hex, ok := bytes.CutPrefix(digits, []byte("x")); ok {
		digits, base = hex, 16
	}
	r, err := strconv.ParseUint(string(digits), base, 31)
	return numeric && err == nil && isChar(rune(r))
}
