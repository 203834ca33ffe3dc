package access

import (
	"time"

	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
)

// opening keeps what no request of a role session can change.
func (a *Access) opening(id string, c sessiontoken.Claims) *proven {
	o := &proven{claims: c, caller: Caller{
		Kind: RoleSession, Account: c.Role.Account, ARN: c.Role.AssumedRole(c.SessionName), UserID: string(c.RoleID) + ":" + c.SessionName,
		Role: c.Role, RoleID: c.RoleID, SessionName: c.SessionName, Chained: c.Chained, MadeFrom: c.IssuedAt,
		SourceIdentity: c.SourceIdentity, Tags: c.Tags, TransitiveTagKeys: c.TransitiveTagKeys,
		Person: c.Person, LoginSession: c.LoginSession, AccessKeyID: id, Expires: c.Expires,
	}}
	o.principal = policy.Principal{
		Account: o.caller.Account, ARN: c.Role.String(), SessionARN: o.caller.ARN, UniqueID: string(c.RoleID), Provider: c.Provider,
	}
	o.knows("aws:PrincipalArn", o.principal.ARN)
	o.knows("aws:PrincipalAccount", o.caller.Account)
	o.knows("aws:PrincipalType", "AssumedRole")
	o.knows("aws:userid", o.caller.UserID)
	o.knows("aws:ViaAWSService", "false")
	o.knows("aws:PrincipalIsAWSService", "false")
	o.knows("aws:TokenIssueTime", c.IssuedAt.UTC().Format(time.RFC3339))
	o.knows("aws:RequestedRegion", a.Region)
	o.knows("aws:FederatedProvider", c.Provider)
	o.knows("aws:SourceIdentity", c.SourceIdentity)
	o.knows("saml:sub", c.Subject)
	o.knows("saml:sub_type", c.SubjectType)
	o.knows("saml:namequalifier", c.NameQualifier)
	for _, t := range c.Tags {
		o.is("aws:PrincipalTag/"+t.Key, t.Value)
	}
	return o
}
