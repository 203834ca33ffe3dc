package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// Unsigned is the payload hash of a request that does not sign its body.
const Unsigned = "UNSIGNED-PAYLOAD"

// EmptyHash is the SHA-256 of nothing, in hex.
const EmptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Scope is what a credential must have been made for.
type Scope struct{ Service, Region string }

// Key is a derived signing key: good for one day, region and service.
type Key struct{ k [32]byte }

// DeriveKey makes the signing key (S3 API Reference, "Signature
// Calculations": task 3). Date is YYYYMMDD.
func DeriveKey(secretKey secret.Text, date, region, service string) Key {
	k := mac([]byte("AWS4"+secretKey.Reveal()), []byte(date))
	k = mac(k[:], []byte(region))
	k = mac(k[:], []byte(service))
	return Key{k: mac(k[:], []byte("aws4_request"))}
}

func mac(key, data []byte) (out [32]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	h.Sum(out[:0])
	return out
}

// Verify holds the signature, the scope and the times to the secret key.
//
// For service "s3", payloadHash is the claimed one, empty standing for that: the
// body is held to it while it streams (Body). For any other service it is the
// hex SHA-256 of the body as received, which has been read already.
func (p *Presented) Verify(r *Request, secretKey secret.Text, s Scope, payloadHash string, now time.Time) error {
	return p.VerifyWith(r, DeriveKey(secretKey, p.Date, p.Region, p.Service), s, payloadHash, now)
}

// VerifyWith is Verify with the signing key already derived.
func (p *Presented) VerifyWith(r *Request, key Key, s Scope, payloadHash string, now time.Time) error {
	if err := p.Fits(s, now); err != nil {
		return err
	}
	payloadHash, err := p.canonicalPayload(s, payloadHash)
	if err != nil {
		return err
	}
	if name := p.unsigned(r); name != "" {
		return notSigned(name)
	}
	var stack [2048]byte
	canonical, err := p.appendCanonicalRequest(stack[:0], r, payloadHash)
	if err != nil {
		return err
	}
	return p.held(key, p.stringToSign(Algorithm, sha256.Sum256(canonical)))
}

// held compares the signature with that of what is signed, in constant time.
func (p *Presented) held(key Key, signed []byte) error {
	want := mac(key.k[:], signed)
	if subtle.ConstantTimeCompare(want[:], p.signature[:]) != 1 {
		return fault.Of(mismatch()).With("AWSAccessKeyId", p.AccessKeyID).With("SignatureProvided", hex.EncodeToString(p.signature[:]))
	}
	return nil
}

func mismatch() error {
	return fault.Coded(fault.Unauthenticated, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
}

func notSigned(name string) error {
	return fault.Coded(fault.Denied, "AccessDenied", "There were headers present in the request which were not signed: "+clip(name)).With("HeadersNotSigned", strings.ToLower(name))
}

// stringToSign is algorithm, time, scope and the hash of what is signed.
func (p *Presented) stringToSign(algorithm string, hashed [32]byte) []byte {
	return hex.AppendEncode(p.appendPreamble(make([]byte, 0, 256), algorithm), hashed[:])
}

func (p *Presented) appendPreamble(b []byte, algorithm string) []byte {
	b = append(b, algorithm...)
	b = append(b, '\n')
	b = append(b, p.amzDate...)
	b = append(b, '\n')
	b = append(b, p.Date...)
	b = append(b, '/')
	b = append(b, p.Region...)
	b = append(b, '/')
	b = append(b, p.Service...)
	return append(b, "/aws4_request\n"...)
}

// Fits holds scope and times alone. It proves nothing; it serves to refuse what
// can't be right before a key is derived for it.
func (p *Presented) Fits(s Scope, now time.Time) error {
	if err := p.checkScope(s); err != nil {
		return err
	}
	return p.checkTime(now)
}

func (p *Presented) malformed(why string) error {
	return [...]func(string) error{Header: headerMalformed, Query: queryMalformed, Form: formMalformed}[p.Place](why)
}

// badScope refuses the credential's scope.
func (p *Presented) badScope(why string) error {
	if p.Place == Query {
		why = "Error parsing the X-Amz-Credential parameter; " + why
	}
	return p.malformed(why)
}

func (p *Presented) checkScope(s Scope) error {
	if p.Service != s.Service {
		return p.badScope("incorrect service " + quoted(p.Service) + ". This endpoint belongs to \"" + s.Service + "\".")
	}
	if p.Region != s.Region {
		return fault.Of(p.badScope("the region "+quoted(p.Region)+" is wrong; expecting \""+s.Region+"\"")).With("Region", s.Region)
	}
	return nil
}

func (p *Presented) checkTime(now time.Time) error {
	if p.Place == Header {
		if p.Time.Before(now.Add(-maxSkew)) || p.Time.After(now.Add(maxSkew)) {
			return fault.Coded(fault.Expired, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.").
				WithMend("set the clock of the client; the server's time is " + now.UTC().Format(time.RFC3339))
		}
		return nil
	}
	if p.Time.After(now.Add(maxSkew)) {
		return fault.Coded(fault.Denied, "AccessDenied", "Request is not valid yet.")
	}
	if now.After(p.Time.Add(p.Expires)) {
		return fault.Coded(fault.Expired, "AccessDenied", "Request has expired.").With("X-Amz-Expires", strconv.Itoa(int(p.Expires.Seconds()))).
			With("Expires", p.Time.Add(p.Expires).Format(time.RFC3339)).With("ServerTime", now.UTC().Format(time.RFC3339))
	}
	return nil
}

// canonicalPayload gives the last line of the canonical request.
func (p *Presented) canonicalPayload(s Scope, given string) (string, error) {
	if s.Service != "s3" {
		if p.PayloadHash != "" && p.PayloadHash != given {
			return "", hashMismatch(p.PayloadHash, given)
		}
		return given, nil
	}
	if given != "" && given != p.PayloadHash {
		return "", hashMismatch(p.PayloadHash, given)
	}
	switch {
	case p.PayloadHash != "":
		_, err := p.Mode() // before the signature, as on S3
		return p.PayloadHash, err
	case p.Place == Query:
		return Unsigned, nil
	default:
		return "", fault.Coded(fault.Invalid, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
}

func hashMismatch(claimed, computed string) error {
	return fault.Coded(fault.Invalid, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.").
		With("ClientComputedContentSHA256", claimed).With("S3ComputedContentSHA256", computed)
}
