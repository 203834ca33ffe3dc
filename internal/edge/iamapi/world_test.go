package iamapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/iamapi"
	sqliam "carnet.dev/carnet/internal/edge/sql/iam"
	sqlkeyring "carnet.dev/carnet/internal/edge/sql/keyring"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/keyring"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
)

const (
	account = "111122223333"
	other   = "444455556666"
	prefix  = "arn:aws:iam::" + account + ":"

	anything  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	readsS3   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	trustsAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Action":"sts:AssumeRole"}]}`
)

// world is the IAM face behind the AWS port, over a real database, with the
// real policy engine.
type world struct {
	iam   *iam.Service
	url   string
	log   *lines
	trail *trail
	ended map[string]bool
}

type ring struct{}

func (ring) Current() (string, [32]byte)     { return "k1", [32]byte{7} }
func (ring) ByID(id string) ([32]byte, bool) { return [32]byte{7}, id == "k1" }

func (w *world) Refused(kind, id string, _ uint64) (bool, error) { return w.ended[kind+" "+id], nil }

type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type trail struct {
	mu     sync.Mutex
	events []event.Event
}

func (t *trail) Record(_ context.Context, e event.Event) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, e)
	return nil
}

func (t *trail) last() event.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.events) == 0 {
		return event.Event{}
	}
	return t.events[len(t.events)-1]
}

func newWorld(t testing.TB, change func(*iamapi.Config)) *world {
	t.Helper()
	w := &world{log: &lines{}, trail: &trail{}, ended: map[string]bool{}}
	logger := slog.New(slog.NewTextHandler(w.log, nil))
	db := sqltest.Open(t)
	keks, err := keyring.ParseKEKs(keyring.NewKEKFile())
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := keyring.Open(t.Context(), keyring.Config{Store: sqlkeyring.Store{DB: db}, KEKs: keks, Server: "a", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	w.iam, err = iam.Open(t.Context(), iam.Config{
		Store: sqliam.Store{DB: db}, Accounts: []iam.Account{{ID: account}, {ID: other}}, Sealer: sealer,
		Trail: w.trail, Now: time.Now, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := iamapi.Config{
		Authority: access.New(access.Config{Authority: w.iam, Keys: ring{}, Revocations: w, Region: "eu-west-1", StaticKeys: true, Now: time.Now,
			Rule: func(string) (access.Place, bool) { return access.Place{}, false }}),
		IAM: w.iam, Region: "eu-west-1", StaticKeys: true, Now: time.Now, Logger: logger,
	}
	if change != nil {
		change(&c)
	}
	server := httptest.NewServer(&awsapi.Front{IAM: iamapi.New(c)})
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// role makes a role with one inline policy, beside the API.
func (w *world) role(t testing.TB, accountID, name, document string) iam.RoleRecord {
	t.Helper()
	r := iam.RoleRecord{
		ID: identity.NewRoleID(), Account: accountID, Path: "/", Name: name, MaxSession: time.Hour, Created: time.Now(),
		Trust: iam.Policy{Name: "trust", Document: strings.ReplaceAll(trustsAll, account, accountID)}, Policies: []iam.Policy{{Name: "own", Document: document}},
	}
	err := w.iam.Edit(t.Context(), event.Event{Action: "test"}, func(d *iam.Draft) error { d.Put(&r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// keys gives temporary keys of a role, as STS would.
func (w *world) keys(t testing.TB, r iam.RoleRecord, change func(*sessiontoken.Claims)) aws.CredentialsProvider {
	t.Helper()
	id := identity.NewAccessKeyID()
	claims := sessiontoken.Claims{
		Role: arn.Role{Partition: "aws", Account: r.Account, Path: r.Path, Name: r.Name}, RoleID: r.ID, SessionName: "carol", SecretKey: secret.Random(32),
		IssuedAt: time.Now().Truncate(time.Second), Expires: time.Now().Add(time.Hour).Truncate(time.Second), Epoch: 1,
		Person: "psn_carol", LoginSession: "lgn_carol",
	}
	if change != nil {
		change(&claims)
	}
	token, err := sessiontoken.Seal(ring{}, id, claims)
	if err != nil {
		t.Fatal(err)
	}
	return credentials.NewStaticCredentialsProvider(id, claims.SecretKey.Reveal(), token.Reveal())
}

func (w *world) client(keys aws.CredentialsProvider) *awsiam.Client {
	return awsiam.New(awsiam.Options{Region: "us-east-1", BaseEndpoint: aws.String(w.url), Credentials: keys, RetryMaxAttempts: 1})
}

// admin is the client of a role that may do everything.
func (w *world) admin(t testing.TB) *awsiam.Client {
	t.Helper()
	return w.client(w.keys(t, w.role(t, account, "operator", anything), nil))
}

// code gives the error code of an answer that the SDK read; empty for none.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("not an answer that the SDK reads: %v", err)
	}
	return api.ErrorCode()
}

func message(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorMessage()
	}
	return ""
}

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// userKeys gives temporary keys that a user made, as STS would.
func (w *world) userKeys(t testing.TB, kind sessiontoken.Kind, name, id string) aws.CredentialsProvider {
	t.Helper()
	key := identity.NewAccessKeyID()
	claims := sessiontoken.Claims{
		Kind: kind, User: arn.User{Partition: "aws", Account: account, Path: "/", Name: name}, UserID: identity.UserID(id), SecretKey: secret.Random(32),
		IssuedAt: time.Now().Truncate(time.Second), Expires: time.Now().Add(time.Hour).Truncate(time.Second), Epoch: 1,
	}
	if kind == sessiontoken.FederatedUser {
		claims.FederatedName = "job"
	}
	token, err := sessiontoken.Seal(ring{}, key, claims)
	if err != nil {
		t.Fatal(err)
	}
	return credentials.NewStaticCredentialsProvider(key, claims.SecretKey.Reveal(), token.Reveal())
}
