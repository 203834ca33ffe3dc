package gateway

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
)

// relay sends a request that has no streamed body and passes on the answer.
func (x *exchange) relay(out *s3.Outgoing) error {
	res, err := x.ask(x.store, out)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return x.answer(res)
}

// passes reports whether a header of the store may reach the client: cookies,
// the store's request ids and everything about its connection may not.
func passes(name string) bool {
	switch name {
	case "Accept-Ranges", "Cache-Control", "Etag", "Expires", "Last-Modified":
		return true
	case "Content-Security-Policy", "X-Amz-Request-Id", "X-Amz-Id-2", "X-Amz-Bucket-Region":
		return false
	}
	return strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "Content-")
}

// answer passes a store's answer on.
func (x *exchange) answer(res *http.Response) error {
	if res.StatusCode >= 400 || res.StatusCode >= 300 && res.StatusCode != http.StatusNotModified {
		return x.storeRefused(res)
	}
	h := x.w.Header()
	for name, values := range res.Header {
		if passes(name) {
			h[name] = values
		}
	}
	switch x.op.Name {
	case s3.HeadBucket:
		h["X-Amz-Bucket-Region"] = []string{x.bucketRegion(res)}
	case s3.CreateBucket:
		h["Location"] = []string{"/" + x.op.Bucket}
	case s3.CompleteMultipartUpload:
		return x.completed(res)
	case s3.PostObject:
		return x.posted(res)
	}
	if x.op.WantsEncoding() {
		return x.encodedListing(res)
	}
	x.record.sized(x.op, res.Header)
	x.header(res.StatusCode)
	if x.r.Method == http.MethodHead {
		return nil
	}
	n, err := x.send(res.Body)
	x.sent = n
	if err != nil {
		// The answer has begun: only a cut connection tells the client.
		x.cause = err
		panic(http.ErrAbortHandler)
	}
	return nil
}

// encodedListing answers a listing whose keys the client wants encoded.
func (x *exchange) encodedListing(res *http.Response) error {
	body, err := readSmall(res.Body)
	if err != nil {
		return err
	}
	return x.writeXML(s3.EncodeListing(body))
}

// completed answers CompleteMultipartUpload under our own name.
func (x *exchange) completed(res *http.Response) error {
	body, err := readSmall(res.Body)
	if err != nil {
		return err
	}
	document, failed, err := s3.Completed(body, x.location())
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "The store's answer can't be read")
	}
	if failed != nil {
		x.record.Kind, x.record.FromStore = classOf(failed.Status), true
		x.writeError(*failed)
		return nil
	}
	return x.writeXML(document, nil)
}

// writerOnly hides ReadFrom, which would bring its own smaller buffer.
type writerOnly struct{ io.Writer }

// ourFault lists what a store says when our own signature or key is wrong. The
// client can't mend that and must not be told that its key is bad.
func ourFault(code string) bool {
	switch code {
	case "SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed",
		"ExpiredToken", "InvalidToken", "XAmzContentSHA256Mismatch", "PermanentRedirect", "TemporaryRedirect", "MissingSecurityHeader":
		return true
	}
	return false
}

// storeRefused turns a store's refusal into ours: same code and status, our
// request id, nothing of the store's own names.
func (x *exchange) storeRefused(res *http.Response) error {
	body, err := readSmall(res.Body)
	_ = res.Body.Close() // a decision that follows may ask the store
	if err != nil {
		return err
	}
	e, ok := s3.ReadError(body)
	switch {
	case ok:
	case res.StatusCode == http.StatusNotFound && x.op.Key != "":
		e = s3.Error{Code: "NoSuchKey", Message: "The specified key does not exist."}
	case res.StatusCode == http.StatusNotFound:
		e = s3.Error{Code: "NoSuchBucket", Message: "The specified bucket does not exist."}
	case res.StatusCode == http.StatusMethodNotAllowed:
		e = s3.Error{Code: "MethodNotAllowed", Message: "The specified method is not allowed against this resource."}
	case res.StatusCode == http.StatusPreconditionFailed:
		e = s3.Error{Code: "PreconditionFailed", Message: "At least one of the pre-conditions you specified did not hold."}
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		e = s3.Error{Code: "InvalidRange", Message: "The requested range is not satisfiable"}
	case res.StatusCode == http.StatusForbidden || res.StatusCode < 400:
		e = s3.Error{Code: "SignatureDoesNotMatch"}
	default:
		e = s3.Error{Code: "InternalError", Message: "The store answers " + strconv.Itoa(res.StatusCode)}
	}
	if x.as != nil {
		return x.refusedByAWS(res, e)
	}
	switch locked := strings.Contains(strings.ToLower(e.Message), "object lock"); {
	case e.Code == "AccessDenied" && locked:
		e.Message = "Access Denied because object protected by object lock."
	case res.StatusCode == http.StatusNotImplemented:
		// Not a failure: a store that has no versioning, say, refuses it by a code
		// of its own.
		return fault.Coded(fault.Unsupported, "NotImplemented", "A header or query you provided implies functionality that is not implemented: the store of this bucket does not offer "+string(x.op.Name))
	case res.StatusCode >= 500 || e.Code == "AccessDenied":
		// Said to the store's own operator: it may name its users, hosts and disks.
		x.g.config.Logger.Error("the store refuses or fails", "request_id", x.id, "upstream", x.place.Upstream, "code", e.Code, "status", res.StatusCode, "message", e.Message)
		e.Message, e.Extra = "The store behind this gateway does not do it; its operator finds the cause under this request id", nil
	}
	if ourFault(e.Code) {
		x.g.config.Logger.Error("the store refuses the gateway's own key or region", "request_id", x.id, "upstream", x.place.Upstream, "code", e.Code, "status", res.StatusCode)
		return fault.New(fault.Misconfigured, "The store behind this gateway refuses the gateway itself").WithMend("ask your administrator to check the key, clock and region of the upstream")
	}
	if (e.Code == "NoSuchKey" || e.Code == "NoSuchVersion") && x.op.Reveal != nil {
		if err := x.permit([]s3.Check{*x.op.Reveal}); err != nil {
			return err
		}
	}
	for _, name := range []string{"Content-Range", "Allow", "Last-Modified", "X-Amz-Delete-Marker", "X-Amz-Version-Id"} {
		if v := res.Header[name]; len(v) == 1 {
			x.w.Header()[name] = v
		}
	}
	e.Status = res.StatusCode
	x.record.Kind, x.record.FromStore = classOf(res.StatusCode), true
	x.writeError(e)
	return nil
}

// fail answers with a fault.
func (x *exchange) fail(err error) {
	f := fault.Of(err)
	x.cause, x.record.Kind = f.Cause, f.Kind
	x.retryAfter(err)
	e := s3.ErrorOf(f)
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		x.g.config.Logger.Error("S3 request failed", "request_id", x.id, "error", err)
	}
	x.writeError(e)
}

// writeError writes an error answer, once.
func (x *exchange) writeError(e s3.Error) {
	x.code, x.record.Message = e.Code, e.Message
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	e.RequestID = string(x.id)
	e.Resource, _, _ = strings.Cut(x.r.RequestURI, "?")
	body := e.XML()
	h := x.w.Header()
	h["Content-Type"] = []string{"application/xml"}
	if x.r.ContentLength != 0 {
		// The body was not read to its end.
		h["Connection"] = []string{"close"}
	}
	x.write(e.Status, body)
}

func (x *exchange) writeXML(body []byte, err error) error {
	if err != nil {
		return err
	}
	x.w.Header()["Content-Type"] = []string{"application/xml"}
	x.write(http.StatusOK, body)
	return nil
}

func (x *exchange) write(status int, body []byte) {
	h := x.w.Header()
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.header(status)
	if x.r.Method == http.MethodHead {
		return
	}
	n, err := x.w.Write(body)
	x.sent = int64(n)
	if err != nil && x.cause == nil {
		x.cause = err
	}
}
