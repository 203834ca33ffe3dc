package sigv4

import (
	"cmp"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// ParseForm reads the credential of a browser's upload (S3 API Reference,
// "Authenticating Requests in Browser-Based Uploads Using POST"), which stands
// in fields of the form. field gives a field by its name in lower case, "" when
// absent; r is the request around the form, which may carry no credential.
func ParseForm(r *Request, field func(name string) string) (*Presented, error) {
	if around, err := Parse(r); err != nil || around != nil {
		return nil, cmp.Or(err, twoPlaces())
	}
	if field("awsaccesskeyid") != "" || field("signature") != "" {
		return nil, checkAlgorithm("AWS")
	}
	if err := checkAlgorithm(field("x-amz-algorithm")); err != nil {
		return nil, err
	}
	p := &Presented{Place: Form, Expires: maxExpires, SessionToken: secret.New(field("x-amz-security-token")), PayloadHash: Unsigned}
	if err := p.scope(field("x-amz-credential")); err != nil {
		return nil, err
	}
	if !decodeSignature(&p.signature, field("x-amz-signature")) {
		return nil, fault.Of(mismatch()).With("AWSAccessKeyId", p.AccessKeyID).With("SignatureProvided", field("x-amz-signature"))
	}
	return p, p.date(field("x-amz-date"))
}

// VerifyForm holds the signature, the scope and the times to the key. What is
// signed is the policy, in base64 as it came. Headers of the request are not, so
// that none of x-amz-* may stand there.
func (p *Presented) VerifyForm(r *Request, policy string, key Key, s Scope, now time.Time) error {
	if err := p.Fits(s, now); err != nil {
		return err
	}
	if name := p.unsigned(r); name != "" {
		return notSigned(name)
	}
	return p.held(key, []byte(policy))
}

func formMalformed(why string) error {
	return fault.Coded(fault.Invalid, "InvalidArgument", why)
}
