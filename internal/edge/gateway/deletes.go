package gateway

import (
	"crypto/md5"
	"encoding/base64"
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// deleteObjects decides key by key. Only the allowed ones go to the store, in a
// document written anew; the others are listed as errors beside its answer.
func (x *exchange) deleteObjects(body []byte, known bool) error {
	wanted, err := s3.ReadDeletes(body)
	if err != nil {
		return err
	}
	if err := x.ofOneRole(wanted.Objects); err != nil {
		return err
	}
	var refused []s3.DeleteError
	allowed := &s3.Deletes{Quiet: wanted.Quiet}
	for _, d := range wanted.Objects {
		check, err := d.Check(x.op.Bucket, x.store.Keys)
		if err == nil {
			err = x.permit([]s3.Check{check})
		}
		if err == nil {
			allowed.Objects = append(allowed.Objects, d)
			continue
		}
		e := s3.ErrorOf(fault.Of(err))
		refused = append(refused, s3.DeleteError{Key: d.Key, VersionID: d.VersionID, Code: e.Code, Message: e.Message})
	}
	result := &s3.DeleteResult{}
	if len(allowed.Objects) > 0 {
		if err := x.placed(known); err != nil {
			return err
		}
		if result, err = x.deleteAllowed(allowed); err != nil || result == nil {
			return err
		}
	}
	result.Errors = append(result.Errors, refused...)
	x.record.batched(wanted.Objects, result.Errors)
	return x.writeXML(result.XML())
}

// deleteAllowed sends the batch. A nil result means that the store's refusal
// was passed on.
func (x *exchange) deleteAllowed(allowed *s3.Deletes) (*s3.DeleteResult, error) {
	document, err := allowed.XML()
	if err != nil {
		return nil, err
	}
	digest := md5.Sum(document) // demanded by the API, for integrity only
	out := &s3.Outgoing{
		Method: http.MethodPost, Bucket: x.op.Bucket, Query: []sigv4.Param{{Name: "delete"}},
		Header: map[string][]string{
			"Content-Md5":  {base64.StdEncoding.EncodeToString(digest[:])},
			"Content-Type": {"application/xml"},
		},
		Document: document,
	}
	res, err := x.ask(x.store, out)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, x.storeRefused(res)
	}
	answer, err := readSmall(res.Body)
	if err != nil {
		return nil, err
	}
	return s3.ReadDeleteResult(answer)
}
