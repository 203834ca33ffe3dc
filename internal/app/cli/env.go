package cli

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (r *run) env() *cobra.Command {
	var which asked
	var shell string
	c := &cobra.Command{
		Use:     "env",
		Short:   "Print keys as environment variables for your shell",
		Example: "  eval \"$(carnet env)\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			form, ok := shells()[shell]
			if !ok {
				return usage("--shell is %q: want sh, fish or powershell", shell)
			}
			k, err := r.keys(cmd.Context(), which)
			if err != nil {
				return err
			}
			set := variables(k)
			if r.output == "json" {
				out := map[string]string{}
				for _, v := range set {
					out[v.name] = v.value
				}
				return r.say(out, "")
			}
			for _, name := range inTheWay(set) {
				fmt.Fprintln(r.Stdout, form.unset(name))
			}
			for _, v := range set {
				fmt.Fprintln(r.Stdout, form.set(v.name, v.value))
			}
			return nil
		},
	}
	r.roleFlag(c, &which)
	c.Flags().StringVar(&shell, "shell", defaultShell(), "sh, fish or powershell")
	return c
}

func (r *run) exec() *cobra.Command {
	var which asked
	c := &cobra.Command{
		Use:     "exec [--role ROLE] -- COMMAND [ARGUMENT ...]",
		Short:   "Run a command with keys in its environment",
		Long:    "Runs COMMAND with the keys of one role. They are not renewed: a command that outlives them\nfails, so use carnet configure for long work.",
		Example: "  carnet exec --role analyst -- aws s3 ls",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 || len(args) == 0 {
				return usage("want the command after --, as in: carnet exec --role analyst -- aws s3 ls")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := exec.LookPath(args[0])
			if err != nil {
				fmt.Fprintf(r.Stderr, "carnet: %v\n", err)
				return &exitError{exitOfCommand(err)}
			}
			k, err := r.keys(cmd.Context(), which)
			if err != nil {
				return err
			}
			return r.become(path, args, environ(r.Environ, variables(k)))
		},
	}
	r.roleFlag(c, &which)
	return c
}

type variable struct{ name, value string }

// variables gives what every SDK reads. Endpoints are set per service only: the
// general variable would capture other AWS services too.
func variables(k keys) []variable {
	out := []variable{
		{"AWS_ACCESS_KEY_ID", k.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", k.SecretAccessKey.Reveal()},
		{"AWS_CREDENTIAL_EXPIRATION", stamp(k.Expiration)},
		{"AWS_REGION", k.Region},
		{"AWS_DEFAULT_REGION", k.Region},
	}
	if !k.SessionToken.IsZero() {
		out = append(out, variable{"AWS_SESSION_TOKEN", k.SessionToken.Reveal()})
	}
	if k.Endpoints.S3 != "" {
		out = append(out, variable{"AWS_ENDPOINT_URL_S3", k.Endpoints.S3})
	}
	if k.Endpoints.STS != "" {
		out = append(out, variable{"AWS_ENDPOINT_URL_STS", k.Endpoints.STS})
	}
	if k.Endpoints.IAM != "" {
		out = append(out, variable{"AWS_ENDPOINT_URL_IAM", k.Endpoints.IAM})
	}
	if k.ca != "" {
		out = append(out, variable{"AWS_CA_BUNDLE", k.ca})
	}
	return out
}

// inTheWay lists the variables that would make some SDK use other keys or
// other endpoints than those of set.
func inTheWay(set []variable) []string {
	var out []string
	for _, name := range []string{
		"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN",
		"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM",
	} {
		if !slices.ContainsFunc(set, func(v variable) bool { return v.name == name }) {
			out = append(out, name)
		}
	}
	return out
}

// environ gives base with set in it and without what is in the way.
func environ(base []string, set []variable) []string {
	gone := inTheWay(set)
	for _, v := range set {
		gone = append(gone, v.name)
	}
	var out []string
	for _, e := range base {
		name, _, _ := strings.Cut(e, "=")
		if !slices.Contains(gone, name) {
			out = append(out, e)
		}
	}
	for _, v := range set {
		out = append(out, v.name+"="+v.value)
	}
	return out
}

// form writes variables in one shell's language.
type form struct {
	set   func(name, value string) string
	unset func(name string) string
}

func shells() map[string]form {
	return map[string]form{
		"sh": {
			func(n, v string) string { return "export " + n + "='" + strings.ReplaceAll(v, "'", `'\''`) + "'" },
			func(n string) string { return "unset " + n },
		},
		"fish": {
			func(n, v string) string {
				return "set -gx " + n + " '" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(v) + "'"
			},
			func(n string) string { return "set -e " + n },
		},
		"powershell": {
			func(n, v string) string { return "$Env:" + n + " = '" + powershellQuotes().Replace(v) + "'" },
			func(n string) string { return "Remove-Item -ErrorAction Ignore Env:" + n },
		},
	}
}

// powershellQuotes doubles what ends a text in single quotes: PowerShell takes the curly
// ones for the straight one (about_Quoting_Rules).
func powershellQuotes() *strings.Replacer {
	return strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a", "\u201a\u201a", "\u201b", "\u201b\u201b")
}

func defaultShell() string {
	if runtime.GOOS == "windows" {
		return "powershell"
	}
	return "sh"
}
