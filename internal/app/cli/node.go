package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"carnet.dev/carnet/internal/app/cli/profile"
	"carnet.dev/carnet/internal/app/cli/tokenfile"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
	"carnet.dev/carnet/internal/edge/node/localclient"
	"carnet.dev/carnet/internal/edge/node/localdoc"
)

// agent gives the client of this machine's agent.
func (r *run) agent() *localclient.Client {
	return localclient.New(r.Getenv(localdoc.SocketVariable))
}

// onNode is the attachment that this process is in.
type onNode struct {
	agent  *localclient.Client
	status localdoc.Status
}

// attached gives the attachment of this process; nil: it is in none, or a CLI
// profile was named, which then counts. An agent that should answer and does not is
// an error: what is chosen here must not go elsewhere.
func (r *run) attached(ctx context.Context) (*onNode, error) {
	agent := r.agent()
	if r.profile != "" || r.Getenv("CARNET_PROFILE") != "" || !agent.Present() {
		return nil, nil
	}
	st, err := agent.Status(ctx)
	if err != nil {
		switch fault.KindOf(err) {
		case fault.Denied, fault.NotFound, fault.Unauthenticated, fault.Unsupported:
			return nil, nil // it has nothing for this account
		}
		return nil, then(err, "name a CLI profile to work without the agent, as in: --profile default")
	}
	if st.Attachment == nil {
		return nil, nil
	}
	return &onNode{agent, st}, nil
}

// mustBeAttached gives the attachment of this process.
func (r *run) mustBeAttached(ctx context.Context) (*onNode, error) {
	agent := r.agent()
	st, err := agent.Status(ctx)
	if err != nil {
		return nil, err
	}
	if st.Attachment == nil {
		return nil, notAttached(st)
	}
	return &onNode{agent, st}, nil
}

// roles lists what may be used in the attachment.
func (n *onNode) roles(ctx context.Context) ([]localdoc.Role, error) {
	list, err := n.agent.Roles(ctx)
	for _, x := range list {
		if _, bad := arn.ParseRole(x.ARN); err == nil && bad != nil {
			err = fault.Wrap(bad, fault.Internal, "the agent's answer can't be used")
		}
	}
	return list, err
}

// currentOf gives the current role of a list, or the only one; "" is none.
func currentOf(roles []localdoc.Role) string {
	for _, x := range roles {
		if x.Current {
			return x.ARN
		}
	}
	if len(roles) == 1 {
		return roles[0].ARN
	}
	return ""
}

// nodeKeys gets keys of a role from the agent, held to the same form as the server's.
func (r *run) nodeKeys(ctx context.Context, n *onNode, wanted string) (keys, error) {
	k, err := n.agent.Keys(ctx, wanted)
	if err != nil {
		return keys{}, r.onAgain(err)
	}
	if wanted == "" {
		wanted = k.Role
	}
	c := client.Credentials{
		AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey, SessionToken: k.SessionToken, Expiration: k.Expiration,
		Role: k.Role, Region: k.Region, Endpoints: client.CredentialEndpoints{S3: k.S3, STS: k.STS},
	}
	if err := check(c, wanted); err != nil {
		return keys{}, fault.Wrap(err, fault.Internal, "the agent's answer can't be used")
	}
	if !r.Now().Before(c.Expiration) {
		return keys{}, fault.Coded(fault.Expired, "cli.role-expired", "the keys of "+c.Role+" ended at "+clock(c.Expiration)).
			WithMend("the agent gets no new ones: look at carnet attach status")
	}
	named, _ := arn.ParseRole(c.Role) // check parsed it
	return keys{Credentials: c, account: named.Account, ca: n.authority(k.S3)}, nil
}

// authority is the file of the authority that proves the endpoint; "" where the
// system's do.
func (n *onNode) authority(endpoint string) string {
	if !strings.HasPrefix(endpoint, "https://") {
		return ""
	}
	return n.status.CA
}

// onAgain gives err of a call to the agent with the command that mends it.
func (r *run) onAgain(err error) error {
	switch fault.KindOf(err) {
	case fault.NotFound, fault.Conflict, fault.Denied:
		return then(err, "carnet role list")
	case fault.Unauthenticated, fault.Expired, fault.Revoked:
		return then(err, "carnet attach")
	}
	return err
}

// nodeRoleTable lists roles of an attachment; * marks the current one.
func nodeRoleTable(roles []localdoc.Role) string {
	if len(roles) == 0 {
		return "You have no role that may be used on this cluster. Ask your administrator.\n"
	}
	current := currentOf(roles)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tROLE\tACCOUNT\tSTATE\tARN")
	for _, x := range roles {
		mark, state := "", "ready"
		if x.ARN == current {
			mark = "*"
		}
		if x.Trouble != "" {
			state = "not now"
		}
		named, _ := arn.ParseRole(x.ARN) // roles parsed it
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", mark, named.Name, named.Account, state, x.ARN)
	}
	w.Flush()
	for _, x := range roles {
		if x.Trouble != "" {
			fmt.Fprintf(&b, "%s can't be had: %s\n", roleName(x.ARN), x.Trouble)
		}
	}
	return b.String()
}

// bearerName is the file in the person's runtime folder that holds the second
// factor, where the agent keeps none.
const bearerName = "agent-token"

func (r *run) bearerPath() (string, error) {
	place, err := profile.Place(r.Getenv)
	return filepath.Join(place, bearerName), err
}

// bearerFile gives the file that holds the second factor of the loopback
// endpoints: the agent's, or one that is written here.
func (r *run) bearerFile(ctx context.Context, st localdoc.Status) (string, error) {
	if st.Attachment.TokenFile != "" {
		return st.Attachment.TokenFile, nil
	}
	path, err := r.bearerPath()
	if err != nil {
		return "", err
	}
	bearer, err := r.agent().Bearer(ctx)
	if err != nil {
		return "", err
	}
	place, err := tokenfile.Open(path)
	if err != nil {
		return "", err
	}
	defer place.Close()
	return place.Path(), place.Write(bearer)
}

// forgetBearer takes away what bearerFile wrote.
func (r *run) forgetBearer(st localdoc.Status) error {
	if st.Attachment.TokenFile != "" {
		return nil
	}
	path, err := r.bearerPath()
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
