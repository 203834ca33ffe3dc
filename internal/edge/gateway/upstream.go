package gateway

import (
	"slices"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
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

// keysFor gives the keys for a request to a store: those of the caller's role
// where the store decides by them, none where it has a service key.
func (x *exchange) keysFor(store Store) (*credential.Temporary, error) {
	if store.AWS != (x.as != nil) {
		return nil, fault.New(fault.Internal, "The keys are not those that the store takes")
	}
	return x.as, nil
}

// holds reports whether buckets of an account can lie in the store.
func (s Store) holds(account string) bool {
	return s.Accounts == nil || slices.Contains(s.Accounts, account)
}
