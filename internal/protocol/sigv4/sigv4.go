// Package sigv4 verifies AWS Signature Version 4: requests signed in the
// Authorization header, in the query or in the fields of a form, and the bodies
// that hang on them.
//
// It is the verifying side only and pure: bytes and time in, facts out. A
// request is parsed once (Parse), the key is looked up by the caller, and
// Verify holds the signature to it; nothing of a Presented may be used to
// decide anything but the key look-up before Verify has returned nil.
//
// It must never accept two places of credentials, a repeated parameter, an
// unsigned x-amz-* header, or another algorithm than AWS4-HMAC-SHA256. Names of
// errors are those of Amazon S3 (API Reference, "Error responses").
package sigv4

import (
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// Algorithm is the one signing algorithm that is accepted.
const Algorithm = "AWS4-HMAC-SHA256"

// TimeFormat is the form of X-Amz-Date: 20060102T150405Z.
const TimeFormat = "20060102T150405Z"

const (
	maxAuthorization = 8 << 10            // bytes of an Authorization header
	maxSkew          = 15 * time.Minute   // between X-Amz-Date and our clock
	maxExpires       = 7 * 24 * time.Hour // longest life of a presigned URL
)

// Request is what was received, untouched.
type Request struct {
	Method string
	Target string // the request-target as received: path[?query]
	Host   string
	// Header has canonical names as net/http gives them. Host is not in it.
	Header        map[string][]string
	ContentLength int64 // -1 when unknown
}

// Place says where the credential stood.
type Place int

// The places of credentials. A request has at most one.
const (
	None Place = iota
	Header
	Query
	Form
)

// String gives the name that s3:authType uses.
func (p Place) String() string {
	return [...]string{"", "REST-HEADER", "REST-QUERY-STRING", "POST"}[p]
}

// Presented is a credential as presented: parsed and well formed, proven only
// once Verify has returned nil.
type Presented struct {
	Place       Place
	AccessKeyID string
	Date        string // of the credential scope: YYYYMMDD
	Region      string
	Service     string
	// SignedHeaders are in lower case, strictly increasing.
	SignedHeaders []string
	Time          time.Time
	Expires       time.Duration // presigned only
	SessionToken  secret.Text
	// PayloadHash is x-amz-content-sha256 as claimed; "" when absent.
	PayloadHash string
	// Target is the parsed request-target, parsed once for all readers.
	Target Target

	signature [32]byte
	amzDate   string
}

// Parse reads the credential of r. A request without one gives (nil, nil).
// Errors are faults with the code that S3 uses.
func Parse(r *Request) (*Presented, error) {
	target, err := ParseTarget(r.Target)
	if err != nil {
		return nil, err
	}
	inQuery, err := queryCredential(target)
	if err != nil {
		return nil, err
	}
	authorization := r.Header["Authorization"]
	switch {
	case len(authorization) > 1, len(authorization) == 1 && inQuery:
		return nil, twoPlaces()
	case len(authorization) == 1:
		return parseHeader(r, target, authorization[0])
	case inQuery:
		return parseQuery(r, target)
	}
	return nil, nil
}

func twoPlaces() error {
	return fault.Coded(fault.Invalid, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
}

func parseHeader(r *Request, target Target, authorization string) (*Presented, error) {
	p := &Presented{Place: Header, Target: target}
	fields, err := authorizationFields(authorization)
	if err != nil {
		return nil, err
	}
	if err := p.scope(fields.credential); err != nil {
		return nil, err
	}
	if err := p.signedHeaders(fields.signedHeaders); err != nil {
		return nil, err
	}
	if !decodeSignature(&p.signature, fields.signature) {
		return nil, headerMalformed("the Signature is not 64 lower-case hexadecimal digits")
	}
	date, err := single(r.Header, "X-Amz-Date")
	if err != nil {
		return nil, err
	}
	if err := p.date(date); err != nil {
		return nil, err
	}
	token, err := single(r.Header, "X-Amz-Security-Token")
	if err != nil {
		return nil, err
	}
	p.SessionToken = secret.New(token)
	p.PayloadHash, err = single(r.Header, "X-Amz-Content-Sha256")
	return p, err
}

// authorizationFields splits "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…,
// Signature=…": each field exactly once, in any order, none beside them.
func authorizationFields(v string) (f struct{ credential, signedHeaders, signature string }, err error) {
	if len(v) > maxAuthorization {
		return f, headerMalformed("the Authorization header is too long")
	}
	algorithm, rest, ok := strings.Cut(v, " ")
	if !ok {
		return f, fault.Coded(fault.Invalid, "InvalidArgument", "Authorization header is invalid -- one and only one ' ' (space) required.").With("ArgumentName", "Authorization").With("ArgumentValue", v)
	}
	if err := checkAlgorithm(algorithm); err != nil {
		return f, err
	}
	names := [...]string{"Credential", "SignedHeaders", "Signature"}
	into := [...]*string{&f.credential, &f.signedHeaders, &f.signature}
	parts := 0
	for field := range strings.SplitSeq(rest, ",") {
		field = strings.Trim(field, " ")
		name, value, _ := strings.Cut(field, "=")
		if value == "" {
			return f, headerMalformed("the authorization component " + quoted(field) + " is malformed.")
		}
		if i := slices.Index(names[:], name); i >= 0 {
			*into[i] = value
		}
		parts++
	}
	if parts != len(names) {
		return f, headerMalformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
	}
	for i, value := range into { // one that is repeated leaves another missing
		if *value == "" {
			return f, headerMalformed("missing " + names[i] + ".")
		}
	}
	return f, nil
}

func checkAlgorithm(a string) error {
	switch a {
	case Algorithm:
		return nil
	case "AWS4-ECDSA-P256-SHA256":
		return fault.Coded(fault.Unsupported, "InvalidRequest", "Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported. Please use AWS4-HMAC-SHA256.")
	case "AWS":
		return fault.Coded(fault.Unsupported, "InvalidRequest", "The authorization mechanism you have provided is not supported (Signature Version 2). Please use AWS4-HMAC-SHA256.").WithMend("for links and forms set signature_version = s3v4, as the profiles of carnet configure do")
	default:
		return fault.Coded(fault.Invalid, "InvalidArgument", "Unsupported Authorization Type").With("ArgumentName", "Authorization").With("ArgumentValue", a)
	}
}

// scope reads AccessKeyID/YYYYMMDD/region/service/aws4_request.
func (p *Presented) scope(credential string) error {
	f := strings.Split(credential, "/")
	if len(f) != 5 {
		return p.badScope("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	if f[4] != "aws4_request" {
		return p.badScope("incorrect terminal " + quoted(f[4]) + ". This endpoint uses \"aws4_request\".")
	}
	if _, err := time.Parse("20060102", f[1]); err != nil {
		return p.badScope("incorrect date format " + quoted(f[1]) + ". This date in the credential must be in the format \"yyyyMMdd\".")
	}
	p.AccessKeyID, p.Date, p.Region, p.Service = f[0], f[1], f[2], f[3]
	if !printable(p.AccessKeyID, 128) || !printable(p.Region, 64) || !printable(p.Service, 64) {
		return p.badScope("the Credential has an empty, overlong or unprintable field")
	}
	return nil
}

// signedHeaders holds the list strictly increasing, which refuses repeated
// names too, and demands host.
func (p *Presented) signedHeaders(list string) error {
	p.SignedHeaders = strings.Split(list, ";")
	host := false
	for i, name := range p.SignedHeaders {
		if !headerName(name) {
			return p.malformed("SignedHeaders has a name that is empty, not in lower case, or not a header name")
		}
		if i > 0 && p.SignedHeaders[i-1] >= name {
			return p.malformed("SignedHeaders is not sorted or repeats a name")
		}
		host = host || name == "host"
	}
	if !host {
		return p.malformed("SignedHeaders must contain host")
	}
	return nil
}

func (p *Presented) date(amzDate string) error {
	t, err := time.Parse(TimeFormat, amzDate)
	switch {
	case (err != nil || len(amzDate) != len(TimeFormat)) && p.Place == Header:
		return fault.Coded(fault.Denied, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header.")
	case err != nil, len(amzDate) != len(TimeFormat):
		return p.malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	case p.Date != amzDate[:8]:
		return p.malformed("Invalid credential date " + quoted(p.Date) + ". This date is not the same as X-Amz-Date: " + quoted(amzDate[:8]) + ".")
	}
	p.Time, p.amzDate = t, amzDate
	return nil
}

func headerMalformed(why string) error {
	return fault.Coded(fault.Invalid, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+why)
}

// single gives the one value of a header, "" when absent.
func single(h map[string][]string, name string) (string, error) {
	v := h[name]
	if len(v) > 1 {
		return "", fault.Coded(fault.Invalid, "InvalidArgument", "The header "+name+" is given more than once")
	}
	if len(v) == 0 {
		return "", nil
	}
	return v[0], nil
}

func printable(s string, most int) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// headerName holds RFC 9110's token, in lower case.
func headerName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
