package fastpath

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// maxHead bounds a head; a longer one is net/http's.
const maxHead = 8 << 10

// mayBegin reports whether a request that begins so may be of the grammar.
func mayBegin(b []byte) bool {
	for _, m := range [...]string{"GET /", "HEAD /", "PUT /"} {
		n := min(len(b), len(m))
		if string(b[:n]) == m[:n] {
			return true
		}
	}
	return false
}

// lineFeedAlone reports a line that does not end in CR LF, which net/http takes.
func lineFeedAlone(b []byte) bool {
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') {
			return true
		}
	}
	return false
}

// parse reads a head with its empty line. nil says that it is not of the
// grammar:
//
//	head    = ("GET" / "HEAD" / "PUT") SP "/"*VCHAR SP "HTTP/1.1" CRLF *(field CRLF) CRLF
//	field   = 1*(ALPHA / DIGIT / "-") ":" *(SP / VCHAR)
//
// Each name stands once, Host does and is a name or address with or without a
// port, Content-Length does for PUT only and is a plain number, Connection is
// "close" or "keep-alive", and no field is one that changes the framing or asks
// the connection for more.
func parse(text string) *http.Request {
	line, rest, ok := strings.Cut(text, "\r\n")
	method, target, ok2 := strings.Cut(line, " ")
	target, ok3 := strings.CutSuffix(target, " HTTP/1.1")
	if !ok || !ok2 || !ok3 || method != http.MethodGet && method != http.MethodHead && method != http.MethodPut || !visible(target, '!') || target == "" || target[0] != '/' {
		return nil
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := &http.Request{
		Method: method, URL: u, RequestURI: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: -1, Body: http.NoBody,
	}
	if !fields(r, rest) || r.Host == "" {
		return nil
	}
	if method != http.MethodPut {
		if r.ContentLength >= 0 {
			return nil
		}
		r.ContentLength = 0
	}
	if r.ContentLength < 0 {
		return nil
	}
	return r
}

// fields reads all fields, and the empty line behind them.
func fields(r *http.Request, text string) bool {
	n := strings.Count(text, "\n")
	values := make([]string, n)
	r.Header = make(http.Header, n)
	for {
		line, rest, ok := strings.Cut(text, "\r\n")
		if !ok {
			return false
		}
		if line == "" {
			return rest == ""
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " ")
		if !ok || !isName(name) || !visible(value, ' ') {
			return false
		}
		key := textproto.CanonicalMIMEHeaderKey(name)
		if _, twice := r.Header[key]; twice || !field(r, key, value) {
			return false
		}
		if key != "Host" {
			values[0] = value
			r.Header[key], values = values[:1:1], values[1:]
		}
		text = rest
	}
}

// field takes what one field says of the request itself.
func field(r *http.Request, key, value string) bool {
	switch key {
	case "Host":
		if r.Host != "" || !isHost(value) {
			return false
		}
		r.Host = value
	case "Content-Length":
		length, err := strconv.ParseInt(value, 10, 64)
		if err != nil || length < 0 || strconv.FormatInt(length, 10) != value {
			return false
		}
		r.ContentLength = length
	case "Connection":
		r.Close = value == "close"
		return r.Close || value == "keep-alive"
	case "Transfer-Encoding", "Te", "Trailer", "Expect", "Upgrade", "Pragma", "Http2-Settings", "Keep-Alive", "Proxy-Connection":
		return false
	}
	return true
}

// visible reports whether all is printable ASCII from least on.
func visible(s string, least byte) bool {
	for i := range len(s) {
		if s[i] < least || s[i] > '~' {
			return false
		}
	}
	return true
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

func isHost(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' && s[i] != '.' && s[i] != ':' {
			return false
		}
	}
	return s != ""
}
