package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/service/generate"
)

func (r *run) setup() *cobra.Command {
	c := &cobra.Command{
		Use:   "setup",
		Short: "Write what has to be set up elsewhere",
		Long:  "Writes what has to be set up elsewhere, such as the commands that make AWS trust Carnet. It changes nothing.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(r.setupAWS())
	return c
}

type setupFlags struct {
	useSAML, useOIDC bool
	useMeta          bool
	useRevocation    bool
	denyOn           []string
	format           string
	buckets          []string
	subjects         []string
	trust            string
	grant            string
	aws              generate.AWS
	saml             generate.SAML
	oidc             generate.OIDC
	meta             generate.Meta
}

func (r *run) setupAWS() *cobra.Command {
	var f setupFlags
	c := &cobra.Command{
		Use:   "aws --saml|--oidc|--meta|--revocation --account ID --bucket NAME --role NAME",
		Short: "Print the commands that make an AWS account trust Carnet",
		Long: "Prints the aws commands that make accounts trust Carnet: the provider, a role with its trust policy, and an inline policy for the buckets you name.\n\n" +
			"--saml  trusts your identity provider's assertions, as far as they were made for Carnet\n" +
			"--oidc  trusts the tokens that Carnet issues, for the subjects you name: workloads, jobs, people\n" +
			"both    one role that is had by an assertion and renewed by Carnet's own tokens (the bridge)\n" +
			"--meta  trusts Carnet's own AWS identity, for jobs and JDBC connections of the people you name; alone, or beside the others\n" +
			"--revocation  lets Carnet deny keys that were taken back, on the roles that you name with --deny-on; alone\n\n" +
			"Run them with keys of each account; for a local account of Carnet, with those of its role carnet-admin.",
		Example: "  carnet setup aws --saml --account 777788889999 --bucket lake --role lake-analyst --server https://carnet.example.com\n" +
			"  carnet setup aws --oidc --account 777788889999 --bucket lake --role nightly --subject spn_…\n" +
			"  carnet setup aws --saml --oidc --subject-like 'user:*' --account 777788889999 --role lake-analyst --existing-role\n" +
			"  carnet setup aws --meta --saml --account 777788889999 --role lake-analyst --existing-role --server https://carnet.example.com \\\n" +
			"    --identity arn:aws:iam::777788889999:role/carnet --external-id carnet-… --people '*@example.com'\n" +
			"  carnet setup aws --revocation --account 777788889999 --deny-on lake-analyst --existing-provider --server https://carnet.example.com\n" +
			"  carnet setup aws --saml --check-trust trust.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.setUpAWS(cmd.Context(), f) },
	}
	p := c.Flags()
	p.BoolVar(&f.useSAML, "saml", false, "trust SAML assertions (AssumeRoleWithSAML)")
	p.BoolVar(&f.useOIDC, "oidc", false, "trust tokens that Carnet issues (AssumeRoleWithWebIdentity)")
	p.BoolVar(&f.useMeta, "meta", false, "trust Carnet's own AWS identity (AssumeRole), for jobs and JDBC connections")
	p.BoolVar(&f.useRevocation, "revocation", false, "let Carnet deny keys that were taken back (revocation_role of an account)")
	p.StringArrayVar(&f.denyOn, "deny-on", nil, "with --revocation: name of a role that Carnet may write to, with its path, or a pattern with *; may be repeated")
	p.StringVar(&f.meta.Identity, "identity", "", "with --meta: ARN of the role that the server has at AWS, or of the user whose key it has")
	p.StringVar(&f.meta.ExternalID, "external-id", "", "with --meta: this installation's (on its host: carnet cluster external-id)")
	p.StringArrayVar(&f.meta.People, "people", nil, "with --meta: user names that it may take the role for, such as '*@example.com'; may be repeated")
	p.StringVar(&f.format, "format", "cli", "cli: commands of the aws command line")
	p.StringArrayVar(&f.aws.Accounts, "account", nil, "account number; may be repeated")
	p.StringArrayVar(&f.buckets, "bucket", nil, "BUCKET, BUCKET/PREFIX or ACCOUNT/BUCKET; may be repeated")
	p.StringVar(&f.aws.Role, "role", "", "name of the role to make")
	p.BoolVar(&f.aws.Existing, "existing-role", false, "the role exists: replace its trust policy and nothing else")
	p.BoolVar(&f.aws.Trusted, "existing-provider", false, "the account has the providers already, of another role: make none")
	p.BoolVar(&f.aws.ReadOnly, "read-only", false, "let the role read only")
	p.DurationVar(&f.aws.MaxSession, "max-session", 0, "longest life of keys, 1h to 12h (default: 12h with --saml, 1h without)")
	p.StringVar(&f.aws.Partition, "partition", "aws", "aws, aws-cn or aws-us-gov")
	p.StringVar(&f.saml.Provider, "provider", "carnet-idp", "name of the SAML provider to make")
	p.StringVar(&f.saml.Metadata, "metadata", "idp-metadata.xml", "file of your identity provider's metadata")
	p.BoolVar(&f.saml.Tags, "tags", false, "your identity provider sends session tags (PrincipalTag)")
	p.BoolVar(&f.saml.SourceIdentity, "source-identity", false, "your identity provider sends SourceIdentity")
	p.BoolVar(&f.saml.Console, "console", false, "also admit the sign-in to the AWS console")
	p.StringVar(&f.saml.URL, "saml-url", "", "Carnet's SAML URL; default: that of --server, or of the server you are signed in at")
	p.StringVar(&f.oidc.Issuer, "issuer", "", "Carnet's registered issuer; default: what --server says, or the server you are signed in at")
	p.StringArrayVar(&f.subjects, "subject", nil, "who may have the role: id of a service principal (spn_…), delegation (dlg_…) or person (psn_…); may be repeated")
	p.StringArrayVar(&f.oidc.Patterns, "subject-like", nil, "whoever fits a pattern may have the role, such as 'user:*'; may be repeated")
	p.BoolVar(&f.oidc.Local, "local", false, "the accounts are Carnet's own; known without it when the server is asked")
	p.StringVar(&f.trust, "check-trust", "", "only look at a trust policy in this file")
	p.StringVar(&f.grant, "check-policy", "", "only look at a permissions policy in this file")
	return c
}

func (r *run) setUpAWS(ctx context.Context, f setupFlags) (err error) {
	if f.useRevocation {
		return r.setUpRevocation(ctx, f)
	}
	if !f.useSAML && !f.useOIDC && !f.useMeta {
		return usage("say what AWS shall trust: --saml, --oidc, --meta or several of them")
	}
	if f.format != "cli" {
		return usage("--format is %q: want cli", f.format)
	}
	if f.useSAML {
		if f.saml.URL, err = r.samlURL(f.saml.URL); err != nil {
			return err
		}
		f.aws.SAML = &f.saml
	}
	if f.trust != "" || f.grant != "" {
		return r.checkPolicies(f)
	}
	if f.useOIDC {
		if err := r.readOIDC(ctx, &f); err != nil {
			return err
		}
		f.aws.OIDC = &f.oidc
	}
	if f.useMeta {
		f.aws.Meta = &f.meta
	}
	for _, b := range f.buckets {
		f.aws.Buckets = append(f.aws.Buckets, bucketAccess(b))
	}
	made, err := f.aws.Generate()
	if err != nil {
		return err
	}
	type account struct {
		ID          string   `json:"id"`
		Role        string   `json:"role"`
		Provider    string   `json:"provider,omitempty"`
		OIDC        string   `json:"oidc_provider,omitempty"`
		Trust       string   `json:"trust_policy"`
		Permissions string   `json:"permissions_policy,omitempty"`
		RoleValue   string   `json:"role_value,omitempty"`
		Commands    []string `json:"commands"`
	}
	var all []account
	for _, a := range made.Accounts {
		all = append(all, account(a))
	}
	type identity struct {
		ARN         string `json:"arn"`
		Permissions string `json:"permissions_policy"`
		Command     string `json:"command"`
	}
	var own *identity
	if f.useMeta {
		i := identity(made.Identity)
		own = &i
	}
	return r.say(struct {
		SAMLURL  string    `json:"saml_url,omitempty"`
		Issuer   string    `json:"issuer,omitempty"`
		Warnings []string  `json:"warnings"`
		Accounts []account `json:"accounts"`
		Identity *identity `json:"identity,omitempty"`
	}{f.saml.URL, f.oidc.Issuer, present(made.Warnings), all, own}, script(f.aws, made))
}

// samlURL gives Carnet's SAML URL, by what this run knows of the server.
func (r *run) samlURL(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	server, err := r.serverAddress()
	if err != nil {
		return "", err
	}
	if server == "" {
		s, err := r.signedIn()
		if err != nil {
			return "", usage("which Carnet shall be trusted? Give --server or --saml-url, or sign in first")
		}
		server = s.profile.Server
		s.close()
	}
	return strings.TrimSuffix(server, "/") + "/saml/consume", nil
}

// bucketAccess reads ACCOUNT/BUCKET/PREFIX with the first and last left out or
// not. Twelve digits in front of a slash are an account.
func bucketAccess(text string) (a generate.Access) {
	if first, rest, ok := strings.Cut(text, "/"); ok && arn.IsAccount(first) {
		a.Account, text = first, rest
	}
	a.Bucket, a.Prefix, _ = strings.Cut(text, "/")
	return a
}

// script is a shell script that can be read before it is run.
func script(in generate.AWS, s *generate.Setup) string {
	var b strings.Builder
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "# warning: %s\n", w)
	}
	for _, a := range s.Accounts {
		fmt.Fprintf(&b, "# Account %s: run these with keys of this account.\n", a.ID)
		for _, c := range a.Commands {
			b.WriteString(c + "\n")
		}
		if in.SAML != nil {
			fmt.Fprintf(&b, "# For whoever shall hold the role, the identity provider sends as a value of\n# https://aws.amazon.com/SAML/Attributes/Role\n#   %s\n", a.RoleValue)
		}
		if in.OIDC != nil {
			fmt.Fprintf(&b, "# Whoever is named above gets a token with\n#   carnet token --audience %s --role %s\n", generate.AudienceAWS, a.Role)
		}
	}
	if in.Meta != nil {
		fmt.Fprintf(&b, "# Carnet's own identity may take these roles. Run this with keys of account %s.\n%s\n", strings.Split(s.Identity.ARN, ":")[4], s.Identity.Command)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// checkPolicies prints what is most likely not wanted in policies that exist.
func (r *run) checkPolicies(f setupFlags) error {
	var found []string
	for _, x := range []struct {
		file string
		kind policy.Kind
	}{{f.trust, policy.Trust}, {f.grant, policy.Identity}} {
		if x.file == "" {
			continue
		}
		src, err := os.ReadFile(x.file)
		if err != nil {
			return err
		}
		if _, err := policy.Parse(x.kind, x.file, src); err != nil {
			return err
		}
		for _, w := range policy.Lint(x.kind, src, f.saml.URL) {
			found = append(found, x.file+": "+w)
		}
	}
	text := "nothing to remark"
	if len(found) > 0 {
		text = strings.Join(found, "\n")
	}
	return r.say(struct {
		Warnings []string `json:"warnings"`
	}{present(found)}, text)
}
