package s3proxy

import (
	"net/http"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// request is what a client asked for, without its content.
type request struct {
	role string
	out  s3.Outgoing
	// streams says that the content is that of an object or a part; else it is a
	// document, which is read whole.
	streams bool
	body    sigv4.BodySpec
	hash    string // x-amz-content-sha256
}

// readHead reads a request, all but its content: strictly, since a proxy that reads
// it in another way than the store is a way around the store.
func readHead(r *http.Request) (request, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		return request{}, fault.Coded(fault.Invalid, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	}
	presented, err := sigv4.Parse(&sigv4.Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength})
	if err != nil {
		return request{}, err
	}
	role, err := roleOf(presented)
	if err != nil {
		return request{}, err
	}
	target, err := sigv4.ParseTarget(r.RequestURI)
	if err != nil {
		return request{}, err
	}
	q := request{role: role, out: s3.Outgoing{Method: r.Method, Query: target.Query}}
	if err := q.where(target.RawPath); err != nil {
		return request{}, err
	}
	if q.out.Header, err = passed(r.Header); err != nil {
		return request{}, err
	}
	if r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data") {
		return request{}, fault.Coded(fault.Unsupported, "NotImplemented", "The signing proxy takes no forms: a form carries its own signature").
			WithMend("post it to the S3 endpoint that it was made for")
	}
	q.streams = r.Method == http.MethodPut && q.out.Key != "" && r.Header["X-Amz-Copy-Source"] == nil && plainQuery(target.Query)
	return q, q.content(r)
}

// where splits the path into bucket and key, as they are once decoded.
func (q *request) where(raw string) error {
	path, ok := sigv4.Unescape(raw, false)
	if !ok {
		return fault.Coded(fault.Invalid, "InvalidURI", "Couldn't parse the specified URI: the path has a broken percent encoding")
	}
	q.out.Bucket, q.out.Key, _ = strings.Cut(path[1:], "/")
	if q.out.Bucket == "" && q.out.Key != "" {
		return fault.Coded(fault.Invalid, "InvalidBucketName", "The path names no bucket before its key")
	}
	if q.out.Bucket == "" {
		return nil
	}
	// At AWS the bucket becomes a part of the host's name: one that is none leads
	// nowhere, or elsewhere.
	return s3.CheckBucketName(q.out.Bucket)
}

// plainQuery reports whether a PUT with these parameters stores content.
func plainQuery(query []sigv4.Param) bool {
	for _, p := range query {
		switch p.Name {
		case "partNumber", "uploadId", "x-id":
		default:
			return false
		}
	}
	return true
}

// The headers that mean something to S3, beside those that begin with X-Amz-. All
// else stays here: cookies, and whatever is between two ends of one connection.
var headers = map[string]bool{
	"Cache-Control": true, "Content-Disposition": true, "Content-Encoding": true, "Content-Language": true, "Content-Md5": true,
	"Content-Type": true, "Expires": true, "If-Match": true, "If-Modified-Since": true, "If-None-Match": true,
	"If-Unmodified-Since": true, "Range": true,
}

// own are the headers of a signature and of framing, which are made anew.
var own = map[string]bool{
	"X-Amz-Date": true, "X-Amz-Content-Sha256": true, "X-Amz-Security-Token": true, "X-Amz-S3session-Token": true,
	"X-Amz-Decoded-Content-Length": true, "X-Amz-Trailer": true,
}

// passed gives the headers that go on to the store.
func passed(in http.Header) (map[string][]string, error) {
	out := make(map[string][]string, len(in))
	for name, values := range in {
		switch {
		case own[name]:
			if len(values) > 1 {
				return nil, fault.Coded(fault.Invalid, "InvalidArgument", "The header "+name+" is given more than once")
			}
		case headers[name], strings.HasPrefix(name, "X-Amz-"):
			out[name] = values
		}
	}
	return out, unframed(out)
}

// unframed takes aws-chunked out of Content-Encoding: it is how the content comes,
// not what it is.
func unframed(h map[string][]string) error {
	values := h["Content-Encoding"]
	if len(values) == 0 {
		return nil
	}
	if len(values) > 1 {
		return fault.Coded(fault.Invalid, "InvalidArgument", "The header Content-Encoding is given more than once")
	}
	var kept []string
	for part := range strings.SplitSeq(values[0], ",") {
		if part = strings.TrimSpace(part); part != "" && !strings.EqualFold(part, "aws-chunked") {
			kept = append(kept, part)
		}
	}
	delete(h, "Content-Encoding")
	if len(kept) > 0 {
		h["Content-Encoding"] = []string{strings.Join(kept, ",")}
	}
	return nil
}

// content reads how the content is framed and how long it is.
func (q *request) content(r *http.Request) error {
	q.hash = r.Header.Get("X-Amz-Content-Sha256")
	if q.hash == "" {
		q.hash = sigv4.Unsigned
	}
	mode, err := (&sigv4.Presented{Place: sigv4.Header, PayloadHash: q.hash}).Mode()
	if err != nil {
		return err
	}
	q.body = sigv4.BodySpec{Mode: mode, Length: r.ContentLength}
	if name := r.Header.Get("X-Amz-Trailer"); name != "" {
		if q.body.Trailer, err = sigv4.TrailerAlgorithm(name); err != nil {
			return err
		}
	}
	if mode.Streaming() {
		n, err := strconv.ParseUint(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 62)
		if err != nil {
			return fault.Coded(fault.Invalid, "MissingContentLength", "You must provide the X-Amz-Decoded-Content-Length HTTP header.")
		}
		q.body.Length = int64(n)
	}
	switch {
	case q.body.Length < 0:
		return fault.Coded(fault.Invalid, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	case !q.streams && q.body.Length > mostDocument:
		return fault.Coded(fault.TooLarge, "MaxMessageLengthExceeded", "Your request was too big.")
	}
	return nil
}

// mostDocument is the most bytes of what isn't the content of an object: lists of
// parts and of keys to delete are the longest.
const mostDocument = 4 << 20
