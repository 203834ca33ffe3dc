//go:build unix

package tokenfile_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"carnet.dev/carnet/internal/app/cli/tokenfile"
	"carnet.dev/carnet/internal/core/secret"
)

func open(t *testing.T, file string) *tokenfile.Place {
	t.Helper()
	p, err := tokenfile.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestWrite: whole, for this user alone, nothing left beside it.
func TestWrite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "made", "token")
	p := open(t, file)
	for _, text := range []string{"one", "another"} {
		if err := p.Write(secret.New(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	folder, err := os.Stat(filepath.Dir(file))
	if err != nil || folder.Mode().Perm() != 0o700 {
		t.Errorf("folder mode %v, %v", folder.Mode(), err)
	}
	all, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(all) != 1 {
		t.Errorf("%d files left, %v", len(all), err)
	}
}

// TestReadersSeeWholeTokens reads while tokens of different lengths replace
// each other.
func TestReadersSeeWholeTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	p := open(t, file)
	short, long := strings.Repeat("a", 10), strings.Repeat("b", 20000)
	if err := p.Write(secret.New(short)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := p.Write(secret.New([]string{short, long}[i%2])); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 2000 {
		if got, err := os.ReadFile(file); err != nil || string(got) != short && string(got) != long {
			t.Errorf("%d bytes, %v", len(got), err)
			break
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestAttackExchangedPlace: what others could put in the way is refused.
func TestAttackExchangedPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "open"), 0o700))
	must(os.Chmod(filepath.Join(dir, "open"), 0o777))
	must(os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
	must(os.Chmod(filepath.Join(dir, "tmp"), 0o777|os.ModeSticky))
	must(os.Mkdir(filepath.Join(dir, "real"), 0o700))
	must(os.Symlink("real", filepath.Join(dir, "link")))
	must(os.WriteFile(filepath.Join(dir, "real", "victim"), []byte("keep"), 0o600))
	must(os.Symlink("victim", filepath.Join(dir, "real", "token")))
	must(os.Mkdir(filepath.Join(dir, "real", "folder"), 0o700))
	for file, want := range map[string]string{
		"open/token":    "others can write",
		"tmp/token":     "others can write",
		"link/token":    "links are not followed",
		"real/token":    "links are not followed",
		"real/folder":   "not a plain file",
		"absent/a/file": "no such file",
		"real/victim/x": "not a folder",
	} {
		p, err := tokenfile.Open(filepath.Join(dir, file))
		if err == nil {
			err = p.Write(secret.New("token"))
			_ = p.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, "real", "victim")); err != nil || string(got) != "keep" {
		t.Errorf("the link was followed: %q, %v", got, err)
	}
	if _, err := tokenfile.Open("/"); err == nil {
		t.Error("a folder was taken for a file")
	}
}

// world gives tokens of five minutes, and fails when told to.
type world struct {
	file  string
	began time.Time

	mu       sync.Mutex
	n        int
	fail     error
	failures []string
}

// fails lets it fail from now on; nil: it gives tokens again.
func (w *world) fails(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = err
}

// seen is how many tokens it gave, and what failed.
func (w *world) seen() (int, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n, slices.Clone(w.failures)
}

func (w *world) keep() tokenfile.Keep {
	return tokenfile.Keep{
		Get: func(context.Context) (tokenfile.Token, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.fail != nil {
				return tokenfile.Token{}, w.fail
			}
			w.n++
			return tokenfile.Token{Text: secret.New(fmt.Sprint("token-", w.n)), Expires: time.Now().Add(5 * time.Minute)}, nil
		},
		Written: func(time.Time) {},
		Failed: func(err error, good time.Time, _ time.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.failures = append(w.failures, fmt.Sprintf("%v, good for %s", err, time.Until(good)))
		},
		Final: func(err error) bool { return errors.Is(err, errRefused) },
	}
}

var errRefused, errAway = errors.New("refused"), errors.New("no answer")

func (w *world) holds(t *testing.T, want string) {
	t.Helper()
	if got, err := os.ReadFile(w.file); err != nil || string(got) != want {
		t.Errorf("the file holds %q, %v: want %s", got, err, want)
	}
}

func start(t *testing.T) (*world, func() error) {
	t.Helper()
	w := &world{file: filepath.Join(t.TempDir(), "token"), began: time.Now()}
	p := open(t, w.file)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.keep().Run(ctx, p) }()
	synctest.Wait()
	return w, func() error { stop(); return <-ended }
}

func TestRenewsAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := start(t)
		w.holds(t, "token-1")
		time.Sleep(134 * time.Second) // the earliest is nine tenths of 150 s
		w.holds(t, "token-1")
		time.Sleep(17 * time.Second)
		w.holds(t, "token-2")
		time.Sleep(time.Hour)
		if n, _ := w.seen(); n < 24 || n > 29 {
			t.Errorf("%d tokens in an hour", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestOldTokenStaysWhileRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := start(t)
		w.fails(errAway)
		time.Sleep(10 * time.Minute)
		w.holds(t, "token-1")
		if _, failures := w.seen(); len(failures) < 10 || len(failures) > 40 {
			t.Errorf("%d tries: %q", len(failures), failures)
		}
		w.fails(nil)
		time.Sleep(31 * time.Second)
		w.holds(t, "token-2")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestEndsWhenRefusedAndTheOldTokenEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{file: filepath.Join(t.TempDir(), "token"), began: time.Now()}
		p := open(t, w.file)
		time.AfterFunc(time.Second, func() { w.fails(errRefused) })
		if err := w.keep().Run(t.Context(), p); !errors.Is(err, errRefused) {
			t.Error(err)
		}
		if since := time.Since(w.began); since < 5*time.Minute || since > 6*time.Minute {
			t.Errorf("ended after %s", since)
		}
		w.fails(errRefused)
		if err := w.keep().Run(t.Context(), p); !errors.Is(err, errRefused) {
			t.Errorf("the first token: %v", err)
		}
	})
}
