package stsclient_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/edge/upstream/stsclient"
	"carnet.dev/carnet/internal/service/broker"
	"carnet.dev/carnet/internal/service/entitlement"
)

// BenchmarkExchangeOverTheWire trades all roles of a sign-in at an STS that
// speaks TLS and takes 50 ms a call, and gives the ratio to the ideal at 32 in
// parallel. The response is that of a person with as many roles.
func BenchmarkExchangeOverTheWire(b *testing.B) {
	const each = 50 * time.Millisecond
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(each)
		_, _ = io.WriteString(w, response)
	}))
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	for _, n := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("roles=%d", n), func(b *testing.B) {
			c := stsclient.New([]stsclient.Account{{ID: account, Region: "us-east-1", Endpoint: s.URL, RootCAs: pool}})
			x := broker.New(broker.Config{STS: c, Store: forgetful{}, Now: time.Now})
			r := broker.Request{Ends: time.Now().Add(12 * time.Hour), Assertion: secret.New(strings.Repeat("PHNhbWw+", 500+40*n)),
				Entitlements: entitlement.Entitlements{SessionName: "ann"}}
			for i := range n {
				r.Entitlements.Candidates = append(r.Entitlements.Candidates, entitlement.Candidate{
					Role: arn.Role{Partition: "aws", Account: account, Path: "/", Name: "analyst"}, Provider: call(b).Provider, Index: i,
					Account: entitlement.Account{ID: account},
				})
			}
			for b.Loop() {
				r.IssueInstant = time.Now()
				out, err := x.Exchange(b.Context(), r)
				if err != nil || out[n-1].Failure != nil {
					b.Fatal(err, out[n-1].Failure)
				}
			}
			ideal := each * time.Duration((n+31)/32)
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(ideal), "x-ideal")
		})
	}
}

// forgetful learns and keeps nothing.
type forgetful struct{ broker.Store }

func (forgetful) Longest(context.Context, []string) ([]broker.Longest, error) { return nil, nil }

func (forgetful) Save(context.Context, identity.LoginSessionID, []broker.Row, []broker.Longest) error {
	return nil
}
