package issuer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/keyplace"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
)

// elsewhere publishes at another address than the server's.
func elsewhere(c *issuer.Config) { c.PublicURL, c.Elsewhere = "https://keys.example.com", true }

func read(t *testing.T, folder, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, folder, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestPublish: nothing is signed before its key stands there; then the documents
// are those of the issuers, at the public URL, with the endpoints here.
func TestPublish(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t, elsewhere)
	_, err := s.MintID(forAWS())
	wants(t, "before it is published", err, issuer.CodeKey)
	to := keyplace.Folder{Path: filepath.Join(t.TempDir(), "www")}
	wrote, err := s.Publish(t.Context(), to, false)
	if err != nil || len(wrote) != 6 || !strings.HasSuffix(wrote[0], "jwks.json") || !strings.HasSuffix(wrote[1], "jwks.json") {
		t.Fatalf("%v, %v", wrote, err)
	}
	m := mint(t, s, forAWS())
	for name, url := range map[string]string{"oidc": "https://keys.example.com/oidc", "oidc/accounts/acc": "https://keys.example.com/oidc/accounts/acc"} {
		body := read(t, to.Path, name+"/.well-known/openid-configuration")
		called, keys, err := oidc.ReadMetadata([]byte(body))
		if err != nil || called != url || keys != url+"/jwks.json" || !strings.Contains(body, `"https://carnet.example.com/`+name+`/v1/token"`) ||
			read(t, to.Path, name+"/.well-known/oauth-authorization-server") != body {
			t.Errorf("%s: %v\n%s", name, err, body)
		}
	}
	set, err := oidc.ParseKeySet([]byte(read(t, to.Path, "oidc/jwks.json")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := check(m.Token.Reveal(), "https://keys.example.com/oidc", issuer.AudienceAWS, set, w.Now()); err != nil {
		t.Error(err)
	}
	if wrote, err := s.Publish(t.Context(), to, false); err != nil || len(wrote) != 0 {
		t.Errorf("again: %v, %v", wrote, err)
	}
}

// TestAKeyWaitsUntilItIsPublished: a rotation does not begin before the new key
// stands there, and then takes the whole time of pre-publication.
func TestAKeyWaitsUntilItIsPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t, elsewhere)
	to := keyplace.Folder{Path: t.TempDir()}
	publish := func() {
		t.Helper()
		if _, err := s.Publish(t.Context(), to, false); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	old := mint(t, s, forAWS())
	if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{Now: true}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a key that nobody can see is used: %v", err)
	}
	for _, step := range []struct {
		pass    time.Duration
		publish bool
		want    string
	}{
		{1000 * time.Hour, false, "used published"}, {0, true, "used published"}, {24*time.Hour - time.Second, true, "used published"},
		{time.Second, true, "retired used"}, {24 * time.Hour, true, "gone used"},
	} {
		w.pass(step.pass)
		if step.publish {
			publish()
		}
		if got := states(s, issuer.Workspace, oidc.RS256); got != step.want {
			t.Errorf("after %s: %q, want %q", step.pass, got, step.want)
		}
	}
	if strings.Contains(read(t, to.Path, "oidc/jwks.json"), old.KeyID) {
		t.Error("a key that is gone is still published")
	}
	// The publisher is switched off while a key waits for it: it waits no more.
	if _, err := s.Rotate(t.Context(), issuer.Account, oidc.ES256, issuer.Rotation{}); err != nil {
		t.Fatal(err)
	}
	off := w.server(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); off.Run(ctx) }()
	eventually(t, "it is scheduled", func() bool {
		w.pass(25 * time.Hour)
		return strings.HasSuffix(states(off, issuer.Account, oidc.ES256), "used") && len(off.Keys()) > 5
	})
	stop()
	<-done
}

// TestAttackForeignKeyWherePublished: whoever can write there is the issuer. A
// key or discovery document that is not ours stops minting on all servers and
// stays as it is, until an administrator replaces it.
func TestAttackForeignKeyWherePublished(t *testing.T) {
	t.Parallel()
	evil, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := oidc.WriteKeySet([]oidc.PublicKey{{ID: "evil", Algorithm: oidc.ES256, Key: evil.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		file   string
		change func(string) string
	}{
		"another key set": {"oidc/jwks.json", func(string) string { return string(foreign) }},
		"a key beside ours": {"oidc/accounts/acc/jwks.json", func(ours string) string {
			return strings.Replace(ours, "[", "["+string(foreign)[strings.Index(string(foreign), "{\n      "):strings.LastIndex(string(foreign), "}\n  ]")]+"},", 1)
		}},
		"a key under the id of ours": {"oidc/jwks.json", func(ours string) string {
			id := ours[strings.Index(ours, `"kid": "`)+8:][:64]
			return strings.Replace(string(foreign), "evil", id, 1)
		}},
		"the keys of our other issuer": {"oidc/jwks.json", nil},
		"a key of a type that we don't read": {"oidc/jwks.json", func(string) string {
			return `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
		}},
		"two sets in one, for two kinds of readers": {"oidc/jwks.json", func(ours string) string {
			return strings.Replace(ours, "{", `{"keys":[],`, 1)
		}},
		"a certificate beside the numbers of ours": {"oidc/jwks.json", func(ours string) string {
			return strings.Replace(ours, `"kty"`, `"x5c": ["MIIB"], "kty"`, 1)
		}},
		"a member beside the keys": {"oidc/accounts/acc/jwks.json", func(ours string) string {
			return strings.Replace(ours, "{", `{"Keys":[],`, 1)
		}},
		"discovery that leads to other keys": {"oidc/.well-known/openid-configuration", func(ours string) string {
			return strings.Replace(ours, "https://keys.example.com/oidc/jwks.json", "https://evil.example/jwks.json", 1)
		}},
		"discovery that leads two ways": {"oidc/accounts/acc/.well-known/oauth-authorization-server", func(ours string) string {
			return strings.Replace(ours, "{", `{"jwks_uri":"https://evil.example/jwks.json",`, 1)
		}},
		"no document at all": {"oidc/jwks.json", func(string) string { return "" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s, other := w.server(t, elsewhere), w.server(t, elsewhere)
			to := keyplace.Folder{Path: t.TempDir()}
			if _, err := s.Publish(t.Context(), to, false); err != nil {
				t.Fatal(err)
			}
			mint(t, s, forAWS())
			ours := read(t, to.Path, tt.file)
			if tt.change == nil {
				other := read(t, to.Path, "oidc/accounts/acc/jwks.json")
				tt.change = func(string) string { return other }
			}
			theirs := tt.change(ours)
			if theirs == ours {
				t.Fatal("nothing was changed")
			}
			write(t, to.Path, tt.file, theirs)
			for range 2 {
				_, err := s.Publish(t.Context(), to, false)
				wants(t, "publishing", err, issuer.CodeHalted)
			}
			if read(t, to.Path, tt.file) != theirs {
				t.Error("the evidence was written over")
			}
			eventually(t, "the other server stops", func() bool { return other.Halted() != nil })
			for _, server := range []*issuer.Service{s, other, w.server(t, elsewhere)} {
				_, err := server.MintID(forAWS())
				wants(t, "minting", err, issuer.CodeHalted)
				_, err = server.MintAccess(issuer.AccessToken{Subject: "user:psn_a", ClientID: "oac_1"})
				wants(t, "minting an access token", err, issuer.CodeHalted)
			}
			if n := w.trail.count("issuer.halt"); n != 1 {
				t.Errorf("recorded %d times", n)
			}
			if _, err := other.Publish(t.Context(), to, true); err != nil {
				t.Fatal(err)
			}
			if read(t, to.Path, tt.file) != ours || w.trail.count("issuer.resume") != 1 {
				t.Error("not replaced, or not recorded")
			}
			mint(t, other, forAWS())
			eventually(t, "the first server goes on", func() bool { return s.Halted() == nil })
			mint(t, s, forAWS())
		})
	}
}

// TestKeysOfBeforeAreOurs: what an older server wrote, keys that are gone among
// it, is written over without a word.
func TestKeysOfBeforeAreOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t, elsewhere)
	to := keyplace.Folder{Path: t.TempDir()}
	if _, err := s.Publish(t.Context(), to, false); err != nil {
		t.Fatal(err)
	}
	before := read(t, to.Path, "oidc/jwks.json")
	for range 2 {
		if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{Drop: true}); err != nil {
			t.Fatal(err)
		}
		_, err := s.MintID(forAWS())
		wants(t, "after a leak, until the new key is published", err, issuer.CodeKey)
		if wrote, err := s.Publish(t.Context(), to, false); err != nil || !slices.Equal(wrote, []string{"oidc/jwks.json"}) {
			t.Errorf("%v, %v", wrote, err)
		}
		mint(t, s, forAWS())
	}
	write(t, to.Path, "oidc/jwks.json", before)
	if _, err := s.Publish(t.Context(), to, false); err != nil || read(t, to.Path, "oidc/jwks.json") == before {
		t.Errorf("what was ours: %v", err)
	}
	// A server that has not heard of a key takes it for ours too: it asks first.
	other := w.server(t, elsewhere)
	if _, err := s.Rotate(t.Context(), issuer.Account, oidc.ES256, issuer.Rotation{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), to, false); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Publish(t.Context(), to, false); err != nil {
		t.Error(err)
	}
}

// TestKeepPublished: a running server publishes at its start, after a change,
// and again after the place was away.
func TestKeepPublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.server(t, elsewhere, func(c *issuer.Config) { c.Prepublish = 400 * time.Millisecond })
	folder := filepath.Join(t.TempDir(), "www")
	write(t, filepath.Dir(folder), "www", "a file is no folder")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.KeepPublished(ctx, keyplace.Folder{Path: folder}) }()
	defer func() { stop(); <-done }()
	time.Sleep(100 * time.Millisecond)
	if _, err := s.MintID(forAWS()); err == nil {
		t.Error("minted with a key that is not published")
	}
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	w.pass(2 * time.Minute)
	eventually(t, "it is published", func() bool { _, err := s.MintID(forAWS()); return err == nil })
	next, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next key is published", func() bool { return strings.Contains(read(t, folder, "oidc/jwks.json"), next.ID) })
}

// world reads what stands in a folder, as under the public URL.
type reads struct{ folder string }

func (r reads) Get(_ context.Context, url string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(r.folder, strings.TrimPrefix(url, "https://keys.example.com/")))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "the server answers 404")
	}
	return b, nil
}

// TestCheck: each difference between what the world sees and what is signed with
// is found, with what to do.
func TestCheck(t *testing.T) {
	t.Parallel()
	ws := "oidc/jwks.json"
	for name, tt := range map[string]struct {
		change func(t *testing.T, s *issuer.Service, w *world, folder string)
		weight issuer.Weight
		what   string
		do     string
	}{
		"all is well": {func(*testing.T, *issuer.Service, *world, string) {}, issuer.Good, "The world sees the keys that are signed with", ""},
		"away": {func(t *testing.T, _ *issuer.Service, _ *world, folder string) {
			must(t, os.RemoveAll(folder+"/oidc/.well-known"))
		},
			issuer.Problem, "can't read the discovery document", "readable from the internet"},
		"no keys": {func(t *testing.T, _ *issuer.Service, _ *world, folder string) {
			must(t, os.Remove(filepath.Join(folder, ws)))
		},
			issuer.Problem, "can't read the key set", "readable"},
		"another page": {func(t *testing.T, _ *issuer.Service, _ *world, folder string) {
			write(t, folder, "oidc/.well-known/openid-configuration", "<html>")
		}, issuer.Problem, "is none", "carnet issuer publish"},
		"another issuer": {func(t *testing.T, _ *issuer.Service, _ *world, folder string) {
			write(t, folder, "oidc/.well-known/openid-configuration", read(t, folder, "oidc/accounts/acc/.well-known/openid-configuration"))
		}, issuer.Problem, "calls itself", "carnet issuer publish"},
		"keys elsewhere": {func(t *testing.T, _ *issuer.Service, _ *world, folder string) {
			write(t, folder, "oidc/.well-known/openid-configuration", strings.Replace(read(t, folder, "oidc/.well-known/openid-configuration"), "/oidc/jwks.json", "/other.json", 1))
		}, issuer.Problem, "leads to the keys at", "--replace"},
		"a key that signs is missing": {func(t *testing.T, s *issuer.Service, _ *world, _ string) {
			if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{}); err != nil {
				t.Fatal(err)
			}
			must(t, s.Placed(t.Context(), []string{s.Keys()[1].ID}))
			if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{Now: true}); err != nil {
				t.Fatal(err)
			}
		}, issuer.Problem, "signs, and the world doesn't see it", "carnet issuer publish"},
		"the next key is missing": {func(t *testing.T, s *issuer.Service, _ *world, _ string) {
			if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{}); err != nil {
				t.Fatal(err)
			}
		}, issuer.Warning, "the world doesn't see it yet", "carnet issuer publish"},
		"a foreign key": {func(t *testing.T, _ *issuer.Service, _ *world, folder string) {
			write(t, folder, ws, read(t, folder, "oidc/accounts/acc/jwks.json"))
		}, issuer.Problem, "is not ours", "--replace"},
		"a key that is gone": {func(t *testing.T, s *issuer.Service, _ *world, _ string) {
			if _, err := s.Rotate(t.Context(), issuer.Workspace, oidc.RS256, issuer.Rotation{Drop: true}); err != nil {
				t.Fatal(err)
			}
		}, issuer.Warning, "is gone here, and the world still takes its tokens", "carnet issuer publish"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := w.server(t, elsewhere)
			folder := t.TempDir()
			if _, err := s.Publish(t.Context(), keyplace.Folder{Path: folder}, false); err != nil {
				t.Fatal(err)
			}
			tt.change(t, s, w, folder)
			found := s.Check(t.Context(), reads{folder})
			if !slices.ContainsFunc(found, func(f issuer.Finding) bool {
				return f.Level == issuer.Workspace && f.Weight == tt.weight && strings.Contains(f.What, tt.what) && strings.Contains(f.Do, tt.do)
			}) {
				t.Errorf("found %+v", found)
			}
			for _, f := range found {
				if f.Level == issuer.Account && f.Weight != issuer.Good || f.Weight != issuer.Good && f.Do == "" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// TestNotForAWS: what IAM at AWS takes no provider for.
func TestNotForAWS(t *testing.T) {
	t.Parallel()
	for url, good := range map[string]bool{
		"https://mycompany.cloud.databricks.com/oidc": true, "https://accounts.cloud.databricks.com/oidc/accounts/123456789012": true,
		"http://carnet.example.com/oidc": false, "https://carnet.example.com:8443/oidc": false, "https://127.0.0.1/oidc": false,
		"https://localhost/oidc": false, "https://carnet.example.com/oidc?x": false, "https://10.1.2.3/oidc": false, "carnet": false,
		"https://" + strings.Repeat("x", 250) + "/oidc": false,
	} {
		if why := issuer.NotForAWS(url); (why == "") != good {
			t.Errorf("%s: %q", url, why)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
