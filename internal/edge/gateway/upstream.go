package gateway

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// fits holds the caller's keys to where the bucket lives. Keys of a role at AWS
// (x.as) go to buckets of that role's account and nowhere else; all other keys
// mean nothing at AWS. It comes before every decision: with x.as there is none
// of ours, AWS decides.
func (x *exchange) fits() error {
	known := x.place.Account != ""
	switch {
	case x.as == nil && known && x.place.AWS:
		return fault.Coded(fault.Denied, "AccessDenied", "The bucket "+x.op.Bucket+" belongs to account "+x.place.Account+" at AWS, where keys of this installation mean nothing").
			WithMend("use keys of a role of that account: directly at AWS, or a gateway key that holds such a role")
	case x.as == nil || x.op.Bucket == "":
		return nil
	case !known:
		return denied("No bucket rule of this installation covers the name " + x.op.Bucket)
	case !x.place.AWS || x.place.Account != x.caller.Account:
		return denied("The role that was chosen is of account " + x.caller.Account + ", the bucket " + x.op.Bucket + " of account " + x.place.Account)
	case x.place.Closed != "":
		return denied("User: " + x.caller.ARN + " is not authorized to reach " + x.op.Bucket + " " + x.place.Closed)
	}
	return nil
}

// address gives a request to a store what that store takes: nothing where it has
// a service key; where it decides by the caller's role, the keys of that role,
// and whom the bucket has to belong to, so that nobody else's bucket of the same
// name is written to or read.
func (x *exchange) address(store Store, out *s3.Outgoing) error {
	if store.AWS != (x.as != nil) {
		return fault.New(fault.Internal, "The keys are not those that the store takes")
	}
	if out.As = x.as; x.as == nil {
		return nil
	}
	out.Renew, out.Region = x.renew, x.madeIn
	if out.Bucket == "" || x.op.Name == s3.CreateBucket {
		return nil
	}
	out.Header = maps.Clone(out.Header)
	if out.Header == nil {
		out.Header = make(map[string][]string, 2)
	}
	out.Header["X-Amz-Expected-Bucket-Owner"] = []string{x.place.Account}
	if out.Header["X-Amz-Copy-Source"] != nil {
		out.Header["X-Amz-Source-Expected-Bucket-Owner"] = []string{x.sourceAccount}
	}
	return nil
}

// renew asks once more for the keys of the caller's role, after AWS has refused
// those that it has as expired.
func (x *exchange) renew(ctx context.Context) (credential.Temporary, error) {
	if x.holder == nil {
		return *x.as, nil
	}
	keys, err := x.g.config.GatewayKeys.Keys(ctx, x.holder, x.caller.Role)
	if err == nil {
		x.as = &keys
	}
	return keys, err
}

// readCreateBucket reads the body of CreateBucket: at AWS a bucket may be made in
// any region, elsewhere there is one.
func (x *exchange) readCreateBucket(body []byte) (document []byte, err error) {
	if x.as == nil {
		return x.op.ReadCreateBucket(body, x.g.config.Region)
	}
	document, x.madeIn, err = s3.ReadCreateBucketIn(body, x.store.Region)
	return document, err
}

// bucketRegion is where a bucket lies: at AWS where AWS says, else here.
func (x *exchange) bucketRegion(res *http.Response) string {
	if region := first(res.Header["X-Amz-Bucket-Region"]); x.as != nil && s3.IsRegion(region) {
		return region
	}
	return x.g.config.Region
}

// scope is what a signature has to be for. Buckets at AWS lie in their own
// regions, and clients that ask for it sign accordingly; the region is part of
// the signature like all else.
func (g *Gateway) scope(p *sigv4.Presented) sigv4.Scope {
	if g.aws && s3.IsRegion(p.Region) {
		return sigv4.Scope{Service: "s3", Region: p.Region}
	}
	return sigv4.Scope{Service: "s3", Region: g.config.Region}
}

// refusedByAWS passes on what AWS says, to the person in whose name it was asked:
// its code, text and status, and its request ids for a question to its support.
// What it says of our own work as a signer is ours to mend.
func (x *exchange) refusedByAWS(res *http.Response, e s3.Error) error {
	switch e.Code {
	case "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed", "XAmzContentSHA256Mismatch", "MissingSecurityHeader":
		if res.StatusCode != http.StatusForbidden || x.r.Method != http.MethodHead {
			x.g.config.Logger.Error("AWS refuses how the gateway signs", "request_id", x.id, "upstream", x.place.Upstream, "code", e.Code, "status", res.StatusCode, "store_request", x.record.StoreRequest)
			return fault.New(fault.Misconfigured, "AWS refuses how this gateway signs").WithMend("ask your administrator to check the clock of the server and the region of the upstream")
		}
		e.Code, e.Message = "AccessDenied", "Access Denied"
	}
	if v := res.Header["Retry-After"]; len(v) == 1 && len(v[0]) < 6 {
		if _, err := strconv.ParseUint(v[0], 10, 16); err == nil {
			x.w.Header()["Retry-After"] = v
		}
	}
	e.Status = res.StatusCode
	x.record.Kind, x.record.FromStore = classOf(res.StatusCode), true
	x.writeError(e)
	return nil
}

// traced shows the client AWS's own ids of its request, behind ours: those are
// what AWS's support asks for.
func (x *exchange) traced(store Store) {
	if r := &x.record; store.AWS && r.StoreRequest != "" {
		x.w.Header()["X-Amz-Id-2"] = []string{r.StoreRequest + ":" + r.StoreHost}
	}
}

func hasAWS(stores map[string]Store) bool {
	for _, s := range stores {
		if s.AWS {
			return true
		}
	}
	return false
}

// holds reports whether buckets of an account can lie in the store.
func (s Store) holds(account string) bool {
	return s.Accounts == nil || slices.Contains(s.Accounts, account)
}

// retryAfter tells the client when to come again: what a store that is not asked
// at present has said, else soon, since another server may answer.
func (x *exchange) retryAfter(err error) {
	var busy interface{ RetryAfter() time.Duration }
	switch {
	case fault.KindOf(err) == fault.Unavailable && !errors.As(err, &busy):
		x.w.Header()["Retry-After"] = []string{httpd.RetryAfter}
	case errors.As(err, &busy):
		seconds := max(1, int64((busy.RetryAfter()+time.Second-1)/time.Second))
		x.w.Header()["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
	}
}
