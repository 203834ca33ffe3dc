package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/api/client"
)

func (r *run) credentials() *cobra.Command {
	var which asked
	c := &cobra.Command{
		Use:   "credentials",
		Short: "Print keys as AWS tools want them from credential_process",
		Long: "Prints temporary keys as one JSON document (AWS SDK reference, \"Process credential provider\").\n" +
			"AWS tools run it by themselves; see carnet configure.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			k, err := r.keys(cmd.Context(), which)
			if err != nil {
				return err
			}
			return json.NewEncoder(r.Stdout).Encode(struct {
				Version         int
				AccessKeyId     string //nolint:revive // AWS's name
				SecretAccessKey string
				SessionToken    string `json:",omitempty"` // a gateway key has none
				Expiration      string
				AccountId       string //nolint:revive // AWS's name
			}{1, k.AccessKeyID, k.SecretAccessKey.Reveal(), k.SessionToken.Reveal(), stamp(k.Expiration), k.account})
		},
	}
	r.roleFlag(c, &which)
	return c
}

// asked says whose keys are wanted: a role's, or carnet-admin's of an account,
// of the person who is signed in; or a role's of a workload.
type asked struct {
	role, administrator, bucket string
	agent                       bool // the agent of this machine alone
	workload
}

func (r *run) roleFlag(c *cobra.Command, which *asked) {
	c.Flags().StringVar(&which.role, "role", "", "ARN, name or ACCOUNT/NAME of the role (default: the current one)")
	c.Flags().StringVar(&which.administrator, "administrator", "", "a local account: keys of its carnet-admin, for administrators of Carnet")
	c.Flags().StringVar(&which.bucket, "bucket", "", "the bucket that the keys are for, where its rule says how keys reach you")
	c.Flags().BoolVar(&which.agent, "agent", false, "from the agent of this machine, and nowhere else (default in a login that is attached)")
	c.MarkFlagsMutuallyExclusive("agent", "administrator")
	c.MarkFlagsMutuallyExclusive("agent", "bucket")
	c.MarkFlagsMutuallyExclusive("role", "administrator")
	c.MarkFlagsMutuallyExclusive("bucket", "administrator")
	r.workloadFlags(c, &which.workload)
}

// keys are credentials that were checked for what they are going into.
type keys struct {
	client.Credentials
	account string
	ca      string
}

// keys gets the keys of the role that is named, chosen, or the only one.
func (r *run) keys(ctx context.Context, which asked) (keys, error) {
	switch {
	case which.agent:
		n, err := r.mustBeAttached(ctx)
		if err != nil {
			return keys{}, err
		}
		return r.nodeKeys(ctx, n, which.role)
	case which.administrator == "" && r.proves(&which.workload):
		return r.workloadKeys(ctx, which.workload, which.role)
	case which.administrator == "" && which.bucket == "":
		if n, err := r.attached(ctx); err != nil {
			return keys{}, err
		} else if n != nil {
			return r.nodeKeys(ctx, n, which.role)
		}
	}
	return r.personKeys(ctx, which)
}

// personKeys gets keys by the person's own sign-in here.
func (r *run) personKeys(ctx context.Context, which asked) (keys, error) {
	s, err := r.signedIn()
	if err != nil {
		return keys{}, err
	}
	defer s.close()
	if which.administrator != "" {
		c, err := s.api.AdministratorCredentials(ctx, which.administrator)
		return r.usable(s, c, which.administrator+"/"+administratorRole, err)
	}
	role := which.role
	if role == "" {
		if role = s.profile.Role; role == "" {
			roles, err := s.api.Roles(ctx)
			if err != nil {
				return keys{}, r.again(s, err)
			}
			if role, err = r.current(s, roles); err != nil {
				return keys{}, err
			}
		}
	}
	return r.fetch(ctx, s, role, which.bucket)
}

func (r *run) fetch(ctx context.Context, s *signedIn, role, bucket string) (keys, error) {
	c, err := s.api.CredentialsFor(ctx, role, bucket)
	if c.Warning != "" {
		r.note("warning: %s: %s", roleName(c.Role), c.Warning)
	}
	return r.usable(s, c, role, err)
}

// administratorRole is the role of each local account that Carnet alone issues.
const administratorRole = "carnet-admin"

// usable holds an answer to what was asked for.
func (r *run) usable(s *signedIn, c client.Credentials, role string, err error) (keys, error) {
	if err != nil {
		return keys{}, r.again(s, err)
	}
	if err := check(c, role); err != nil {
		return keys{}, fault.Wrap(err, fault.Internal, "the server's answer can't be used")
	}
	if !r.Now().Before(c.Expiration) {
		return keys{}, then(fault.Coded(fault.Expired, "cli.role-expired", "the keys of "+c.Role+" ended at "+clock(c.Expiration)),
			r.loginCommand(s.name, s.profile.Server))
	}
	named, _ := arn.ParseRole(c.Role) // check parsed it
	return keys{Credentials: c, account: named.Account, ca: s.profile.CA}, nil
}

var (
	keyIDForm   = regexp.MustCompile(`^[A-Z0-9]{16,128}$`)
	secretForm  = regexp.MustCompile(`^[A-Za-z0-9+/=_.~-]+$`)
	regionForm  = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	addressForm = regexp.MustCompile(`^https?://[A-Za-z0-9.:\[\]-]+$`)
)

// check holds an answer to the shape of keys before they go into an
// environment or a file, and to the role that was asked for.
func check(c client.Credentials, asked string) error {
	role, err := arn.ParseRole(c.Role)
	if err != nil {
		return err
	}
	account, name, both := strings.Cut(asked, "/")
	switch {
	case c.Role == asked, role.Name == asked:
	case both && name == role.Name && (account == role.Account || !arn.IsAccount(account)):
	default:
		return fmt.Errorf("it is for %s instead of %s", c.Role, asked)
	}
	switch {
	case !keyIDForm.MatchString(c.AccessKeyID):
		return fmt.Errorf("the access key id is malformed")
	case !secretForm.MatchString(c.SecretAccessKey.Reveal()), !byGateway(c) && !secretForm.MatchString(c.SessionToken.Reveal()):
		return fmt.Errorf("the keys are malformed")
	case byGateway(c) && (c.Endpoints.S3 == "" || !c.SessionToken.IsZero()):
		return fmt.Errorf("a gateway key is for the gateway alone, and has no session token")
	case !regionForm.MatchString(c.Region):
		return fmt.Errorf("the region is malformed")
	}
	for _, e := range []string{c.Endpoints.S3, c.Endpoints.STS, c.Endpoints.IAM} {
		if _, err := url.Parse(e); e != "" && (err != nil || !addressForm.MatchString(e)) {
			return fmt.Errorf("an endpoint is malformed")
		}
	}
	return nil
}

// byGateway: the keys are a gateway key, not the role's own.
func byGateway(c client.Credentials) bool {
	return strings.HasPrefix(c.AccessKeyID, identity.GatewayKeyPrefix)
}

// stamp writes a time as every SDK reads it: RFC 3339, UTC, whole seconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
