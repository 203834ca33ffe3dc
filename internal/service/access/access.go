package access

import (
	"context"
	"math"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/revocation"
)

// Authority gives the state of IAM to decide with. An error denies.
type Authority interface {
	Current() (*iam.Snapshot, error)
}

// Revocations says what no longer holds. An error denies.
type Revocations interface {
	Refused(kind, id string, epoch uint64) (bool, error)
}

// Config is what Access stands on.
type Config struct {
	Authority   Authority
	Keys        sessiontoken.Keys
	Revocations Revocations
	// Rule gives the place of a bucket by the configuration; false where no rule
	// covers the name.
	Rule   func(bucket string) (Place, bool)
	Region string
	// Withheld says why a bucket is closed to everyone whatever policies say, as
	// the end of a sentence; empty, or a nil Withheld: it is not.
	Withheld func(bucket string) string
	// StaticKeys lets IAM users' long-term access keys be used (the setting
	// static_keys).
	StaticKeys bool
	Now        func() time.Time
}

// Access answers from memory alone. Safe for concurrent use.
type Access struct {
	Config
	opened *memory
}

// New makes an Access.
func New(c Config) *Access {
	return &Access{Config: c, opened: newMemory(mostOpened)}
}

// Lookup gives the caller behind an access key id and its session token, and
// the secret key that the request must be signed with. Nothing is proven until
// the signature held. Errors carry S3's codes: InvalidAccessKeyId,
// InvalidToken, ExpiredToken, and Unavailable where this server can't say.
func (a *Access) Lookup(_ context.Context, accessKeyID string, token secret.Text) (Caller, secret.Text, error) {
	if strings.HasPrefix(accessKeyID, "AKIA") {
		return a.lookupLongTerm(accessKeyID, token)
	}
	if strings.HasPrefix(accessKeyID, identity.GatewayKeyPrefix) {
		return Caller{}, secret.Text{}, unknownKey().WithMend("a gateway key is good for requests to S3 that are signed in the Authorization header, and for nothing else")
	}
	if !strings.HasPrefix(accessKeyID, "ASIA") || len(accessKeyID) < 16 || len(accessKeyID) > 128 {
		return Caller{}, secret.Text{}, unknownKey().WithMend("fetch keys with carnet env or carnet credentials")
	}
	if token.IsZero() {
		return Caller{}, secret.Text{}, sessiontoken.ErrInvalid.WithMend("temporary keys need their session token: send all three values")
	}
	now := a.Now()
	o, err := a.open(accessKeyID, token, now)
	if err != nil {
		return Caller{}, secret.Text{}, err
	}
	if !a.StaticKeys && o.claims.Kind != sessiontoken.RoleSession {
		return Caller{}, secret.Text{}, unknownKey().WithMend("these keys were made from long-lived ones, which are not used here: sign in with carnet login")
	}
	if err := a.stillHolds(accessKeyID, &o.claims); err != nil {
		return Caller{}, secret.Text{}, err
	}
	caller := o.caller
	caller.proven = o
	return caller, o.claims.SecretKey, nil
}

func unknownKey() *fault.Fault {
	return fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
}

// lookupLongTerm finds an IAM user's access key. It carries no epoch, so it ends
// by being switched off or deleted in IAM; a server that can't confirm its view
// refuses it as it refuses all else.
func (a *Access) lookupLongTerm(id string, token secret.Text) (Caller, secret.Text, error) {
	if !a.StaticKeys {
		return Caller{}, secret.Text{}, unknownKey().WithMend("long-lived keys are not used here: sign in with carnet login, then carnet env or carnet configure")
	}
	if !token.IsZero() {
		return Caller{}, secret.Text{}, sessiontoken.ErrInvalid.WithMend("long-lived keys have no session token: remove AWS_SESSION_TOKEN")
	}
	key, err := a.active(id)
	if err != nil {
		return Caller{}, secret.Text{}, err
	}
	o, err := a.longTerm(key)
	if err != nil {
		return Caller{}, secret.Text{}, err
	}
	caller := o.caller
	caller.proven = o
	return caller, key.Secret, nil
}

// active finds a long-term access key that is switched on.
func (a *Access) active(id string) (*iam.AccessKey, error) {
	if _, err := a.Revocations.Refused(revocation.AccessKey, id, math.MaxUint64); err != nil {
		return nil, err
	}
	snapshot, err := a.Authority.Current()
	if err != nil {
		return nil, err
	}
	key, ok := snapshot.AccessKey(id)
	if !ok {
		return nil, unknownKey()
	}
	return key, nil
}

// open opens a token, or remembers that it did. What is remembered is held to
// its end again; revocation and principal are asked anew by the caller.
func (a *Access) open(id string, token secret.Text, now time.Time) (*proven, error) {
	digest := digestOf(id, token)
	if o := a.opened.get(digest); o != nil {
		if !now.Before(o.claims.Expires) {
			return nil, sessiontoken.ErrExpired
		}
		return o, nil
	}
	claims, err := sessiontoken.Open(a.Keys, id, token, now)
	if err != nil {
		if issuedByAWS(token) {
			return nil, fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "These keys are from AWS and are good at AWS only.").
				WithMend("use them without AWS_ENDPOINT_URL_S3, or fetch keys of a local account with carnet env")
		}
		return nil, err
	}
	o := a.opening(id, claims)
	if claims.SessionPolicy != "" {
		// STS compiled it before it sealed it; one that no longer compiles can't
		// be evaluated, and leaving it out would widen the role session.
		document, err := policy.Parse(policy.Session, "session-policy", []byte(claims.SessionPolicy))
		if err != nil {
			return nil, sessiontoken.ErrInvalid.WithCause(err)
		}
		o.session = append(o.session, document)
	}
	a.opened.put(digest, o)
	return o, nil
}

// issuedByAWS reports whether a token begins as those of AWS STS do. It decides
// nothing but the advice in a refusal.
func issuedByAWS(token secret.Text) bool {
	text := token.Reveal()
	return strings.HasPrefix(text, "IQoJ") || strings.HasPrefix(text, "FwoG") || strings.HasPrefix(text, "FQoG")
}

// holdsYet asks once more whether the keys of a caller are good. Between Lookup
// and a decision a body may have been waited for, for as long as its sender
// liked, and what was revoked meanwhile must not act.
func (a *Access) holdsYet(c Caller) error {
	if c.Kind == User {
		_, err := a.active(c.AccessKeyID)
		return err
	}
	if !a.Now().Before(c.Expires) {
		return sessiontoken.ErrExpired
	}
	return a.stillHolds(c.AccessKeyID, &c.proven.claims)
}

// stillHolds asks whether anything that the token rests on was taken back.
func (a *Access) stillHolds(id string, c *sessiontoken.Claims) error {
	for _, r := range [...]struct{ kind, id string }{
		{revocation.Everything, revocation.Everything},
		{revocation.LoginSession, string(c.LoginSession)},
		{revocation.Person, string(c.Person)},
		{revocation.ServicePrincipal, string(c.ServicePrincipal)},
		{revocation.Delegation, string(c.Delegation)},
		{revocation.Attachment, string(c.Attachment)},
		{revocation.Node, string(c.Node)},
		{revocation.Cluster, string(c.Cluster)},
		{revocation.Role, string(c.RoleID)},
		{revocation.AccessKey, id},
	} {
		if r.id == "" {
			continue
		}
		refused, err := a.Revocations.Refused(r.kind, r.id, c.Epoch)
		if err != nil {
			return err
		}
		if refused {
			mend := "sign in again with carnet login"
			if !c.OnNode.IsZero() {
				mend = "these keys were made for a node: attach there again with carnet attach, and fetch new ones"
			}
			return fault.Coded(fault.Revoked, "ExpiredToken", "The role session behind these keys was ended.").WithMend(mend)
		}
	}
	snapshot, err := a.Authority.Current()
	if err != nil {
		return err
	}
	if c.Kind == sessiontoken.RoleSession {
		if role, ok := snapshot.RoleByID(c.RoleID); !ok || role.ARN != c.Role {
			return gone("role")
		}
		return nil
	}
	if user, ok := snapshot.UserByID(c.UserID); !ok || user.ARN != c.User.String() {
		return gone("user")
	}
	return nil
}

func gone(what string) error {
	return fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "The "+what+" behind this access key id does not exist any more.").
		WithMend("sign in again with carnet login")
}

// Place says where a bucket lives; false where no rule covers its name.
func (a *Access) Place(bucket string) (Place, bool) {
	place, ok := a.Rule(bucket)
	place.Bucket = bucket
	if ok {
		place.Closed = a.withheld(bucket)
	}
	return place, ok
}
