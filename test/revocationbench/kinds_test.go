//go:build interop

package revocationbench

import (
	"net/http"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/test/fleet"
)

// kind is one way to take something back. Its set-up makes what is watched, and says
// what takes it back.
type kind struct {
	name string // as the table has it
	// part of the rounds is what it is measured in: a fifth where everybody is taken
	// out, and a half each where the two share the delegations that one person may make.
	part  int
	setUp func(r *round)
}

// rounds gives how many it has.
func (k kind) rounds(n int) int {
	return max(1, n/k.part)
}

// everywhere is all that rests on a sign-in.
func everywhere(r *round) api.Session {
	s := inRole(r)
	r.pages()
	return s
}

// inRole is all that rests on a sign-in and has keys of a role.
func inRole(r *round) api.Session {
	r.signOut()
	s := r.session()
	r.keys(r.person.Keys(r.t, r.at, "analyst"))
	r.token(r.idToken())
	r.gatewayKey(api.NewGatewayKey{LoginSession: s.LoginSession.ID})
	r.attach(0, 1)
	return s
}

func kinds() []kind {
	return []kind{
		{"login session", 1, func(r *round) {
			s := everywhere(r)
			r.act = func() error { return r.revoke(r.t, r.at, "login-session", s.LoginSession.ID) }
		}},
		{"person", 1, func(r *round) {
			s := everywhere(r)
			r.act = func() error { return r.revoke(r.t, r.at, "person", s.Person.ID) }
		}},
		{"SCIM deactivation", 1, func(r *round) {
			everywhere(r)
			id, err := r.provisioned(r.t.Context(), r.at)
			if err != nil {
				r.t.Fatal(err)
			}
			r.act = func() error { return r.activate(r.t.Context(), r.at, id, false) }
			r.after = func() error { return r.activate(r.t.Context(), r.at, id, true) }
		}},
		{"access key", 1, func(r *round) {
			k := r.mustTrade(r.t, r.idToken())
			r.keys(k)
			r.act = func() error { return r.revoke(r.t, r.at, "access-key", k.ID) }
		}},
		{"gateway key", 1, func(r *round) {
			id := r.gatewayKey(api.NewGatewayKey{LoginSession: r.session().LoginSession.ID})
			r.act = func() error { return r.revoke(r.t, r.at, "gateway-key", id) }
		}},
		{"role", 1, func(r *round) {
			inRole(r)
			r.act = func() error { return r.revoke(r.t, r.at, "role", fleet.Analyst) }
			r.after = func() error { r.signOut(); return nil } // whoever has it by a sign-in signs in again
		}},
		{"attachment", 1, func(r *round) {
			id := r.attach(r.at % 2)[0]
			r.act = func() error { return r.revoke(r.t, r.at, "attachment", id) }
		}},
		{"detach", 1, func(r *round) {
			id := r.attach(r.at % 2)[0]
			r.act = func() error { // by turns the person does it, and a program on the node
				if r.number%2 == 1 {
					status, body := r.world.seats[r.at%2].Local(r.t, http.MethodPost, "/v1/detach", nil)
					return wanted(status, body, nil)
				}
				return wanted(r.person.Ask(r.t.Context(), r.at, http.MethodDelete, "/api/v1/attachments/"+id, nil, nil))
			}
		}},
		{"node", 1, func(r *round) {
			r.attach(r.at % 2)
			id := r.nodeIDs(r.t)[r.nodes[r.at%2].Name]
			r.act = func() error { return r.revoke(r.t, r.at, "node", id) }
		}},
		{"cluster", 1, func(r *round) {
			r.attach(0, 1)
			r.gatewayKey(api.NewGatewayKey{LoginSession: r.session().LoginSession.ID, Cluster: clusterName})
			r.act = func() error { return r.revoke(r.t, r.at, "cluster", r.cluster) }
		}},
		{"service principal", 1, func(r *round) {
			token, err := r.proof(r.t, "")
			if err != nil {
				r.t.Fatal(err)
			}
			r.keys(r.mustTrade(r.t, token))
			r.token(token)
			r.gatewayKey(api.NewGatewayKey{ServicePrincipal: r.machine.id})
			r.act = func() error { return r.revoke(r.t, r.at, "service-principal", r.machine.id) }
		}},
		{"delegation", 2, func(r *round) {
			var d struct{ ID string }
			r.signedIn().Must(r.t, r.at, http.MethodPost, "/api/v1/delegations", map[string]any{"role": fleet.Analyst, "service_principal": machineName, "label": "bench", "lifetime_seconds": 3600}, &d)
			token, err := r.proof(r.t, d.ID)
			if err != nil {
				r.t.Fatal(err)
			}
			r.keys(r.mustTrade(r.t, token))
			r.token(token)
			r.gatewayKey(api.NewGatewayKey{Delegation: d.ID})
			r.act = func() error { return r.revoke(r.t, r.at, "delegation", d.ID) }
		}},
		{"delegation to a cluster", 2, func(r *round) {
			var d struct{ ID string }
			r.signedIn().Must(r.t, r.at, http.MethodPost, "/api/v1/delegations", map[string]any{"role": fleet.Analyst, "cluster": r.cluster, "label": "bench", "lifetime_seconds": 3600}, &d)
			r.signOut()
			r.attachAway()
			r.act = func() error { return r.revoke(r.t, r.at, "delegation", d.ID) }
		}},
		{"everything", 5, func(r *round) {
			everywhere(r)
			r.act = func() error { return r.revoke(r.t, r.at, "everything", "everything") }
		}},
	}
}
