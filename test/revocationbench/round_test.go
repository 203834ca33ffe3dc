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
)

// The places, as the table has them.
const (
	atSTS       = "STS: role keys"
	atTrade     = "STS: ID token"
	atS3        = "S3: role keys"
	atGateway   = "S3: gateway key"
	atHanded    = "S3: keys that an agent gave"
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

// stored watches keys without a session token, or with one, at S3 alone.
func (r *round) stored(place string, k fleet.Keys) {
	for i, s := range r.Servers() {
		s3 := s.S3(r.client(i), k)
		r.watch(place, i, func(ctx context.Context) string { return said(fleet.Read(ctx, s3)) })
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
	r.stored(atGateway, fleet.Keys{ID: made.GatewayKey.AccessKeyID, Secret: made.SecretAccessKey})
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
		var given localdoc.Keys
		s.MustLocal(r.t, http.MethodGet, "/v1/keys?role=analyst", nil, &given)
		r.stored(atHanded, fleet.Keys{ID: given.AccessKeyID, Secret: given.SecretAccessKey, Token: given.SessionToken})
		where := fmt.Sprint("node ", i)
		container, socket := &watch{place: atContainer, where: where}, &watch{place: atSocket, where: where}
		r.watches = append(r.watches, container, socket)
		s.ask(r.t, "analyst", container, socket)
		r.seats[s] = true
	}
	return ids
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
