package api

import (
	"context"
	"net/http"
	"net/netip"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
)

// Delivery gives people gateway keys for accounts whose own keys stay in the
// server.
type Delivery interface {
	Deliver(ctx context.Context, l login.LoginSession, role arn.Role, from netip.Addr) (gatewaykeys.Made, error)
}

// The ways in which keys reach clients.
const (
	deliverDirect  = "direct"
	deliverGateway = "gateway"
)

// byGateway gives the credentials of a role as a gateway key, where the account,
// or the bucket that they are for, is delivered so; false where it is not.
func (a api) byGateway(r *http.Request, in CredentialsRequest) (Credentials, bool, error) {
	session := httpd.CallerOf(r).Session
	held, err := session.Role(in.Role)
	if err != nil || a.ByGateway == nil || !a.ByGateway(held.Role.Account, in.Bucket) {
		return Credentials{}, false, nil // what is wrong with the role, Login says
	}
	made, err := a.Delivery.Deliver(r.Context(), session, held.Role, httpd.Source(r))
	if err != nil {
		return Credentials{}, true, err
	}
	return Credentials{
		Role: held.Role.String(), AccessKeyID: made.AccessKeyID, SecretAccessKey: made.Secret.Reveal(), Expiration: seconds(made.Expires), Region: a.Home.Region,
		// STS and IAM are ours too: they refuse such a key with advice, and it is
		// not shown to anybody else.
		Endpoints: PlaceEndpoints{S3: a.Home.S3, STS: a.Home.STS, IAM: a.Home.IAM}, Deliver: deliverGateway,
	}, true, nil
}
