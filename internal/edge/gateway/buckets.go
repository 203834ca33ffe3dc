package gateway

import (
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
)

const maxBucketPages = 100

// listBuckets answers from all stores: the buckets that exist there and that a
// rule gives to the caller's account, and no other names.
func (x *exchange) listBuckets() error {
	var mine []s3.Bucket
	for name, store := range x.g.config.Stores {
		if store.AWS != (x.as != nil) || !store.holds(x.caller.Account) {
			continue
		}
		next := ""
		for range maxBucketPages {
			buckets, token, err := x.bucketPage(store, next)
			if err != nil || x.status != 0 {
				return err
			}
			for _, b := range buckets {
				place, ok := x.g.config.Places.Place(b.Name)
				if ok && place.Account == x.caller.Account && place.Upstream == name {
					if !store.AWS {
						b.Region = "" // of the store: nobody's concern
					}
					mine = append(mine, b)
				}
			}
			if next = token; next == "" {
				break
			}
		}
	}
	return x.writeXML(x.op.ListBucketsXML(mine, x.caller.Account, x.g.config.Region))
}

func (x *exchange) bucketPage(store Store, token string) ([]s3.Bucket, string, error) {
	out := &s3.Outgoing{Method: http.MethodGet}
	if store.AWS { // with it, AWS names the regions
		out.Query = append(out.Query, sigv4.Param{Name: "max-buckets", Value: "1000"})
	}
	if token != "" {
		out.Query = append(out.Query, sigv4.Param{Name: "continuation-token", Value: token})
	}
	res, err := x.ask(store, out)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && store.AWS {
		return nil, "", x.storeRefused(res)
	}
	body, err := readSmall(res.Body)
	if err != nil {
		return nil, "", err
	}
	if res.StatusCode != http.StatusOK {
		return nil, "", fault.New(fault.Unavailable, "The store does not list its buckets: "+res.Status)
	}
	return s3.ReadBuckets(body)
}

// bucketLocation answers with our own region, for buckets that exist.
func (x *exchange) bucketLocation() error {
	res, err := x.ask(x.store, &s3.Outgoing{Method: http.MethodHead, Bucket: x.op.Bucket})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return x.storeRefused(res)
	}
	return x.writeXML(s3.LocationXML(x.g.config.Region))
}
