package s3client

import (
	"context"
	"errors"
	"io"
	"time"
)

// Patience says how long a store may be silent. Nothing bounds how long content
// streams.
type Patience struct {
	Connect time.Duration // for a connection, and again for its TLS; default 5 s
	Answer  time.Duration // for the head of an answer, once all was sent; default 1 min
	// Work is Answer for what a store may take long over: copies, the end of a
	// multipart upload, batches; default 15 min.
	Work    time.Duration
	Silence time.Duration // between two pieces of content, either way; default 1 min
	Slot    time.Duration // to wait while too many requests are under way; default 2 s
}

func (p *Patience) complete() {
	for _, d := range []struct {
		to *time.Duration
		by time.Duration
	}{{&p.Connect, 5 * time.Second}, {&p.Answer, time.Minute}, {&p.Work, 15 * time.Minute}, {&p.Silence, time.Minute}, {&p.Slot, 2 * time.Second}} {
		if *d.to == 0 {
			*d.to = d.by
		}
	}
}

// errSilent says that the store was silent for too long.
var errSilent = errors.New("the store was silent for too long")

// watch cancels a request while the store is silent for too long. It rests while
// we wait for somebody else, the client. A nil watch does nothing: package wire
// has patience of its own.
type watch struct {
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func newWatch(ctx context.Context, within time.Duration) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watch{cancel: cancel, timer: time.AfterFunc(within, func() { cancel(errSilent) })}
}

func (w *watch) within(d time.Duration) {
	if w != nil {
		w.timer.Reset(d)
	}
}

func (w *watch) rest() {
	if w != nil {
		w.timer.Stop()
	}
}

func (w *watch) end() {
	if w != nil {
		w.timer.Stop()
		w.cancel(nil)
	}
}

// answer is the content that a store sends, watched while it is waited for.
type answer struct {
	io.ReadCloser
	watch   *watch
	silence time.Duration
	left    func() // once, when all is done
}

func (a *answer) Read(p []byte) (int, error) {
	a.watch.within(a.silence)
	n, err := a.ReadCloser.Read(p)
	a.watch.rest()
	return n, err
}

func (a *answer) Close() error {
	if left := a.left; left != nil {
		a.left = nil
		defer left()
		defer a.watch.end()
	}
	return a.ReadCloser.Close()
}
