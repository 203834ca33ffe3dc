// Package awsapi is the one AWS port: it sends each request to the face that
// its credential names, and speaks the Query protocol of STS.
//
// With a credential the service of its scope alone decides; an Action
// parameter never overrides it. Without one, only the two federated calls that
// AWS takes unsigned go to STS; all else is S3's to refuse. It must never let
// two places of credentials or a repeated parameter through to a face, nor
// guess a face from a path.
package awsapi

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// Front sends requests to faces. Each may be nil where a listener does not
// serve it.
type Front struct {
	STS http.Handler
	S3  http.Handler
	// IAM takes what is signed for the service iam, and nothing else.
	IAM http.Handler
	// Domains are the hosts under which BUCKET.domain names a bucket. Such a
	// host is S3's: unsigned calls go to STS on any other host only.
	Domains []string
	// Patience is how long the whole of a request may take to arrive that is
	// read before anything is proven; 0 means 20 seconds. Signed S3 requests
	// have no such bound: objects stream.
	Patience time.Duration

	unproven strangers // such requests at this moment
}

// presentedServer takes a request together with its credential as it was parsed
// here, so that it is parsed once.
type presentedServer interface {
	ServePresented(http.ResponseWriter, *http.Request, *sigv4.Presented)
}

const defaultPatience = 20 * time.Second

// hurry bounds the time for which a stranger can hold a connection and the
// memory of what he has sent so far. The server lifts the bound for the next
// request of the connection.
func (f *Front) hurry(w http.ResponseWriter) {
	patience := f.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	// Only a writer that no connection stands behind refuses, as in tests.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
}

// ServeHTTP finds the face. It reads no more of the body than an unsigned
// call of STS needs, and gives it back.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	presented, err := sigv4.Parse(&sigv4.Request{
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header, ContentLength: r.ContentLength,
	})
	service := "s3"
	if presented == nil || presented.Service != service {
		leave, ok := f.unproven.enter(r.RemoteAddr)
		if !ok {
			throttle(w)
			return
		}
		leave = sync.OnceFunc(leave)
		defer leave()
		f.hurry(w)
		if r.Method == http.MethodPost && s3.IsForm(r.Header.Get("Content-Type")) {
			// A form's credential is in its fields. Once it holds, the file behind
			// them may take as long as any other object.
			r = httpd.Unproven(r, func() {
				leave()
				_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
			})
		}
	}
	switch {
	case err != nil:
		// The face would refuse it for the same reason, in its own words. STS
		// clients are told apart by what only they send.
		if looksLikeQuery(r) {
			service = "sts"
		}
	case presented != nil:
		service = presented.Service
	case f.STS != nil && s3.HostBucket(r.Host, f.Domains) == "" && unsignedFederation(r):
		service = "sts"
	}
	if presented == nil && f.IAM != nil && f.STS == nil && f.S3 == nil {
		service = "iam" // a listener of its own: its refusals are in its words
	}
	switch {
	case service == "s3" && f.S3 != nil:
		if front, ok := f.S3.(presentedServer); ok && presented != nil {
			front.ServePresented(w, r, presented)
			return
		}
		f.S3.ServeHTTP(w, r)
	case service == "sts" && f.STS != nil:
		f.STS.ServeHTTP(w, r)
	case service == "iam" && f.IAM != nil:
		f.IAM.ServeHTTP(w, r)
	default:
		refuse(w, service)
	}
}

// refuse answers a request for a service that this listener does not serve.
// Whoever sets the one endpoint variable for all of AWS ends here.
func refuse(w http.ResponseWriter, service string) {
	id := string(identity.NewRequestID())
	text := "This endpoint does not serve " + strconv.Quote(clip(service)) +
		": it is Carnet's STS, IAM and S3. Set AWS_ENDPOINT_URL_STS, _IAM and _S3, not AWS_ENDPOINT_URL."
	body := awsquery.Error(http.StatusBadRequest, "InvalidAction", text, id)
	status := http.StatusBadRequest
	if service == "s3" {
		status = http.StatusNotImplemented
		body = s3.Error{Code: "NotImplemented", Message: "This listener does not serve S3.", RequestID: id, Status: status}.XML()
	}
	answer(w, status, body, id)
}

// throttle answers in the words of STS: whoever comes unproven to S3 would be
// refused anyway.
func throttle(w http.ResponseWriter) {
	id := string(identity.NewRequestID())
	answer(w, http.StatusBadRequest, awsquery.Error(http.StatusBadRequest, "Throttling", "Rate exceeded", id), id)
}

func answer(w http.ResponseWriter, status int, body []byte, id string) {
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("X-Amz-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A client that went away is none of our failures.
	_, _ = w.Write(body)
}

// looksLikeQuery decides nothing but the wire format of a refusal.
func looksLikeQuery(r *http.Request) bool {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path == "/" && r.Method == http.MethodPost && isForm(r)
}

// unsignedFederation reports whether the request is one of the two calls that
// STS takes without a signature (STS API Reference): GET or POST of "/", with
// their Action in the query or in a form. The body that it reads is put back.
func unsignedFederation(r *http.Request) bool {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if path != "/" || r.Method != http.MethodGet && r.Method != http.MethodPost {
		return false
	}
	if action, ok := actionOf(query); ok {
		return federated(action)
	}
	if r.Method != http.MethodPost || !isForm(r) || r.ContentLength > awsquery.MaxBody {
		return false
	}
	body, err := readWhole(r.Body, r.ContentLength)
	text := string(body)
	r.Body = &kept{io.MultiReader(bytes.NewReader(body), r.Body), r.Body, body, text, err == nil}
	if err != nil || len(body) > awsquery.MaxBody {
		return false
	}
	action, ok := actionOf(text)
	return ok && federated(action)
}

func federated(action string) bool {
	return action == "AssumeRoleWithSAML" || action == "AssumeRoleWithWebIdentity"
}

// kept is a body that was read, and can be read again.
type kept struct {
	io.Reader
	io.Closer
	body  []byte
	text  string // of body
	whole bool
}

// readWhole reads a body of at most awsquery.MaxBody bytes, or one byte more.
func readWhole(r io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > awsquery.MaxBody {
		return io.ReadAll(io.LimitReader(r, awsquery.MaxBody+1))
	}
	body := make([]byte, length)
	n, err := io.ReadFull(r, body)
	if err == io.EOF && length == 0 {
		err = nil
	}
	return body[:n], err
}

// actionOf gives the one Action of an encoded form. Two are none: the face
// would have to choose.
func actionOf(encoded string) (string, bool) {
	if strings.Contains(encoded, ";") {
		return "", false
	}
	action, found := "", 0
	for pair := range strings.SplitSeq(encoded, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if !escapesWell(pair) {
			return "", false
		}
		if name != "Action" && strings.ContainsAny(name, "%+") {
			name, _ = url.QueryUnescape(name)
		}
		if name == "Action" {
			found++
			action, _ = url.QueryUnescape(value)
		}
	}
	return action, found == 1
}

// escapesWell reports whether every % begins two hexadecimal digits.
func escapesWell(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return true
		}
		if len(s) < i+3 || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return false
		}
		s = s[i+3:]
	}
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isForm(r *http.Request) bool { return awsquery.IsForm(r.Header.Get("Content-Type")) }
