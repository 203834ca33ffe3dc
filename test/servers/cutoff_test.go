//go:build interop

package servers

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"carnet.dev/carnet/internal/app/config"
	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/api"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/service/revocation"
	"carnet.dev/carnet/test/running"
)

// clock runs ahead of the wall's by what a test says, so that nobody has to
// wait for the bound.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// TestACutOffServerRefuses: one of two servers loses touch with PostgreSQL.
// Until the bound it answers from memory; then STS, S3, the API and its
// readiness refuse. A revocation commits meanwhile, and holds when it is back.
func TestACutOffServerRefuses(t *testing.T) {
	dsn, line := sqltest.PostgreSQL(t), sqltest.Lay(t)
	c := newCluster(t, 2, func(i int) secret.Text { return []secret.Text{dsn, line.Through(dsn)}[i] })
	near, far := c.members[0], c.members[1]
	near.setUp(t, near.start(t))
	near.carnet(t, "authority", "apply", c.folder+"/authority.yaml")
	time.Sleep(time.Second) // until near knows
	wall := &clock{}
	far.serveHere(t, wall)

	alice, bob := near.signIn(t, "alice@example.com"), near.signIn(t, "bob@example.com")
	alices, bobs := alice.keys(t, near, "analyst"), bob.keys(t, near, "engineer")
	assertion := newBrowser(far).assertion(t, "bob@example.com").Get("SAMLResponse")
	yes := func(when string) {
		t.Helper()
		if got := far.get(t, bobs); got != allowed {
			t.Errorf("%s the gateway says %s", when, got)
		}
		if got := bob.ask(t, far, http.MethodGet, "/api/v1/session", nil, nil); got != http.StatusOK {
			t.Errorf("%s the API says %d", when, got)
		}
	}
	yes("before the cut")

	line.Silence()
	began := time.Now()
	out := near.carnet(t, "revoke", "person", "--wait", "1s", "alice@example.com")
	if !strings.Contains(out, "has not applied it yet") || strings.Count(out, "has applied it") != 1 {
		t.Errorf("revoke says %q", out)
	}
	t.Logf("a revocation is committed, and 1 s is waited for the server that is away: %v", time.Since(began).Round(time.Millisecond))
	wall.ahead.Store(int64(revocation.DefaultBound / 2))
	yes("within the bound")

	wall.ahead.Store(int64(revocation.DefaultBound + time.Second))
	far.refusesAll(t, bob, bobs, assertion)

	line.Sever()
	line.Heal()
	within(t, 15*time.Second, "back by itself", []*member{far}, func(m *member) bool { return m.get(t, bobs) == allowed })
	yes("back again")
	if got := far.get(t, alices); got != "ExpiredToken" {
		t.Errorf("keys that were revoked meanwhile: %s", got)
	}
	if got := alice.ask(t, far, http.MethodGet, "/api/v1/session", nil, nil); got != http.StatusUnauthorized {
		t.Errorf("a login session that was revoked meanwhile: %d", got)
	}
}

// refusesAll holds that a server that can't confirm its view decides nothing.
func (m *member) refusesAll(t *testing.T, b *browser, keys api.Credentials, assertion string) {
	t.Helper()
	if got := m.get(t, keys); got != "ServiceUnavailable" {
		t.Errorf("beyond the bound the gateway says %s", got)
	}
	client := awssts.New(awssts.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(m.place.aws), Retryer: aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: m.transport(), Timeout: 10 * time.Second},
		Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken),
	})
	_, err := client.AssumeRoleWithSAML(t.Context(), &awssts.AssumeRoleWithSAMLInput{RoleArn: aws.String(strings.Replace(analyst, "analyst", "engineer", 1)),
		PrincipalArn: aws.String(provider), SAMLAssertion: aws.String(assertion)})
	if got := codeOf(err); got != "ServiceUnavailable" {
		t.Errorf("beyond the bound STS says %s to an assertion: %v", got, err)
	}
	_, err = client.GetCallerIdentity(t.Context(), nil)
	if got := codeOf(err); got != "ServiceUnavailable" {
		t.Errorf("beyond the bound STS says %s to keys: %v", got, err)
	}
	for path, method := range map[string]string{"/api/v1/session": http.MethodGet, "/api/v1/roles": http.MethodGet, "/readyz": http.MethodGet, "/api/v1/roles/credentials": http.MethodPost} {
		var in any
		if method == http.MethodPost {
			in = api.CredentialsRequest{Role: "engineer"}
		}
		if got := b.ask(t, m, method, path, in, nil); got != http.StatusServiceUnavailable {
			t.Errorf("beyond the bound %s answers %d", path, got)
		}
	}
}

func codeOf(err error) string {
	var refusal smithy.APIError
	if errors.As(err, &refusal) {
		return refusal.ErrorCode()
	}
	return "no answer"
}

// serveHere runs a server in this process, under a clock of the test's.
func (m *member) serveHere(t *testing.T, wall *clock) {
	t.Helper()
	c, err := config.Load(m.config)
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := server.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(t.Context(), server.Options{Config: c, Binary: running.Need(t, "CARNET_BINARY"), Now: wall.now,
		Logger: slog.New(slog.NewJSONHandler(&m.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("%s", &m.log)
		}
	})
}
