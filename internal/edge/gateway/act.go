package gateway

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// act has the operation decided and carries it out.
func (x *exchange) act(body *sigv4.Body) error {
	known, err := x.locate()
	if err != nil {
		return err
	}
	var small []byte
	if x.op.Body != s3.StreamBody {
		// Read before the decision: for some operations it says what to decide.
		if small, err = readWhole(body); err != nil {
			return err
		}
	}
	if x.op.Name != s3.DeleteObjects { // whose keys choose, all together
		if err := x.chooseRole(x.part()); err != nil {
			return err
		}
	}
	switch x.op.Name {
	case s3.DeleteObjects:
		return x.deleteObjects(small, known)
	case s3.CreateBucket:
		small, err = x.readCreateBucket(small)
	default:
		small, err = x.readDocument(small)
	}
	if err != nil {
		return err
	}
	if err := x.permit(x.op.Checks); err != nil {
		return err
	}
	if err := x.placed(known); err != nil {
		return err
	}
	return x.carryOut(body, small)
}

// carryOut does what was decided: here where the gateway itself answers, else at
// the store. small is the content of what has no streamed body.
func (x *exchange) carryOut(body *sigv4.Body, small []byte) (err error) {
	switch x.op.Name {
	case s3.ListBuckets:
		return x.listBuckets()
	case s3.GetBucketLocation:
		if x.as == nil {
			return x.bucketLocation()
		}
	case s3.DeleteBucket:
		return x.deleteBucket()
	case s3.CreateBucket:
		if err := x.clearName(); err != nil {
			return err
		}
	case s3.CompleteMultipartUpload:
		if small, err = s3.ReadComplete(small); err != nil {
			return err
		}
	}
	if x.op.Kept() {
		return x.beside(small)
	}
	if x.as == nil && x.op.AnsweredHere(x.store.Encryption) {
		return x.answerHere()
	}
	if x.op.CopiesTags && x.as == nil {
		if err := x.permitTagCopy(); err != nil {
			return err
		}
	}
	if x.store.Keys == s3.Filesystem && x.op.TouchesStored() {
		// A store on a disk finds the tags of "dir/" under "dir" too; only its
		// HEAD and GET tell the two apart. (Keys with a last slash, under which it
		// finds those of "f", were refused by CheckKeys.)
		if exact, err := x.exists(x.op.Key); err != nil || !exact {
			return err
		}
	}
	if x.op.Body == s3.StreamBody {
		return x.upload(body)
	}
	out := x.outgoing()
	if len(small) > 0 && (x.op.Body == s3.SmallBody || x.op.Name == s3.CreateBucket) {
		enclose(out, small)
	}
	return x.relay(out)
}

// readDocument reads a small body: what it says may ask for more than the
// operation does.
func (x *exchange) readDocument(body []byte) ([]byte, error) {
	if x.op.Body != s3.SmallBody {
		return body, nil
	}
	document, err := x.op.ReadDocument(body, x.began)
	if err != nil {
		return nil, err
	}
	return document, x.op.CheckOffered(x.store.Encryption, x.store.StorageClasses)
}

// readWhole reads a small body. One without content is held to its hash all the
// same.
func readWhole(body *sigv4.Body) ([]byte, error) {
	if body.Len() > 0 {
		return io.ReadAll(body)
	}
	_, err := body.Read(nil)
	if err == io.EOF {
		err = nil
	}
	return nil, err
}

// locate finds the store of the bucket and holds the keys to what that store
// can keep apart: before any policy sees them.
func (x *exchange) locate() (known bool, err error) {
	if x.op.Bucket == "" {
		return true, nil
	}
	x.place, known = x.g.config.Places.Place(x.op.Bucket)
	if !known {
		return false, nil
	}
	var ok bool
	if x.store, ok = x.g.config.Stores[x.place.Upstream]; !ok {
		return true, fault.New(fault.Misconfigured, "The store of this bucket is not configured").WithMend("ask your administrator")
	}
	if err := x.openKey(); err != nil {
		return true, err
	}
	if err := x.op.CheckOffered(x.store.Encryption, x.store.StorageClasses); err != nil {
		return true, err
	}
	return true, x.op.CheckKeys(x.store.Keys)
}

// permit asks for a decision; a denial says why.
func (x *exchange) permit(checks []s3.Check) error {
	if len(checks) == 0 {
		return fault.New(fault.Internal, "The operation has nothing to check")
	}
	if err := x.fits(); err != nil {
		return err
	}
	if x.as != nil {
		return x.recordable(true) // AWS decides
	}
	asked := x.g.config.Now()
	d := x.g.config.Decider.Decide(x.r.Context(), x.caller, checks, x.environment())
	x.decided(checks, d, asked)
	if err := x.recordable(d.Allow); err != nil {
		return err
	}
	if d.Allow {
		return nil
	}
	return denied(d.Reason)
}

func denied(reason string) *fault.Fault {
	if reason == "" {
		reason = "Access Denied"
	}
	return fault.Coded(fault.Denied, "AccessDenied", reason)
}

// placed refuses, after the decision, what no rule places, and buckets of
// another owner than the client expects.
func (x *exchange) placed(known bool) error {
	op := x.op
	if op.Bucket == "" {
		return nil
	}
	if op.Name == s3.CreateBucket && (!known || x.place.Account != x.caller.Account) {
		return denied("No bucket rule of this installation gives the name " + op.Bucket + " to account " + x.caller.Account)
	}
	if !known {
		return noSuchBucket()
	}
	if op.BucketOwner != "" && op.BucketOwner != x.place.Account {
		return denied("Access Denied: the bucket belongs to another account than x-amz-expected-bucket-owner says")
	}
	if op.Source == nil {
		return nil
	}
	source, known := x.g.config.Places.Place(op.Source.Bucket)
	if !known {
		return noSuchBucket()
	}
	if op.SourceOwner != "" && op.SourceOwner != source.Account {
		return denied("Access Denied: the source belongs to another account than x-amz-source-expected-bucket-owner says")
	}
	x.sourceAccount = source.Account
	if source.Closed != "" {
		return denied("Access Denied: the source is closed " + source.Closed)
	}
	if source.Upstream != x.place.Upstream {
		return fault.Coded(fault.Unsupported, "NotImplemented", "Copying between two stores is not offered").
			WithMend("download and upload the object")
	}
	return nil
}

func noSuchBucket() error {
	return fault.Coded(fault.NotFound, "NoSuchBucket", "The specified bucket does not exist.")
}

// permitTagCopy asks for the tags' own permissions when the source has tags.
func (x *exchange) permitTagCopy() error {
	source := x.op.Source
	out := &s3.Outgoing{Method: http.MethodGet, Bucket: source.Bucket, Key: source.Key, Query: []sigv4.Param{{Name: "tagging"}}}
	if source.VersionID != "" {
		out.Query = append(out.Query, sigv4.Param{Name: "versionId", Value: source.VersionID})
	}
	res, err := x.ask(x.store, out)
	if err != nil {
		return err
	}
	body, err := readSmall(res.Body)
	_ = res.Body.Close() // the decision may ask the store, too
	if err != nil {
		return err
	}
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil // the copy itself will say so, or deny
	case res.StatusCode == http.StatusBadRequest && source.VersionID != "":
		return fault.Coded(fault.Invalid, "InvalidArgument", "Invalid version id specified")
	case res.StatusCode != http.StatusOK:
		return fault.New(fault.Unavailable, "The tags of the source can't be read")
	}
	tagged, err := s3.HasTags(body)
	if err != nil || !tagged {
		return err
	}
	return x.permit(x.op.TagCopyChecks())
}

// outgoing is the request to the store: all from the operation.
func (x *exchange) outgoing() *s3.Outgoing {
	method := x.r.Method
	if x.op.Name == s3.PostObject {
		method = http.MethodPut
	}
	return &s3.Outgoing{Method: method, Bucket: x.op.Bucket, Key: x.op.Key, Query: x.op.Query, Header: x.op.SentHeader(x.as != nil)}
}

// tlsVersion gives "1.2" or "1.3", as s3:TlsVersion is written; nothing where a
// proxy spoke TLS and does not say which.
func tlsVersion(v uint16) string {
	if v == 0 {
		return ""
	}
	return strings.TrimPrefix(tls.VersionName(v), "TLS ")
}
