package gateway

import (
	"context"
	"net/http"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/iam"
)

// Settings keeps what belongs to a bucket beside its store: its policy and its
// CORS rules (service/iam). Changes are in force on this server when they return.
type Settings interface {
	BucketSettings(account, bucket string) (iam.BucketSettings, error)
	// BucketCORS gives the rules from memory; nil for none.
	BucketCORS(account, bucket string) *s3.CORS
	ChangeBucket(ctx context.Context, e event.Event, bucket string, change func(*iam.Draft) error) error
	BucketLeaves(ctx context.Context, e event.Event, bucket string, leaving bool) error
	BucketGone(ctx context.Context, e event.Event, bucket string) error
}

// beside serves what is kept of a bucket beside its store.
func (x *exchange) beside(body []byte) error {
	if x.place.AWS {
		return fault.Coded(fault.Unsupported, "NotImplemented", "The bucket "+x.op.Bucket+" belongs to an account at AWS, which keeps its policy and CORS rules").
			WithMend("send " + string(x.op.Name) + " to AWS itself: leave AWS_ENDPOINT_URL_S3 out")
	}
	if x.g.config.Settings == nil {
		return fault.Coded(fault.Unsupported, "NotImplemented", "This gateway keeps no "+string(x.op.Name))
	}
	if x.op.Name != s3.GetBucketCors && x.op.Name != s3.PutBucketCors && x.op.Name != s3.DeleteBucketCors && x.caller.Account != x.place.Account {
		// As on AWS, where only the owner's account may, whatever the policy says.
		return fault.Coded(fault.Unsupported, "MethodNotAllowed", "The specified method is not allowed against this resource: the policy of a bucket is for identities of its owner's account")
	}
	if found, err := x.exists(""); err != nil || !found {
		return err
	}
	if x.r.Method == http.MethodGet {
		return x.showSettings()
	}
	if err := x.changeSettings(body); err != nil {
		return err
	}
	status := http.StatusNoContent
	if x.op.Name == s3.PutBucketCors {
		status = http.StatusOK
	}
	x.write(status, nil)
	return nil
}

func (x *exchange) showSettings() error {
	kept, err := x.g.config.Settings.BucketSettings(x.place.Account, x.op.Bucket)
	switch {
	case err != nil:
		return err
	case x.op.Name == s3.GetBucketPolicy && kept.Policy == "":
		return noSuchPolicy()
	case x.op.Name == s3.GetBucketPolicy:
		x.w.Header()["Content-Type"] = []string{"application/json"}
		x.write(http.StatusOK, []byte(kept.Policy))
		return nil
	case len(kept.CORS) == 0:
		return fault.Coded(fault.NotFound, "NoSuchCORSConfiguration", "The CORS configuration does not exist")
	}
	return x.writeXML(s3.CORSXML(kept.CORS))
}

func noSuchPolicy() error {
	return fault.Coded(fault.NotFound, "NoSuchBucketPolicy", "The bucket policy does not exist.")
}

func (x *exchange) changeSettings(body []byte) error {
	var change func(*iam.Draft) error
	bucket, account := x.op.Bucket, x.place.Account
	switch x.op.Name {
	case s3.PutBucketPolicy:
		change = func(d *iam.Draft) error { return d.PutBucketPolicy(account, bucket, string(body)) }
	case s3.DeleteBucketPolicy:
		change = func(d *iam.Draft) error { d.DeleteBucketPolicy(bucket); return nil }
	case s3.PutBucketCors:
		rules, err := s3.ReadCORS(body)
		if err != nil {
			return err
		}
		change = func(d *iam.Draft) error { d.PutBucketCORS(account, bucket, rules); return nil }
	case s3.DeleteBucketCors:
		change = func(d *iam.Draft) error { d.PutBucketCORS(account, bucket, nil); return nil }
	default:
		return fault.New(fault.Internal, "The operation keeps nothing")
	}
	return x.g.config.Settings.ChangeBucket(x.r.Context(), x.event(), bucket, change)
}

// event is the audit record of a change that this request makes.
func (x *exchange) event() event.Event {
	on := x.onNode()
	e := event.Event{
		Cluster: x.clusterName(on.Cluster), Node: on.Node, Attachment: on.Attachment, ProcessOwner: on.Owner,
		Action: "s3." + string(x.op.Name), Account: x.place.Account, AccessKeyID: x.caller.AccessKeyID, Request: x.id,
		Person: x.caller.Person, LoginSession: x.caller.LoginSession, ServicePrincipal: x.caller.ServicePrincipal,
		Delegation: x.caller.Delegation, Principal: x.caller.ARN, Source: x.g.config.Source(x.r).String(),
	}
	if !x.caller.Role.IsZero() {
		e.Role = x.caller.Role.String()
	}
	return e
}

// afterwards is how long what has to follow a deletion may take, whether or not
// the client still waits.
const afterwards = 10 * time.Second

// deleteBucket deletes a bucket, and then what is kept of it. That it is being
// deleted is written down before: should the end of it be lost with this server,
// a bucket made again still inherits nothing (clearName).
func (x *exchange) deleteBucket() error {
	settings := x.g.config.Settings
	if settings == nil || x.as != nil {
		return x.relay(x.outgoing())
	}
	kept, err := settings.BucketSettings(x.place.Account, x.op.Bucket)
	if err != nil {
		return err
	}
	if kept.Policy == "" && len(kept.CORS) == 0 {
		return x.relay(x.outgoing())
	}
	if err := settings.BucketLeaves(x.r.Context(), x.event(), x.op.Bucket, true); err != nil {
		return err
	}
	res, err := x.ask(x.store, x.outgoing())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), afterwards)
	defer cancel()
	if err != nil {
		return err // nobody knows: the mark stays
	}
	defer res.Body.Close()
	if gone := res.StatusCode < 300 || res.StatusCode == http.StatusNotFound; gone {
		err = settings.BucketGone(ctx, x.event(), x.op.Bucket)
	} else {
		err = settings.BucketLeaves(ctx, x.event(), x.op.Bucket, false)
	}
	if err != nil {
		x.g.config.Logger.Error("what is kept of a deleted bucket could not be changed", "request_id", x.id, "bucket", x.op.Bucket, "error", err)
	}
	return x.answer(res)
}

// clearName forgets, before a bucket is made, what is still kept of one of the
// same name that was deleted.
func (x *exchange) clearName() error {
	settings := x.g.config.Settings
	if settings == nil || x.as != nil {
		return nil
	}
	kept, err := settings.BucketSettings(x.place.Account, x.op.Bucket)
	if err != nil || !kept.Leaving {
		return err
	}
	res, err := x.head("", "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		return nil // it is still there: the store says so
	}
	return settings.BucketGone(x.r.Context(), x.event(), x.op.Bucket)
}
