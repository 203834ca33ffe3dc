//go:build interop

package revocationbench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/node/localdoc"
	"carnet.dev/carnet/test/fleet"
	"carnet.dev/carnet/test/nodes"
)

// The places, as the table has them.
const (
	atSTS       = "STS: role keys"
	atTrade     = "STS: ID token"
	atS3        = "S3: role keys"
	atGateway   = "S3: gateway key"
	atHanded    = "STS, S3: keys that an agent gave"
	atAPI       = "API"
	atPage      = "page"
	atContainer = "agent: container endpoint"
	atSocket    = "agent: unix socket"
)

// answered stands for the revocation itself: how long it took until it was acknowledged.
const answered = "acknowledged"

var places = []string{atSTS, atTrade, atS3, atGateway, atHanded, atAPI, atPage, atContainer, atSocket}

// round is one revocation and all that is watched meanwhile.
type round struct {
	*world
	t       *testing.T
	kind    string
	number  int
	at      int // the server that is told
	watches []*watch
	seats   map[*seat]bool
	act     func() error
	after   func() error // nil: nothing has to be put right
}

func (r *round) watch(place string, at int, ask func(context.Context) string) *watch {
	w := &watch{place: place, where: fmt.Sprint("server ", at), ask: ask}
	r.watches = append(r.watches, w)
	return w
}

// said reads the answer of an interface of AWS's.
func said(err error) string {
	switch code := fleet.Code(err); {
	case err == nil:
		return yes
	case code == "ExpiredToken", code == "AccessDenied", code == "InvalidClientTokenId", code == "InvalidAccessKeyId", code == "ExpiredTokenException", code == "InvalidIdentityToken":
		return code
	}
	return odd + err.Error()
}

// keys watches role keys at STS and S3 of every server.
func (r *round) keys(k fleet.Keys) {
	for i, s := range r.Servers() {
		sts, s3 := s.STS(r.client(i), k), s.S3(r.client(i), k)
		r.watch(atSTS, i, func(ctx context.Context) string {
			_, err := sts.GetCallerIdentity(ctx, nil)
			return said(err)
		})
		r.watch(atS3, i, func(ctx context.Context) string { return said(fleet.Read(ctx, s3)) })
	}
}

// token watches a token of Carnet's own, which buys keys as long as it is good.
func (r *round) token(token string) {
	for i := range r.Servers() {
		by := r.client(i)
		r.watch(atTrade, i, func(ctx context.Context) string {
			_, err := r.trade(ctx, i, by, token)
			return said(err)
		})
	}
}

// handed watches keys that an agent gave, at STS and S3 in turn.
func (r *round) handed(k localdoc.Keys) {
	keys := fleet.Keys{ID: k.AccessKeyID, Secret: k.SecretAccessKey, Token: k.SessionToken}
	for i, s := range r.Servers() {
		sts, s3, n := s.STS(r.client(i), keys), s.S3(r.client(i), keys), 0
		r.watch(atHanded, i, func(ctx context.Context) string {
			if n++; n%2 == 0 {
				_, err := sts.GetCallerIdentity(ctx, nil)
				return said(err)
			}
			return said(fleet.Read(ctx, s3))
		})
	}
}

// gatewayKey makes one of what owner says, watches it and gives its id.
func (r *round) gatewayKey(owner api.NewGatewayKey) string {
	r.t.Helper()
	if owner.Roles = []string{fleet.Analyst}; owner.Cluster == "" {
		owner.Networks = []string{"127.0.0.0/8"}
	}
	var made api.MadeGatewayKey
	r.administrator(r.t).Must(r.t, 0, http.MethodPost, "/api/v1/gateway-keys", owner, &made)
	for i, s := range r.Servers() {
		s3 := s.S3(r.client(i), fleet.Keys{ID: made.GatewayKey.AccessKeyID, Secret: made.SecretAccessKey})
		r.watch(atGateway, i, func(ctx context.Context) string { return said(fleet.Read(ctx, s3)) })
	}
	return made.GatewayKey.ID
}

// signedIn gives the subject's browser.
func (r *round) signedIn() *fleet.Browser {
	r.t.Helper()
	if r.person != nil {
		if status, _, err := r.person.Ask(r.t.Context(), r.at, http.MethodGet, "/api/v1/session", nil, nil); err != nil || status != http.StatusOK {
			r.person = nil
		}
	}
	if r.person == nil {
		r.person = r.SignIn(r.t, r.at, subject)
	}
	return r.person
}

// signOut leaves the subject without a login session.
func (r *round) signOut() {
	r.t.Helper()
	if r.person == nil {
		return
	}
	status, body, err := r.person.Ask(r.t.Context(), r.at, http.MethodDelete, "/api/v1/session", nil, nil)
	if r.person = nil; status == http.StatusUnauthorized {
		return // it was revoked
	}
	if err := wanted(status, body, err); err != nil {
		r.t.Fatal(err)
	}
}

// session gives the login session.
func (r *round) session() api.Session {
	r.t.Helper()
	var s api.Session
	r.signedIn().Must(r.t, r.at, http.MethodGet, "/api/v1/session", nil, &s)
	return s
}

// pages watches API and page with the subject's cookie.
func (r *round) pages() {
	cookie := r.signedIn().Cookie(r.t)
	for i := range r.Servers() {
		for place, path := range map[string]string{atAPI: "/api/v1/roles", atPage: "/"} {
			by := r.client(i)
			r.watch(place, i, func(ctx context.Context) string {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Web+path, nil)
				if err != nil {
					return odd + err.Error()
				}
				req.Header.Set("Cookie", cookie)
				return askHTTP(by, req)
			})
		}
	}
}

// idToken is a token of Carnet's own for the subject.
func (r *round) idToken() string {
	r.t.Helper()
	var out struct{ Token string }
	r.signedIn().Must(r.t, r.at, http.MethodPost, "/api/v1/id-tokens", map[string]string{"audience": "sts.amazonaws.com", "role": "analyst"}, &out)
	return out.Token
}

// attach attaches the subject at some nodes, watches their agents, and what they gave,
// and gives the ids.
func (r *round) attach(numbers ...int) (ids []string) {
	r.t.Helper()
	for _, i := range numbers {
		s := r.world.seats[i]
		begun := s.Begin(r.t)
		r.signedIn().Must(r.t, r.at, http.MethodPost, "/api/v1/attachments/approve", map[string]string{"user_code": begun.UserCode}, nil)
		var polled localdoc.Polled
		for end := time.Now().Add(time.Minute); polled.State != "attached"; time.Sleep(20 * time.Millisecond) {
			s.MustLocal(r.t, http.MethodPost, "/v1/attach/poll", localdoc.Poll{Request: begun.Request}, &polled)
			if time.Now().After(end) {
				r.t.Fatalf("attaching comes to %q", polled.State)
			}
		}
		ids = append(ids, polled.Attachment.ID)
		r.agent(i)
	}
	return ids
}

// agent watches the agent of a node where the subject is attached, and what it gave.
func (r *round) agent(i int) {
	r.t.Helper()
	s, where := r.world.seats[i], fmt.Sprint("node ", i)
	var given localdoc.Keys
	s.MustLocal(r.t, http.MethodGet, "/v1/keys?role=analyst", nil, &given)
	r.handed(given)
	container, socket := &watch{place: atContainer, where: where}, &watch{place: atSocket, where: where}
	r.watches = append(r.watches, container, socket)
	s.ask(r.t, "analyst", container, socket)
	r.seats[s] = true
}

// attachAway has the machine attach the subject, who is not signed in, at both nodes.
func (r *round) attachAway() {
	r.t.Helper()
	token, err := r.access(r.t)
	if err != nil {
		r.t.Fatal(err)
	}
	for i, s := range r.world.seats {
		in := api.NewAttachment{Node: s.Node.Name, Person: subject, UID: uid, Scope: s.Scope, ScopeID: fmt.Sprint(s.ScopeID(r.t)), Role: "analyst"}
		status, body, err := r.as(r.t, r.at, token, "/api/v1/clusters/"+r.cluster+"/attachments", in)
		if err != nil || status != http.StatusCreated {
			r.t.Fatalf("attaching on behalf: %d %s %v", status, body, err)
		}
		nodes.Until(r.t, "the agent knows", func() error {
			if s.Status(r.t).Attachment == nil {
				return errors.New("nothing is attached")
			}
			return nil
		})
		r.agent(i)
	}
}

// measure watches, acts, and watches on until every place has refused, and for as long
// again as a mistake may need to show.
func (r *round) measure() ([]outcome, error) {
	ctx, stop := context.WithCancel(r.t.Context())
	var asking sync.WaitGroup
	for _, w := range r.watches {
		if w.ask != nil {
			asking.Go(func() { w.follow(ctx) })
		}
	}
	defer func() {
		stop()
		asking.Wait()
		for s := range r.seats {
			s.rest(r.t)
		}
	}()
	if !r.until(10*time.Second, (*watch).permits) {
		return nil, errors.New("before anything is revoked not every place permits: " + r.state())
	}
	asked := time.Now()
	if err := r.act(); err != nil {
		return nil, err
	}
	all := []outcome{{kind: r.kind, place: answered, took: time.Since(asked)}}
	r.until(2*bound, (*watch).refuses)
	time.Sleep(200 * time.Millisecond)
	stop()
	asking.Wait()
	for _, w := range r.watches {
		all = append(all, w.judge(r.kind, asked))
	}
	return all, nil
}

func (r *round) until(limit time.Duration, holds func(*watch) bool) bool {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		all := true
		for _, w := range r.watches {
			all = all && holds(w)
		}
		if all {
			return true
		}
	}
	return false
}

// state tells what places said that neither permit nor refuse as they should.
func (r *round) state() (text string) {
	for _, w := range r.watches {
		if !w.permits() {
			text += fmt.Sprintf("%s at %s: %d answers, %q%s; ", w.place, w.where, w.answers, w.no, w.also())
		}
	}
	return text
}
