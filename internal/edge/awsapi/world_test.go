package awsapi_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
)

// world is the AWS port with the real STS, IAM and access behind it; S3 is a
// handler that says it was reached.
type world struct {
	idp       *forge.IdP
	snapshot  *iam.Snapshot
	url       string
	log       *record
	assertion string
	ended     map[string]bool
}

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + forge.Provider + `"},"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"SAML:aud":"` + forge.ACS + `"}}}]}`

type ring struct{}

func (ring) Current() (string, [32]byte)     { return "k1", [32]byte{7} }
func (ring) ByID(id string) ([32]byte, bool) { return [32]byte{7}, id == "k1" }

func (w *world) Current() (*iam.Snapshot, error) { return w.snapshot, nil }
func (w *world) Epoch() (uint64, error)          { return 1, nil }
func (w *world) Refused(kind, id string, _ uint64) (bool, error) {
	return w.ended[kind+" "+id], nil
}

// record keeps the log as text, to look for what must not be in it.
type record struct {
	mu sync.Mutex
	b  strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

func newWorld(t testing.TB, change func(*awsapi.STSConfig)) *world {
	t.Helper()
	now := time.Now()
	w := &world{idp: forge.NewECDSA(t, now), log: &record{}, ended: map[string]bool{}}
	metadata := string(w.idp.Metadata())
	w.snapshot = iam.Compile(iam.State{
		Providers: []iam.ProviderRecord{{Account: "111122223333", Name: "dev-idp", Metadata: metadata + strings.Repeat("\n", max(0, 1000-len(metadata)))}},
		Roles: []iam.RoleRecord{{
			ID: "AROAEXAMPLEEXAMPLE000", Account: "111122223333", Path: "/", Name: "analyst",
			Trust: iam.Policy{Name: "trust", Document: trust}, MaxSession: 4 * time.Hour,
		}},
	}, []iam.Account{{ID: "111122223333"}})
	if f := w.snapshot.Faults(); len(f) > 0 {
		t.Fatal(f)
	}
	may := access.New(access.Config{Authority: w, Keys: ring{}, Revocations: w, Now: time.Now, Region: "us-east-1"})
	config := awsapi.STSConfig{
		Authority: sts.New(sts.Config{IAM: w, Keys: ring{}, Revocations: w, Access: may, Now: time.Now, MinDuration: time.Second}),
		Keys:      may,
		Region:    "us-east-1", Now: time.Now, Logger: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	if change != nil {
		change(&config)
	}
	front := &awsapi.Front{
		STS: awsapi.NewSTS(config), Domains: []string{"s3.example.com"},
		S3: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("X-Face", "s3")
			rw.WriteHeader(http.StatusForbidden)
		}),
	}
	server := httptest.NewServer(front)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.assertion = w.respond(t, nil)
	return w
}

func (w *world) respond(t testing.TB, change func(*devidp.Answer)) string {
	t.Helper()
	a := w.idp.Answer("_r1", time.Now())
	if change != nil {
		change(&a)
	}
	return forge.Encode(w.idp.Respond(t, a))
}

// recorder takes an answer without a server, for targets that no URL holds.
type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func request(t testing.TB, method, target, body string) *http.Request {
	t.Helper()
	return httptest.NewRequest(method, target, strings.NewReader(body))
}

// noKeys knows nobody.
type noKeys struct{}

func (noKeys) Lookup(context.Context, string, secret.Text) (access.Caller, secret.Text, error) {
	return access.Caller{}, secret.Text{}, fault.Coded(fault.Unauthenticated, "InvalidAccessKeyId", "unknown")
}
