package policy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// pattern is text with wildcards and variables, cut into tokens before any
// value is known: a substituted value can only ever be literal text.
type pattern []token

type token struct {
	kind tokenKind
	// text is the literal, or the variable's context key in lower case.
	text        string
	fallback    string
	hasFallback bool
	written     string // the variable's context key as the policy has it
}

type tokenKind uint8

const (
	literal  tokenKind = iota
	star               // any run of characters
	single             // any one character
	variable           // the value of a context key
)

// value is the literal text of a literal or variable token.
func (t *token) value(c *Context) (string, bool) {
	if t.kind != variable {
		return t.text, true
	}
	// Only a single-valued key can stand in text.
	if values := c.lookup(t.text); len(values) == 1 {
		return values[0], true
	} else if len(values) > 1 {
		return "", false
	}
	return t.fallback, t.hasFallback
}

func (p pattern) isLiteral() bool { return len(p) == 0 || len(p) == 1 && p[0].kind == literal }

func (p pattern) literalText() string {
	if len(p) == 0 {
		return ""
	}
	return p[0].text
}

// startsWithSegment reports whether all text that p matches is first, or
// first and a slash and more.
func (p pattern) startsWithSegment(first string) bool {
	if p.isLiteral() && p.literalText() == first {
		return true
	}
	return len(p) > 0 && p[0].kind == literal && strings.HasPrefix(p[0].text, first+"/")
}

// match reports whether the whole of s fits. With an unresolved variable
// nothing does.
func (p pattern) match(s string, c *Context) bool { return p.glob(s, c, false) }

// matchAction is match for actions: p is in lower case, s as sent.
func (p pattern) matchAction(s string) bool { return p.glob(s, nil, true) }

// glob goes back to the last star alone, which is enough, so the work is at
// most len(s) times the tokens.
func (p pattern) glob(s string, c *Context, lower bool) bool {
	i, pos := 0, 0
	lastStar, mark := -1, 0
	for {
		if i == len(p) {
			if pos == len(s) {
				return true
			}
		} else if p[i].kind == star {
			if i == len(p)-1 {
				return true
			}
			lastStar, mark = i, pos
			i++
			continue
		} else if n := p[i].step(s[pos:], c, lower); n >= 0 {
			pos += n
			i++
			continue
		}
		if lastStar < 0 || mark == len(s) {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[mark:])
		mark += n
		pos, i = mark, lastStar+1
	}
}

// step gives how many bytes of s the token takes, or -1. With lower, ASCII
// letters of s are read in lower case.
func (t *token) step(s string, c *Context, lower bool) int {
	if t.kind == single {
		if s == "" {
			return -1
		}
		_, n := utf8.DecodeRuneInString(s)
		return n
	}
	text, ok := t.value(c)
	if !ok || len(s) < len(text) || !lower && s[:len(text)] != text || lower && !lowerEqual(s[:len(text)], text) {
		return -1
	}
	return len(text)
}

func lowerEqual(s, lower string) bool {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// matchFold is match for patterns without wildcards, letter case aside.
func (p pattern) matchFold(s string, c *Context) bool {
	for i := range p {
		text, ok := p[i].value(c)
		if !ok {
			return false
		}
		if s, ok = cutFold(s, text); !ok {
			return false
		}
	}
	return s == ""
}

func cutFold(s, prefix string) (string, bool) {
	for prefix != "" {
		a, n := utf8.DecodeRuneInString(s)
		b, m := utf8.DecodeRuneInString(prefix)
		if n == 0 || !equalFold(a, b) {
			return "", false
		}
		s, prefix = s[n:], prefix[m:]
	}
	return s, true
}

func equalFold(a, b rune) bool {
	if a == b {
		return true
	}
	for r := unicode.SimpleFold(a); r != a; r = unicode.SimpleFold(r) {
		if r == b {
			return true
		}
	}
	return false
}
