package gateway

import (
	"crypto/md5"
	"encoding/base64"
	"maps"
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// answerHere answers what needs no store, once the store has said that the
// bucket, and the object, exist.
func (x *exchange) answerHere() error {
	found, err := x.exists(x.op.Key)
	if err != nil || !found {
		return err
	}
	if x.op.Name == s3.GetBucketPolicyStatus && x.g.config.Settings != nil {
		// Whatever a policy says, nobody is anonymous: none of them is public.
		kept, err := x.g.config.Settings.BucketSettings(x.place.Account, x.op.Bucket)
		if err != nil {
			return err
		}
		if kept.Policy == "" {
			return noSuchPolicy()
		}
	}
	document, err := x.op.Answer(x.place.Account)
	if err != nil {
		return err
	}
	if document != nil {
		return x.writeXML(document, nil)
	}
	status := http.StatusOK
	if x.r.Method == http.MethodDelete {
		status = http.StatusNoContent
	}
	x.write(status, nil)
	return nil
}

// exists asks the store for the object of exactly this key, or for the bucket
// where key is empty, and answers where there is none. That an object is not
// there may be because its bucket is not.
func (x *exchange) exists(key string) (bool, error) {
	version := x.op.Param("versionId")
	res, err := x.head(key, version)
	if err != nil {
		return false, err
	}
	_ = res.Body.Close() // the head has no more to say, and what follows may ask the store
	switch {
	case res.StatusCode == http.StatusOK:
		return true, nil
	case res.StatusCode == http.StatusNotFound && key == "":
		return false, noSuchBucket()
	case res.StatusCode == http.StatusNotFound:
		if found, err := x.exists(""); err != nil || !found {
			return false, err
		}
		if version != "" {
			return false, x.missing("NoSuchVersion", "The specified version does not exist.")
		}
	case res.StatusCode == http.StatusBadRequest && version != "":
		return false, fault.Coded(fault.Invalid, "InvalidArgument", "Invalid version id specified")
	case res.StatusCode == http.StatusBadRequest && key != "" && x.store.Encryption&s3.EncryptCustomerKey != 0:
		return true, nil // the object is there, under a key of the customer's
	}
	return false, x.storeRefused(res)
}

// missing says that something is not there, to whoever may know.
func (x *exchange) missing(code, message string) error {
	if x.op.Reveal != nil {
		if err := x.permit([]s3.Check{*x.op.Reveal}); err != nil {
			return err
		}
	}
	return fault.Coded(fault.NotFound, code, message)
}

// head asks the store for the head of an object, or of the bucket.
func (x *exchange) head(key, version string) (*http.Response, error) {
	out := &s3.Outgoing{Method: http.MethodHead, Bucket: x.op.Bucket, Key: key}
	if key != "" && version != "" {
		out.Query = []sigv4.Param{{Name: "versionId", Value: version}}
	}
	return x.ask(x.store, out)
}

// openKey refuses a customer's encryption key that came in the open: whoever
// listens would have it. Loopback is nobody's wire.
func (x *exchange) openKey() error {
	if x.op.Encryption&s3.EncryptCustomerKey == 0 || x.r.TLS != nil || x.g.config.Source(x.r).IsLoopback() {
		return nil
	}
	return fault.Coded(fault.Invalid, "InvalidRequest", "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure connection.")
}

// enclose puts a document into a request, with the digest that S3 demands of
// most documents.
func enclose(out *s3.Outgoing, document []byte) {
	digest := md5.Sum(document) // demanded by the API, for integrity only
	out.Document, out.Header = document, maps.Clone(out.Header)
	if out.Header == nil {
		out.Header = map[string][]string{}
	}
	out.Header["Content-Md5"] = []string{base64.StdEncoding.EncodeToString(digest[:])}
	out.Header["Content-Type"] = []string{"application/xml"}
}
