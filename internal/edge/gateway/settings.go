package gateway

import (
	"carnet.dev/carnet/internal/core/fault"
)

// beside serves what is kept of a bucket beside its store.
func (x *exchange) beside() error {
	return fault.Coded(fault.Unsupported, "NotImplemented", "This gateway keeps no "+string(x.op.Name))
}
