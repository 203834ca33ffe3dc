// Package accesslog writes one line for each finished S3 request: as JSON, or in
// the format of S3's own server access logs.
//
// Lines are made on the request's goroutine, kept in a bounded buffer and written
// by another: a slow or full disk never holds a request up. What can't be kept is
// counted and told to the operator, and no request is refused for it: the audit
// trail, not this log, is the record that has to be whole. Everything in a line
// that came from outside is escaped, so that no key, header or address can end a
// field or a line. It must never write a secret: see gateway.Record.
package accesslog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/gateway"
)

// Format is how a line is written: a closed set.
type Format uint8

// The formats.
const (
	JSON Format = iota // one object a line
	S3                 // Amazon S3 User Guide, "Amazon S3 server access log format"
)

// Config is what a Log stands on: Path or Out.
type Config struct {
	Format Format
	// Path is a file that lines are appended to, opened anew when its name leads
	// to another file or to none: rotation needs nothing else.
	Path string
	// Out takes the lines where there is no Path, many in one call.
	Out    io.Writer
	Logger *slog.Logger // takes word of lost lines
	// Most bounds the bytes that wait to be written; default 4 MiB, twice.
	Most int
}

const (
	defaultMost = 4 << 20
	// gather is how long a line may wait for company.
	gather = 100 * time.Millisecond
	// retry is how long a write that failed waits.
	retry = time.Second
	// warnEvery is how often lost lines are told of.
	warnEvery = time.Minute
)

// Log is a gateway.Observer. Safe for concurrent use.
type Log struct {
	Config
	out    *os.File // of Path
	reopen atomic.Bool
	lost   atomic.Int64

	mu      sync.Mutex
	waiting []byte
	wake    chan struct{} // holds a word once something waits
	many    chan struct{} // and once much does

	scratch sync.Pool

	told   time.Time // of lost lines, and how many by then; Run's own
	toldOf int64
}

var _ gateway.Observer = (*Log)(nil)

// Open opens the file. Nothing is written before Run.
func Open(c Config) (*Log, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Most == 0 {
		c.Most = defaultMost
	}
	if c.Path == "" && c.Out == nil {
		return nil, fault.New(fault.Misconfigured, "The access log needs a file")
	}
	l := &Log{
		Config: c, wake: make(chan struct{}, 1), many: make(chan struct{}, 1),
		scratch: sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }},
	}
	if c.Path == "" {
		return l, nil
	}
	if err := l.open(); err != nil {
		return nil, fault.Wrap(err, fault.Misconfigured, "The file of the access log can't be opened").
			WithMend("look at access_log.file of the configuration: its folder must exist and be writable")
	}
	return l, nil
}

// open opens the file by its name, and closes the one before.
func (l *Log) open() error {
	f, err := os.OpenFile(l.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	if l.out != nil {
		err = l.out.Close()
	}
	l.out = f
	return err
}

// Reopen has the file opened anew before the next write.
func (l *Log) Reopen() {
	l.reopen.Store(true)
	poke(l.wake)
}

// Lost gives how many lines were never written.
func (l *Log) Lost() int64 { return l.lost.Load() }

// Observe keeps the lines of one request, or counts them as lost.
func (l *Log) Observe(r *gateway.Record) {
	scratch := l.scratch.Get().(*[]byte)
	b := l.append((*scratch)[:0], r)
	l.keep(b)
	if cap(b) <= 16<<10 {
		*scratch = b
		l.scratch.Put(scratch)
	}
}

func (l *Log) append(b []byte, r *gateway.Record) []byte {
	if l.Format == S3 {
		return appendS3(b, r)
	}
	return appendJSON(b, r)
}

func (l *Log) keep(lines []byte) {
	l.mu.Lock()
	n := len(l.waiting)
	fits := n+len(lines) <= l.Most
	if fits {
		l.waiting = append(l.waiting, lines...)
	}
	l.mu.Unlock()
	switch {
	case !fits:
		l.lost.Add(int64(bytes.Count(lines, newline)))
	case n == 0:
		poke(l.wake)
	case n < l.Most/4 && n+len(lines) >= l.Most/4:
		poke(l.many)
	}
}

var newline = []byte{'\n'}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, then what is left, and closes the file.
func (l *Log) Run(ctx context.Context) {
	var spare []byte
	for ctx.Err() == nil {
		select {
		case <-l.wake:
			pause(ctx, gather, l.many)
		case <-ctx.Done():
		}
		spare = l.flush(ctx, spare[:0])
		l.tell()
	}
	l.flush(ctx, nil)
	l.told = time.Time{}
	l.tell()
	if l.out != nil {
		if err := l.out.Close(); err != nil {
			l.Logger.Warn("the access log could not be closed", "error", err)
		}
	}
}

// flush writes what waits and gives the buffer back. While it can't be written
// it is kept, and what comes meanwhile fills the other buffer.
func (l *Log) flush(ctx context.Context, empty []byte) []byte {
	l.mu.Lock()
	lines := l.waiting
	l.waiting = empty
	l.mu.Unlock()
	rest := lines
	for {
		n, err := l.write(rest)
		rest = rest[n:]
		if err == nil && len(rest) == 0 {
			break
		}
		l.Logger.Warn("the access log waits", "error", err, "bytes", len(rest))
		if ctx.Err() != nil {
			l.lost.Add(int64(bytes.Count(rest, newline)))
			break
		}
		pause(ctx, retry, nil)
	}
	if cap(lines) > l.Most {
		return nil
	}
	return lines
}

func (l *Log) write(b []byte) (int, error) {
	if l.Path == "" {
		if len(b) == 0 {
			return 0, nil
		}
		return l.Out.Write(b)
	}
	if l.reopen.Swap(false) || l.moved() {
		if err := l.open(); err != nil {
			l.reopen.Store(true)
			return 0, err
		}
	}
	if len(b) == 0 {
		return 0, nil
	}
	return l.out.Write(b)
}

// moved reports whether the file's name leads elsewhere now.
func (l *Log) moved() bool {
	named, err := os.Stat(l.Path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	open, err := l.out.Stat()
	return err != nil || !os.SameFile(named, open)
}

// tell says how many lines were lost, at most once in a while.
func (l *Log) tell() {
	lost := l.lost.Load()
	if now := time.Now(); lost > l.toldOf && now.Sub(l.told) >= warnEvery {
		l.Logger.Error("lines of the access log were lost", "lines", lost-l.toldOf)
		l.told, l.toldOf = now, lost
	}
}

// pause waits, at most until ctx ends or early speaks.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-ctx.Done():
	}
}
