package access

import (
	"context"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/s3"
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
	// Rule gives the account and the upstream of a bucket by the
	// configuration; false where no rule covers the name.
	Rule   func(bucket string) (account, upstream string, ok bool)
	Region string
	Now    func() time.Time
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
	if err := checkKeyID(accessKeyID); err != nil {
		return Caller{}, secret.Text{}, err
	}
	if token.IsZero() {
		return Caller{}, secret.Text{}, sessiontoken.ErrInvalid.WithMend("temporary keys need their session token: send all three values")
	}
	now := a.Now()
	o, err := a.open(accessKeyID, token, now)
	if err != nil {
		return Caller{}, secret.Text{}, err
	}
	if err := a.stillHolds(accessKeyID, &o.claims); err != nil {
		return Caller{}, secret.Text{}, err
	}
	caller := o.caller
	caller.opened = o
	return caller, o.claims.SecretKey, nil
}

func checkKeyID(id string) error {
	unknown := fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	switch {
	case strings.HasPrefix(id, "AKIA"):
		return unknown.WithMend("long-lived keys are not used here: sign in with carnet login, then carnet env or carnet configure")
	case !strings.HasPrefix(id, "ASIA") || len(id) < 16 || len(id) > 128:
		return unknown.WithMend("fetch keys with carnet env or carnet credentials")
	}
	return nil
}

// open opens a token, or remembers that it did. What is remembered is held to
// its end again; revocation and role are asked anew by the caller.
func (a *Access) open(id string, token secret.Text, now time.Time) (*opened, error) {
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
	if len(claims.SessionPolicyARNs) > 0 {
		// Managed session policies can't be evaluated here; leaving them out
		// would widen the role session.
		return nil, sessiontoken.ErrInvalid
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

// stillHolds asks whether anything that the token rests on was taken back.
func (a *Access) stillHolds(id string, c *sessiontoken.Claims) error {
	for _, r := range [...]struct{ kind, id string }{
		{revocation.Everything, revocation.Everything},
		{revocation.LoginSession, string(c.LoginSession)},
		{revocation.Person, string(c.Person)},
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
			return fault.Coded(fault.Revoked, "ExpiredToken", "The role session behind these keys was ended.").
				WithMend("sign in again with carnet login")
		}
	}
	snapshot, err := a.Authority.Current()
	if err != nil {
		return err
	}
	if role, ok := snapshot.RoleByID(c.RoleID); !ok || role.ARN != c.Role {
		return fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "The role behind this access key id does not exist any more.").
			WithMend("sign in again with carnet login")
	}
	return nil
}

// Place says where a bucket lives; false where no rule covers its name.
func (a *Access) Place(bucket string) (Place, bool) {
	account, upstream, ok := a.Rule(bucket)
	return Place{Bucket: bucket, Account: account, Upstream: upstream}, ok
}

// Decide answers whether a caller may do all of checks. The first that is
// refused gives the reason.
func (a *Access) Decide(_ context.Context, c Caller, checks []s3.Check, env Environment) Decision {
	if c.opened == nil || len(checks) == 0 {
		return Decision{Reason: "Nothing was proven or nothing was asked."}
	}
	snapshot, err := a.Authority.Current()
	if err != nil {
		return Decision{Reason: fault.Of(err).Public}
	}
	role, ok := snapshot.RoleByID(c.RoleID)
	if !ok {
		return Decision{Reason: "The role " + c.Role.String() + " does not exist any more."}
	}
	q := a.question(c, role, env)
	var decided []string
	for i := range checks {
		verdict, ok := a.one(snapshot, role, c, &q, &checks[i])
		if !ok {
			return Decision{Explicit: true, Reason: refusal(c, &checks[i], "because the policy of the bucket can't be evaluated")}
		}
		if cite := verdict.Cites(); cite != "" {
			decided = append(decided, cite)
		}
		if !verdict.Allow {
			return Decision{Explicit: verdict.Explicit, Reason: refusal(c, &checks[i], verdict.Reason(checks[i].Action)), Statements: decided}
		}
	}
	return Decision{Allow: true, Statements: decided}
}

// one asks the policy engine one check. It is not ok where the bucket has a
// policy that could not be read: it may have held a deny.
func (a *Access) one(snapshot *iam.Snapshot, role *iam.Role, c Caller, q *question, check *s3.Check) (policy.Verdict, bool) {
	set := policy.Set{Identity: role.Policies, Boundary: role.Boundary, Session: c.opened.session}
	owner := c.Account
	if check.Bucket != "" {
		place, ok := a.Place(check.Bucket)
		if !ok {
			owner = "" // nobody's: another account than any
		} else {
			owner = place.Account
		}
		if b, ok := snapshot.Bucket(check.Bucket); ok {
			// A policy kept for another owner than the configuration's is a
			// contradiction that nobody may profit from.
			if b.Policy == nil || b.Account != owner {
				return policy.Verdict{}, false
			}
			set.Resource = b.Policy
		}
	}
	r := q.request(check, owner)
	return set.Decide(&r), true
}

// refusal is the sentence of AWS's own AccessDenied.
func refusal(c Caller, check *s3.Check, why string) string {
	return "User: " + c.AssumedRoleARN + " is not authorized to perform: " + check.Action + " on resource: " + strconv.Quote(check.ARN()) + " " + why
}

// question is what all checks of one request have in common.
type question struct {
	principal policy.Principal
	context   policy.Context
}

func (q *question) request(check *s3.Check, owner string) policy.Request {
	r := policy.Request{Principal: q.principal, Action: check.Action, Resource: check.ARN(), ResourceAccount: owner, Context: q.context}
	if check.Bucket == "" {
		// An action on no bucket is asked on all of S3, so that only policies
		// with Resource "*" or arn:aws:s3:::* allow it.
		r.Resource = "arn:aws:s3:::*"
	}
	if owner != "" || len(check.Context) > 0 {
		r.Context = q.context.Clone()
		if owner != "" {
			r.Context.Set("s3:ResourceAccount", owner)
			r.Context.Set("aws:ResourceAccount", owner)
		}
		for _, v := range check.Context {
			r.Context.Set(v.Key, v.Values...)
		}
	}
	return r
}

// opening keeps what no request of a role session can change.
func (a *Access) opening(id string, c sessiontoken.Claims) *opened {
	o := &opened{claims: c, caller: Caller{
		Account: c.Role.Account, Role: c.Role, RoleID: c.RoleID, SessionName: c.SessionName,
		AssumedRoleARN: c.Role.AssumedRole(c.SessionName), UserID: string(c.RoleID) + ":" + c.SessionName,
		Person: c.Person, LoginSession: c.LoginSession, AccessKeyID: id, Expires: c.Expires,
	}}
	o.principal = policy.Principal{
		Account: o.caller.Account, ARN: c.Role.String(), SessionARN: o.caller.AssumedRoleARN, UniqueID: string(c.RoleID), Provider: c.Provider,
	}
	k := &o.context
	k.Set("aws:PrincipalArn", o.principal.ARN)
	k.Set("aws:PrincipalAccount", o.caller.Account)
	k.Set("aws:PrincipalType", "AssumedRole")
	k.Set("aws:userid", o.caller.UserID)
	k.Set("aws:ViaAWSService", "false")
	k.Set("aws:PrincipalIsAWSService", "false")
	k.Set("aws:TokenIssueTime", c.IssuedAt.UTC().Format(time.RFC3339))
	k.Set("s3:signatureversion", "AWS4-HMAC-SHA256")
	setGiven(k, "aws:RequestedRegion", a.Region)
	setGiven(k, "aws:FederatedProvider", c.Provider)
	setGiven(k, "aws:SourceIdentity", c.SourceIdentity)
	setGiven(k, "saml:sub", c.Subject)
	setGiven(k, "saml:sub_type", c.SubjectType)
	setGiven(k, "saml:namequalifier", c.NameQualifier)
	for _, t := range c.Tags {
		k.Set("aws:PrincipalTag/"+t.Key, t.Value)
	}
	return o
}

// setGiven leaves an empty value out: the key is absent then.
func setGiven(k *policy.Context, key, value string) {
	if value != "" {
		k.Set(key, value)
	}
}

// question fills the principal and the global condition keys (IAM User Guide,
// "AWS global condition context keys").
func (a *Access) question(c Caller, role *iam.Role, env Environment) question {
	q := question{principal: c.opened.principal, context: c.opened.context.Clone()}
	k := &q.context
	for key, value := range role.Tags {
		// Tags of the role session win, letter case of keys aside (IAM User
		// Guide, "Session tags").
		if key = "aws:PrincipalTag/" + key; k.Get(key) == nil {
			k.Set(key, value)
		}
	}
	k.Set("aws:SecureTransport", strconv.FormatBool(env.Secure))
	k.Set("aws:CurrentTime", env.Now.UTC().Format(time.RFC3339))
	k.Set("aws:EpochTime", strconv.FormatInt(env.Now.Unix(), 10))
	if env.SourceIP.IsValid() {
		k.Set("aws:SourceIp", env.SourceIP.Unmap().WithZone("").String())
	}
	setGiven(k, "aws:UserAgent", env.UserAgent)
	setGiven(k, "aws:Referer", env.Referer)
	setGiven(k, "s3:authType", env.AuthType)
	setGiven(k, "s3:TlsVersion", env.TLSVersion)
	setGiven(k, "s3:x-amz-content-sha256", env.PayloadHash)
	if env.SignatureAge > 0 || env.AuthType == "REST-QUERY-STRING" {
		k.Set("s3:signatureAge", strconv.FormatInt(env.SignatureAge.Milliseconds(), 10))
	}
	return q
}
