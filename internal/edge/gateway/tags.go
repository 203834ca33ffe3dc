package gateway

import (
	"net/http"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

// storedTags reads tags for policies that ask for them, under the store's own key
// and before the decision. What one request was told it is told again: the checks
// of an operation see one state.
type storedTags struct {
	x     *exchange
	known map[[3]string]map[string]string // by bucket, key, version
}

// ObjectTags gives the tags of a stored object; none where it isn't there.
func (s *storedTags) ObjectTags(bucket, key, versionID string) (map[string]string, error) {
	return s.tags(bucket, key, versionID)
}

// BucketTags gives the tags of a bucket; none where it isn't there.
func (s *storedTags) BucketTags(bucket string) (map[string]string, error) {
	return s.tags(bucket, "", "")
}

func (s *storedTags) tags(bucket, key, versionID string) (map[string]string, error) {
	at := [3]string{bucket, key, versionID}
	if tags, ok := s.known[at]; ok {
		return tags, nil
	}
	tags, err := s.read(bucket, key, versionID)
	if err != nil {
		s.x.g.config.Logger.Error("tags that a policy asks for can't be read", "request_id", s.x.id, "bucket", bucket, "error", err)
		return nil, err
	}
	if s.known == nil {
		s.known = map[[3]string]map[string]string{}
	}
	s.known[at] = tags
	return tags, nil
}

func (s *storedTags) read(bucket, key, versionID string) (map[string]string, error) {
	place, ok := s.x.g.config.Places.Place(bucket)
	store, known := s.x.g.config.Stores[place.Upstream]
	if !ok || !known || store.AWS {
		return nil, fault.New(fault.Misconfigured, "The bucket has no store whose tags the gateway could read")
	}
	var version []sigv4.Param
	if versionID != "" {
		version = []sigv4.Param{{Name: "versionId", Value: versionID}}
	}
	if store.Keys == s3.Filesystem && key != "" {
		// Such a store finds the tags of "dir/" under "dir", and those of "f" under
		// "f/": its HEAD tells the first, nothing the second.
		if strings.HasSuffix(key, "/") {
			return nil, fault.New(fault.Unsupported, "This store can't tell the tags of a key with a last slash")
		}
		res, err := s.x.ask(store, &s3.Outgoing{Method: http.MethodHead, Bucket: bucket, Key: key, Query: version})
		if err != nil {
			return nil, err
		}
		_ = res.Body.Close() // its place is given back before the next is asked for
		if res.StatusCode == http.StatusNotFound {
			return nil, nil
		}
	}
	res, err := s.x.ask(store, &s3.Outgoing{Method: http.MethodGet, Bucket: bucket, Key: key, Query: append([]sigv4.Param{{Name: "tagging"}}, version...)})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := readSmall(res.Body)
	if err != nil {
		return nil, err
	}
	e, _ := s3.ReadError(body)
	switch {
	case res.StatusCode == http.StatusOK:
		return s3.ReadTags(body)
	case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusMethodNotAllowed && key != "" /* a delete marker */ :
		return nil, nil
	}
	return nil, fault.New(fault.Unavailable, "The store answers "+res.Status+" "+e.Code+" to a request for tags")
}
