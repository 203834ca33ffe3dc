package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/cli/awsconfig"
	"carnet.dev/carnet/internal/app/cli/engines"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/api/client"
)

// configureFlags are the choices of carnet configure.
type configureFlags struct {
	prefix, command string
	engine          string // print its settings instead
	print, remove   bool
}

func (r *run) configure() *cobra.Command {
	var f configureFlags
	c := &cobra.Command{
		Use:   "configure",
		Short: "Write a profile for each of your roles into ~/.aws/config",
		Long: "Writes one AWS profile for each of your roles into a marked block of the AWS configuration file\n" +
			"(AWS_CONFIG_FILE, else ~/.aws/config). Run it again to bring the block up to date; nothing\n" +
			"outside the block is changed. No key is written: the profiles run carnet credentials.\n\n" +
			"In a login that is attached (carnet attach) the roles and keys are those of the machine's agent.\n" +
			"With --for it prints the settings of an engine instead, for you to put where they belong; python\n" +
			"and jupyterhub are whole files.",
		Example: "  carnet configure\n  aws sts get-caller-identity --profile analytics-analyst\n  carnet configure --for spark >> conf/spark-defaults.conf",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("for") {
				return r.configureFor(cmd.Context(), f.engine, f)
			}
			return r.runConfigure(cmd.Context(), f)
		},
	}
	c.Flags().StringVar(&f.prefix, "prefix", "", "text before each profile's name")
	c.Flags().StringVar(&f.command, "command", "", "path of the carnet program to write (default: this one)")
	c.Flags().BoolVar(&f.print, "print", false, "print the block and change nothing")
	c.Flags().BoolVar(&f.remove, "remove", false, "take the block out again")
	c.Flags().StringVar(&f.engine, "for", "", "print the settings of "+strings.Join(engines.Names(), ", "))
	c.MarkFlagsMutuallyExclusive("for", "print", "remove")
	c.MarkFlagsMutuallyExclusive("for", "command")
	return c
}

func (r *run) runConfigure(ctx context.Context, f configureFlags) error {
	n, err := r.attached(ctx)
	if err != nil {
		return err
	}
	name, err := r.profileName()
	if err != nil {
		return err
	}
	if n != nil {
		name = attachmentBlock
	}
	path, credentials, err := awsconfig.Places(r.Getenv)
	if err != nil {
		return err
	}
	if f.remove {
		return r.removeBlock(path, name)
	}
	var block awsconfig.Block
	var leftOut []client.Role
	if n != nil {
		block, leftOut, err = r.nodeBlock(ctx, n, f)
	} else {
		err = r.withRoles(ctx, func(s *signedIn, roles []client.Role) error {
			block, leftOut, err = r.block(ctx, s, roles, f)
			return err
		})
	}
	if err != nil {
		return err
	}
	text, err := block.Render()
	if err != nil {
		return then(err, r.command("configure --command /usr/local/bin/carnet"))
	}
	if f.print {
		_, err := fmt.Fprint(r.Stdout, text)
		return err
	}
	old, err := awsconfig.Read(path)
	if err != nil {
		return err
	}
	if err := r.clashes(block, old, path, credentials); err != nil {
		return err
	}
	if now := awsconfig.Splice(old, name, text); now != old {
		if err := awsconfig.Write(path, now); err != nil {
			return err
		}
	}
	return r.configured(path, block, leftOut)
}

// block makes the profiles of the roles that can be had, with the region and
// the endpoints that the server gives for each.
func (r *run) block(ctx context.Context, s *signedIn, roles []client.Role, f configureFlags) (b awsconfig.Block, leftOut []client.Role, err error) {
	program, err := programPath(f.command)
	if err != nil {
		return b, nil, err
	}
	b = awsconfig.Block{Owner: s.name, CABundle: s.profile.CA}
	taken := map[string]string{}
	for _, x := range roles {
		if !x.CanBeHad() {
			leftOut = append(leftOut, x)
			continue
		}
		k, err := r.fetch(ctx, s, x.ARN, "")
		if err != nil {
			return b, nil, err
		}
		name := awsProfile(f.prefix, x)
		if other := taken[name]; other != "" {
			return b, nil, fmt.Errorf("%s and %s would both be the AWS profile %q", other, x.ARN, name)
		}
		taken[name] = x.ARN
		b.Profiles = append(b.Profiles, awsconfig.Profile{
			Name: name, Role: k.Role, Region: k.Region, Command: program, S3: k.Endpoints.S3, STS: k.Endpoints.STS, IAM: k.Endpoints.IAM, S3Only: k.Deliver == "gateway",
		})
	}
	if err := r.administration(ctx, s, &b, f, program); err != nil {
		return b, nil, err
	}
	if len(b.Profiles) == 0 {
		return b, nil, r.nothingToConfigure(s, roles)
	}
	return b, leftOut, nil
}

// administration adds a profile for carnet-admin of each local account, for
// administrators. No keys are fetched for it: each time leaves an audit record.
func (r *run) administration(ctx context.Context, s *signedIn, b *awsconfig.Block, f configureFlags, program string) error {
	me, err := s.api.Session(ctx)
	if err != nil {
		return r.again(s, err)
	}
	if !me.Administrator {
		return nil
	}
	roles, err := s.api.AdministratorRoles(ctx)
	if err != nil {
		return r.again(s, err)
	}
	for _, x := range roles {
		if !arn.IsAccount(x.Account) || !regionForm.MatchString(me.Region) {
			return fault.New(fault.Internal, "the server's answer can't be used")
		}
		b.Profiles = append(b.Profiles, awsconfig.Profile{
			Name: awsProfile(f.prefix, client.Role{ARN: x.ARN, Account: x.Account, AccountName: x.AccountName}),
			Role: x.ARN, Region: me.Region, Command: program, Administrator: x.Account,
			S3: me.Endpoints.S3, STS: me.Endpoints.STS, IAM: me.Endpoints.IAM,
		})
	}
	return nil
}

func (r *run) nothingToConfigure(s *signedIn, roles []client.Role) error {
	if len(roles) > 0 {
		return r.notReady(s, roles[0])
	}
	return fault.Coded(fault.Denied, "cli.no-role", "you hold no role, so there is nothing to configure").
		WithMend("ask your administrator: your identity provider names none that this server accepts")
}

// programPath gives the program that AWS tools will run later, from any folder.
func programPath(given string) (string, error) {
	if given != "" {
		path, err := filepath.Abs(given)
		if err != nil {
			return "", err
		}
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return "", usage("--command %s is not a program", given)
		}
		return path, nil
	}
	return os.Executable()
}

// awsProfile names the AWS profile of a role: account-role. Characters that
// some SDK does not read in a section's name become dashes.
func awsProfile(prefix string, x client.Role) string {
	account := x.AccountName
	if account == "" {
		account = x.Account
	}
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("-_.@+", c):
			return c
		}
		return '-'
	}, prefix+account+"-"+roleName(x.ARN))
}

// clashes refuses names that the person's own files use: in the configuration
// file the section would stand twice, in the credentials file it would win
// over ours.
func (r *run) clashes(b awsconfig.Block, config, path, credentials string) error {
	keys, err := awsconfig.Read(credentials)
	if err != nil {
		return err
	}
	own, static := awsconfig.Sections(config, b.Owner), awsconfig.Sections(keys, b.Owner)
	for _, p := range b.Profiles {
		file := path
		if static[p.Name] {
			file = credentials
		}
		if own["profile "+p.Name] || static[p.Name] {
			return then(fault.Coded(fault.Conflict, "cli.foreign-profile", fmt.Sprintf("%s has a profile %q that carnet did not write", file, p.Name)).
				WithMend("rename that one, or give carnet's a prefix"), r.command("configure --prefix carnet-"))
		}
	}
	if services := "services carnet-" + b.Owner; own[services] {
		return fault.Coded(fault.Conflict, "cli.foreign-profile", fmt.Sprintf("%s has a section [%s] that carnet did not write", path, services)).
			WithMend("rename that section")
	}
	return nil
}

func (r *run) configured(path string, b awsconfig.Block, leftOut []client.Role) error {
	type written struct {
		Profile string `json:"aws_profile"`
		Role    string `json:"role"`
	}
	var list []written
	var text strings.Builder
	fmt.Fprintf(&text, "Wrote %s:\n", path)
	for _, p := range b.Profiles {
		list = append(list, written{p.Name, p.Role})
		fmt.Fprintf(&text, "  %s\n", p.Name)
	}
	for _, x := range leftOut {
		reason := x.State
		if x.Error != nil {
			reason = x.Error.Code + ": " + x.Error.Message
		}
		fmt.Fprintf(&text, "Left out %s: %s\n", x.ARN, reason)
	}
	try := "sts get-caller-identity" // every role may do this
	switch first := b.Profiles[0]; {
	case first.Administrator != "":
		try = "iam list-roles"
	case first.S3Only:
		try = "s3 ls"
	}
	fmt.Fprintf(&text, "next: aws %s --profile %s\n", try, b.Profiles[0].Name)
	return r.say(struct {
		File     string        `json:"file"`
		Profiles []written     `json:"profiles"`
		LeftOut  []client.Role `json:"left_out"`
	}{path, list, present(leftOut)}, text.String())
}

func (r *run) removeBlock(path, owner string) error {
	old, err := awsconfig.Read(path)
	if err != nil {
		return err
	}
	now := awsconfig.Splice(old, owner, "")
	if now != old {
		if err := awsconfig.Write(path, now); err != nil {
			return err
		}
	}
	return r.say(struct {
		File    string `json:"file"`
		Removed bool   `json:"removed"`
	}{path, now != old}, "Carnet's block is out of "+path+".\n")
}
