package cli

import (
	"context"
	"fmt"

	"carnet.dev/carnet/internal/app/cli/awsconfig"
	"carnet.dev/carnet/internal/app/cli/engines"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
)

// configureFor prints the settings of an engine: by the agent in a login that is
// attached, else by the AWS profile that carnet configure writes.
func (r *run) configureFor(ctx context.Context, name string, f configureFlags) error {
	if !engines.Known(name) {
		_, err := engines.Render(name, engines.Facts{})
		return usage("%s; %s", fault.Of(err).Public, fault.Of(err).Mend)
	}
	var facts engines.Facts
	if name != "python" && name != "jupyterhub" { // those two say nothing of a role
		var err error
		if facts, err = r.engineFacts(ctx, f); err != nil {
			return err
		}
	}
	text, err := engines.Render(name, facts)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(r.Stdout, text)
	return err
}

// engineFacts says where keys come from here, and where they are used.
func (r *run) engineFacts(ctx context.Context, f configureFlags) (engines.Facts, error) {
	n, err := r.attached(ctx)
	if err != nil {
		return engines.Facts{}, err
	}
	if n != nil {
		return r.nodeFacts(ctx, n, f)
	}
	k, err := r.personKeys(ctx, asked{})
	if err != nil {
		return engines.Facts{}, err
	}
	s, err := r.signedIn()
	if err != nil {
		return engines.Facts{}, err
	}
	defer s.close()
	roles, err := s.api.Roles(ctx)
	if err != nil {
		return engines.Facts{}, r.again(s, err)
	}
	facts := engines.Facts{Region: k.Region, S3: k.Endpoints.S3, STS: k.Endpoints.STS, CA: k.ca, Role: k.Role, Server: s.profile.Server}
	for _, x := range roles {
		if x.ARN == k.Role {
			facts.Profile = awsProfile(f.prefix, x)
		}
	}
	r.note("%s uses the AWS profile %s: write it with %s", k.Role, facts.Profile, r.command("configure"))
	return facts, nil
}

// nodeFacts are those of an attachment.
func (r *run) nodeFacts(ctx context.Context, n *onNode, f configureFlags) (engines.Facts, error) {
	k, err := r.nodeKeys(ctx, n, "")
	if err != nil {
		return engines.Facts{}, err
	}
	facts := engines.Facts{
		Container: n.status.Faces.Container, Region: k.Region, S3: k.Endpoints.S3, STS: k.Endpoints.STS, CA: k.ca, Role: k.Role,
		Server: n.status.Server, Node: n.status.Node, Socket: n.agent.Socket(),
	}
	if facts.Container == "" {
		facts.Profile = awsProfile(f.prefix, client.Role{ARN: k.Role, Account: k.account})
		r.note("%s uses the AWS profile %s: write it with carnet configure", k.Role, facts.Profile)
		return facts, nil
	}
	facts.TokenFile, err = r.bearerFile(ctx, n.status)
	return facts, err
}

// attachmentBlock owns the AWS profiles that ask the agent.
const attachmentBlock = "attachment"

// nodeBlock makes the profiles of the roles of an attachment. Their names are those of
// accounts: an agent knows no other names.
func (r *run) nodeBlock(ctx context.Context, n *onNode, f configureFlags) (b awsconfig.Block, leftOut []client.Role, err error) {
	program, err := programPath(f.command)
	if err != nil {
		return b, nil, err
	}
	roles, err := n.roles(ctx)
	if err != nil {
		return b, nil, r.onAgain(err)
	}
	b = awsconfig.Block{Owner: attachmentBlock}
	for _, x := range roles {
		named, _ := arn.ParseRole(x.ARN) // roles parsed it
		as := client.Role{ARN: x.ARN, Account: named.Account}
		if x.Trouble != "" {
			as.State, as.Error = client.Failed, &client.RoleError{Code: "role", Message: x.Trouble}
			leftOut = append(leftOut, as)
			continue
		}
		k, err := r.nodeKeys(ctx, n, x.ARN)
		if err != nil {
			return b, nil, err
		}
		b.CABundle = k.ca
		b.Profiles = append(b.Profiles, awsconfig.Profile{
			Name: awsProfile(f.prefix, as), Role: k.Role, Region: k.Region, Command: program, Agent: true,
			S3: k.Endpoints.S3, STS: k.Endpoints.STS, S3Only: byGateway(k.Credentials),
		})
	}
	if len(b.Profiles) == 0 {
		return b, nil, fault.Coded(fault.Denied, "cli.no-role", "no role of yours can be used here, so there is nothing to configure").
			WithMend("look at carnet role list")
	}
	return b, leftOut, nil
}
