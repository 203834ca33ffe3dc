//go:build unix

package tokenfiles

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

func folder(t *testing.T) (*Folder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f, path
}

// me is a uid that files can be given to without any right.
func me() uint32 { return uint32(os.Geteuid()) }

// tree lists what stands below a folder, with modes and contents.
func tree(t *testing.T, path string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == path {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(path, p)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %04o", rest, info.Mode().Perm())
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += " " + string(b)
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFilesOfAPerson(t *testing.T) {
	t.Parallel()
	f, path := folder(t)
	if err := f.Put(me(), "token", secret.New("one")); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(me(), "other", secret.New("x")); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(me(), "token", secret.New("two")); err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprint("people/", me())
	want := []string{"new 0700", "people 0711", own + " 0711", own + "/other 0400 x", own + "/token 0400 two"}
	if got := tree(t, path); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if f.Path(me(), "token") != filepath.Join(path, own, "token") {
		t.Errorf("path %s", f.Path(me(), "token"))
	}
	if err := f.Keep(map[uint32][]string{me(): {"token"}, 4711: {"token"}}); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, path); len(got) != 4 || got[3] != own+"/token 0400 two" {
		t.Errorf("kept %q", got)
	}
	if err := f.Keep(nil); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, path); len(got) != 2 {
		t.Errorf("left %q", got)
	}
	for _, name := range []string{"", ".", "..", "../token", "a/b", "/etc/passwd"} {
		if err := f.Put(me(), name, secret.New("x")); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
}

// TestARestart: programs read the second factor at any time, also while the agent
// restarts; nothing else outlives a run.
func TestARestart(t *testing.T) {
	t.Parallel()
	f, path := folder(t)
	own := fmt.Sprint("people/", me())
	for _, name := range []string{"token", "token-a2", "web-identity-token", "web-identity-token-a2"} {
		if err := f.Put(me(), name, secret.New(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "new", "draft"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(path, "people", "4711")); err != nil {
		t.Fatal(err)
	}
	want := []string{"new 0700", "people 0711", own + " 0711", own + "/token 0400 token", own + "/token-a2 0400 token-a2"}
	again, err := Open(path) // after a crash
	if err != nil {
		t.Fatal(err)
	}
	if got := tree(t, path); !slices.Equal(got, want) {
		t.Errorf("after a crash: %q, want %q", got, want)
	}
	if err := again.Put(me(), "web-identity-token", secret.New("x")); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, path); !slices.Equal(got, want) {
		t.Errorf("after the end: %q, want %q", got, want)
	}
	if err := os.Chmod(filepath.Join(path, "people"), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, path); len(got) != 2 {
		t.Errorf("kept what others could have written: %q", got)
	}
}

// TestAttackLinks: whatever stands in the place of a folder or a file, the content
// goes nowhere else.
func TestAttackLinks(t *testing.T) {
	t.Parallel()
	place := func(t *testing.T) (*Folder, string, string) {
		f, path := folder(t)
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		if err := os.Mkdir(elsewhere, 0o755); err != nil {
			t.Fatal(err)
		}
		return f, path, elsewhere
	}
	must := func(t *testing.T, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	own := filepath.Join("people", fmt.Sprint(me()))
	t.Run("a file is a link", func(t *testing.T) {
		f, path, elsewhere := place(t)
		must(t, f.Put(me(), "other", secret.New("x")))
		victim := filepath.Join(elsewhere, "victim")
		must(t, os.WriteFile(victim, []byte("mine"), 0o600))
		must(t, os.Symlink(victim, filepath.Join(path, own, "token")))
		must(t, f.Put(me(), "token", secret.New("secret")))
		if b, _ := os.ReadFile(victim); string(b) != "mine" {
			t.Errorf("the link was followed: %q", b)
		}
		if info, err := os.Lstat(filepath.Join(path, own, "token")); err != nil || !info.Mode().IsRegular() {
			t.Errorf("the link stands: %v %v", info, err)
		}
	})
	for name, target := range map[string]func(path, elsewhere string) string{
		"a person's folder leads outside":    func(_, elsewhere string) string { return elsewhere },
		"a person's folder leads to another": func(string, string) string { return "4711" },
	} {
		t.Run(name, func(t *testing.T) {
			f, path, elsewhere := place(t)
			must(t, os.Mkdir(filepath.Join(path, "people", "4711"), 0o711))
			must(t, os.Symlink(target(path, elsewhere), filepath.Join(path, own)))
			if err := f.Put(me(), "token", secret.New("secret")); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("got %v", err)
			}
			if left := append(tree(t, elsewhere), tree(t, filepath.Join(path, "people", "4711"))...); len(left) != 0 {
				t.Errorf("written: %q", left)
			}
			if left := tree(t, filepath.Join(path, "new")); len(left) != 0 {
				t.Errorf("a draft is left: %q", left)
			}
		})
	}
	t.Run("the folder of all leads outside", func(t *testing.T) {
		f, path, elsewhere := place(t)
		must(t, os.Remove(filepath.Join(path, "people")))
		must(t, os.Symlink(elsewhere, filepath.Join(path, "people")))
		if err := f.Put(me(), "token", secret.New("secret")); err == nil {
			t.Error("written")
		}
		if err := f.Keep(nil); err == nil {
			t.Error("the link was cleared")
		}
	})
	t.Run("the run folder is a link", func(t *testing.T) {
		_, path, elsewhere := place(t)
		link := filepath.Join(filepath.Dir(path), "link")
		must(t, os.Symlink(elsewhere, link))
		if _, err := Open(link); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("got %v", err)
		}
	})
	t.Run("others write to a folder", func(t *testing.T) {
		f, path, _ := place(t)
		must(t, f.Put(me(), "token", secret.New("x")))
		must(t, os.Chmod(filepath.Join(path, own), 0o777))
		if err := f.Put(me(), "token", secret.New("secret")); err == nil {
			t.Error("written")
		}
		must(t, os.Chmod(path, 0o777))
		if _, err := Open(path); fault.KindOf(err) != fault.Misconfigured {
			t.Errorf("got %v", err)
		}
	})
	t.Run("removing follows no link", func(t *testing.T) {
		f, path, elsewhere := place(t)
		victim := filepath.Join(elsewhere, "victim")
		must(t, os.WriteFile(victim, []byte("mine"), 0o600))
		must(t, os.Symlink(elsewhere, filepath.Join(path, "people", "4712")))
		must(t, f.Keep(nil))
		if _, err := os.Stat(victim); err != nil {
			t.Error(err)
		}
	})
}

// TestAttackExchangedFolder flips a person's folder between itself and a link while
// files are written: nothing ever lands behind the link.
func TestAttackExchangedFolder(t *testing.T) {
	t.Parallel()
	f, path := folder(t)
	elsewhere := t.TempDir()
	own := filepath.Join(path, "people", fmt.Sprint(me()))
	if err := f.Put(me(), "token", secret.New("x")); err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(path, "aside")
	over := make(chan struct{})
	var flips sync.WaitGroup
	flips.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			_ = os.Rename(own, aside)
			_ = os.Symlink(elsewhere, own)
			_ = os.Remove(own)
			_ = os.Rename(aside, own)
		}
	})
	for range 2000 {
		_ = f.Put(me(), "token", secret.New("secret"))
	}
	close(over)
	flips.Wait()
	if left := tree(t, elsewhere); len(left) != 0 {
		t.Errorf("written behind the link: %q", left)
	}
}

// TestReadersSeeOneOrTheOther: never a part, never nothing.
func TestReadersSeeOneOrTheOther(t *testing.T) {
	t.Parallel()
	f, _ := folder(t)
	texts := []string{strings.Repeat("a", 3000), strings.Repeat("b", 5000)}
	if err := f.Put(me(), "token", secret.New(texts[0])); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		defer close(over)
		for i := range 500 {
			if err := f.Put(me(), "token", secret.New(texts[i%2])); err != nil {
				t.Error(err)
			}
		}
	})
	for going := true; going; {
		select {
		case <-over:
			going = false
		default:
		}
		if b, err := os.ReadFile(f.Path(me(), "token")); err != nil || !slices.Contains(texts, string(b)) {
			t.Fatalf("read %d bytes: %v", len(b), err)
		}
	}
	writing.Wait()
}

// TestAnAgentThatMayNotGiveFilesAway says so; root may.
func TestAnAgentThatMayNotGiveFilesAway(t *testing.T) {
	t.Parallel()
	f, path := folder(t)
	err := f.Put(54321, "token", secret.New("x"))
	if os.Geteuid() == 0 {
		info, statErr := os.Lstat(filepath.Join(path, "people", "54321", "token"))
		if err != nil || statErr != nil || info.Sys().(*syscall.Stat_t).Uid != 54321 || info.Mode().Perm() != 0o400 {
			t.Errorf("%v %v %v", err, info, statErr)
		}
		return
	}
	if fault.Of(err).Code != CodeGive {
		t.Errorf("got %v", err)
	}
	if left := tree(t, filepath.Join(path, "new")); len(left) != 0 {
		t.Errorf("a draft is left: %q", left)
	}
}

// source is a node whose attachments a test changes.
type source struct {
	mu      sync.Mutex
	live    []Attachment
	unknown bool
	changed chan struct{}
	token   string
	life    time.Duration
	err     error
	asked   int
}

func (s *source) Known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.unknown
}

func (s *source) Attachments() []Attachment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.live)
}

func (s *source) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *source) IDToken(_ context.Context, id string) (secret.Text, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return secret.New(s.token + " " + id), time.Now().Add(s.life), s.err
}

func (s *source) change(change func()) {
	s.mu.Lock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	synctest.Wait()
}

func keeping(t *testing.T, live ...Attachment) (*source, *Keeper, string) {
	f, path := folder(t)
	s := &source{live: live, changed: make(chan struct{}), token: "first", life: 5 * time.Minute}
	k := NewKeeper(Config{Source: s, Folder: f, WebIdentity: true, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); k.Run(ctx) }()
	t.Cleanup(func() { stop(); <-over })
	synctest.Wait()
	return s, k, path
}

func TestFilesFollowAttachments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := fmt.Sprint("people/", me())
		a := Attachment{ID: "a1", UID: me(), Role: "arn:1", Token: secret.New("second-factor")}
		s, k, path := keeping(t, a)
		check := func(what string, want ...string) {
			t.Helper()
			got := slices.DeleteFunc(tree(t, path), func(line string) bool { return !strings.HasPrefix(line, own+"/") })
			for i := range want {
				want[i] = own + "/" + want[i]
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		check("attached", "token 0400 second-factor", "web-identity-token 0400 first a1")
		if token, web := k.Paths("a1"); token != filepath.Join(path, own, "token") || web != filepath.Join(path, own, "web-identity-token") {
			t.Errorf("paths %s, %s", token, web)
		}
		s.mu.Lock()
		s.token = "second"
		s.mu.Unlock()
		time.Sleep(s.life/2 + time.Second)
		synctest.Wait()
		check("half its life later", "token 0400 second-factor", "web-identity-token 0400 second a1")

		s.change(func() { s.live[0].Role, s.token = "arn:2", "of the new role" })
		check("another role", "token 0400 second-factor", "web-identity-token 0400 of the new role a1")

		s.change(func() { s.live[0].Role, s.err = "arn:3", fault.New(fault.Denied, "no") })
		check("a role without one", "token 0400 second-factor")

		s.change(func() {
			s.err, s.live = nil, append(s.live, Attachment{ID: "a2", UID: me(), Role: "arn:1", Token: secret.New("of-a2")})
		})
		time.Sleep(later)
		synctest.Wait()
		check("two logins", "token 0400 second-factor", "token-a2 0400 of-a2", "web-identity-token 0400 of the new role a2", "web-identity-token-a1 0400 of the new role a1")

		s.change(func() { s.live = s.live[1:] })
		check("one left", "token-a2 0400 of-a2", "web-identity-token 0400 of the new role a2")
		if token, web := k.Paths("a1"); token+web != "" {
			t.Errorf("paths of one that ended: %s %s", token, web)
		}
		s.change(func() { s.live = nil })
		check("none left")
	})
}

// TestNobodyIsKnownYet: files of an earlier run stay until the attachments are known.
func TestNobodyIsKnownYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, k, path := keeping(t, Attachment{ID: "a1", UID: me(), Token: secret.New("x")})
		token, _ := k.Paths("a1")
		s.change(func() { s.live, s.unknown = nil, true })
		if _, err := os.Lstat(token); err != nil {
			t.Errorf("the file went while nobody was known: %v", err)
		}
		s.change(func() { s.unknown = false })
		if left := tree(t, path); len(left) != 2 {
			t.Errorf("left %q", left)
		}
	})
}

// TestTokensPastTheirTimeGo: while the server is away the old one stays until it ends.
func TestTokensPastTheirTimeGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, k, _ := keeping(t, Attachment{ID: "a1", UID: me(), Role: "arn:1", Token: secret.New("x")})
		s.mu.Lock()
		s.err = fault.New(fault.Unavailable, "away")
		s.mu.Unlock()
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if _, web := k.Paths("a1"); web == "" {
			t.Error("the file went while its token was good")
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if _, web := k.Paths("a1"); web != "" {
			t.Error("a token past its time is left")
		}
		s.mu.Lock()
		before := s.asked
		s.err = nil
		s.mu.Unlock()
		if before < 8 || before > 20 {
			t.Errorf("asked %d times in six minutes", before)
		}
		time.Sleep(soon + time.Second)
		synctest.Wait()
		if _, web := k.Paths("a1"); web == "" {
			t.Error("no new token came")
		}
	})
}
