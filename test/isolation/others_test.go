//go:build interop

package isolation

import (
	"os/exec"
	"syscall"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
)

// TestAttackOtherUID: another account of the node, alone, attached as somebody else,
// and even inside the owner's own login scope, asks every face, with the owner's
// second factor in hand.
func TestAttackOtherUID(t *testing.T) {
	alice, bob, mallory := attached(t, "alice"), attached(t, "bob"), stranger(t)
	asAlice, asBob, asMallory := newPuppet(t, alice.Login, nil), newPuppet(t, bob.Login, nil), newPuppet(t, mallory, nil)
	inside := newPuppet(t, alice.Login, func(c *exec.Cmd) {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: mallory.UID, Gid: mallory.UID}
		c.Dir = "/"
	})
	for _, f := range faces() {
		t.Run(f.name, func(t *testing.T) {
			gets(t, "alice", f.ask(asAlice, alice.Bearer))
			gets(t, "bob", f.ask(asBob, bob.Bearer))
			nothing(t, "somebody who is not attached", f.ask(asMallory, ""))
			nothing(t, "the same with alice's second factor", f.ask(asMallory, alice.Bearer))
			nothing(t, "another uid in alice's login scope", f.ask(inside, alice.Bearer))
		})
	}
	// Two who are attached get their own, each from the same addresses.
	c := container("127.0.0.1:1018")
	for _, f := range []face{c, faces()[4]} {
		if a, b := keyOf(t, f.ask(asAlice, alice.Bearer)), keyOf(t, f.ask(asBob, bob.Bearer)); a == b {
			t.Errorf("%s: alice and bob get the same keys", f.name)
		}
	}
}

// TestAttackStolenBearer: the second factor alone is worth nothing, and the first
// alone is not enough.
func TestAttackStolenBearer(t *testing.T) {
	alice, bob := attached(t, "alice"), attached(t, "bob")
	asAlice, asBob := newPuppet(t, alice.Login, nil), newPuppet(t, bob.Login, nil)
	elsewhere := newPuppet(t, alice.Node.Login(t, alice.UID), nil)
	for _, f := range faces()[:4] {
		t.Run(f.name, func(t *testing.T) {
			gets(t, "alice", f.ask(asAlice, alice.Bearer))
			nothing(t, "bob with alice's", f.ask(asBob, alice.Bearer))
			nothing(t, "alice's uid in another login scope", f.ask(elsewhere, alice.Bearer))
			for name, wrong := range map[string]string{"none": "", "another": secret.Random(32).Reveal(), "cut": alice.Bearer[:len(alice.Bearer)-1], "longer": alice.Bearer + "a", "with a scheme": "Bearer " + alice.Bearer} {
				nothing(t, "alice with a second factor that is "+name, f.ask(asAlice, wrong))
			}
		})
	}
}

// TestAttackRoot: root and the account of nobody are nobody, wherever they stand.
func TestAttackRoot(t *testing.T) {
	alice := attached(t, "alice")
	asAlice := newPuppet(t, alice.Login, nil)
	for name, uid := range map[string]uint32{"root": 0, "the overflow uid": 65534} {
		other := newPuppet(t, alice.Login, func(c *exec.Cmd) {
			c.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
			c.Dir = "/"
		})
		for _, f := range faces() {
			gets(t, f.name+": alice", f.ask(asAlice, alice.Bearer))
			nothing(t, f.name+": "+name, f.ask(other, alice.Bearer))
		}
		status, body := alice.Node.LoginIn(t, uid, "system.slice/"+name+".service").Local(t, "POST", "/v1/attach", struct{}{})
		if status/100 == 2 {
			t.Errorf("%s may begin to attach: %s", name, body)
		}
	}
}
