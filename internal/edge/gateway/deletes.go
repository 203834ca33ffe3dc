package gateway

import (
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
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
		err := x.permitDeletion(d)
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

// permitDeletion has one object of the batch decided, as if it were deleted
// alone.
func (x *exchange) permitDeletion(d s3.Deletion) error {
	one, err := x.op.Deletion(d, x.store.Keys)
	if err != nil {
		return err
	}
	if err := x.permit(one.Checks); err != nil {
		return err
	}
	if !d.Conditional() || x.store.Keys != s3.Filesystem {
		return nil
	}
	// As for a conditional DeleteObject: only HEAD tells "dir" and "dir/" apart.
	res, err := x.head(d.Key, d.VersionID)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fault.Coded(fault.NotFound, "NoSuchKey", "The specified key does not exist.")
	}
	return nil
}

// deleteAllowed sends the batch. A nil result means that the store's refusal
// was passed on.
func (x *exchange) deleteAllowed(allowed *s3.Deletes) (*s3.DeleteResult, error) {
	document, err := allowed.XML()
	if err != nil {
		return nil, err
	}
	out := x.outgoing()
	enclose(out, document)
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
