package s3client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/upstream/wire"
	"carnet.dev/carnet/internal/protocol/s3"
)

// attempt is a request on its way, which may be sent more than once.
type attempt struct {
	client  *Client
	out     *s3.Outgoing
	keys    credential.Temporary
	at      place
	host    string
	content *content // nil: nothing streams
	moved   bool     // to another region
	renewed bool     // with other keys of the same role
	failed  bool     // and was sent again
}

// Busy says that a store is not asked at present.
type Busy struct {
	Why   string
	After time.Duration // when to try again
	// Theirs says that others would be asked for: this caller has requests enough under
	// way.
	Theirs bool
}

// Error says why.
func (b *Busy) Error() string { return b.Why }

// RetryAfter is when to try again.
func (b *Busy) RetryAfter() time.Duration { return b.After }

// send sends the request once.
func (a *attempt) send(ctx context.Context) (*http.Response, error) {
	c, breaker := a.client, &a.at.endpoint.breaker
	a.host = c.host(a.at, a.out.Bucket)
	caller := a.out.Caller
	if err := c.shares.take(ctx, caller); err != nil {
		return nil, err
	}
	leave := func() { c.shares.give(caller) }
	kept := false // by the answer, whose end gives the place back
	defer func() {
		if !kept {
			leave()
		}
	}()
	ok, probe, wait := breaker.admit(c.config.Now())
	if !ok {
		return nil, &Busy{Why: "the store does not answer at " + a.at.endpoint.String(), After: wait}
	}
	ctx, watch := a.newWatch(ctx)
	req := c.request(ctx, a)
	if a.content != nil {
		a.content.watch(watch, c.config.Patience, req)
	}
	c.signer.sign(req, a.keys, a.at.region, req.Header["X-Amz-Content-Sha256"][0], c.config.Now())
	res, err := a.carry(req)
	switch {
	case err == nil:
		watch.rest()
		breaker.answer(c.config.Now())
		res.Body = &answer{ReadCloser: res.Body, watch: watch, silence: c.config.Patience.Silence, left: leave}
		kept = true
		return res, nil
	case errors.Is(context.Cause(ctx), errSilent):
		err = errSilent
	}
	if a.blames(ctx, err) {
		breaker.fail(c.config.Now(), probe, err)
	} else {
		breaker.leave(probe)
	}
	watch.end()
	return nil, err
}

// patience is how long the head of the answer may take.
func (a *attempt) patience() time.Duration {
	p := a.client.config.Patience
	switch {
	case a.content != nil:
		return p.Silence // until the first byte is taken; content goes on from there
	case a.out.Method == http.MethodPost, a.out.Header["X-Amz-Copy-Source"] != nil:
		return p.Work
	}
	return p.Answer
}

// blames reports whether a failure is the endpoint's: not the client's, which
// went away, or sent headers that can't be sent on, or content that did not hold
// or came so slowly that the store had enough. Of an upload that broke off nobody
// can tell, so that one says nothing.
func (a *attempt) blames(ctx context.Context, err error) bool {
	var f *fault.Fault
	switch {
	case errors.Is(err, errSilent):
		return true
	case ctx.Err() != nil, errors.As(err, &f), errors.Is(err, wire.ErrRequest):
		return false
	}
	return a.content == nil || !a.content.begun()
}

// again reports whether a request that failed is sent once more, and waits a
// little before. That is so only where no answer had begun, and where either the
// store can't have acted on it, since it had no connection or not a byte of the
// content, or where it was a mere question. Deleting twice is not: it leaves two
// markers in a bucket with versions.
func (a *attempt) again(ctx context.Context, err error) bool {
	var busy *Busy
	if a.failed || errors.As(err, &busy) || errors.Is(err, errSilent) || ctx.Err() != nil || !a.blames(ctx, err) {
		return false
	}
	question := a.out.Method == http.MethodGet || a.out.Method == http.MethodHead
	var op *net.OpError
	unsent := errors.As(err, &op) && op.Op == "dial"
	if !a.repeatable() || a.content == nil && !question && !unsent {
		return false
	}
	a.failed = true
	pause := time.NewTimer(20*time.Millisecond + rand.N(100*time.Millisecond))
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// mended reports whether the store's answer says how to ask right, and asks for
// that: in another region, or with keys that aren't past their time. Each is done
// once: two regions that name each other are no way.
func (a *attempt) mended(ctx context.Context, res *http.Response) (again bool, err error) {
	c := a.client
	if region, ok := c.elsewhere(res, a.at); ok && !a.moved && a.out.Region == "" {
		c.regions.put(a.out.Bucket, region, c.config.Now())
		a.moved, a.at = true, c.place(a.out.Bucket, "")
		return a.anew("The bucket lies in another region than it seemed: " + region)
	}
	if a.renewed || a.out.Renew == nil || !pastTheirTime(res, a.out.Method) {
		return false, nil
	}
	a.renewed = true
	keys, err := a.out.Renew(ctx)
	if err != nil || keys.AccessKeyID == a.keys.AccessKeyID {
		return false, nil // what the store says is all there is to say
	}
	a.keys = keys
	return a.anew("The keys of the role were renewed meanwhile")
}

// anew sends the request again, or has the client do it where content was read.
func (a *attempt) anew(why string) (bool, error) {
	if !a.repeatable() {
		return false, fault.Coded(fault.Unavailable, "ServiceUnavailable", why).WithMend("try again")
	}
	return true, nil
}

// pastTheirTime reports whether an answer refuses keys as expired. The head of an
// object has no words: any such refusal may be it.
func pastTheirTime(res *http.Response, method string) bool {
	if res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusForbidden {
		return false
	}
	if method == http.MethodHead {
		return res.StatusCode == http.StatusBadRequest
	}
	switch codeOf(res) {
	case "ExpiredToken", "InvalidToken", "ExpiredTokenException", "TokenRefreshRequired":
		return true
	}
	return false
}

// repeatable reports whether the request can be sent as it was: not where
// content was read. It is sealed then, so that nothing is read by what was sent
// before.
func (a *attempt) repeatable() bool { return a.content == nil || a.content.renew() }

// explain turns a failure into what the gateway may say.
func (a *attempt) explain(ctx context.Context, err error) error {
	var busy *Busy
	var f *fault.Fault
	switch {
	case errors.As(err, &busy) && busy.Theirs:
		return fault.Wrap(err, fault.Limited, "Please reduce your request rate: as many requests of yours as one caller may have at this store are under way").WithCode("SlowDown").
			WithMend("read answers to their end or close them, and keep fewer open at a time")
	case errors.As(err, &busy):
		return fault.Wrap(err, fault.Limited, "Please reduce your request rate: the store behind this gateway is not asked at present").WithCode("SlowDown")
	case errors.As(err, &f) && f.Kind == fault.Denied && f.Code != "" && f.Code[:min(len(f.Code), 7)] == "egress.":
		return fault.Wrap(err, fault.Misconfigured, "The store behind this gateway is at an address that may not be reached").WithMend("ask your administrator")
	case errors.As(err, &f), ctx.Err() != nil:
		return err
	case errors.Is(err, wire.ErrRequest):
		return fault.Wrap(err, fault.Invalid, "The headers of the request can't be sent to the store behind this gateway: they are too long")
	case errors.Is(err, errSilent):
		return fault.Wrap(err, fault.Unavailable, "The store behind this gateway does not answer in time").WithMend("try again")
	}
	return fault.Wrap(err, fault.Unavailable, "The store behind this gateway can't be reached").WithMend("try again")
}

// content is what streams to a store. One attempt at a time reads it, and when
// one has, no other may.
type content struct {
	r       io.Reader
	current atomic.Pointer[reading]
}

// reading is one attempt's hold on the content.
type reading struct {
	content *content
	state   atomic.Int32
	watch   *watch
	p       Patience
}

// The states of a reading: a closed set.
const (
	untouched int32 = iota
	begun
	sealed
)

var errSealed = errors.New("the request was given up before its content was read")

// watch hands the content to a new attempt.
func (c *content) watch(w *watch, p Patience, req *http.Request) {
	r := &reading{content: c, watch: w, p: p}
	c.current.Store(r)
	attach(req, r)
}

// renew takes the content back from an attempt that read none of it.
func (c *content) renew() bool {
	r := c.current.Load()
	return r == nil || r.state.CompareAndSwap(untouched, sealed)
}

// begun reports whether some of the content was read.
func (c *content) begun() bool {
	r := c.current.Load()
	return r != nil && r.state.Load() == begun
}

// Read reads from the client: whoever is waited for meanwhile, it isn't the
// store.
func (r *reading) Read(p []byte) (int, error) {
	if !r.state.CompareAndSwap(untouched, begun) && r.state.Load() == sealed {
		return 0, errSealed
	}
	r.watch.rest()
	n, err := r.content.r.Read(p)
	switch err {
	case nil:
		r.watch.within(r.p.Silence)
	case io.EOF:
		r.watch.within(r.p.Answer)
	}
	return n, err
}
