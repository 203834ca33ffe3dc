package login_test

import (
	"context"
	"testing"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/federation"
	"carnet.dev/carnet/internal/service/issuer"
	"carnet.dev/carnet/internal/service/login"
)

// bridgeOf stands for what a broker with the bridge asks: nothing, while keys are
// fresh.
type bridgeOf struct{ *world }

func (bridgeOf) MintID(issuer.IDToken) (issuer.Minted, error) {
	return issuer.Minted{Token: secret.New("token")}, nil
}
func (bridgeOf) Active(context.Context, identity.PersonID) error { return nil }
func (w bridgeOf) Speaker(id identity.IdPID) (*federation.Speaker, error) {
	return w.fed.Speaker(id)
}
func (w bridgeOf) Refused(kind, id string, epoch uint64) (bool, error) {
	return w.feed.Refused(kind, id, epoch)
}
func (w bridgeOf) Epoch() (uint64, error) { return w.feed.Epoch() }

// BenchmarkCredentials is the fetch of keys that are fresh: with the bridge on it
// costs a look into memory more, and no allocation.
func BenchmarkCredentials(b *testing.B) {
	for _, on := range []bool{false, true} {
		name := "bridge=off"
		if on {
			name = "bridge=on"
		}
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			if on {
				w.bridge(b)
			}
			s := w.signIn(roles(analyst+","+idp1, engineer+","+idp1)).Session
			if got := s.Roles[0].Renewable; got != on {
				b.Fatalf("renewable %t", got)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Credentials(b.Context(), s, analyst); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// bridge makes a server with the bridge on of the world.
func (w *world) bridge(t testing.TB) {
	t.Helper()
	for id, a := range w.config.Accounts {
		a.WebIdentity, a.Bridge, a.Tags, a.SourceIdentity = true, true, true, true
		a.WebIdentityFirst = id == "444455556666"
		w.config.Accounts[id] = a
	}
	c := w.config.Broker.(*broker.Broker).Config
	c.Bridge = broker.Bridge{Tokens: bridgeOf{w}, Accounts: w.config.Accounts, Standing: bridgeOf{w}, Renewals: c.Store.(broker.Renewals), State: w.db, Trail: w.config.Audit}
	b := broker.New(c)
	w.config.Broker, w.config.Renewer = b, b
	var err error
	w.Service, err = login.New(t.Context(), w.config)
	must(t, err)
}

// Recalled: nobody tells us of anybody here.
func (bridgeOf) Recalled(*federation.Speaker) bool { return false }
