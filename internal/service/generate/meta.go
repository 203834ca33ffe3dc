package generate

import (
	"fmt"
	"regexp"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/policy"
)

// Meta is trust in Carnet's own AWS identity, which takes roles for jobs and JDBC
// connections, under the names of people.
type Meta struct {
	// Identity is its ARN: the role that the server has, or a user whose key it has.
	Identity string
	// ExternalID is this installation's: carnet cluster external-id.
	ExternalID string
	// People are patterns of the source identities that the role is taken for.
	People []string
}

var (
	identityForm = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov):iam::[0-9]{12}:(role|user)(/[A-Za-z0-9+=,.@_-]{1,64}){1,8}$`)
	externalForm = regexp.MustCompile(`^[A-Za-z0-9+=,.@:/_-]{16,128}$`)
	peopleForm   = regexp.MustCompile(`^[A-Za-z0-9+=,.@_*?-]{1,64}$`)
)

func (m Meta) check(partition string) error {
	switch {
	case !identityForm.MatchString(m.Identity) || strings.Split(m.Identity, ":")[1] != partition:
		return badWith("give the role that the server has at AWS, or the user whose key it has, as --identity arn:"+partition+":iam::ACCOUNT:role/NAME", "%q is not the ARN of a role or user in partition %s", m.Identity, partition)
	case !externalForm.MatchString(m.ExternalID):
		return badWith("on the server's host: carnet cluster external-id", "external id %q is not one of Carnet's", m.ExternalID)
	case len(m.People) == 0:
		return badWith("give patterns of user names with --people, such as '*@example.com'", "it is not said for whom Carnet's identity may take the role")
	}
	for _, p := range m.People {
		if !peopleForm.MatchString(p) {
			return badWith("give a user name, * and ? standing for any characters", "%q is not a pattern of source identities", p)
		}
	}
	return nil
}

// trust lets the identity take the role under this installation's external id and the
// name of somebody whom the patterns cover.
func (m Meta) trust() statement {
	return statement{
		Effect: "Allow", Principal: map[string]string{"AWS": m.Identity}, Action: []string{"sts:AssumeRole", "sts:SetSourceIdentity"},
		Condition: map[string]map[string][]string{"StringEquals": {"sts:ExternalId": {m.ExternalID}}, "StringLike": {"sts:SourceIdentity": m.People}},
	}
}

func (m Meta) warnings() (out []string) {
	out = append(out, "whoever has the server's own AWS identity and the external id can take these roles in the name of anybody whom the patterns cover")
	for _, p := range m.People {
		if strings.Trim(p, "*?") == "" {
			out = append(out, "the pattern "+p+" covers every name; name a domain, such as *@example.com")
		}
	}
	return out
}

// Identity is what Carnet's own identity is given: it may take the roles, and nothing
// else by this.
type Identity struct {
	ARN         string
	Permissions string // policy document, JSON
	Command     string
}

// identity lets Carnet's own identity take the roles.
func (s AWS) identity(accounts []Account) (Identity, error) {
	i := Identity{ARN: s.Meta.Identity}
	grant := statement{Effect: "Allow", Action: []string{"sts:AssumeRole", "sts:SetSourceIdentity"}}
	for _, a := range accounts {
		grant.Resource = append(grant.Resource, a.Role)
	}
	i.Permissions = compact(document{Version: "2012-10-17", Statement: []statement{grant}})
	if _, err := policy.Parse(policy.Identity, s.Role, []byte(i.Permissions)); err != nil {
		return i, fault.Wrap(err, fault.Invalid, "the policy of Carnet's identity would not be taken: "+fault.Of(err).Public)
	}
	parsed, err := arn.Parse(i.ARN)
	if err != nil {
		return i, bad("%s", err)
	}
	kind, name := "role", parsed.Resource[strings.LastIndexByte(parsed.Resource, '/')+1:]
	if strings.HasPrefix(parsed.Resource, "user/") {
		kind = "user"
	}
	i.Command = fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name carnet-%s --policy-document '%s'", kind, kind, name, s.Role, i.Permissions)
	return i, nil
}
