package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"carnet.dev/carnet/internal/app/cli/tokenfile"
	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/generate"
)

type tokenFlags struct {
	audience string
	role     string
	file     string
	once     bool
	shell    string
	workload
}

func (r *run) token() *cobra.Command {
	var f tokenFlags
	c := &cobra.Command{
		Use:   "token",
		Short: "Print an ID token for a relying party, or keep one in a file",
		Long: "Prints an ID token of Carnet's for one audience. For AWS's audience it is good for exactly one role and for five minutes: " +
			"AssumeRoleWithWebIdentity trades it for keys.\n\n" +
			"You are asked for by your sign-in (carnet login). A workload without a person names its service principal and a secret, a key, or another issuer's token.\n\n" +
			"With --file the token is kept fresh in a file until this command is ended: plain AWS SDKs then fetch and renew keys by themselves. " +
			"The variables that they read are printed.",
		Example: "  carnet token --role analyst\n" +
			"  carnet token --client-id spn_… --client-key-file key.pem --role arn:aws:iam::777788889999:role/nightly --file /run/nightly/token\n" +
			"  eval \"$(carnet token --role analyst --file \"$XDG_RUNTIME_DIR/carnet/token\" --once)\"",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.giveToken(cmd.Context(), f) },
	}
	p := c.Flags()
	p.StringVar(&f.audience, "audience", generate.AudienceAWS, "who shall take the token")
	p.StringVar(&f.role, "role", "", "role that the token is for, with AWS's audience (default: your current one)")
	p.StringVar(&f.file, "file", "", "keep the token in this file, renewed until this command ends")
	p.BoolVar(&f.once, "once", false, "with --file: write it once and end")
	p.StringVar(&f.shell, "shell", defaultShell(), "with --file: language of the printed variables: sh, fish or powershell")
	r.workloadFlags(c, &f.workload)
	return c
}

func (r *run) giveToken(ctx context.Context, f tokenFlags) error {
	form, ok := shells()[f.shell]
	switch {
	case !ok:
		return usage("--shell is %q: want sh, fish or powershell", f.shell)
	case f.audience == "":
		return usage("--audience is empty: name who shall take the token")
	case f.once && f.file == "":
		return usage("--once goes with --file")
	case f.role != "" && f.audience != generate.AudienceAWS:
		return usage("--role goes with the audience %s", generate.AudienceAWS)
	}
	get := r.tokenSource(f)
	if f.file != "" {
		return r.keepToken(ctx, f, form, get)
	}
	t, err := get(ctx)
	if err != nil {
		return err
	}
	return r.say(t.document(f.audience, true), t.text.Reveal())
}

// tokenSource says where tokens come from: a workload's proof, or the sign-in
// of a person.
func (r *run) tokenSource(f tokenFlags) func(context.Context) (idToken, error) {
	if r.proves(&f.workload) {
		return func(ctx context.Context) (idToken, error) {
			if f.role == "" && f.audience == generate.AudienceAWS && f.delegation == "" {
				return idToken{}, usage("which role shall the token be for? Give --role")
			}
			return r.workloadToken(ctx, f.workload, f.audience, f.role)
		}
	}
	return func(ctx context.Context) (idToken, error) { return r.personToken(ctx, f.audience, f.role) }
}

// personToken asks the server for a token of the person who is signed in.
func (r *run) personToken(ctx context.Context, audience, role string) (idToken, error) {
	s, err := r.signedIn()
	if err != nil {
		return idToken{}, err
	}
	defer s.close()
	if role == "" && audience == generate.AudienceAWS {
		if role = s.profile.Role; role == "" {
			roles, err := s.api.Roles(ctx)
			if err != nil {
				return idToken{}, r.again(s, err)
			}
			if role, err = r.current(s, roles); err != nil {
				return idToken{}, err
			}
		}
	}
	got, err := s.api.IDToken(ctx, audience, role)
	if err != nil {
		return idToken{}, r.again(s, err)
	}
	t, err := readIDToken(got.Token)
	t.server, t.ca = s.profile.Server, s.profile.CA
	if r.ca != "" {
		t.ca = r.ca
	}
	return t, err
}

// keepToken writes the file, says how to use it, and renews it.
func (r *run) keepToken(ctx context.Context, f tokenFlags, form form, get func(context.Context) (idToken, error)) error {
	place, err := tokenfile.Open(f.file)
	if err != nil {
		return err
	}
	defer place.Close()
	var newest idToken
	told := false
	k := tokenfile.Keep{
		Get: func(ctx context.Context) (tokenfile.Token, error) {
			t, err := get(ctx)
			newest = t
			return tokenfile.Token{Text: t.text, Expires: t.end(r.Now())}, err
		},
		Written: func(expires time.Time) {
			r.log("token of %s is in %s, good until %s", newest.subject, place.Path(), stamp(expires))
			if !told {
				told = true
				r.sayVariables(ctx, f, form, newest, place.Path())
			}
		},
		Failed: func(err error, good time.Time, again time.Duration) {
			state := "the old one is good until " + stamp(good)
			if !r.Now().Before(good) {
				state = "the old one ended at " + stamp(good)
			}
			said, _ := describe(err)
			r.log("no new token: %s; %s; next try in %ds", said.Message, state, int(again.Seconds()))
		},
		Final: func(err error) bool { return exitOf(fault.KindOf(err)) != exitUnavailable },
	}
	if f.once {
		t, err := k.Get(ctx)
		if err == nil {
			err = place.Write(t.Text)
		}
		if err == nil {
			k.Written(t.Expires)
		}
		return err
	}
	err = k.Run(ctx, place)
	if err == nil {
		r.log("ended; %s stays until it expires", place.Path())
	}
	return err
}

// log prints one line about a file that is kept, with the time.
func (r *run) log(format string, args ...any) {
	fmt.Fprintln(r.Stderr, stamp(r.Now()), Clean(fmt.Sprintf(format, args...)))
}

// sayVariables prints what SDKs read, to copy or to eval. The endpoints come
// from the server: AWS's own need no variable.
func (r *run) sayVariables(ctx context.Context, f tokenFlags, form form, t idToken, path string) {
	set := []variable{{"AWS_WEB_IDENTITY_TOKEN_FILE", path}}
	if t.role != "" {
		set = append(set, variable{"AWS_ROLE_ARN", t.role}, variable{"AWS_ROLE_SESSION_NAME", t.sessionName()})
		set = append(set, r.placeVariables(ctx, t)...)
	}
	if f.audience != generate.AudienceAWS {
		set = nil // another relying party has no such variables
	}
	if r.output == "json" {
		out := struct {
			tokenDocument
			File      string            `json:"file"`
			Variables map[string]string `json:"variables"`
		}{t.document(f.audience, false), path, map[string]string{}}
		for _, v := range set {
			out.Variables[v.name] = v.value
		}
		_ = r.say(out, "")
		return
	}
	if len(set) > 0 {
		for _, name := range append([]string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}, inTheWay(set)...) {
			fmt.Fprintln(r.Stdout, form.unset(name)) // SDKs would take these first
		}
	}
	for _, v := range set {
		fmt.Fprintln(r.Stdout, form.set(v.name, v.value))
	}
}

// placeVariables asks where the account's keys are used. Without an answer the
// variables are left out, and that is said.
func (r *run) placeVariables(ctx context.Context, t idToken) (set []variable) {
	role, err := arn.ParseRole(t.role)
	if err != nil {
		return nil
	}
	api, err := r.client(t.server, secret.Text{}, t.ca)
	if err != nil {
		return nil
	}
	at, err := api.AccountPlace(ctx, role.Account)
	if err != nil {
		r.log("%s does not say where keys of account %s are used: set AWS_ENDPOINT_URL_STS by hand if it is a local one", t.server, role.Account)
		return nil
	}
	for _, v := range []variable{{"AWS_ENDPOINT_URL_STS", at.Endpoints.STS}, {"AWS_ENDPOINT_URL_S3", at.Endpoints.S3}, {"AWS_REGION", at.Region}, {"AWS_DEFAULT_REGION", at.Region}} {
		if v.value != "" {
			set = append(set, v)
		}
	}
	if ca, err := absolutePath(t.ca); err == nil && ca != "" && at.Local {
		set = append(set, variable{"AWS_CA_BUNDLE", ca})
	}
	return set
}

// idToken is a token and what it says of itself. It came from the issuer over a
// connection that proves it, so it is read and not verified.
type idToken struct {
	text            secret.Text
	issuer, subject string
	role            string // ARN; empty where it is for no role
	sourceIdentity  string
	issued, expires time.Time
	server          string // address of the server that made it
	ca              string // file of the authority that proves it, beside the system's
}

func readIDToken(text secret.Text) (idToken, error) {
	bad := fault.Coded(fault.Unavailable, "cli.token", "the server's answer is no ID token")
	parts := strings.Split(text.Reveal(), ".")
	if len(parts) != 3 {
		return idToken{}, bad
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return idToken{}, bad
	}
	var c struct {
		Issuer         string          `json:"iss"`
		Subject        string          `json:"sub"`
		Issued         int64           `json:"iat"`
		Expires        int64           `json:"exp"`
		Roles          json.RawMessage `json:"https://aws.amazon.com/roles"`
		SourceIdentity string          `json:"https://aws.amazon.com/source_identity"`
	}
	if json.Unmarshal(body, &c) != nil || c.Issuer == "" || c.Expires <= c.Issued {
		return idToken{}, bad
	}
	t := idToken{
		text: text, issuer: c.Issuer, subject: c.Subject, sourceIdentity: c.SourceIdentity,
		issued: time.Unix(c.Issued, 0).UTC(), expires: time.Unix(c.Expires, 0).UTC(),
	}
	var one string
	var list []string
	switch {
	case json.Unmarshal(c.Roles, &one) == nil:
		t.role = one
	case json.Unmarshal(c.Roles, &list) == nil && len(list) == 1:
		t.role = list[0]
	}
	if _, err := arn.ParseRole(t.role); err != nil {
		t.role = ""
	}
	return t, nil
}

// end gives when the token ends by this machine's clock, which may differ from
// the issuer's: never later than its whole life from now, and never at once.
func (t idToken) end(now time.Time) time.Time {
	life := t.expires.Sub(t.issued)
	return now.Add(max(min(t.expires.Sub(now), life), life/4))
}

type tokenDocument struct {
	Token    string    `json:"token,omitempty"`
	Audience string    `json:"audience"`
	Issuer   string    `json:"issuer"`
	Subject  string    `json:"subject"`
	Role     string    `json:"role,omitempty"`
	Expires  time.Time `json:"expires"`
}

// document is the token for programs; its text only where it is the result.
func (t idToken) document(audience string, whole bool) tokenDocument {
	d := tokenDocument{Audience: audience, Issuer: t.issuer, Subject: t.subject, Role: t.role, Expires: t.expires}
	if whole {
		d.Token = t.text.Reveal()
	}
	return d
}
