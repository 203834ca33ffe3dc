package generate

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/protocol/policy"
)

// RevocationSubject stands in the tokens by which Carnet itself denies keys at AWS.
// Nobody who acts has it.
const RevocationSubject = "carnet:revocation"

// RevocationRisk is what an administrator has to know before Carnet may write to
// roles: IAM can't bound an inline policy by its name or content.
const RevocationRisk = "whoever holds Carnet's issuer key, or runs its servers, can then give the roles named here any permission: name no role that may be more than data"

// Revocation is a set-up of accounts in which Carnet may deny keys that were taken
// back: one role in each, which it takes on by its own tokens.
type Revocation struct {
	Partition string   // empty means aws
	Accounts  []string // 12 digits each, in order
	Role      string   // its name; empty means carnet-revocation
	// Roles are those that Carnet may write to: names with their path, where * stands
	// for any run of characters.
	Roles []string
	// Trusted says that the account has the OIDC provider already.
	Trusted bool
	OIDC    OIDC // Issuer and Local alone
}

// DefaultRevocationRole is the role's name where none is given.
const DefaultRevocationRole = "carnet-revocation"

var rolePattern = regexp.MustCompile(`^[A-Za-z0-9+=,.@_/*-]{1,128}$`)

// Generate gives the set-up. Errors: Invalid, with what to give instead.
func (r Revocation) Generate() (*Setup, error) {
	if r.Partition == "" {
		r.Partition = "aws"
	}
	if r.Role == "" {
		r.Role = DefaultRevocationRole
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	out := &Setup{Warnings: []string{RevocationRisk}}
	for _, x := range r.Roles {
		if strings.Contains(x, "*") {
			out.Warnings = append(out.Warnings, "Carnet may write to every role like "+x+", also to one that is made later: name roles where you can")
		}
	}
	for _, id := range r.Accounts {
		a, err := r.account(id)
		if err != nil {
			return nil, err
		}
		out.Accounts = append(out.Accounts, a)
	}
	return out, nil
}

func (r Revocation) check() error {
	switch {
	case r.Partition != "aws" && r.Partition != "aws-cn" && r.Partition != "aws-us-gov":
		return bad("partition %q: want aws, aws-cn or aws-us-gov", r.Partition)
	case !roleName.MatchString(r.Role):
		return bad("role %q: want 1 to 64 letters, digits and +=,.@-_", r.Role)
	case len(r.Accounts) == 0:
		return badWith("give one with --account", "no account is named")
	case len(r.Roles) == 0:
		return badWith("give each role that people get keys of with --deny-on, such as lake-analyst", "no role is named that Carnet may write to")
	}
	for _, id := range r.Accounts {
		if !arn.IsAccount(id) {
			return bad("account %q: want 12 digits", id)
		}
	}
	for _, x := range r.Roles {
		if !rolePattern.MatchString(x) || strings.HasPrefix(x, "/") || x == r.Role {
			return badWith("give its name, behind its path where it has one, such as data/analyst", "role %q can't be written to by %s", x, r.Role)
		}
	}
	return r.OIDC.checkIssuer()
}

func (r Revocation) account(id string) (Account, error) {
	prefix := fmt.Sprintf("arn:%s:iam::%s:", r.Partition, id)
	a := Account{ID: id, Role: prefix + "role/" + r.Role, OIDC: prefix + "oidc-provider/" + r.OIDC.name()}
	name := r.OIDC.name()
	trust := statement{Effect: "Allow", Principal: map[string]string{"Federated": a.OIDC}, Action: []string{"sts:AssumeRoleWithWebIdentity"},
		Condition: map[string]map[string][]string{
			"StringEquals": {name + ":aud": {AudienceAWS}, name + ":sub": {RevocationSubject}},
			"Bool":         {"sts:RoleAuthorizedByIdp": {"true"}},
		}}
	actions := []string{"iam:GetRolePolicy", "iam:PutRolePolicy", "iam:DeleteRolePolicy"}
	write := statement{Sid: "DenyTakenBack", Effect: "Allow", Action: actions}
	for _, x := range r.Roles {
		write.Resource = append(write.Resource, prefix+"role/"+x)
	}
	own := statement{Sid: "NeverItself", Effect: "Deny", Action: actions, Resource: []string{a.Role}}
	a.Trust, a.Permissions = compact(document{"2012-10-17", []statement{trust}}), compact(document{"2012-10-17", []statement{write, own}})
	if _, err := policy.Parse(policy.Trust, r.Role, []byte(a.Trust)); err != nil {
		return a, bad("the trust policy would not be taken: %v", err)
	}
	if _, err := policy.Parse(policy.Identity, r.Role, []byte(a.Permissions)); err != nil {
		return a, bad("the policy for these roles would not be taken: %v", err)
	}
	if !r.Trusted {
		a.Commands = append(a.Commands, fmt.Sprintf("aws iam create-open-id-connect-provider --url %s --client-id-list %s", r.OIDC.Issuer, AudienceAWS))
	}
	a.Commands = append(a.Commands,
		fmt.Sprintf("aws iam create-role --role-name %s --max-session-duration %d --assume-role-policy-document '%s'", r.Role, int(time.Hour/time.Second), a.Trust),
		fmt.Sprintf("aws iam put-role-policy --role-name %s --policy-name deny-taken-back --policy-document '%s'", r.Role, a.Permissions))
	return a, nil
}
