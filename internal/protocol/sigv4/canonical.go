package sigv4

import (
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// appendCanonicalRequest builds the canonical request (S3 API Reference,
// "Signature Calculations": task 1).
func (p *Presented) appendCanonicalRequest(b []byte, r *Request, payloadHash string) ([]byte, error) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	// S3 encodes the path once and never normalises it.
	path, ok := Unescape(p.Target.RawPath, false)
	if !ok {
		return nil, invalidURI("the path has a broken percent encoding")
	}
	b = AppendEscaped(b, path, true)
	b = append(b, '\n')
	b = appendCanonicalQuery(b, p.Target.Query)
	b = append(b, '\n')
	for _, name := range p.SignedHeaders {
		b = append(b, name...)
		b = append(b, ':')
		var ok bool
		if b, ok = appendHeaderValue(b, r, name); !ok {
			return nil, fault.Coded(fault.Unauthenticated, "SignatureDoesNotMatch", "The signed header "+clip(name)+" is not in the request").
				WithMend("look for a proxy between client and Carnet that drops or renames it")
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range p.SignedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, payloadHash...), nil
}

// appendCanonicalQuery appends the parameters encoded and sorted by encoded
// name, without the signature itself. No name occurs twice, so values never
// decide the order.
func appendCanonicalQuery(b []byte, query []Param) []byte {
	if len(query) == 0 {
		return b
	}
	pairs := make([]string, 0, len(query))
	var buf []byte
	for _, q := range query {
		if q.Name == paramSignature {
			continue
		}
		buf = AppendEscaped(buf[:0], q.Name, false)
		buf = append(buf, '=')
		buf = AppendEscaped(buf, q.Value, false)
		pairs = append(pairs, string(buf))
	}
	slices.SortFunc(pairs, func(x, y string) int {
		xn, _, _ := strings.Cut(x, "=")
		yn, _, _ := strings.Cut(y, "=")
		return strings.Compare(xn, yn)
	})
	for i, s := range pairs {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, s...)
	}
	return b
}

// appendHeaderValue appends the values of a signed header, each trimmed and
// with inner runs of spaces collapsed, joined by commas. False when absent.
func appendHeaderValue(b []byte, r *Request, name string) ([]byte, bool) {
	if name == "host" {
		return appendTrimmed(b, r.Host), true
	}
	var stack [64]byte
	values := r.Header[string(appendCanonicalName(stack[:0], name))]
	if len(values) == 0 {
		if name == "content-length" && r.ContentLength >= 0 {
			return strconv.AppendInt(b, r.ContentLength, 10), true
		}
		return b, false
	}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendTrimmed(b, v)
	}
	return b, true
}

func appendTrimmed(b []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	if !strings.Contains(v, "  ") {
		return append(b, v...)
	}
	space := false
	for i := range len(v) {
		if v[i] == ' ' && space {
			continue
		}
		space = v[i] == ' '
		b = append(b, v[i])
	}
	return b
}

// appendCanonicalName writes a lower-case header name as net/http keys it.
func appendCanonicalName(b []byte, name string) []byte {
	upper := true
	for i := range len(name) {
		c := name[i]
		if upper && c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper = c == '-'
		b = append(b, c)
	}
	return b
}

// unsigned gives the first x-amz-* header that is present and not signed.
func (p *Presented) unsigned(r *Request) string {
	for name, values := range r.Header {
		if len(values) == 0 || len(name) < 6 || !strings.EqualFold(name[:6], "x-amz-") {
			continue
		}
		if !slices.ContainsFunc(p.SignedHeaders, func(s string) bool { return strings.EqualFold(s, name) }) {
			return name
		}
	}
	return ""
}
