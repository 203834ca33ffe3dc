package gateway

import (
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

// corsOf gives the rules of a bucket, from memory; nil for none. It is asked
// before anybody is known, so it costs the same for every name.
func (x *exchange) corsOf(bucket string) *s3.CORS {
	if x.g.config.Settings == nil || bucket == "" {
		return nil
	}
	place, ok := x.g.config.Places.Place(bucket)
	if !ok {
		return nil
	}
	return x.g.config.Settings.BucketCORS(place.Account, bucket)
}

// allowOrigin puts what the bucket's rules allow a page of another origin into
// the head of the answer, whatever that will be: a page may read an error, too.
// Answers of a bucket with rules differ by origin also where none was sent.
func (x *exchange) allowOrigin() *s3.CORS {
	rules := x.corsOf(s3.AddressedBucket(x.r.Host, x.r.RequestURI, x.g.config.Domains))
	if rules == nil {
		return nil
	}
	h := x.w.Header()
	h["Vary"] = []string{s3.CORSVary}
	if x.r.Method == http.MethodOptions {
		return rules
	}
	if origin := x.r.Header["Origin"]; len(origin) == 1 {
		for _, p := range rules.Header(origin[0], x.r.Method) {
			h[p.Name] = []string{p.Value}
		}
	}
	return rules
}

// preflight answers a browser that asks for a page of another origin what it may
// do with a bucket. It comes without a credential, and its answer is no data; a
// presigned address in it means nothing here. A bucket without rules and a bucket
// that doesn't exist look the same.
func (x *exchange) preflight(rules *s3.CORS) error {
	method := strings.Join(x.r.Header["Access-Control-Request-Method"], ",")
	headers, err := s3.ReadPreflight(strings.Join(x.r.Header["Origin"], ","), method, x.r.Header["Access-Control-Request-Headers"])
	if err != nil {
		return err
	}
	if rules == nil {
		return fault.Coded(fault.Denied, "AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.")
	}
	allowed := rules.Preflight(strings.Join(x.r.Header["Origin"], ","), method, headers)
	if allowed == nil {
		// Spelt as S3 spells it.
		return fault.Coded(fault.Denied, "AccessForbidden", "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
	}
	h := x.w.Header()
	for _, p := range allowed {
		h[p.Name] = []string{p.Value}
	}
	x.write(http.StatusOK, nil)
	return nil
}
