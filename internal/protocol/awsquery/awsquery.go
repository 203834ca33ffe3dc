// Package awsquery reads and writes AWS's Query protocol, as STS and IAM speak
// it.
//
// Parameters come from the form, the query, or both; none may stand twice and
// no spelling may be ambiguous. It knows no operation. It must never drop a
// parameter in silence: an operation names those it knows and refuses others,
// since an unread one could have been a limit.
package awsquery

import (
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
)

// The limits of one request.
const (
	MaxBody       = 512 << 10 // bytes; design section 3
	maxParameters = 1000
)

// Version is the API version of STS, and what its XML namespace names.
const Version = "2011-06-15"

// API is one API of the Query protocol: its version, and the namespace of its
// answers.
type API struct {
	Version   string
	Namespace string
}

// The APIs that are spoken here.
var (
	STS = API{Version: Version, Namespace: "https://sts.amazonaws.com/doc/" + Version + "/"}
	IAM = API{Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/"}
)

// Parameters are the decoded parameters of one request.
type Parameters struct{ values map[string]string }

// Parse reads a request's parameters. rawQuery and body are as received; the
// body of a POST is read as a form, an absent one as no parameters. Faults:
// MalformedQueryString, InvalidParameterValue (a parameter twice).
func Parse[T string | []byte](method, rawQuery, contentType string, body T) (Parameters, error) {
	return ParseWithin(MaxBody, method, rawQuery, contentType, body)
}

// ParseWithin is Parse with another limit on the body, in bytes.
func ParseWithin[T string | []byte](most int, method, rawQuery, contentType string, body T) (Parameters, error) {
	p := Parameters{values: map[string]string{}}
	if len(body) > most || len(rawQuery) > MaxBody {
		return p, fault.Coded(fault.TooLarge, "RequestEntityTooLarge", fmt.Sprintf("The request is larger than %d bytes.", most))
	}
	if err := p.add(rawQuery); err != nil {
		return p, err
	}
	if len(body) == 0 {
		return p, nil
	}
	if method != "POST" {
		return p, malformed("only a POST has a body")
	}
	if kind, charset := mediaType(contentType); kind != Form || charset != "" && charset != "utf-8" {
		return p, malformed("the content type must be " + Form + " in UTF-8")
	}
	return p, p.add(string(body))
}

// Form is the media type of a form.
const Form = "application/x-www-form-urlencoded"

// IsForm reports whether a content type is that of a form, in any character set.
func IsForm(contentType string) bool {
	kind, _ := mediaType(contentType)
	return kind == Form
}

// mediaType reads a content type. What SDKs send is known by its letters.
func mediaType(contentType string) (kind, charset string) {
	switch contentType {
	case Form:
		return Form, ""
	case Form + "; charset=utf-8":
		return Form, "utf-8"
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return "", ""
	}
	return kind, strings.ToLower(parameters["charset"])
}

func malformed(why string) error {
	return fault.Coded(fault.Invalid, "MalformedQueryString", "The query string is malformed: "+why+".")
}

func (p *Parameters) add(encoded string) error {
	for encoded != "" {
		var pair string
		pair, encoded, _ = strings.Cut(encoded, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, ok1 := unescape(name)
		value, ok2 := unescape(value)
		if !ok1 || !ok2 || name == "" {
			return malformed("a parameter is not percent-encoded UTF-8")
		}
		if _, twice := p.values[name]; twice {
			return fault.Coded(fault.Invalid, "InvalidParameterValue", fmt.Sprintf("Parameter %q stands twice.", clip(name)))
		}
		if len(p.values) == maxParameters {
			return malformed("there are too many parameters")
		}
		p.values[name] = value
	}
	return nil
}

func unescape(s string) (string, bool) {
	if !strings.ContainsAny(s, "%+") {
		return s, utf8.ValidString(s) && !strings.Contains(s, "\x00")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '+':
			b.WriteByte(' ')
		case '%':
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	out := b.String()
	return out, utf8.ValidString(out) && !strings.Contains(out, "\x00")
}

// Get gives a parameter; false where it is absent.
func (p Parameters) Get(name string) (string, bool) {
	v, ok := p.values[name]
	return v, ok
}

// List gives the values of PREFIX.member.1SUFFIX, PREFIX.member.2SUFFIX and so
// on. It fails where the numbers have a gap.
func (p Parameters) List(prefix, suffix string) ([]string, error) {
	var out []string
	for {
		v, ok := p.values[fmt.Sprintf("%s.member.%d%s", prefix, len(out)+1, suffix)]
		if !ok {
			break
		}
		out = append(out, v)
	}
	n := 0
	for name := range p.values {
		if strings.HasPrefix(name, prefix+".") {
			n++
		}
	}
	// An empty list is sent as the bare name with nothing, or with .member.
	if n != len(out) {
		return nil, fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf("The members of %s must be numbered from 1 without a gap.", prefix))
	}
	return out, nil
}

// Only refuses every parameter but the named ones. A name that ends in "."
// stands for the lists under it. Signature parameters of a presigned request
// are the verifier's business and pass.
func (p Parameters) Only(names ...string) error {
	var unknown []string
	for name := range p.values {
		known := name == "Action" || name == "Version" || strings.HasPrefix(name, "X-Amz-")
		for _, n := range names {
			known = known || name == n || strings.HasSuffix(n, ".") && strings.HasPrefix(name, n)
		}
		if !known {
			unknown = append(unknown, clip(name))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fault.Coded(fault.Invalid, "ValidationError",
		fmt.Sprintf("Parameter %q is not one that this operation takes here.", unknown[0]))
}

func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
