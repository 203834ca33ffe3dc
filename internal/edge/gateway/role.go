package gateway

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/protocol/sigv4"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/gatewaykeys"
)

// GatewayKeys are keys that have no role of their own: one of those that their
// owner holds is picked for each request. Errors are faults with S3's codes. All
// is answered from memory.
type GatewayKeys interface {
	// Find gives the key behind an access key id, and the secret that the request
	// must be signed with. Nothing is proven until the signature held.
	Find(ctx context.Context, accessKeyID string) (*gatewaykeys.Holder, secret.Text, error)
	// Admit holds a proven key to where the request comes from.
	Admit(ctx context.Context, h *gatewaykeys.Holder, from gatewaykeys.Peer) error
	// Choose picks the role for what is asked.
	Choose(ctx context.Context, h *gatewaykeys.Holder, w gatewaykeys.Want) (gatewaykeys.Choice, error)
	// Keys gives the temporary keys of a role that was picked.
	Keys(ctx context.Context, h *gatewaykeys.Holder, role arn.Role) (credential.Temporary, error)
	// Holds is nil while nothing that the key rests on was taken back.
	Holds(h *gatewaykeys.Holder) error
}

// lookUp finds who a credential claims to be, and the secret to hold it to.
func (x *exchange) lookUp(p *sigv4.Presented) (access.Caller, secret.Text, error) {
	if !isGatewayKey(p.AccessKeyID) {
		return x.g.config.Keys.Lookup(x.r.Context(), p.AccessKeyID, p.SessionToken)
	}
	if x.g.config.GatewayKeys == nil {
		return access.Caller{}, secret.Text{}, fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "This installation has no gateway keys")
	}
	// A presigned URL or form hands the right on to whoever has it; a gateway key is
	// bound to its owner.
	if p.Place != sigv4.Header {
		return access.Caller{}, secret.Text{}, fault.Coded(fault.Denied, "AccessDenied", "A gateway key signs requests in their Authorization header alone: it makes no presigned URLs and no forms").
			WithMend("presign with the temporary keys of a role: carnet credentials")
	}
	if !p.SessionToken.IsZero() {
		return access.Caller{}, secret.Text{}, fault.Coded(fault.Invalid, "InvalidToken", "A gateway key has no session token").
			WithMend("remove AWS_SESSION_TOKEN")
	}
	holder, key, err := x.g.config.GatewayKeys.Find(x.r.Context(), p.AccessKeyID)
	if err != nil {
		return access.Caller{}, secret.Text{}, err
	}
	x.holder = holder
	return access.Caller{}, key, nil
}

func isGatewayKey(accessKeyID string) bool {
	return len(accessKeyID) >= len(identity.GatewayKeyPrefix) && accessKeyID[:len(identity.GatewayKeyPrefix)] == identity.GatewayKeyPrefix
}

// admit holds a gateway key, once its signature was proven, to where it is bound.
func (x *exchange) admit() error {
	if x.holder == nil {
		return nil
	}
	key := x.holder.Key()
	x.record.GatewayKey = string(key.ID)
	x.caller = access.Caller{Person: key.Owner.Person, LoginSession: key.Owner.LoginSession,
		ServicePrincipal: key.Owner.ServicePrincipal, Delegation: key.Owner.Delegation, AccessKeyID: key.AccessKeyID}
	return x.g.config.GatewayKeys.Admit(x.r.Context(), x.holder, gatewaykeys.Peer{Source: x.g.config.Source(x.r), Certificate: clientCertificate(x.r)})
}

// clientCertificate gives the certificate that the client proved, and that one of
// the configured authorities signed.
func clientCertificate(r *http.Request) []byte {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0].Raw
}

// chooseRole picks the role of a request by a gateway key, and has its keys: those
// of a local account make the caller, those of an account at AWS go upstream. part
// is the key, or the prefix of a listing; a copy is decided by where it writes.
func (x *exchange) chooseRole(part string) error {
	if x.holder == nil {
		return nil
	}
	choice, err := x.pick(part)
	if err != nil {
		return err
	}
	return x.become(choice)
}

func (x *exchange) pick(part string) (gatewaykeys.Choice, error) {
	return x.g.config.GatewayKeys.Choose(x.r.Context(), x.holder, gatewaykeys.Want{Bucket: x.op.Bucket, Account: x.place.Account, Part: part})
}

// part is what of its bucket an operation is about: its key, or the prefix of
// those that the answer may name.
func (x *exchange) part() string {
	if x.op.Key == "" {
		return x.op.Param("prefix")
	}
	return x.op.Key
}

// become takes on a role.
func (x *exchange) become(c gatewaykeys.Choice) error {
	keys, err := x.g.config.GatewayKeys.Keys(x.r.Context(), x.holder, c.Role)
	if err != nil {
		return err
	}
	if c.AWS {
		x.as = &keys
		x.caller.Kind, x.caller.Account, x.caller.Role, x.caller.ARN = access.RoleSession, c.Role.Account, c.Role, c.Role.String()
		return nil
	}
	caller, _, err := x.g.config.Keys.Lookup(x.r.Context(), keys.AccessKeyID, keys.SessionToken)
	if err != nil {
		return err
	}
	x.caller, x.roleKeys = caller, keys
	return nil
}

// party is whose share of a store's places a request takes: the person, whatever keys
// or delegation of theirs it comes by; else the service principal, or the IAM user.
// Sessions of a role behind which nobody stands count as one: their names are chosen
// by who makes them.
func (x *exchange) party() string {
	c := &x.caller
	if x.holder != nil {
		o := x.holder.Key().Owner
		return cmp.Or(string(o.Person), string(o.ServicePrincipal), string(o.Delegation), c.AccessKeyID)
	}
	return cmp.Or(string(c.Person), string(c.ServicePrincipal), string(c.Delegation), string(c.IAMUser), string(c.RoleID), c.AccessKeyID)
}

// keysHold asks whether what the request was signed with was taken back.
func (x *exchange) keysHold() error {
	id, token := x.presented.AccessKeyID, x.presented.SessionToken
	if x.holder != nil {
		if err := x.g.config.GatewayKeys.Holds(x.holder); err != nil {
			return err
		}
		if x.roleKeys.AccessKeyID == "" {
			return nil // at AWS, where AWS decides
		}
		id, token = x.roleKeys.AccessKeyID, x.roleKeys.SessionToken
	}
	_, _, err := x.g.config.Keys.Lookup(x.r.Context(), id, token)
	return err
}

// ofOneRole picks the role of a batch of keys: all of them must fall to the same
// one.
func (x *exchange) ofOneRole(batch []s3.Deletion) error {
	if x.holder == nil {
		return nil
	}
	var first gatewaykeys.Choice
	for i, d := range batch {
		choice, err := x.pick(d.Key)
		if err != nil {
			return err
		}
		if i == 0 {
			first = choice
		}
		if choice != first {
			return denied("The keys of this batch fall to several roles of the gateway key: " + strconv.Quote(batch[0].Key) + " to " + first.Role.String() +
				", " + strconv.Quote(d.Key) + " to " + choice.Role.String() + ". Delete them in separate requests.")
		}
	}
	return x.become(first)
}
