// Package storeproc runs the embedded S3 store: a library server in a child
// process of the same binary, spoken to over a private unix socket.
//
// It is a process of its own because the library changes the working directory
// and keeps globals. It is reached like every other upstream: by S3 over HTTP,
// with a random key that exists only in the two processes' memory and on the
// pipe between them. The store must never listen where another user could
// connect, outlive its parent, or be started with a key in its arguments or
// environment.
package storeproc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/secret"
)

// Config says how to run the store.
type Config struct {
	// Binary is this program; Args make it call Main (default: "store").
	Binary string
	Args   []string
	// Env is the child's whole environment. Ours is not inherited.
	Env []string
	// Folder holds the objects; it is made when missing.
	Folder string
	// SocketDir takes the socket's private folder; default the system's
	// temporary folder, whose path is short enough for a socket.
	SocketDir string
	Region    string // default us-east-1
	// Versions lets buckets have versioning. It is for tests that need such a
	// store, not for data: the library deletes the newest version before it has
	// put the one below in its place, so that a kill in between hides the object;
	// a PUT beside a DELETE of the same key loses a version; and of versions that
	// are older than versioning it restores the wrong one.
	Versions bool
	Logger   *slog.Logger
}

// Store is a running store.
type Store struct {
	config  Config
	dir     string // private, holds the sockets
	order   order
	cancel  context.CancelFunc
	stopped chan struct{}

	// ready is set once the store has answered. Until then the end of the
	// child is final: its reason goes to who starts us, not into a loop.
	ready atomic.Bool

	mu      sync.Mutex
	process *os.Process
}

const (
	maxSocketPath = 100 // sun_path has 104 or 108 bytes, by system
	startTimeout  = 10 * time.Second
	stopTimeout   = 5 * time.Second
	firstBackoff  = 100 * time.Millisecond
	maxBackoff    = 5 * time.Second
)

// Start starts the store and returns once it answers. It is kept running until
// Close, or until ctx ends.
func Start(ctx context.Context, config Config) (*Store, error) {
	if config.Args == nil {
		config.Args = []string{"store"}
	}
	if config.Region == "" {
		config.Region = "us-east-1"
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	folder, err := filepath.Abs(config.Folder)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(config.SocketDir, "carnet-store-") // mode 0700
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(ctx)
	s := &Store{
		config: config, dir: dir, cancel: cancel, stopped: make(chan struct{}),
		order: order{
			Folder: folder, Socket: filepath.Join(dir, "s3"), Admin: filepath.Join(dir, "admin"), Region: config.Region, Versions: config.Versions,
			AccessKeyID: "CARNETSTORE", SecretKey: secret.Random(32).Reveal(),
		},
	}
	if len(s.order.Admin) > maxSocketPath {
		cancel()
		return nil, errors.Join(fmt.Errorf("the socket's path %s is too long; choose a shorter folder for sockets", s.order.Socket), os.RemoveAll(dir))
	}
	ended := make(chan error, 1)
	go s.supervise(run, ended)
	if err := s.awaitReady(run, ended); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// awaitReady polls until the store answers, ends for good, or takes too long.
func (s *Store) awaitReady(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.Ready(ctx) == nil {
			s.ready.Store(true)
			return nil
		}
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			return fmt.Errorf("the embedded store did not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// Ready asks the store whether it answers.
func (s *Store) Ready(ctx context.Context) error {
	transport := &http.Transport{DialContext: s.Dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://store"+readyPath, nil)
	if err != nil {
		return err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the embedded store answers %s", res.Status)
	}
	return nil
}

// Dial connects to the store, whatever address is asked for.
func (s *Store) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", s.order.Socket)
}

// AccessKeyID names the store's root key.
func (s *Store) AccessKeyID() string { return s.order.AccessKeyID }

// SecretKey is the store's root key: random, and the same over restarts of the
// child.
func (s *Store) SecretKey() secret.Text { return secret.New(s.order.SecretKey) }

// Region is the region that requests to the store must be signed for.
func (s *Store) Region() string { return s.order.Region }

// Pid gives the child's process id, 0 while there is none.
func (s *Store) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Pid
}

// Close ends the store and removes its sockets.
func (s *Store) Close() error {
	s.cancel()
	<-s.stopped
	return os.RemoveAll(s.dir)
}

// supervise runs the child, again after a crash, until ctx ends. It stays on
// one thread, since the kernel ends the child with the thread that started it.
func (s *Store) supervise(ctx context.Context, ended chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.stopped)
	backoff := firstBackoff
	for {
		started := time.Now()
		err := s.runOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		if !s.ready.Load() || refused(err) {
			s.config.Logger.Error("the embedded store can't run", "error", err)
			ended <- fmt.Errorf("the embedded store can't run: %w", err)
			return
		}
		if time.Since(started) > 10*maxBackoff {
			backoff = firstBackoff
		}
		s.config.Logger.Error("the embedded store ended and is started again", "error", err, "after", backoff)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// refused reports a child that must not be started again.
func refused(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == exitRefused
}

// runOnce runs one child to its end.
func (s *Store) runOnce(ctx context.Context) error {
	for _, path := range []string{s.order.Socket, s.order.Admin} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	cmd := exec.Command(s.config.Binary, s.config.Args...)
	cmd.Env = append([]string{}, s.config.Env...)
	cmd.Dir = s.dir
	endWithParent(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	output := &lastLines{logger: s.config.Logger}
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return err
	}
	s.setProcess(cmd.Process)
	defer s.setProcess(nil)
	stop := context.AfterFunc(ctx, func() { s.end(cmd, stdin) })
	defer stop()
	if err := json.NewEncoder(stdin).Encode(s.order); err != nil {
		s.config.Logger.Warn("the embedded store does not take its orders", "error", err)
	}
	err = cmd.Wait()
	if last := output.last(); err != nil && last != "" {
		return fmt.Errorf("%s: %w", last, err)
	}
	return err
}

func (s *Store) setProcess(p *os.Process) {
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
}

// end closes the child's standard input, which it takes as the order to end,
// and kills it when it doesn't.
func (s *Store) end(cmd *exec.Cmd, stdin io.Closer) {
	_ = stdin.Close()
	select {
	case <-s.stopped:
	case <-time.After(stopTimeout):
		_ = cmd.Process.Kill()
	}
}

// lastLines passes the child's output to the log, line by line, and remembers
// the last one as the reason of its end.
type lastLines struct {
	logger *slog.Logger

	mu      sync.Mutex
	partial []byte
	line    string
}

// Write never fails: the child must not stop for its log.
func (l *lastLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, b...)
	for {
		advance, line, _ := bufio.ScanLines(l.partial, false)
		if advance == 0 && len(l.partial) > 4096 {
			advance, line = len(l.partial), l.partial[:4096]
		}
		if advance == 0 {
			return len(b), nil
		}
		if len(line) > 0 {
			l.line = string(line)
			l.logger.Debug("embedded store", "line", l.line)
		}
		l.partial = l.partial[advance:]
	}
}

func (l *lastLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		return string(l.partial)
	}
	return l.line
}
