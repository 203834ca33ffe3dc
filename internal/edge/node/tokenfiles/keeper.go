package tokenfiles

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
)

// The names of the files.
const (
	NameToken       = "token"
	NameWebIdentity = "web-identity-token"
)

// Attachment is what the files of one attachment are made of.
type Attachment struct {
	ID   string
	UID  uint32
	Role string // the current one; empty: none chosen
	// Token is the second factor of the loopback endpoints.
	Token secret.Text
}

// Source knows the attachments of the node.
type Source interface {
	// Known reports whether the attachments are known: before the server's first word
	// nobody is, and no file goes because of that.
	Known() bool
	Attachments() []Attachment
	// Changed gives a channel that is closed with the next change of them.
	Changed() <-chan struct{}
	// IDToken gives a web identity token for the attachment's current role, and until
	// when it is good. Errors are faults.
	IDToken(ctx context.Context, attachment string) (secret.Text, time.Time, error)
}

// Config is what a Keeper stands on.
type Config struct {
	Source Source
	Folder *Folder
	// WebIdentity has web identity tokens written, too.
	WebIdentity bool
	Now         func() time.Time
	Logger      *slog.Logger
}

// The waits before something that failed is tried again: for what may pass soon, and
// for what somebody has to change.
const (
	soon  = 15 * time.Second
	later = 5 * time.Minute
	// gather is how long answers are waited for before it is looked again what is due.
	gather = time.Second
	// unknown is how often it is looked whether the attachments are known.
	unknown = 100 * time.Millisecond
)

// Keeper keeps the files of all attachments. Safe for concurrent use.
type Keeper struct {
	c      Config
	asking chan struct{} // bounds what is asked for at a time
	woken  chan struct{} // something was renewed, or was not
	mu     sync.Mutex
	by     map[string]*files // by attachment
	tidied bool              // nothing lies there that belongs to nobody
}

// mostAsking is how many web identity tokens are asked for at a time.
const mostAsking = 8

// files are those of one attachment.
type files struct {
	Attachment
	token, webIdentity string // their names; empty: there is none
	expires            time.Time
	next               time.Time // when the web identity token is asked for again
	busy               bool      // it is being asked for
	tried              time.Time // when the second factor could not be written
}

// NewKeeper makes a Keeper.
func NewKeeper(c Config) *Keeper {
	return &Keeper{c: c, by: map[string]*files{}, asking: make(chan struct{}, mostAsking), woken: make(chan struct{}, 1)}
}

// Paths are the files of a live attachment; empty where there is none. The second
// factor of one that was made a moment ago is written at once.
func (k *Keeper) Paths(attachment string) (token, webIdentity string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by[attachment] == nil {
		k.take(k.c.Now())
	}
	f := k.by[attachment]
	if f == nil {
		return "", ""
	}
	if f.token != "" {
		token = k.c.Folder.Path(f.UID, f.token)
	}
	if f.webIdentity != "" {
		webIdentity = k.c.Folder.Path(f.UID, f.webIdentity)
	}
	return token, webIdentity
}

// Run keeps the files until the context ends. Second factors stay then: the attachments
// live on, and so does what their programs read after a restart.
func (k *Keeper) Run(ctx context.Context) {
	var asked sync.WaitGroup
	for ctx.Err() == nil {
		changed := k.c.Source.Changed()
		now := k.c.Now()
		known := k.c.Source.Known()
		if known {
			k.mu.Lock()
			k.take(now)
			k.mu.Unlock()
		}
		k.ask(ctx, &asked, k.due(now))
		wait := k.wait(now)
		if !known {
			wait = unknown
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-k.woken:
			// Many answers come at a time, and each look goes through everybody.
			select {
			case <-ctx.Done():
			case <-changed:
			case <-time.After(gather):
			}
		case <-timer.C:
		}
		timer.Stop()
	}
	asked.Wait()
	if err := k.c.Folder.Close(); err != nil {
		k.c.Logger.Error("files of people are left over", "error", err)
	}
}

// ask renews those that are due, a few at a time: a node may have thousands.
func (k *Keeper) ask(ctx context.Context, asked *sync.WaitGroup, due []*files) {
	work := make(chan *files, len(due))
	for _, f := range due {
		work <- f
	}
	close(work)
	for range min(mostAsking, len(due)) {
		asked.Go(func() {
			for f := range work {
				k.renew(ctx, f)
			}
		})
	}
}

// wait is how long nothing has to be done, unless something changes.
func (k *Keeper) wait(now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	wait := later
	for _, f := range k.by {
		if k.c.WebIdentity && !f.busy {
			wait = min(wait, f.next.Sub(now))
		}
		if f.token == "" {
			wait = min(wait, soon)
		}
		if f.webIdentity != "" {
			wait = min(wait, f.expires.Sub(now))
		}
	}
	return max(wait, time.Second)
}

// take notes who came and who went. Files of those who went are removed at once. k is
// locked.
func (k *Keeper) take(now time.Time) {
	live := k.c.Source.Attachments()
	slices.SortFunc(live, func(a, b Attachment) int { return cmp.Compare(a.ID, b.ID) })
	next := make(map[string]*files, len(live))
	for _, a := range live {
		f := k.by[a.ID]
		if f == nil || f.UID != a.UID || !f.Token.Equal(a.Token) {
			f = &files{Attachment: a, next: now}
		}
		if f.Role != a.Role {
			// The file speaks of the role before: it goes, also where no other comes.
			f.Role, f.webIdentity, f.next = a.Role, "", now
			k.tidied = false
		}
		next[a.ID] = f
	}
	for id, f := range k.by {
		k.tidied = k.tidied && next[id] == f
	}
	k.by = next
	for _, a := range live {
		k.writeToken(next[a.ID], now)
	}
	k.tidy(now)
}

// name gives a file's name that no other attachment of the uid has: a uid may have
// several, each with its login. The first has the plain name.
func (k *Keeper) name(f *files, plain string) string {
	for _, other := range k.by {
		if other != f && other.UID == f.UID && (other.token == plain || other.webIdentity == plain) {
			return plain + "-" + f.ID
		}
	}
	return plain
}

func (k *Keeper) writeToken(f *files, now time.Time) {
	if f.token != "" || f.Token.IsZero() || !f.tried.IsZero() && now.Sub(f.tried) < soon {
		return
	}
	name := k.name(f, NameToken)
	if err := k.c.Folder.Put(f.UID, name, f.Token); err != nil {
		if f.tried.IsZero() {
			k.c.Logger.Warn("the token of an attachment is not in a file; its programs ask for it at the socket", "attachment", f.ID, "uid", f.UID, "error", err)
		}
		f.tried = now
		return
	}
	f.token = name
}

// tidy removes what belongs to nobody any more, and tokens past their time. It goes
// through all folders only where something is to go.
func (k *Keeper) tidy(now time.Time) {
	for _, f := range k.by {
		if f.webIdentity != "" && !now.Before(f.expires) {
			f.webIdentity, k.tidied = "", false
		}
	}
	if k.tidied {
		return
	}
	keep := map[uint32][]string{}
	for _, f := range k.by {
		for _, name := range []string{f.token, f.webIdentity} {
			if name != "" {
				keep[f.UID] = append(keep[f.UID], name)
			}
		}
	}
	err := k.c.Folder.Keep(keep)
	if k.tidied = err == nil; err != nil {
		k.c.Logger.Error("files of people are left over", "error", err)
	}
}

// due gives those whose web identity token is to be asked for now.
func (k *Keeper) due(now time.Time) (out []*files) {
	if !k.c.WebIdentity {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, f := range k.by {
		if !f.busy && !now.Before(f.next) {
			f.busy = true
			out = append(out, f)
		}
	}
	return out
}

// renew asks for a web identity token and writes it; it is renewed at half its life.
// The file of an old one stays until that ends.
func (k *Keeper) renew(ctx context.Context, f *files) {
	k.asking <- struct{}{}
	role := k.roleOf(f)
	token, expires, err := k.c.Source.IDToken(ctx, f.ID)
	<-k.asking
	k.settle(f, role, token, expires, err)
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

func (k *Keeper) roleOf(f *files) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return f.Role
}

func (k *Keeper) settle(f *files, role string, token secret.Text, expires time.Time, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f.busy = false
	if k.by[f.ID] != f || f.Role != role {
		return // gone, or of another role, meanwhile
	}
	now := k.c.Now()
	if err == nil {
		name := f.webIdentity
		if name == "" {
			name = k.name(f, NameWebIdentity)
		}
		if err = k.c.Folder.Put(f.UID, name, token); err == nil {
			f.webIdentity, f.expires, f.next = name, expires, now.Add(max(expires.Sub(now)/2, soon))
			return
		}
	}
	f.next = now.Add(later)
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Limited, fault.Internal:
		f.next = now.Add(soon)
	}
	if f.webIdentity != "" {
		k.c.Logger.Warn("the web identity token of an attachment was not renewed", "attachment", f.ID, "uid", f.UID, "error", err)
	}
}
