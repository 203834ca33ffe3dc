package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/httpd"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/internal/service/withdrawal"
)

// Revocations take back what was issued.
type Revocations interface {
	// Revoke takes back everything of what a text names, an id or for some kinds a
	// name, and says which servers have applied it after a moment. Faults: Invalid,
	// NotFound, Conflict.
	Revoke(ctx context.Context, kind, text string) (withdrawal.Target, withdrawal.Result, error)
	// Recent gives the last revocations, newest first, at most so many.
	Recent(ctx context.Context, most int) ([]withdrawal.Past, []revocation.View, error)
}

// Revocation asks to take something back.
type Revocation struct {
	Kind string `json:"kind"`
	ID   string `json:"id"` // or a name, where the kind has names; not of everything
}

// Revoked is what a revocation has come to.
type Revoked struct {
	Kind  string `json:"kind"`
	ID    string `json:"id"`
	Epoch int    `json:"epoch"`
	// Servers are those that are live, after a moment.
	Servers []ServerApplied `json:"servers"`
	// Outstanding are keys that AWS may honour longer.
	Outstanding []OutstandingKey `json:"outstanding"`
}

// ServerApplied says whether a server has applied a revocation. One that has not, and
// has lost touch, decides nothing from DecidesUntil on.
type ServerApplied struct {
	Server       string    `json:"server"`
	Applied      bool      `json:"applied"`
	DecidesUntil time.Time `json:"decides_until"`
}

// OutstandingKey is a key that AWS handed out, or an ID token that buys some there.
type OutstandingKey struct {
	Account          string    `json:"account"`
	Role             string    `json:"role"`
	Person           string    `json:"person"`
	LoginSession     string    `json:"login_session"`
	Delegation       string    `json:"delegation"`
	ServicePrincipal string    `json:"service_principal"`
	SessionName      string    `json:"session_name"`
	AccessKeyID      string    `json:"access_key_id"` // empty: of an ID token
	Until            time.Time `json:"until"`
	// Deny says whether AWS was told to refuse it: none, queued, written or failed.
	Deny    string `json:"deny"`
	Trouble string `json:"trouble"`
}

// PastRevocations lists revocations, newest first.
type PastRevocations struct {
	Revocations []PastRevocation `json:"revocations"`
}

// PastRevocation is one that was made: the last one of its kind and id.
type PastRevocation struct {
	Kind  string    `json:"kind"`
	ID    string    `json:"id"`
	Epoch int       `json:"epoch"`
	At    time.Time `json:"at"`
	// By is who did it; empty where it came with another act, such as a sign-out.
	By      string          `json:"by"`
	Servers []ServerApplied `json:"servers"`
}

func (a api) revocationRoutes(row rowMaker) []httpd.Route {
	return []httpd.Route{
		row(http.MethodGet, "revocations", httpd.Administrator, 0, a.revocations),
		row(http.MethodPost, "revocations", httpd.Administrator, maxSmall, a.revoke),
	}
}

func (a api) revoke(w http.ResponseWriter, r *http.Request) error {
	var in Revocation
	if err := read(r, &in); err != nil {
		return err
	}
	if in.Kind == "" || in.ID == "" && in.Kind != revocation.Everything {
		return fault.Coded(fault.Invalid, "revocation.missing", "The request does not say what to revoke").
			WithMend("give \"kind\" and \"id\", such as {\"kind\": \"person\", \"id\": \"alice\"}")
	}
	t, result, err := a.Revocations.Revoke(r.Context(), in.Kind, in.ID)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, Revoked{Kind: t.Kind, ID: t.ID, Epoch: int(result.Epoch),
		Servers: serversApplied(result.Servers, result.Epoch), Outstanding: OutstandingKeys(result.Outstanding)})
}

// The revocations that are listed where nothing is said, and the most.
const (
	fewRevocations  = 100
	mostRevocations = 500
)

func (a api) revocations(w http.ResponseWriter, r *http.Request) error {
	most := fewRevocations
	if text := r.URL.Query().Get("most"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostRevocations {
			return fault.Coded(fault.Invalid, "revocation.most", "The parameter most is no number from 1 to "+strconv.Itoa(mostRevocations))
		}
		most = n
	}
	past, views, err := a.Revocations.Recent(r.Context(), most)
	if err != nil {
		return err
	}
	out := PastRevocations{Revocations: []PastRevocation{}}
	for _, p := range past {
		out.Revocations = append(out.Revocations, PastRevocation{Kind: p.Kind, ID: p.ID, Epoch: int(p.Epoch), At: seconds(p.At), By: p.By, Servers: serversApplied(views, p.Epoch)})
	}
	return answer(w, http.StatusOK, out)
}

func serversApplied(views []revocation.View, epoch uint64) []ServerApplied {
	out := []ServerApplied{}
	for _, v := range views {
		out = append(out, ServerApplied{Server: v.Server, Applied: v.Epoch >= epoch, DecidesUntil: seconds(v.Seen.Add(revocation.DefaultBound))})
	}
	return out
}

// OutstandingKeys gives keys as documents.
func OutstandingKeys(keys []withdrawal.Key) []OutstandingKey {
	out := []OutstandingKey{}
	for _, k := range keys {
		out = append(out, OutstandingKey{Account: k.Account, Role: k.Role.String(), Person: string(k.Person), LoginSession: string(k.LoginSession),
			Delegation: string(k.Delegation), ServicePrincipal: string(k.ServicePrincipal), SessionName: k.SessionName, AccessKeyID: k.AccessKeyID,
			Until: seconds(k.Until), Deny: string(k.Deny), Trouble: k.Trouble})
	}
	return out
}
