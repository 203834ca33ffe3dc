//go:build interop

package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/test/fleet"
)

type awsUserFilter = iamtypes.EntityType

// Kinds of requests. Those of fromMemory need the database for nothing.
const (
	getByRole    = "S3 read, role keys"
	putByRole    = "S3 write, role keys"
	getByGateway = "S3 read, gateway key"
	whoAmI       = "STS GetCallerIdentity"
	page         = "API, who is signed in"
	fetch        = "API, keys of a role"
	ready        = "/readyz"
	exchange     = "STS AssumeRoleWithWebIdentity"
	changeIAM    = "IAM change"
	provision    = "SCIM create"
	revokeKey    = "gateway-key.revoke"
	makeKey      = "gateway-key.make"
	signIn       = "sign-in"
	signOut      = "sign-out"
)

var fromMemory = []string{getByRole, putByRole, getByGateway, whoAmI, page, fetch, ready}

// note tells the watch of a result.
func (w *world) note(r result, kind string, server int) result {
	r.kind, r.server = kind, server
	if w.run == nil || w.run.Err() == nil { // what the end of the load cut short is no failure
		w.watch.note(r)
	}
	return r
}

// load begins all that goes on while things break; it ends with the function it gives.
func (w *world) load(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	w.run = ctx
	var all sync.WaitGroup
	every := func(pace time.Duration, do func(ctx context.Context, server int)) {
		for i := range 3 {
			all.Go(func() { pacer(ctx, pace, func() { do(ctx, i) }) })
		}
	}
	one := func(pace time.Duration, do func(ctx context.Context)) {
		all.Go(func() { pacer(ctx, pace, func() { do(ctx) }) })
	}
	every(100*time.Millisecond, func(ctx context.Context, i int) { w.note(w.read(ctx, i, w.engineer), getByRole, i) })
	every(100*time.Millisecond, func(ctx context.Context, i int) { w.note(w.read(ctx, i, w.gateway), getByGateway, i) })
	every(200*time.Millisecond, func(ctx context.Context, i int) { w.note(w.write(ctx, i), putByRole, i) })
	every(200*time.Millisecond, func(ctx context.Context, i int) { w.note(w.callerIdentity(ctx, i), whoAmI, i) })
	every(200*time.Millisecond, func(ctx context.Context, i int) {
		w.note(w.api(ctx, w.alice, i, http.MethodGet, "/api/v1/session", nil, nil), page, i)
	})
	every(200*time.Millisecond, func(ctx context.Context, i int) { w.note(w.fetch(ctx, i), fetch, i) })
	every(500*time.Millisecond, func(ctx context.Context, i int) {
		w.note(w.ask(ctx, i, http.MethodGet, w.fleet.Web+"/readyz", http.Header{}, nil, nil), ready, i)
	})
	every(250*time.Millisecond, func(ctx context.Context, i int) { w.note(w.exchange(ctx, i), exchange, i) })
	every(500*time.Millisecond, w.changeIAM)
	every(time.Second, w.provision)
	every(time.Second, w.makeAndRevoke)
	// Clients that go on to another server where one does not answer.
	one(100*time.Millisecond, func(ctx context.Context) {
		w.roam(ctx, getByRole, func(i int) result { return w.read(ctx, i, w.engineer) })
	})
	one(200*time.Millisecond, func(ctx context.Context) {
		w.roam(ctx, putByRole, func(i int) result { return w.write(ctx, i) })
	})
	one(200*time.Millisecond, func(ctx context.Context) { w.roam(ctx, fetch, func(i int) result { return w.fetch(ctx, i) }) })
	one(250*time.Millisecond, func(ctx context.Context) { w.roam(ctx, exchange, func(i int) result { return w.exchange(ctx, i) }) })
	var turn atomic.Int64
	one(1200*time.Millisecond, func(ctx context.Context) { w.signInAndOut(ctx, int(turn.Add(1))%3) })
	one(20*time.Millisecond, w.tryRevoked)
	one(500*time.Millisecond, w.replay)
	one(time.Minute, func(ctx context.Context) {
		for w.freshToken(ctx) != nil && ctx.Err() == nil {
			time.Sleep(time.Second)
		}
	})
	return func() { cancel(); all.Wait() }
}

// pacer does something again and again, at its pace or as fast as it can, until ctx ends.
func pacer(ctx context.Context, pace time.Duration, do func()) {
	time.Sleep(rand.N(pace))
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// roam is a client that knows all servers: it goes on to the next where one is away or
// says that it can't.
func (w *world) roam(ctx context.Context, kind string, do func(server int) result) {
	first := rand.IntN(3)
	began := time.Now()
	var r result
	for i := range 3 {
		if r = do((first + i) % 3); r.ok() {
			break
		}
	}
	r.began = began
	w.note(r, kind, -1)
}

func (w *world) read(ctx context.Context, server int, k fleet.Keys) result {
	r := result{began: time.Now()}
	r.refused(w.get(ctx, server, k))
	return r
}

// get reads the object that every fleet has.
func (w *world) get(ctx context.Context, server int, k fleet.Keys) error {
	out, err := w.s3(server, k).GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(fleet.Bucket), Key: aws.String(fleet.Object)})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	content, err := io.ReadAll(out.Body)
	if err == nil && string(content) != fleet.Content {
		err = errors.New("other content")
	}
	return err
}

var numbers atomic.Int64

// fresh gives a name that was never used.
func fresh(prefix string) string { return fmt.Sprintf("%s-%d", prefix, numbers.Add(1)) }

func (w *world) write(ctx context.Context, server int) result {
	key, content := fresh("load/object"), strings.Repeat(fmt.Sprintf("%x", rand.Uint64()), 1+rand.IntN(200))
	r := result{began: time.Now()}
	_, err := w.s3(server, w.engineer).PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(fleet.Bucket), Key: &key, Body: strings.NewReader(content)})
	if r.refused(err); r.ok() {
		w.ledger.keep(anObject, key, content)
	}
	return r
}

func (w *world) callerIdentity(ctx context.Context, server int) result {
	r := result{began: time.Now()}
	_, err := w.sts(server, w.engineer).GetCallerIdentity(ctx, &awssts.GetCallerIdentityInput{})
	r.refused(err)
	return r
}

func (w *world) fetch(ctx context.Context, server int) result {
	return w.api(ctx, w.alice, server, http.MethodPost, "/api/v1/roles/credentials", api.CredentialsRequest{Role: "engineer"}, nil)
}

// freshToken fetches an ID token of alice's from any server.
func (w *world) freshToken(ctx context.Context) error {
	var r result
	for i := range 3 {
		var out api.IDToken
		if r = w.api(ctx, w.alice, i, http.MethodPost, "/api/v1/id-tokens", api.IDTokenRequest{Audience: "sts.amazonaws.com", Role: "engineer"}, &out); r.ok() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.token, w.until = out.Token, out.Expires
			w.ledger.record("ID token "+r.request, r.request)
			return nil
		}
	}
	return errors.New(r.String())
}

func (w *world) exchange(ctx context.Context, server int) result {
	w.mu.Lock()
	token := w.token
	w.mu.Unlock()
	r := result{began: time.Now()}
	out, err := w.sts(server, fleet.Keys{}).AssumeRoleWithWebIdentity(ctx, &awssts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(fleet.Engineer), RoleSessionName: aws.String("alice"), WebIdentityToken: &token})
	if r.refused(err); r.ok() {
		w.ledger.record("exchange "+requestOf(out.ResultMetadata), requestOf(out.ResultMetadata))
	}
	return r
}

// changeIAM makes a user with a policy, by AWS's own wire.
func (w *world) changeIAM(ctx context.Context, server int) {
	name, id := fresh("user"), fresh("statement")
	c := w.iam(server)
	r := result{began: time.Now()}
	made, err := c.CreateUser(ctx, &awsiam.CreateUserInput{UserName: &name})
	if r.refused(err); w.note(r, changeIAM, server).ok() {
		w.ledger.keep(aUser, name, "", requestOf(made.ResultMetadata))
		document := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"%s","Effect":"Deny","Action":"s3:*","Resource":"*"}]}`, strings.ReplaceAll(id, "-", ""))
		r = result{began: time.Now()}
		put, err := c.PutUserPolicy(ctx, &awsiam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("none"), PolicyDocument: &document})
		if r.refused(err); w.note(r, changeIAM, server).ok() {
			w.ledger.keep(aPolicy, name, document, requestOf(put.ResultMetadata))
		}
	}
}

// provision creates a person as a provisioning system does.
func (w *world) provision(ctx context.Context, server int) {
	name := fresh("person") + "@example.com"
	body := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"` + name + `","active":true}`
	if r := w.note(w.ask(ctx, server, http.MethodPost, w.scim+"/Users", w.scimHeader(), []byte(body), nil), provision, server); r.ok() {
		w.ledger.keep(aSCIMUser, name, "", r.request)
	}
}

// makeAndRevoke makes a gateway key, uses it everywhere, and takes it back.
func (w *world) makeAndRevoke(ctx context.Context, server int) {
	made, status := w.makeKey(ctx, server)
	if status != http.StatusCreated {
		return
	}
	w.ledger.keep(aKey, made.id, "", made.request)
	for i := range 3 {
		w.read(ctx, i, made.keys) // so that all know it
	}
	r := w.note(w.api(ctx, w.admin, server, http.MethodDelete, "/api/v1/gateway-keys/"+made.id, nil, nil), revokeKey, server)
	if r.ok() {
		w.ledger.keep(aRevokedGK, made.id, "", r.request)
		w.ledger.revoke("gateway key "+made.id, made.keys)
	}
}

// The longest that something taken back may still be served: at a server that has the
// database, and from when on at one that lost touch with it.
const (
	applied = 2 * time.Second
	bound   = 60 * time.Second
	// slack is for the way there and back, and for the clock of the test, which learns of
	// a cut a moment later than the server.
	slack = 1500 * time.Millisecond
)

// tryRevoked uses what was taken back, at some server.
func (w *world) tryRevoked(ctx context.Context) {
	one, ok := w.ledger.someRevoked()
	if !ok {
		return
	}
	server, began := rand.IntN(3), time.Now()
	if err := w.get(ctx, server, one.keys); err != nil {
		return
	}
	age, away := began.Sub(one.at), w.watch.cutFor(server, began)
	switch {
	case age <= applied, away > 0 && away <= bound+slack:
	default:
		w.ledger.violated("%s was taken back %s before, and server %d served it (without the database for %s)", one.what, age.Round(time.Millisecond), server, away.Round(time.Millisecond))
	}
}

// usedUp is the answer of an identity provider that was posted.
type usedUp struct {
	id     string
	fields url.Values
	at     time.Time
}

// signInAndOut signs a person in: the answer of the identity provider is posted to all
// servers at once. Then their keys are fetched, and the login session is ended.
func (w *world) signInAndOut(ctx context.Context, server int) {
	b := w.fleet.NewBrowser(server)
	r := result{began: time.Now()}
	keys, cookies, requests, err := w.signIn(ctx, b, &r, server)
	r.err = err
	if w.run.Err() != nil {
		return
	}
	if w.note(r, signIn, server); !r.ok() {
		return
	}
	w.ledger.record("sign-in "+strings.Join(requests, " "), requests...)
	if keys.ID == "" {
		return
	}
	out := w.note(w.api(ctx, cookies, server, http.MethodDelete, "/api/v1/session", nil, nil), signOut, server)
	if out.ok() {
		w.ledger.record("sign-out "+out.request, out.request)
		w.ledger.revoke("login session of "+out.request, keys)
	}
}

func (w *world) signIn(ctx context.Context, b *fleet.Browser, r *result, server int) (keys fleet.Keys, cookies string, requests []string, err error) {
	p, err := b.Open(ctx, w.fleet.Web+"/sign-in")
	if err != nil {
		return keys, "", nil, err
	}
	form, err := p.FormWith("password")
	if err != nil {
		r.answered(p.Status, p.Header, []byte(p.Body))
		return keys, "", nil, err
	}
	if p, err = b.Submit(ctx, p, form, map[string]string{"user": "dora", "password": w.fleet.Password}); err != nil {
		return keys, "", nil, err
	}
	if form, err = p.FormWith("SAMLResponse"); err != nil {
		return keys, "", nil, err
	}
	won, requests := w.consume(ctx, form.Fields, r, server)
	if won == "" {
		return keys, "", nil, errors.New("no server took the answer of the identity provider")
	}
	if p, err = b.Open(ctx, won); err != nil {
		*r = result{began: r.began}
		return keys, "", nil, err
	}
	r.answered(p.Status, p.Header, []byte(p.Body))
	if p.Status != http.StatusOK || p.URL.Path != "/" {
		return keys, "", nil, fmt.Errorf("the sign-in ends at %s", p.URL)
	}
	for _, h := range append(p.Via, p.Header) {
		requests = append(requests, h.Get("X-Request-Id"))
	}
	if cookies, err = w.cookies(ctx, b); err != nil {
		return keys, "", requests, nil // the sign-in was good all the same
	}
	var c api.Credentials
	if got := w.api(ctx, cookies, server, http.MethodPost, "/api/v1/roles/credentials", api.CredentialsRequest{Role: "engineer"}, &c); got.ok() {
		keys = keysOf(c)
	}
	return keys, cookies, requests, nil
}

// consume posts an answer of the identity provider to all servers at once, and gives
// where the one that took it leads on.
func (w *world) consume(ctx context.Context, fields url.Values, r *result, server int) (leads string, requests []string) {
	id := fresh("answer")
	w.ledger.mu.Lock()
	w.ledger.used = append(w.ledger.used, usedUp{id, fields, time.Now()})
	w.ledger.mu.Unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			got, to := w.post(ctx, i, fields)
			mu.Lock()
			defer mu.Unlock()
			if to != "" {
				w.ledger.win(id)
				leads, requests = to, append(requests, got.request)
			}
			if i == server {
				r.status, r.code, r.later, r.request = got.status, got.code, got.later, got.request
			}
		})
	}
	wg.Wait()
	return leads, requests
}

// post posts an answer of the identity provider to one server. It leads on where it was
// taken.
func (w *world) post(ctx context.Context, server int, fields url.Values) (r result, leads string) {
	r = result{server: server, began: time.Now()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.fleet.Web+"/saml/consume", strings.NewReader(fields.Encode()))
	if err != nil {
		r.err = err
		return r, ""
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := w.client(server).Do(req)
	if err != nil {
		r.err = err
		return r, ""
	}
	_ = resp.Body.Close()
	r.answered(resp.StatusCode, resp.Header, nil)
	if to, err := resp.Location(); err == nil && strings.Contains(to.Path, "/sign-in/complete") {
		return r, to.String()
	}
	return r, ""
}

// replay posts an answer again that was posted before, while it is not too old for that.
func (w *world) replay(ctx context.Context) {
	w.ledger.mu.Lock()
	used := w.ledger.used
	w.ledger.mu.Unlock()
	if len(used) == 0 {
		return
	}
	one := used[len(used)-1-rand.IntN(min(len(used), 60))]
	if time.Since(one.at) < patience { // it may be under way
		return
	}
	if _, leads := w.post(ctx, rand.IntN(3), one.fields); leads != "" {
		w.ledger.win(one.id)
	}
}
