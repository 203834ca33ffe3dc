//go:build interop

package isolation

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/nodes"
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
	for _, f := range []face{c, local()} {
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
	for _, f := range faces()[:5] {
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

// TestAttackOrdersOfOthers: nobody asks after, changes or ends what is another's.
func TestAttackOrdersOfOthers(t *testing.T) {
	alice, bob, mallory := attached(t, "alice"), attached(t, "bob"), stranger(t)
	next := stranger(t)
	begun := next.Begin(t)
	if status, body := next.Local(t, "POST", "/v1/attach/poll", localdoc.Poll{Request: begun.Request}); status != 200 {
		t.Fatalf("who asked may ask on: %d %s", status, body)
	}
	for _, l := range []*nodes.Login{mallory, bob.Login, alice.Node.Login(t, next.UID), alice.Node.Login(t, alice.UID)} {
		status, body := l.Local(t, "POST", "/v1/attach/poll", localdoc.Poll{Request: begun.Request})
		nothing(t, "another asks what became of it", answer{Status: status, Body: string(body)})
	}
	for _, l := range []*nodes.Login{mallory, alice.Node.Login(t, alice.UID)} {
		for path, in := range map[string]any{"/v1/role": map[string]string{"role": "analyst"}, "/v1/detach": struct{}{}, "/v1/roles": nil, "/v1/bearer": nil, "/v1/keys": nil} {
			method := map[string]string{"/v1/role": "PUT", "/v1/detach": "POST"}[path]
			if method == "" {
				method = "GET"
			}
			status, body := l.Local(t, method, path, in)
			nothing(t, path, answer{Status: status, Body: string(body)})
		}
	}
	if a := bob.Status(t).Attachment; a == nil || a.ID != bob.ID || a.Name == alice.Status(t).Attachment.Name {
		t.Errorf("bob sees %+v", a)
	}
	bob.MustLocal(t, "POST", "/v1/detach", struct{}{}, nil)
	gets(t, "alice, after bob left", local().ask(newPuppet(t, alice.Login, nil), ""))
}

// TestAttackStolenMetadataToken: a token of the metadata endpoint is its owner's socket's
// alone, and is no way past the kernel's word.
func TestAttackStolenMetadataToken(t *testing.T) {
	alice, bob, mallory := attached(t, "alice"), attached(t, "bob"), stranger(t)
	f := faces()[7]
	token := f.ask(newPuppet(t, alice.Login, nil), "")
	gets(t, "alice's token", token)
	read := f
	read.lines = func(string, ...string) []string {
		return []string{"GET /latest/meta-data/iam/security-credentials/analyst HTTP/1.1", "Host: " + metadata, "X-aws-ec2-metadata-token: " + token.Body}
	}
	a := read.ask(newPuppet(t, alice.Login, nil), "")
	gets(t, "alice", a)
	if !strings.Contains(a.Body, "SecretAccessKey") {
		t.Errorf("alice reads %s", a.Body)
	}
	nothing(t, "bob", read.ask(newPuppet(t, bob.Login, nil), ""))
	nothing(t, "somebody who is not attached", read.ask(newPuppet(t, mallory, nil), ""))
	nothing(t, "alice's uid in another login scope", read.ask(newPuppet(t, alice.Node.Login(t, alice.UID), nil), ""))
	first := read
	first.lines = func(string, ...string) []string {
		return []string{"GET /latest/meta-data/iam/security-credentials/analyst HTTP/1.1", "Host: " + metadata}
	}
	nothing(t, "alice by the first version, without a token", first.ask(newPuppet(t, alice.Login, nil), ""))
}

// TestAttackClosedClient: a client that has closed its end before the agent looks reads
// as root's in the kernel's table. It is nobody.
func TestAttackClosedClient(t *testing.T) {
	alice, mallory := attached(t, "alice"), stranger(t)
	gets(t, "alice", tcp().ask(newPuppet(t, alice.Login, nil), alice.Bearer))
	for _, l := range []*nodes.Login{mallory, alice.Login} {
		p := newPuppet(t, l, nil)
		goOn := stop(t, alice.Node)
		on := p.dialed(tcp())
		p.do(order{Do: "send", On: on, Lines: tcp().lines(alice.Bearer)})
		p.do(order{Do: "half-close", On: on})
		goOn()
		nothing(t, "a connection that its client has closed", p.try(order{Do: "receive", On: on}))
	}
}

// TestAttackAfterTheEnd: an attachment is ended by its person, at the server, or by who
// manages the cluster. Connections that were open before give nothing from then on.
func TestAttackAfterTheEnd(t *testing.T) {
	site, _ := start(t)
	for what, end := range map[string]func(*owner){
		"by the person at the server": func(o *owner) { site.Must(t, o.Name, http.MethodDelete, "attachments/"+o.ID, nil, nil) },
		"by who manages the cluster": func(o *owner) {
			site.Must(t, "carol", http.MethodDelete, "clusters/"+site.Cluster+"/attachments/"+o.ID, nil, nil)
		},
		"by detaching": func(o *owner) { o.MustLocal(t, "POST", "/v1/detach", struct{}{}, nil) },
	} {
		alice := attached(t, "alice")
		p := newPuppet(t, alice.Login, nil)
		open := map[string]int{}
		for _, f := range faces() {
			open[f.name] = p.dialed(f)
			gets(t, f.name+", before: "+what, p.asks(open[f.name], f, alice.Bearer))
		}
		end(alice)
		for _, f := range faces() {
			nodes.Until(t, "the agent has heard", func() error {
				if a := p.asks(open[f.name], f, alice.Bearer); a.Err == "" && a.Status/100 == 2 {
					return errors.New("answered")
				}
				return nil
			})
			nothing(t, f.name+", on a connection from before: "+what, p.asks(open[f.name], f, alice.Bearer))
			nothing(t, f.name+", on a new one: "+what, f.ask(p, alice.Bearer))
		}
	}
}

// TestAttackConfusionUnderLoad: several people ask at once, over connections that come
// and go from the same few addresses, and cut them at any moment. Everybody's answers
// are their own.
func TestAttackConfusionUnderLoad(t *testing.T) {
	alice, bob := attached(t, "alice"), attached(t, "bob")
	bob.MustLocal(t, "PUT", "/v1/role", map[string]string{"role": "engineer"}, nil)
	var all sync.WaitGroup
	for _, o := range []*owner{alice, bob, alice, bob} {
		role := map[string]string{"alice": "role/analyst", "bob": "role/engineer"}[o.Name]
		p := newPuppet(t, o.Login, nil)
		all.Go(func() {
			good := 0
			for i := range 400 {
				from := fmt.Sprintf("127.0.0.8:%d", 20000+i%4)
				c := p.try(order{Do: "dial", Network: "tcp", Address: tcp().address, From: from})
				if c.Err != "" {
					continue // somebody has the address
				}
				if i%3 != 0 {
					a := p.try(order{Do: "ask", On: c.On, Lines: tcp().lines(o.Bearer)})
					switch {
					case a.Err != "" || a.Status != 200: // cut, or of an address that another had
					case !strings.Contains(a.Body, role):
						t.Errorf("%s got %s", o.Name, a.Body)
					default:
						good++
					}
				} else {
					p.try(order{Do: "send", On: c.On, Lines: tcp().lines(o.Bearer)})
				}
				p.try(order{Do: "reset", On: c.On})
			}
			if good < 20 {
				t.Errorf("%s got an answer %d times in 400", o.Name, good)
			}
		})
	}
	all.Wait()
}
