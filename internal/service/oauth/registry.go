package oauth

import (
	"context"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// registry is every client and credential, in memory: a stranger's question
// costs no look at the database.
type registry struct {
	clients []Client // by name
	byID    map[string]Client
	creds   map[string][]known // by client, oldest first
}

// known is a credential ready for use.
type known struct {
	Kept
	keys *oidc.KeySet // of a KeyCredential; nil where it can't be read
}

func (s *Service) load(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	clients, creds, err := s.Clients.All(ctx)
	if err != nil {
		return err
	}
	r := &registry{clients: clients, byID: make(map[string]Client, len(clients)), creds: map[string][]known{}}
	for _, c := range clients {
		r.byID[c.ID] = c
	}
	for _, k := range creds {
		n := known{Kept: k}
		if k.Kind == KeyCredential {
			if n.keys, err = keySet(k.JWK); err != nil {
				s.Logger.Error("a client's key can't be read and is not used", "credential", k.ID, "error", err)
			}
		}
		r.creds[k.Client] = append(r.creds[k.Client], n)
	}
	s.known.Store(r)
	return nil
}

// follow loads until one load succeeds. Meanwhile the known clients serve; what
// was revoked is refused by the feed.
func (s *Service) follow(ctx context.Context) {
	for {
		err := s.load(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.Logger.Error("the clients can't be read; those known before serve on", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// reload follows our own change before its caller is answered.
func (s *Service) reload(ctx context.Context) {
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Warn("the clients could not be read after a change", "error", err)
	}
}

// keySet reads one JWK as a set.
func keySet(jwk []byte) (*oidc.KeySet, error) {
	set, err := oidc.ParseKeySet(slices.Concat([]byte(`{"keys":[`), jwk, []byte(`]}`)))
	if err == nil && len(set.Notes()) > 0 {
		err = fault.New(fault.Invalid, "the key is of no use here: "+strings.Join(set.Notes(), "; "))
	}
	if err == nil && set.Len() != 1 {
		err = fault.New(fault.Invalid, "want exactly one key")
	}
	return set, err
}

// List gives the registered clients, by name.
func (s *Service) List() []Client { return slices.Clone(s.known.Load().clients) }

// Find gives a registered client by id, or by name, letter case aside.
func (s *Service) Find(text string) (Client, error) {
	r := s.known.Load()
	if c, ok := r.byID[text]; ok {
		return c, nil
	}
	for _, c := range r.clients {
		if strings.EqualFold(c.Name, text) {
			return c, nil
		}
	}
	return Client{}, noClient(text)
}

// CredentialsOf lists the credentials of a client or service principal, oldest
// first.
func (s *Service) CredentialsOf(client string) []Credential {
	var out []Credential
	for _, k := range s.known.Load().creds[client] {
		out = append(out, k.Credential)
	}
	return out
}

// live is the registered client of an id, while it is enabled.
func (s *Service) live(id string) (Client, bool) {
	c, ok := s.known.Load().byID[id]
	return c, ok && c.Enabled
}

func noClient(text string) error {
	return fault.New(fault.NotFound, "there is no client "+quoted(text)).WithMend("list them: carnet client list")
}

// quoted bounds what an error repeats of outside input.
func quoted(text string) string {
	const most = 80
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return `"` + text + `"`
}
