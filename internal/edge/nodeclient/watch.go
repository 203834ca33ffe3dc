package nodeclient

import (
	"context"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/edge/nodeapi/nodedoc"
)

const (
	firstWait   = time.Second
	longestWait = 30 * time.Second
)

// Watch asks the server what counts on this node, again and again, until the context
// ends. seen gets each view, also one that nothing changed in: it is fresh. dismissed is
// called when the server does not know the node any more; Watch goes on, since an
// administrator may bring it back.
func (n *Client) Watch(ctx context.Context, seen func(nodedoc.View), dismissed func()) {
	var revision int64
	failures := 0
	for ctx.Err() == nil {
		began := n.c.Now()
		var v nodedoc.View
		err := n.call(ctx, "watch", nodedoc.Watch{Revision: revision}, &v)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if failures > 0 {
				n.c.Logger.Info("the server is back", "server", n.base.String())
			}
			same := v.Revision == revision
			failures, revision = 0, v.Revision
			seen(v)
			if same && n.c.Now().Sub(began) < firstWait {
				n.pause(ctx, firstWait) // a server that does not wait is not asked in a loop
			}
			continue
		}
		if fault.Of(err).Code == CodeDismissed {
			dismissed()
			revision = 0
		}
		if failures == 0 {
			n.c.Logger.Warn("the server can't be reached", "server", n.base.String(), "error", err)
		}
		failures++
		n.pause(ctx, min(firstWait<<min(failures-1, 10), longestWait))
	}
}

// pause waits for half of a time and by chance up to the whole: agents that lost one
// server don't come back all at once.
func (n *Client) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d/2 + time.Duration(n.c.Random()*float64(d)/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
