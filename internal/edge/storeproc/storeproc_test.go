package storeproc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/storeproc"
	"carnet.dev/carnet/internal/edge/storeproc/storetest"
)

// folderOfParent makes the test binary a program that starts a store in that
// folder, prints the store's process id and waits to be killed.
const folderOfParent = "CARNET_TEST_IS_PARENT"

func TestMain(m *testing.M) {
	folder := os.Getenv(folderOfParent)
	if folder == "" {
		storetest.Main(m)
	}
	config, err := storetest.Child()
	config.Folder, config.SocketDir = folder, folder
	if err == nil {
		var s *storeproc.Store
		if s, err = storeproc.Start(context.Background(), config); err == nil {
			fmt.Println(s.Pid())
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// A parent that is killed can't say goodbye; its store ends all the same.
func TestStoreEndsWithItsParent(t *testing.T) {
	t.Parallel()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("", "p") // short, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	parent := exec.Command(binary)
	parent.Env = append(os.Environ(), folderOfParent+"="+folder)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, convErr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || convErr != nil {
		t.Fatalf("the parent says %q, %v", line, err)
	}
	// Before the kill: a quick store takes its socket away with it.
	sockets, err := filepath.Glob(filepath.Join(folder, "carnet-store-*", "s3"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("sockets %v, %v", sockets, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed: that is its error
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := net.Dial("unix", sockets[0])
		if err != nil {
			break
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatalf("the store %d outlives its parent", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStartIsPrivate(t *testing.T) {
	t.Parallel()
	config := storetest.Config(t)
	config.SocketDir = t.TempDir()
	began := time.Now()
	s, err := storeproc.Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(began))
	sockets, err := filepath.Glob(filepath.Join(config.SocketDir, "*", "*"))
	if err != nil || len(sockets) != 2 {
		t.Fatalf("sockets %v, %v", sockets, err)
	}
	for _, path := range append(sockets, filepath.Dir(sockets[0])) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&0o077 != 0 {
			t.Errorf("%s has mode %v: others can reach it", path, perm)
		}
	}
	if runtime.GOOS == "linux" {
		holdNoSecret(t, s)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(config.SocketDir, "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// holdNoSecret looks where other local users could.
func holdNoSecret(t *testing.T, s *storeproc.Store) {
	t.Helper()
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.Pid()), name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), s.SecretKey().Reveal()) {
			t.Errorf("the store's %s holds the root key", name)
		}
	}
}

func TestCrashIsMended(t *testing.T) {
	t.Parallel()
	s := storetest.Start(t)
	first := s.Pid()
	p, err := os.FindProcess(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for s.Pid() == first || s.Pid() == 0 || s.Ready(t.Context()) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the store did not come back")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStoreEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := storeproc.Start(ctx, storetest.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s.Pid() != 0 || s.Ready(context.Background()) == nil {
		t.Error("the store still runs")
	}
}

func TestStartFailsWithReason(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config := storetest.Config(t)
	config.Binary = file
	if _, err := storeproc.Start(context.Background(), config); err == nil {
		t.Error("a file that is no program was started")
	}
	config = storetest.Config(t)
	config.Folder = file
	if _, err := storeproc.Start(context.Background(), config); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a folder that is a file: %v", err)
	}
	config = storetest.Config(t)
	config.SocketDir = t.TempDir() + "/" + strings.Repeat("long", 30)
	if err := os.Mkdir(config.SocketDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := storeproc.Start(context.Background(), config); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("overlong socket path: %v", err)
	}
}

func TestMainRefusesWithoutOrder(t *testing.T) {
	t.Parallel()
	err := storeproc.Main(context.Background(), strings.NewReader(""))
	if err == nil || storeproc.ExitCode(err) != 1 {
		t.Errorf("Main without an order: %v", err)
	}
	if storeproc.ExitCode(nil) != 0 || storeproc.ExitCode(errors.Join(storeproc.ErrRefused)) != 3 {
		t.Error("exit codes")
	}
}
