package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/login"
)

// accessPage is My access: who I am, which roles I have, how to use them.
type accessPage struct {
	Name, UserName, IdP string
	Until               clock
	Notes               []string
	Roles               []role
	Server              string
	// BySetupLink: the bearer of a set-up link, who has no roles.
	BySetupLink bool
	// Only is the one role that tools use by themselves; empty when there are
	// several.
	Only          string
	Usable        int
	Administrator bool
	// Delegated is what the person lets others do as them.
	Delegated delegated
	// Attached are the logins to nodes that work as the person.
	Attached attached
	// GatewayKeys work as the person.
	GatewayKeys ownGatewayKeys
}

// clock is a moment, and how far away it is.
type clock struct {
	At   time.Time
	Left string
}

// Stamp is the machine's form.
func (c clock) Stamp() string { return c.At.UTC().Format(time.RFC3339) }

// Text is the reader's form.
func (c clock) Text() string { return c.At.UTC().Format("2 Jan 15:04 UTC") }

// Second is the reader's form where many stand below each other.
func (c clock) Second() string { return c.At.UTC().Format("2 Jan 15:04:05") }

// Whole is the reader's form that leaves nothing out.
func (c clock) Whole() string { return c.At.UTC().Format("2 Jan 2006 15:04:05.000 UTC") }

// Day is the reader's form of a day that may be years away.
func (c clock) Day() string { return c.At.UTC().Format("2 Jan 2006") }

type role struct {
	Name, ARN, Account, AccountName, SessionName string
	State                                        login.RoleState
	Served                                       string // how it is served, in a sentence
	Gateway                                      string // where its gateway keys are used; empty: its own keys are handed out
	Needed                                       needed
	StateText                                    string
	Ends                                         clock
	Error                                        *login.RoleError
	Warning                                      login.RoleWarning
	Use                                          []snippet
}

// snippet is a block to copy into one tool.
type snippet struct{ Tool, Code string }

func (web *Web) access(w http.ResponseWriter, r *http.Request) error {
	return web.showAccess(w, r, http.StatusOK, delegated{Done: delegationWords[r.URL.Query().Get("done")]})
}

// showAccess shows the page with a form of a delegation as it was filled in.
func (web *Web) showAccess(w http.ResponseWriter, r *http.Request, status int, form delegated) error {
	s := httpd.CallerOf(r).Session
	now := web.Now()
	page := accessPage{
		Name: displayName(s), UserName: s.Person.UserName, IdP: s.IdPName, Until: clock{s.Expires, left(s.Expires.Sub(now))}, Notes: s.Notes,
		Server: web.BaseURL.Scheme + "://" + web.BaseURL.Host, BySetupLink: s.Person.ID == "", Administrator: s.Administrator,
	}
	for _, st := range s.Roles {
		v := web.role(st, shortName(st, s.Roles), now)
		page.Roles = append(page.Roles, v)
		if v.State == login.RoleReady || v.State == login.RoleAvailable {
			page.Usable++
			page.Only = v.Name
		}
	}
	if page.Usable != 1 {
		page.Only = ""
	}
	page.Attached = web.attached(r.Context(), s, attachmentWords[r.URL.Query().Get("done")])
	page.GatewayKeys = web.ownGatewayKeys(r.Context(), s, r.URL.Query().Get("done"))
	page.Delegated = web.delegated(r.Context(), s, form)
	return web.show(w, r, status, "access", frame{Title: "My access", Here: "access", Page: page})
}

func (web *Web) role(st login.RoleStatus, name string, now time.Time) role {
	v := role{
		Name: st.Role.Name, ARN: st.Role.String(), Account: st.Account, AccountName: st.AccountName,
		SessionName: st.SessionName, State: st.State, Error: st.Error, Warning: st.Warning,
	}
	v.Served, v.Needed = servedBy(st, now)
	if i := slices.IndexFunc(web.Accounts, func(a Account) bool { return a.ID == st.Account && a.Gateway }); i >= 0 {
		v.Gateway = web.Accounts[i].S3
	}
	switch st.State {
	case login.RoleAvailable:
		v.StateText = "Ready when used"
		v.Use = web.snippets(name, st.Account)
	case login.RoleReady:
		v.StateText = "Ready"
		v.Ends = clock{st.Expiration, left(st.Expiration.Sub(now))}
		v.Use = web.snippets(name, st.Account)
	case login.RoleExpired:
		v.StateText = "Expired"
	default:
		v.StateText = "Not available"
	}
	return v
}

// needed is when a person has to sign in again for a role; zero: not known.
type needed struct {
	clock
	Soon bool
}

// soon is from when on a person is told in colour that they will be needed.
const soon = 30 * time.Minute

// servedBy says how a role is served, and when its person is needed next.
func servedBy(st login.RoleStatus, now time.Time) (text string, n needed) {
	switch st.Served {
	case "saml":
		text = "by SAML, traded when you signed in"
		if st.State == login.RoleReady && !st.Renewable {
			text += "; nothing renews it but a sign-in"
		}
	case "web-identity":
		text = "by Carnet’s own token, traded when it is used and renewed by itself"
	case "bridge":
		text = "by SAML when you signed in, and renewed by Carnet’s own token from then on"
	}
	if !st.NeededBy.IsZero() && st.NeededBy.After(now) {
		n = needed{clock{st.NeededBy, left(st.NeededBy.Sub(now))}, st.NeededBy.Sub(now) < soon}
	}
	return text, n
}

// shortName is the role's name where no other role has it, else its ARN: what
// the command line takes.
func shortName(st login.RoleStatus, all []login.RoleStatus) string {
	same := 0
	for _, o := range all {
		if o.Role.Name == st.Role.Name {
			same++
		}
	}
	if same > 1 {
		return st.Role.String()
	}
	return st.Role.Name
}

// snippets show a role at work in each tool. They hold no keys: `carnet exec`
// fetches them when the command runs.
func (web *Web) snippets(role, account string) []snippet {
	i := slices.IndexFunc(web.Accounts, func(a Account) bool { return a.ID == account })
	endpoint, duck := "", ""
	if i >= 0 && web.Accounts[i].S3 != "" {
		at := web.Accounts[i]
		host, secure := strings.CutPrefix(at.S3, "https://")
		host = strings.TrimPrefix(host, "http://")
		endpoint = " --endpoint-url " + at.S3
		duck = fmt.Sprintf(",\n  ENDPOINT '%s', URL_STYLE 'path', USE_SSL %t, REGION '%s'", host, secure, at.Region)
	}
	role = shellWord(role)
	run := "carnet exec --role " + role + " -- "
	return []snippet{
		{"AWS CLI", run + "aws s3 ls s3://BUCKET/" + endpoint},
		{"Python (boto3)", run + "python3 - <<'EOF'\nimport boto3\nfor item in boto3.client(\"s3\").list_objects_v2(Bucket=\"BUCKET\")[\"Contents\"]:\n    print(item[\"Key\"])\nEOF"},
		{"DuckDB", run + "duckdb\n\nINSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;\nCREATE SECRET (TYPE s3, PROVIDER credential_chain, CHAIN 'env'" + duck + ");"},
		{"Any program", "eval \"$(carnet env --role " + role + ")\""},
	}
}

// shellWord quotes what a shell would read as more than a word: the path of a
// role may hold any printable character.
func shellWord(s string) string {
	plain := !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_+=,.@-:/", c)
	})
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// displayName names the person to himself.
func displayName(s login.LoginSession) string {
	if name := nameOrUser(s.Person); name != "" {
		return name
	}
	return "First administrator"
}

// nameOrUser is what a person is called.
func nameOrUser(p login.Person) string {
	if p.DisplayName != "" {
		return p.DisplayName
	}
	return p.UserName
}

// left says how much time is left, rounded down.
func left(d time.Duration) string {
	switch h, m := int(d.Hours()), int(d.Minutes())%60; {
	case d < time.Minute:
		return "less than a minute"
	case h == 0:
		return fmt.Sprintf("%d min", m)
	case h >= 48:
		return fmt.Sprintf("%d days", h/24)
	default:
		return fmt.Sprintf("%d h %d min", h, m)
	}
}
