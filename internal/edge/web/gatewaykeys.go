package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/gatewaykeys"
	"carnet.dev/carnet/internal/service/login"
	"carnet.dev/carnet/internal/service/revocation"
)

// GatewayKeys are S3 keys without a session token, never with their secrets.
type GatewayKeys interface {
	// List gives all that stand, and those that ended lately.
	List(ctx context.Context) ([]gatewaykeys.Listed, error)
}

// OwnGatewayKeys are those that work as a person.
type OwnGatewayKeys interface {
	// OwnGatewayKeys gives those that stand, newest first.
	OwnGatewayKeys(ctx context.Context, l login.LoginSession) ([]gatewaykeys.Listed, error)
	// RevokeOwnGatewayKey revokes one of the person's own. Fault: NotFound, also for one
	// of somebody else.
	RevokeOwnGatewayKey(ctx context.Context, l login.LoginSession, id identity.GatewayKeyID) error
}

// gatewayKeysPage lists gateway keys, for administrators.
type gatewayKeysPage struct {
	Owner   string // as it was looked for
	Ended   bool   // those that ended too
	Keys    []gatewayKeyRow
	Total   int    // that were found
	Next    string // address of what comes after; empty: nothing does
	First   string // address of the first page; empty: this is it
	Done    string
	Servers string // which have applied what was just revoked
}

// gatewayKeyRow is one gateway key, as pages show it.
type gatewayKeyRow struct {
	ID, AccessKeyID   string
	Owner, OwnerLink  string // OwnerLink is the address of its page
	RestsOn           string
	For               string // name of the cluster; empty: none
	Places            []string
	Roles             []string
	Default           string
	Origin            string
	State, Text       string // of a badge
	Standing          bool
	Made, Until, Used clock
	WasUsed           bool
	TakenBack         string // when it was revoked, or with what; empty: it was not
	Follows, RolledTo string
}

// gatewayKeysShown bounds one page of the list; ownKeysShown what My access shows.
const (
	gatewayKeysShown = 50
	ownKeysShown     = 20
)

var gatewayKeyWords = map[string]string{
	"key-revoked": "The key is revoked: every gateway refuses it within two seconds, in transfers that are under way too.",
}

func (web *Web) gatewayKeys(w http.ResponseWriter, r *http.Request) error {
	all, err := web.GatewayKeys.List(r.Context())
	if err != nil {
		return err
	}
	q := r.URL.Query()
	page := gatewayKeysPage{Owner: strings.TrimSpace(q.Get("owner")), Ended: q.Get("ended") == "on", Done: gatewayKeyWords[q.Get("done")]}
	if epoch, err := strconv.ParseUint(q.Get("epoch"), 10, 64); err == nil && page.Done != "" {
		page.Servers = web.whoApplied(r.Context(), epoch)
	}
	wanted := directory.Fold(page.Owner)
	all = slices.DeleteFunc(slices.Clone(all), func(k gatewaykeys.Listed) bool {
		return !page.Ended && k.State != gatewaykeys.Active || !ownedBy(k, wanted)
	})
	slices.SortFunc(all, newestKey)
	page.Total = len(all)
	from, _ := strconv.Atoi(q.Get("from"))
	from = max(0, min(from, len(all)))
	if from > 0 {
		page.First = page.address(nil)
	}
	if from+gatewayKeysShown < len(all) {
		page.Next = page.address(url.Values{"from": {strconv.Itoa(from + gatewayKeysShown)}})
	}
	page.Keys = web.gatewayKeyRows(all[from:min(from+gatewayKeysShown, len(all))])
	return web.show(w, r, http.StatusOK, "gateway-keys", frame{Title: "Gateway keys", Here: "gateway-keys", Page: page})
}

// address is that of the page with the same filter.
func (p gatewayKeysPage) address(q url.Values) string {
	if q == nil {
		q = url.Values{}
	}
	if p.Owner != "" {
		q.Set("owner", p.Owner)
	}
	if p.Ended {
		q.Set("ended", "on")
	}
	return strings.TrimSuffix("/admin/gateway-keys?"+q.Encode(), "?")
}

// ownedBy reports whether a text, folded, is in what names the owner of a key, or is
// the key itself.
func ownedBy(k gatewaykeys.Listed, text string) bool {
	for _, s := range [...]string{k.Owner.Name, string(k.Owner.Person), string(k.Owner.ServicePrincipal), k.Owner.ID()} {
		if strings.Contains(directory.Fold(s), text) {
			return true
		}
	}
	return text == directory.Fold(k.AccessKeyID) || text == directory.Fold(string(k.ID))
}

func newestKey(a, b gatewaykeys.Listed) int {
	return cmp.Or(b.Made.Compare(a.Made), strings.Compare(string(a.ID), string(b.ID)))
}

func (web *Web) gatewayKeyRows(all []gatewaykeys.Listed) (rows []gatewayKeyRow) {
	now := web.Now()
	for _, k := range all {
		row := gatewayKeyRow{
			ID: string(k.ID), AccessKeyID: k.AccessKeyID, Owner: cmp.Or(k.Owner.Name, k.Owner.ID()), RestsOn: restsOn(k.Owner), For: k.Cluster, Default: roleNameOf(k.Default),
			Origin: "made by an administrator", Standing: k.State == gatewaykeys.Active, Follows: string(k.Follows), RolledTo: string(k.RolledTo),
			Made: clock{k.Made, ago(now.Sub(k.Made))}, Until: clock{k.Expires, left(k.Expires.Sub(now))}, Used: clock{k.Used, ago(now.Sub(k.Used))}, WasUsed: !k.Used.IsZero(),
		}
		switch {
		case k.Owner.Person != "":
			row.OwnerLink = "/admin/people/" + url.PathEscape(string(k.Owner.Person))
		case k.Owner.ServicePrincipal != "":
			row.OwnerLink = "/admin/oidc/clients/" + url.PathEscape(string(k.Owner.ServicePrincipal))
		}
		if k.Delivered {
			row.Origin = "given to their tools"
		}
		for _, p := range k.Binding.Networks {
			row.Places = append(row.Places, p.String())
		}
		if n := len(k.Binding.Certificates); n > 0 {
			row.Places = append(row.Places, "with "+plural(n, "client certificate"))
		}
		for _, role := range k.Roles {
			row.Roles = append(row.Roles, nameIn(role, k.Roles))
		}
		switch k.State {
		case gatewaykeys.Active:
			row.State, row.Text = "ready", "Active"
		case gatewaykeys.Revoked:
			row.State, row.Text, row.TakenBack = "failed", "Revoked", "with what it rested on"
			if !k.Revoked.IsZero() {
				row.TakenBack = ago(now.Sub(k.Revoked))
			}
		case gatewaykeys.Ended:
			row.State, row.Text = "off", "Ended"
		}
		rows = append(rows, row)
	}
	return rows
}

// nameIn names a role of a set: by its ARN where another has its name.
func nameIn(role arn.Role, all []arn.Role) string {
	for _, o := range all {
		if o != role && o.Name == role.Name {
			return role.String()
		}
	}
	return role.Name
}

// Words say where a key works, and where it comes from.
func (k gatewayKeyRow) Words() string {
	var parts []string
	if k.For != "" {
		parts = append(parts, "from where cluster "+k.For+" calls")
	}
	if len(k.Places) > 0 {
		parts = append(parts, "from "+strings.Join(k.Places, ", "))
	}
	return upperFirst(strings.Join(append(parts, k.Origin, k.RestsOn), "; "))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// restsOn says what a key ends with.
func restsOn(o gatewaykeys.Owner) string {
	switch {
	case o.LoginSession != "":
		return "rests on a sign-in"
	case o.Delegation != "":
		return "rests on a delegation"
	}
	return "a service principal’s own"
}

// revokeGatewayKey revokes one, and leads back to what was looked for.
func (web *Web) revokeGatewayKey(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	id := r.PostForm.Get("id")
	if r.PostForm.Get("act") != "revoke" || id == "" {
		return badForm()
	}
	epoch, err := web.revokeOne(r.Context(), revocation.GatewayKey, id)
	if err != nil {
		return err
	}
	page := gatewayKeysPage{Owner: r.PostForm.Get("owner"), Ended: r.PostForm.Get("ended") == "on"}
	return seeOther(w, page.address(url.Values{"done": {"key-revoked"}, "epoch": {strconv.FormatUint(epoch, 10)}}))
}

// ownGatewayKeys is what My access shows of them.
type ownGatewayKeys struct {
	Keys []gatewayKeyRow
	More int // that are not shown
	Away *fault.Fault
	Done string
}

// ownGatewayKeys lists a person's own. Where they can't be read the rest of the page
// is shown all the same.
func (web *Web) ownGatewayKeys(ctx context.Context, s login.LoginSession, done string) ownGatewayKeys {
	out := ownGatewayKeys{Done: gatewayKeyWords[done]}
	if s.Person.ID == "" {
		return out
	}
	all, err := web.OwnGatewayKeys.OwnGatewayKeys(ctx, s)
	if err != nil {
		out.Away = fault.Of(err)
	}
	out.More = max(0, len(all)-ownKeysShown)
	out.Keys = web.gatewayKeyRows(all[:len(all)-out.More])
	for i, k := range all[:len(all)-out.More] {
		switch {
		case k.Owner.LoginSession == s.ID:
			out.Keys[i].RestsOn = "ends with this sign-in"
		case k.Owner.LoginSession != "":
			out.Keys[i].RestsOn = "ends with another sign-in of yours"
		default:
			out.Keys[i].RestsOn = "ends with your delegation"
		}
		if k.Delivered {
			out.Keys[i].Origin = "given to your tools"
		}
	}
	return out
}

// revokeOwnGatewayKey revokes one of the person's own.
func (web *Web) revokeOwnGatewayKey(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return formFault(err)
	}
	if err := web.OwnGatewayKeys.RevokeOwnGatewayKey(r.Context(), httpd.CallerOf(r).Session, identity.GatewayKeyID(r.PostForm.Get("id"))); err != nil {
		return err
	}
	return seeOther(w, "/?done=key-revoked#gateway-keys")
}
