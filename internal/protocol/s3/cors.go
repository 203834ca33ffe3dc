package s3

import (
	"encoding/xml"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/ascii"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// CORSRule says which pages of other origins may do what with a bucket (API
// Reference, "CORSRule").
type CORSRule struct {
	ID             string   `xml:"ID,omitempty" json:"id,omitempty" yaml:"id,omitempty"`
	AllowedHeaders []string `xml:"AllowedHeader" json:"allowed_headers,omitempty" yaml:"allowed_headers,omitempty"`
	AllowedMethods []string `xml:"AllowedMethod" json:"allowed_methods" yaml:"allowed_methods"`
	AllowedOrigins []string `xml:"AllowedOrigin" json:"allowed_origins" yaml:"allowed_origins"`
	ExposeHeaders  []string `xml:"ExposeHeader" json:"expose_headers,omitempty" yaml:"expose_headers,omitempty"`
	MaxAge         *int32   `xml:"MaxAgeSeconds,omitempty" json:"max_age,omitempty" yaml:"max_age,omitempty"` // seconds
}

type corsConfiguration struct {
	Rules []CORSRule `xml:"CORSRule"`
}

const maxCORSRules = 100

// CORSMethods are those that a rule can allow.
func CORSMethods() []string { return []string{"GET", "PUT", "POST", "DELETE", "HEAD"} }

// ReadCORS reads the body of PutBucketCors.
func ReadCORS(body []byte) ([]CORSRule, error) {
	var c corsConfiguration
	if _, err := rewrite("CORSConfiguration", body, &c); err != nil {
		return nil, err
	}
	return c.Rules, CheckCORS(c.Rules)
}

// CORSXML writes the answer of GetBucketCors.
func CORSXML(rules []CORSRule) ([]byte, error) {
	b, err := marshal("CORSConfiguration", corsConfiguration{rules})
	return append([]byte(xml.Header), b...), err
}

// CheckCORS holds rules to what S3 takes.
func CheckCORS(rules []CORSRule) error {
	if len(rules) == 0 {
		return malformedXML()
	}
	if len(rules) > maxCORSRules {
		return corsRefused("The number of CORS rules should not exceed allowed limit of 100 rules.")
	}
	for i := range rules {
		if err := rules[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *CORSRule) check() error {
	if len(r.AllowedMethods) == 0 || len(r.AllowedOrigins) == 0 {
		return malformedXML()
	}
	if len(r.ID) > 255 {
		return corsRefused("The ID of a CORS rule must not be longer than 255 characters.")
	}
	for _, m := range r.AllowedMethods {
		if !slices.Contains(CORSMethods(), m) {
			return corsRefused("Found unsupported HTTP method in CORS config. Unsupported method is " + clip(m))
		}
	}
	for _, o := range r.AllowedOrigins {
		if strings.Count(o, "*") > 1 {
			return corsRefused(`AllowedOrigin "` + clip(o) + `" can not have more than one wildcard.`)
		}
	}
	for _, h := range r.AllowedHeaders {
		if strings.Count(h, "*") > 1 {
			return corsRefused(`AllowedHeader "` + clip(h) + `" can not have more than one wildcard.`)
		}
		if !token(h) {
			return corsRefused(`AllowedHeader "` + clip(h) + `" contains invalid character.`)
		}
	}
	for _, h := range r.ExposeHeaders {
		if strings.Contains(h, "*") {
			return corsRefused(`ExposeHeader "` + clip(h) + `" contains wildcard. We currently do not support wildcard for ExposeHeader.`)
		}
		if !token(h) {
			return corsRefused(`ExposeHeader "` + clip(h) + `" contains invalid character.`)
		}
	}
	return nil
}

func corsRefused(why string) error { return fault.Coded(fault.Invalid, "InvalidRequest", why) }

// CORS is the rules of one bucket, ready for use. Immutable. A nil CORS allows
// nothing.
type CORS struct{ rules []CORSRule }

// NewCORS takes rules that CheckCORS took; letter case of allowed headers does
// not count.
func NewCORS(rules []CORSRule) *CORS {
	c := &CORS{slices.Clone(rules)}
	for i := range c.rules {
		r := &c.rules[i]
		r.AllowedHeaders = slices.Clone(r.AllowedHeaders)
		for j, h := range r.AllowedHeaders {
			r.AllowedHeaders[j] = ascii.Lower(h)
		}
	}
	return c
}

// Header gives what an answer to a page of an origin carries: that of the first
// rule which allows origin and method; nothing where none does.
func (c *CORS) Header(origin, method string) []sigv4.Param {
	r, anyone := c.find(origin, method, nil)
	if r == nil {
		return nil
	}
	return r.header(origin, anyone)
}

// Preflight gives the answer to a preflight: nothing where no rule allows origin,
// method and all of the headers, which are in lower case.
func (c *CORS) Preflight(origin, method string, headers []string) []sigv4.Param {
	r, anyone := c.find(origin, method, headers)
	if r == nil {
		return nil
	}
	out := append(r.header(origin, anyone), sigv4.Param{Name: "Access-Control-Allow-Methods", Value: strings.Join(r.AllowedMethods, ", ")})
	if len(headers) > 0 {
		out = append(out, sigv4.Param{Name: "Access-Control-Allow-Headers", Value: strings.Join(headers, ", ")})
	}
	if r.MaxAge != nil {
		out = append(out, sigv4.Param{Name: "Access-Control-Max-Age", Value: strconv.Itoa(int(*r.MaxAge))})
	}
	return out
}

// find gives the first rule that fits, and whether it allows anyone.
func (c *CORS) find(origin, method string, headers []string) (rule *CORSRule, anyone bool) {
	if c == nil || origin == "" {
		return nil, false
	}
	for i := range c.rules {
		r := &c.rules[i]
		if !slices.Contains(r.AllowedMethods, method) || slices.ContainsFunc(headers, func(h string) bool { return !matches(r.AllowedHeaders, h) }) {
			continue
		}
		if slices.Contains(r.AllowedOrigins, "*") {
			return r, true
		}
		if matches(r.AllowedOrigins, origin) {
			return r, false
		}
	}
	return nil, false
}

func matches(patterns []string, s string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return ascii.Glob(p, s) })
}

// header allows the origin by name, and so its credentials, but where anyone is
// allowed.
func (r *CORSRule) header(origin string, anyone bool) []sigv4.Param {
	out := []sigv4.Param{{Name: "Access-Control-Allow-Origin", Value: "*"}}
	if !anyone {
		out[0].Value = origin
		out = append(out, sigv4.Param{Name: "Access-Control-Allow-Credentials", Value: "true"})
	}
	if len(r.ExposeHeaders) > 0 {
		out = append(out, sigv4.Param{Name: "Access-Control-Expose-Headers", Value: strings.Join(r.ExposeHeaders, ", ")})
	}
	return out
}

// CORSVary is the Vary of every answer of a bucket with rules.
const CORSVary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"

// mostAsked bounds the headers that a preflight names: each is held against each
// pattern of each rule, for whoever asks.
const mostAsked = 128

// ReadPreflight reads what a page asks for: one of the methods of rules, and
// header names, which come back in lower case. Errors are S3's.
func ReadPreflight(origin, method string, headers []string) ([]string, error) {
	if origin == "" {
		return nil, fault.Coded(fault.Invalid, "BadRequest", "Insufficient information. Origin request header needed.")
	}
	if !slices.Contains(CORSMethods(), method) {
		return nil, fault.Coded(fault.Invalid, "BadRequest", "Invalid Access-Control-Request-Method: "+clip(method))
	}
	var out []string
	for part := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		name := ascii.Lower(strings.Trim(part, " \t"))
		if name == "" {
			continue
		}
		if !token(name) {
			return nil, fault.Coded(fault.Invalid, "BadRequest", `Access-Control-Request-Headers "`+clip(part)+`" contains invalid character.`)
		}
		if out = append(out, name); len(out) > mostAsked {
			return nil, fault.Coded(fault.Invalid, "BadRequest", "Invalid Access-Control-Request-Headers: there are too many")
		}
	}
	return out, nil
}

// AddressedBucket gives the bucket that a request-target names, before anything
// is known of the request; "" for none.
func AddressedBucket(host, target string, domains []string) string {
	path, _, _ := strings.Cut(target, "?")
	if b := HostBucket(host, domains); b != "" {
		return b
	}
	path, slash := strings.CutPrefix(path, "/")
	name, _, _ := strings.Cut(path, "/")
	if !slash || CheckBucketName(name) != nil {
		return ""
	}
	return name
}
