//go:build interop

package isolation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
	"carnet.dev/carnet/test/nodes"
)

// rogue is an agent of the attacker's own: it has a key that the server knows and
// says what it likes.
type rogue struct {
	site   *nodes.Site
	key    *ecdsa.PrivateKey
	public string
	id     string
	bearer string
}

// newRogue joins a node of its own making to a cluster.
func newRogue(t testing.TB, site *nodes.Site, cluster string) *rogue {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{site: site, key: key, public: base64.StdEncoding.EncodeToString(spki)}
	var joined nodedoc.Joined
	must(t, &joined)(site.Ask(t, http.MethodPost, "node/join", "", nodedoc.Join{JoinToken: site.JoinToken(t, cluster), Name: "rogue-" + secret.Random(4).Reveal(), PublicKey: r.public, Version: "0"}))
	r.id = joined.Node
	var answer nodedoc.TokenAnswer
	must(t, &answer)(r.buy(t, r.assertion(t, nil)))
	r.bearer = answer.AccessToken
	return r
}

// must reads an answer that has to be good.
func must(t testing.TB, out any) func(int, []byte) {
	return func(status int, body []byte) {
		t.Helper()
		if status/100 != 2 {
			t.Fatalf("%d %s", status, body)
		}
		if out != nil {
			if err := json.Unmarshal(body, out); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
		}
	}
}

// refused fails the test unless an answer refuses.
func refused(t testing.TB, what string) func(int, []byte) {
	return func(status int, body []byte) {
		t.Helper()
		nothing(t, what, answer{Status: status, Body: string(body)})
	}
}

func (r *rogue) buy(t testing.TB, assertion string) (int, []byte) {
	t.Helper()
	return r.site.Ask(t, http.MethodPost, "node/token", "", nodedoc.TokenRequest{Assertion: assertion})
}

func (r *rogue) call(t testing.TB, path string, in any) (int, []byte) {
	t.Helper()
	return r.site.Ask(t, http.MethodPost, "node/"+path, r.bearer, in)
}

// claims change what an assertion says; a nil value leaves a member out.
type claims map[string]any

// assertion signs one, with changes to header ("alg", "kid") and claims.
func (r *rogue) assertion(t testing.TB, change claims) string {
	t.Helper()
	now := time.Now()
	header := claims{"alg": "ES256", "typ": "JWT", "kid": r.id}
	body := claims{"iss": r.id, "sub": r.id, "aud": r.site.Web, "iat": now.Unix(), "exp": now.Add(50 * time.Second).Unix(), "jti": secret.Random(16).Reveal()}
	for k, v := range change {
		part := body
		if _, ok := header[k]; ok {
			part = header
		}
		if part[k] = v; v == nil {
			delete(part, k)
		}
	}
	signed := segment(t, header) + "." + segment(t, body)
	digest := sha256.Sum256([]byte(signed))
	var signature []byte
	switch header["alg"] {
	case "ES256":
		a, b, err := ecdsa.Sign(rand.Reader, r.key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		signature = append(a.FillBytes(make([]byte, 32)), b.FillBytes(make([]byte, 32))...)
	case "HS256": // with the public key as the secret
		spki, err := base64.StdEncoding.DecodeString(r.public)
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, spki)
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func segment(t testing.TB, c claims) string {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// attach has a person approve an attachment on the rogue's node, as somebody does who
// works there.
func (r *rogue) attach(t testing.TB, person string, uid uint32) nodedoc.Attachment {
	t.Helper()
	var begun nodedoc.AttachBegun
	must(t, &begun)(r.call(t, "attach", nodedoc.AttachRequest{Place: place(uid)}))
	r.site.Must(t, person, http.MethodPost, "attachments/approve", map[string]string{"user_code": begun.UserCode}, nil)
	var state nodedoc.AttachState
	nodes.Until(t, person+" is attached", func() error {
		must(t, &state)(r.call(t, "attach/poll", nodedoc.AttachPoll{Request: begun.Request}))
		if state.State == "pending" {
			return http.ErrNotSupported
		}
		return nil
	})
	if state.Attachment == nil {
		t.Fatalf("attaching came to %q", state.State)
	}
	return *state.Attachment
}

func place(uid uint32) nodedoc.Place {
	return nodedoc.Place{UID: uid, Scope: "/user.slice/session-1.scope", ScopeID: uint64(uid) + 77, Account: "somebody"}
}

// TestAttackMaliciousAgent: root on a node speaks as its agent. It reaches those who
// are attached there in the roles that are allowed there, and nobody else.
func TestAttackMaliciousAgent(t *testing.T) {
	site, _ := start(t)
	alice := attached(t, "alice") // on another node of the same cluster
	gets(t, "alice", local().ask(newPuppet(t, alice.Login, nil), ""))
	narrow := site.AddCluster(t, map[string]any{"roles": []string{"arn:aws:iam::111122223333:role/analyst"}})
	for name, r := range map[string]*rogue{"of the same cluster": newRogue(t, site, site.Cluster), "of another cluster": newRogue(t, site, narrow)} {
		for _, id := range []string{alice.ID, "", "att_0", "*"} {
			f := nodedoc.Fetch{Attachment: id}
			refused(t, name+": keys of "+id)(r.call(t, "credentials", f))
			refused(t, name+": an ID token of "+id)(r.call(t, "id-token", f))
			refused(t, name+": roles of "+id)(r.call(t, "roles", f))
			refused(t, name+": the role of "+id)(r.call(t, "role", nodedoc.SetRole{Attachment: id, Role: "analyst"}))
			if id == alice.ID {
				refused(t, name+": the end of "+id)(r.call(t, "end", nodedoc.End{Attachment: id, Why: "detached"}))
			}
		}
		var view nodedoc.View
		must(t, &view)(r.call(t, "watch", nodedoc.Watch{}))
		if len(view.Attachments) != 0 {
			t.Errorf("%s sees %+v", name, view.Attachments)
		}
		// Nobody is attached by an agent's word.
		var begun nodedoc.AttachBegun
		must(t, &begun)(r.call(t, "attach", nodedoc.AttachRequest{Place: place(5000)}))
		if begun.Attachment != nil {
			t.Errorf("%s attached somebody by itself: %+v", name, begun.Attachment)
		}
		refused(t, name+": by a login name")(r.call(t, "attach", nodedoc.AttachRequest{Place: nodedoc.Place{UID: 5001, Scope: "/s.scope", ScopeID: 9, Account: "alice"}, ByLoginName: true}))
		for _, uid := range []uint32{0, 65534, ^uint32(0)} {
			refused(t, name+": a uid that nobody may act under")(r.call(t, "attach", nodedoc.AttachRequest{Place: place(uid)}))
		}
		refused(t, name+": while the node's own identity can be reached")(r.call(t, "attach", nodedoc.AttachRequest{Place: place(5002), MetadataReachable: true}))
	}
	// Who is attached there can be reached there, in the roles of the cluster alone.
	r := newRogue(t, site, narrow)
	bob := r.attach(t, "bob", 6000)
	var keys nodedoc.Keys
	must(t, &keys)(r.call(t, "credentials", nodedoc.Fetch{Attachment: bob.ID, Role: "arn:aws:iam::111122223333:role/analyst"}))
	for _, role := range []string{"arn:aws:iam::111122223333:role/engineer", "engineer", "arn:aws:iam::444455556666:role/pipeline", "arn:aws:iam::111122223333:role/carnet-admin", "arn:aws:iam::111122223333:role/*", "*"} {
		refused(t, "bob's role "+role+" where the cluster does not allow it")(r.call(t, "credentials", nodedoc.Fetch{Attachment: bob.ID, Role: role}))
		refused(t, "an ID token for "+role)(r.call(t, "id-token", nodedoc.Fetch{Attachment: bob.ID, Role: role}))
		refused(t, role+" as the current role")(r.call(t, "role", nodedoc.SetRole{Attachment: bob.ID, Role: role}))
	}
	must(t, nil)(r.call(t, "end", nodedoc.End{Attachment: bob.ID, Why: "detached"}))
	refused(t, "after it ended")(r.call(t, "credentials", nodedoc.Fetch{Attachment: bob.ID}))
	gets(t, "alice, still", local().ask(newPuppet(t, alice.Login, nil), ""))
}

// TestAttackForeignAgentReplayed: what one agent proved itself with is used by another,
// or again.
func TestAttackForeignAgentReplayed(t *testing.T) {
	site, _ := start(t)
	one, two := newRogue(t, site, site.Cluster), newRogue(t, site, site.Cluster)
	good := one.assertion(t, nil)
	must(t, nil)(one.buy(t, good))
	refused(t, "the same assertion again")(one.buy(t, good))
	for name, change := range map[string]claims{
		"of another node, by name":   {"iss": two.id, "sub": two.id, "kid": two.id},
		"with another issuer":        {"iss": two.id},
		"with another subject":       {"sub": two.id},
		"with another key id":        {"kid": two.id},
		"for another server":         {"aud": "https://elsewhere.example"},
		"for the key's own address":  {"aud": site.Web + "/api/v1/node/key"},
		"for several":                {"aud": []string{site.Web, "https://elsewhere.example"}},
		"for nobody":                 {"aud": nil},
		"that is over":               {"exp": time.Now().Add(-5 * time.Minute).Unix()},
		"that lives for an hour":     {"exp": time.Now().Add(time.Hour).Unix()},
		"that never ends":            {"exp": nil},
		"without an id":              {"jti": nil},
		"without a signature":        {"alg": "none"},
		"signed with the public key": {"alg": "HS256"},
	} {
		refused(t, "an assertion "+name)(one.buy(t, one.assertion(t, change)))
	}
	// Another key under a node's name: only with the key that counts.
	refused(t, "another's new key")(two.call(t, "key", nodedoc.NewKey{PublicKey: two.public, Proof: one.assertion(t, claims{"aud": site.Web + "/api/v1/node/key"})}))

	// What one node began to attach, another does not learn about.
	var begun nodedoc.AttachBegun
	must(t, &begun)(one.call(t, "attach", nodedoc.AttachRequest{Place: place(6050)}))
	must(t, nil)(one.call(t, "attach/poll", nodedoc.AttachPoll{Request: begun.Request}))
	refused(t, "another node asks after a request")(two.call(t, "attach/poll", nodedoc.AttachPoll{Request: begun.Request}))
	site.Must(t, "bob", http.MethodPost, "attachments/approve", map[string]string{"user_code": begun.UserCode}, nil)
	refused(t, "another node asks after a request that was approved")(two.call(t, "attach/poll", nodedoc.AttachPoll{Request: begun.Request}))

	// An access token is its node's, and ends with it.
	stolen := *one
	stolen.bearer = two.bearer
	mine := one.attach(t, "bob", 6100)
	must(t, nil)(one.call(t, "roles", nodedoc.Fetch{Attachment: mine.ID}))
	refused(t, "an attachment of one node with the access token of another")(stolen.call(t, "credentials", nodedoc.Fetch{Attachment: mine.ID}))
	site.Must(t, "carol", http.MethodDelete, "clusters/"+site.Cluster+"/nodes/"+one.id, nil, nil)
	nodes.Until(t, "a removed node is refused", func() error {
		if status, _ := one.call(t, "roles", nodedoc.Fetch{Attachment: mine.ID}); status/100 == 2 {
			return http.ErrNotSupported
		}
		return nil
	})
	refused(t, "a removed node's key")(one.buy(t, one.assertion(t, nil)))

	// A join token is good once, and no other bearer opens a node's door.
	join := site.JoinToken(t, site.Cluster)
	in := nodedoc.Join{JoinToken: join, Name: "first-" + secret.Random(4).Reveal(), PublicKey: two.public, Version: "0"}
	must(t, nil)(site.Ask(t, http.MethodPost, "node/join", "", in))
	in.Name += "-again"
	refused(t, "a join token that was used")(site.Ask(t, http.MethodPost, "node/join", "", in))
	for name, bearer := range map[string]string{"none": "", "a person's": site.Bearer(t, "carol"), "a join token": join, "cut": two.bearer[:len(two.bearer)-2]} {
		refused(t, "a bearer that is "+name)(site.Ask(t, http.MethodPost, "node/watch", bearer, nodedoc.Watch{}))
	}
	// Nor does a node's open those of people.
	refused(t, "a node among people")(site.Ask(t, http.MethodGet, "roles", two.bearer, nil))
}

// TestAttackTwoPeopleOnOneUID: a second person is not attached to a uid that somebody
// works under, whoever approves it.
func TestAttackTwoPeopleOnOneUID(t *testing.T) {
	site, n := start(t)
	alice := attached(t, "alice")
	p := newPuppet(t, alice.Login, nil)
	other := n.Login(t, alice.UID) // the same uid, signed in once more
	begun := other.Begin(t)
	if status, body := site.API(t, "bob", http.MethodPost, "attachments/approve", map[string]string{"user_code": begun.UserCode}); status/100 == 2 {
		t.Errorf("bob was attached beside alice: %s", body)
	}
	if a := other.Status(t).Attachment; a != nil {
		t.Errorf("the second sign-in has %+v", a)
	}
	q := newPuppet(t, other, nil)
	for _, f := range faces() {
		gets(t, f.name+": alice", f.ask(p, alice.Bearer))
		nothing(t, f.name+": the second sign-in", f.ask(q, alice.Bearer))
	}
	// The same person may, in both.
	attach(t, other, "alice")
	gets(t, "alice's second sign-in", local().ask(q, ""))
}
