package access

import (
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
)

// opening keeps what no request of a session can change.
func (a *Access) opening(id string, c sessiontoken.Claims) *proven {
	o := &proven{claims: c, caller: Caller{
		Chained: c.Chained, MadeFrom: c.IssuedAt,
		SourceIdentity: c.SourceIdentity, Tags: c.Tags, TransitiveTagKeys: c.TransitiveTagKeys,
		Person: c.Person, LoginSession: c.LoginSession, ServicePrincipal: c.ServicePrincipal, Delegation: c.Delegation, OnNode: c.OnNode,
		AccessKeyID: id, Expires: c.Expires,
	}}
	switch c.Kind {
	case sessiontoken.RoleSession:
		o.role(c)
	case sessiontoken.UserSession:
		o.caller.Kind, o.caller.IAMUser = UserSession, c.UserID
		o.user(c.User, string(c.UserID))
	case sessiontoken.FederatedUser:
		o.federated(c)
	}
	a.know(o)
	o.knows("aws:TokenIssueTime", c.IssuedAt.UTC().Format(time.RFC3339))
	o.knows("aws:MultiFactorAuthPresent", "false")
	o.knows("aws:FederatedProvider", c.Provider)
	o.knows("aws:SourceIdentity", c.SourceIdentity)
	o.subject(c)
	for _, t := range c.Tags {
		o.is("aws:PrincipalTag/"+t.Key, t.Value)
	}
	return o
}

// subject adds what of the federated sign-in stays in the session: of an
// assertion three keys, of an ID token audience, subject and methods under the
// name of the provider (IAM User Guide, "IAM and AWS STS condition context
// keys").
func (o *proven) subject(c sessiontoken.Claims) {
	if _, issuer, ok := strings.Cut(c.Provider, ":oidc-provider/"); ok {
		o.knows(issuer+":aud", c.Audience)
		o.knows(issuer+":sub", c.Subject)
		if len(c.Methods) > 0 {
			o.is(issuer+":amr", c.Methods...)
		}
		return
	}
	o.knows("saml:sub", c.Subject)
	o.knows("saml:sub_type", c.SubjectType)
	o.knows("saml:namequalifier", c.NameQualifier)
}

// know adds what holds of every principal.
func (a *Access) know(o *proven) {
	o.knows("aws:PrincipalAccount", o.caller.Account)
	o.knows("aws:userid", o.caller.UserID)
	o.knows("aws:ViaAWSService", "false")
	o.knows("aws:PrincipalIsAWSService", "false")
	o.knows("aws:RequestedRegion", a.Region)
}

// role makes o the principal of a role session (IAM User Guide, "AWS global
// condition context keys": the role is aws:PrincipalArn, its session is not).
func (o *proven) role(c sessiontoken.Claims) {
	k := &o.caller
	k.Kind, k.Account, k.ARN = RoleSession, c.Role.Account, c.Role.AssumedRole(c.SessionName)
	k.UserID = string(c.RoleID) + ":" + c.SessionName
	k.Role, k.RoleID, k.SessionName = c.Role, c.RoleID, c.SessionName
	o.principal = policy.Principal{Account: k.Account, ARN: c.Role.String(), SessionARN: k.ARN, UniqueID: string(c.RoleID), Provider: c.Provider}
	o.knows("aws:PrincipalArn", o.principal.ARN)
	o.knows("aws:PrincipalType", "AssumedRole")
}

// user makes o the principal of an IAM user, by long-term or temporary keys.
func (o *proven) user(u arn.User, id string) {
	k := &o.caller
	k.Account, k.ARN, k.UserID, k.User = u.Account, u.String(), id, u
	o.principal = policy.Principal{Account: k.Account, ARN: k.ARN, UniqueID: id}
	o.knows("aws:PrincipalArn", k.ARN)
	o.knows("aws:PrincipalType", "User")
	o.knows("aws:username", u.Name)
}

// federated makes o the principal of a federated user: a part of an IAM user,
// under a name of its own.
func (o *proven) federated(c sessiontoken.Claims) {
	k := &o.caller
	k.Kind, k.Account, k.User, k.IAMUser, k.ARN = FederatedUser, c.User.Account, c.User, c.UserID, c.User.Federated(c.FederatedName)
	k.UserID = c.User.Account + ":" + c.FederatedName
	o.principal = policy.Principal{Account: k.Account, ARN: c.User.String(), SessionARN: k.ARN, UniqueID: string(c.UserID)}
	o.knows("aws:PrincipalArn", k.ARN)
	o.knows("aws:PrincipalType", "FederatedUser")
}

// longTerm makes the principal of an IAM user's access key.
func (a *Access) longTerm(key *iam.AccessKey) (*proven, error) {
	u, err := arn.ParseUser(key.User.ARN)
	if err != nil {
		return nil, err
	}
	o := &proven{}
	o.caller.Kind, o.caller.AccessKeyID, o.caller.IAMUser = User, key.ID, key.User.ID
	o.user(u, string(key.User.ID))
	a.know(o)
	return o, nil
}

// standing is what IAM holds of a caller at this moment.
type standing struct {
	snapshot *iam.Snapshot
	set      policy.Set // all but the policy of the resource
	tags     map[string]string
}

// principal finds the standing of a caller; nil, with the denial, where there
// is none.
func (a *Access) principal(c Caller) (*standing, Decision) {
	if c.proven == nil {
		return nil, Decision{Reason: "Nothing was proven."}
	}
	if err := a.holdsYet(c); err != nil {
		return nil, Decision{Explicit: true, Reason: fault.Of(err).Public}
	}
	snapshot, err := a.Authority.Current()
	if err != nil {
		return nil, Decision{Reason: fault.Of(err).Public}
	}
	p := &standing{snapshot: snapshot}
	p.set.Guardrails, _ = snapshot.Guardrails(c.Account)
	switch c.Kind {
	case RoleSession:
		role, ok := snapshot.RoleByID(c.RoleID)
		if !ok {
			return nil, Decision{Reason: "The role " + c.Role.String() + " does not exist any more."}
		}
		p.set.Identity, p.set.Boundary, p.tags = role.Policies, role.Boundary, role.Tags
	case User, UserSession, FederatedUser:
		user, ok := snapshot.UserByID(c.IAMUser)
		if !ok {
			return nil, Decision{Reason: "The user " + c.User.String() + " does not exist any more."}
		}
		p.set.Identity, p.set.Boundary, p.tags = user.Policies, user.Boundary, user.Tags
	default:
		return nil, Decision{Reason: "Nothing was proven."}
	}
	if !p.limit(c.proven) {
		return nil, Decision{Explicit: true, Reason: "A managed policy that limits the session of " + c.ARN + " does not exist any more."}
	}
	return p, Decision{}
}

// limit adds the session policies. Not ok where one is gone: leaving it out
// would widen the session.
func (p *standing) limit(o *proven) bool {
	p.set.Session = o.session
	for i, name := range o.claims.SessionPolicyARNs {
		managed, ok := p.snapshot.ManagedPolicy(name)
		if !ok {
			return false
		}
		if i == 0 {
			p.set.Session = append(make([]*policy.Document, 0, len(o.session)+len(o.claims.SessionPolicyARNs)), o.session...)
		}
		p.set.Session = append(p.set.Session, managed.Identity)
	}
	if o.caller.Kind == FederatedUser && len(p.set.Session) == 0 {
		// Without a session policy a federated user has what the policies of
		// resources give it, and nothing else (STS API Reference,
		// GetFederationToken): an empty policy allows nothing.
		p.set.Session = []*policy.Document{policy.Unite(nil)}
	}
	return true
}

// onto completes the set for a resource of an account, whose own guardrails
// limit everybody.
func (p *standing) onto(account string, resource *policy.Document) policy.Set {
	set := p.set
	set.Resource = resource
	if _, levels := p.snapshot.Guardrails(account); len(levels) > 0 {
		set.Guardrails = append(set.Guardrails[:len(set.Guardrails):len(set.Guardrails)], levels...)
	}
	return set
}
