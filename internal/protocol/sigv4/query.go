package sigv4

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// The query parameters of a presigned request (S3 API Reference,
// "Authenticating Requests: Using Query Parameters").
const (
	paramAlgorithm     = "X-Amz-Algorithm"
	paramCredential    = "X-Amz-Credential"
	paramDate          = "X-Amz-Date"
	paramExpires       = "X-Amz-Expires"
	paramSignedHeaders = "X-Amz-SignedHeaders"
	paramSignature     = "X-Amz-Signature"
	paramToken         = "X-Amz-Security-Token"
	paramPayload       = "X-Amz-Content-Sha256"
)

// credentialParams are all of them. A slice is never changed.
var credentialParams = []string{paramAlgorithm, paramCredential, paramDate, paramExpires, paramSignedHeaders, paramSignature, paramToken, paramPayload}

// CredentialParam reports whether a query parameter belongs to a presigned
// request's credential. Such parameters go no further than this package.
func CredentialParam(name string) bool { return slices.Contains(credentialParams, name) }

// queryCredential reports whether the query holds a credential. Another letter
// case of one of our names is refused: whatever stands behind us might read it.
func queryCredential(t Target) (bool, error) {
	found := false
	for _, q := range t.Query {
		switch {
		case CredentialParam(q.Name):
			found = true
		case misspelt(q.Name):
			return false, queryMalformed("The parameter " + clip(q.Name) + " must be spelt as in the documentation, letter case included")
		case q.Name == "AWSAccessKeyId" || q.Name == "Signature":
			return false, checkAlgorithm("AWS")
		}
	}
	return found, nil
}

func misspelt(name string) bool {
	return slices.ContainsFunc(credentialParams, func(n string) bool { return strings.EqualFold(n, name) })
}

func parseQuery(r *Request, target Target) (*Presented, error) {
	for _, name := range []string{"X-Amz-Security-Token", "X-Amz-Date"} {
		if len(r.Header[name]) > 0 {
			return nil, queryMalformed("The header " + name + " stands beside a credential in the query")
		}
	}
	p := &Presented{Place: Query, Target: target}
	get := func(name string) string { v, _ := target.Get(name); return v }
	for _, name := range []string{paramAlgorithm, paramCredential, paramSignature, paramDate, paramSignedHeaders} {
		if get(name) == "" {
			return nil, queryIncomplete()
		}
	}
	if a := get(paramAlgorithm); a != Algorithm {
		return nil, queryMalformed("X-Amz-Algorithm only supports \"" + Algorithm + "\"; Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not supported")
	}
	if err := p.scope(get(paramCredential)); err != nil {
		return nil, err
	}
	if err := p.signedHeaders(get(paramSignedHeaders)); err != nil {
		return nil, err
	}
	if !decodeSignature(&p.signature, get(paramSignature)) {
		return nil, queryMalformed("X-Amz-Signature is not 64 lower-case hexadecimal digits")
	}
	if err := p.date(get(paramDate)); err != nil {
		return nil, err
	}
	if _, given := target.Get(paramExpires); !given && p.Service != "s3" {
		p.Expires = maxSkew // S3 alone demands it: others hold the request to its date
	} else if err := p.expires(get(paramExpires)); err != nil {
		return nil, err
	}
	if p.Service != "s3" {
		// An address that was read by others must not act for days: STS and IAM
		// hold it to 15 minutes, whatever it asks for.
		p.Expires = min(p.Expires, maxSkew)
	}
	p.SessionToken = secret.New(get(paramToken))
	return p, p.queryPayload(r, get(paramPayload))
}

// queryPayload takes the claimed payload hash from the header or the query,
// never from both.
func (p *Presented) queryPayload(r *Request, inQuery string) error {
	inHeader, err := single(r.Header, "X-Amz-Content-Sha256")
	if err != nil {
		return err
	}
	if inHeader != "" && inQuery != "" {
		return queryMalformed("X-Amz-Content-Sha256 stands in the query and in a header")
	}
	p.PayloadHash = inHeader + inQuery
	return nil
}

func (p *Presented) expires(s string) error {
	n, err := strconv.ParseInt(s, 10, 32)
	p.Expires = time.Duration(n) * time.Second
	switch {
	case s == "":
		return queryIncomplete()
	case err != nil:
		return queryMalformed("X-Amz-Expires should be a number")
	case n < 0:
		return queryMalformed("X-Amz-Expires must be non-negative")
	case n == 0:
		return queryMalformed("X-Amz-Expires must be at least one second")
	case p.Expires > maxExpires:
		return queryMalformed("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	return nil
}

func queryMalformed(why string) error {
	return fault.Coded(fault.Invalid, "AuthorizationQueryParametersError", why)
}

func queryIncomplete() error {
	return queryMalformed("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
}

// decodeSignature takes exactly 64 lower-case hexadecimal digits.
func decodeSignature(into *[32]byte, s string) bool {
	if len(s) != 64 || !lowerHex(s) {
		return false
	}
	_, err := hex.Decode(into[:], []byte(s))
	return err == nil
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// clip bounds what an error repeats of outside input.
func clip(s string) string { return fault.Clip(s) }

func quoted(s string) string { return strconv.Quote(clip(s)) }
