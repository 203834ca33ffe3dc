package awsapi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carnet.dev/carnet/internal/app/server"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/edge/devidp"
	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/edge/egress"
	sqlaudit "carnet.dev/carnet/internal/edge/sql/audit"
	"carnet.dev/carnet/internal/edge/sql/sqltest"
	"carnet.dev/carnet/internal/edge/upstream/jwks"
	"carnet.dev/carnet/internal/protocol/saml"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/audit"
	"carnet.dev/carnet/internal/service/iam"
	"carnet.dev/carnet/internal/service/sts"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// exchanges is STS over real HTTP as a server runs it: real IAM, real keys of an
// issuer on loopback, and an audit record in SQLite, committed before the answer.
func exchanges(b *testing.B, earlier int) *full {
	b.Helper()
	var snapshot *iam.Snapshot
	f := newFull(b, func(c *awsapi.STSConfig) {
		trail, err := audit.Open(b.Context(), audit.Config{Store: sqlaudit.Store{DB: sqltest.Open(b)}, Sealer: plain{}, Now: time.Now})
		if err != nil {
			b.Fatal(err)
		}
		live(b, trail, earlier)
		allow, err := egress.ParseAllow([]string{"127.0.0.1"})
		if err != nil {
			b.Fatal(err)
		}
		state := current(func() *iam.Snapshot { return snapshot })
		may := access.New(access.Config{Authority: state, Keys: ring{}, Revocations: &world{}, Now: time.Now, Region: "us-east-1"})
		c.Keys, c.Exchanges, c.Logger = may, 64, slog.New(slog.NewTextHandler(io.Discard, nil))
		c.Authority = sts.New(sts.Config{
			IAM: state, Keys: ring{}, Revocations: &world{}, Access: may, Trail: audit.NewGroup(trail), Now: time.Now,
			KeySets: jwks.New(jwks.Config{Client: egress.New(egress.Config{}), Loopback: egress.New(egress.Config{Allow: allow}), Now: time.Now}),
		})
	})
	var err error
	if snapshot, err = f.Current(); err != nil {
		b.Fatal(err)
	}
	return f
}

// live records exchanges of before. Their records are all that is left of them:
// the sessions themselves are in their session tokens.
func live(b *testing.B, trail *audit.Writer, n int) {
	b.Helper()
	group := audit.NewGroup(trail)
	var wait sync.WaitGroup
	for range 64 {
		wait.Go(func() {
			for range n / 64 {
				e := event.Event{Action: "sts.AssumeRoleWithWebIdentity", Account: here, Role: loaderARN, AccessKeyID: identity.NewAccessKeyID(), Target: loaderARN}
				if err := group.Record(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

type current func() *iam.Snapshot

func (c current) Current() (*iam.Snapshot, error) { return c(), nil }

// served is what a server process of a benchmark tells its client.
type served struct {
	URL    string
	Forms  []string // requests that it answers
	Header http.Header
}

// TestMain makes this binary a server too: load and servers are processes of
// their own, as in life.
func TestMain(m *testing.M) {
	kind := os.Getenv("CARNET_BENCH_SERVER")
	if kind == "" {
		os.Exit(m.Run())
	}
	flag.Parse()
	var room []byte
	if kind != "bare" { // that one has Go's own measure
		room = make([]byte, server.Headroom)
	}
	defer runtime.KeepAlive(room)
	testing.Benchmark(func(b *testing.B) {
		out := map[string]func(*testing.B) served{"web": serveWeb, "web-100k": serveWeb100k, "saml": serveSAML, "who": serveWho, "bare": serveBare}[kind](b)
		if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, os.Stdin) // until the client is gone
	})
}

// start runs a server process until the benchmark ends.
func start(b *testing.B, kind string) (out served, process func() time.Duration) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, "-test.benchtime=1x")
	cmd.Env, cmd.Stderr = append(os.Environ(), "CARNET_BENCH_SERVER="+kind), os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = stdin.Close(); _, _ = io.Copy(io.Discard, stdout); _ = cmd.Wait() })
	if err := json.NewDecoder(stdout).Decode(&out); err != nil {
		b.Fatal(err)
	}
	return out, func() time.Duration { return processorTime(b, cmd.Process.Pid) }
}

// processorTime reads what a process has used, from Linux; nothing elsewhere.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	ticks := 0
	for _, f := range fields[11:13] { // user and system
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// serveBare is the ceiling: a net/http server that reads the same form and
// writes an answer of the same fields and size, and proves and keeps nothing.
func serveBare(b *testing.B) served {
	type credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	type user struct{ AssumedRoleId, Arn string }
	type answer struct {
		XMLName     xml.Name    `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleWithWebIdentityResponse"`
		Subject     string      `xml:"AssumeRoleWithWebIdentityResult>SubjectFromWebIdentityToken"`
		Audience    string      `xml:"AssumeRoleWithWebIdentityResult>Audience"`
		Provider    string      `xml:"AssumeRoleWithWebIdentityResult>Provider"`
		User        user        `xml:"AssumeRoleWithWebIdentityResult>AssumedRoleUser"`
		Credentials credentials `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
		RequestID   string      `xml:"ResponseMetadata>RequestId"`
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		_ = xml.NewEncoder(w).Encode(answer{
			Subject: "job:nightly", Audience: "sts.amazonaws.com", Provider: r.PostForm.Get("Action"), User: user{"AROALOADER:nightly", r.PostForm.Get("RoleArn")},
			Credentials: credentials{"ASIA2222222222222222", strings.Repeat("s", 43), strings.Repeat("t", 700), "2026-03-01T08:00:00Z"}, RequestID: "REQ1",
		})
	}))
	b.Cleanup(s.Close)
	return served{URL: s.URL}
}

func serveWeb(b *testing.B) served { return web(b, exchanges(b, 0)) }

func serveWeb100k(b *testing.B) served { return web(b, exchanges(b, 100_000)) }

// web gives requests with tokens of their own. STS remembers none that it
// verified, so it is the same to it.
func web(b *testing.B, f *full) served {
	out := served{URL: f.url}
	for i := range 256 {
		token := f.issuer.Token(b, time.Now(), map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "jti": fmt.Sprintf("token-%d", i)})
		out.Forms = append(out.Forms, form("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15", "RoleArn", loaderARN, "RoleSessionName", "nightly",
			"WebIdentityToken", token))
	}
	return out
}

// serveWho waits for a signed GetCallerIdentity of a role session.
func serveWho(b *testing.B) served {
	f := exchanges(b, 0)
	c := f.assume(b).Credentials
	body := form("Action", "GetCallerIdentity", "Version", "2011-06-15")
	r, err := http.NewRequest("POST", f.url+"/", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	keys := aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
	if err := v4.NewSigner().SignHTTP(b.Context(), keys, r, hex.EncodeToString(sum[:]), "sts", "us-east-1", time.Now()); err != nil {
		b.Fatal(err)
	}
	return served{URL: f.url, Forms: []string{body}, Header: r.Header}
}

// serveSAML waits for an assertion of 20 roles.
func serveSAML(b *testing.B) served {
	f := exchanges(b, 0)
	var roles []string
	for i := range 19 {
		roles = append(roles, fmt.Sprintf("arn:aws:iam::%s:role/role%d,%s", here, i, forge.Provider))
	}
	f.assertion = f.respond(b, func(a *devidp.Answer) {
		for i := range a.Attributes {
			if a.Attributes[i].Name == saml.AttrRole {
				a.Attributes[i].Values = append(a.Attributes[i].Values, roles...)
			}
		}
	})
	return served{URL: f.url, Forms: []string{f.call()}}
}

const clients = 16 // at once, as in the table of targets

// hammer posts forms, by turns, n times from all clients and gives the time for one.
func hammer(b *testing.B, c *http.Client, url string, what served, n int) time.Duration {
	b.Helper()
	var wait sync.WaitGroup
	left := make(chan string, n)
	for i := range n {
		left <- what.Forms[i%len(what.Forms)]
	}
	close(left)
	began := time.Now()
	for range clients {
		wait.Go(func() {
			for form := range left {
				r, err := http.NewRequest("POST", url+"/", strings.NewReader(form))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header = what.Header.Clone()
				res, err := c.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
					b.Errorf("%d %v", res.StatusCode, err)
				}
				_ = res.Body.Close()
			}
		})
	}
	wait.Wait()
	return time.Since(began) / time.Duration(n)
}

// against measures two servers by turns, in rounds, and reports the median of
// the ratios of their rates, and what each request costs the two processes.
func against(b *testing.B, kind, other string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	own, ownTime := start(b, kind)
	base, baseTime := start(b, other)
	if own.Header == nil {
		own.Header = formHeader
	}
	load := own
	if base.Forms != nil {
		load = base
		load.Header = formHeader
	}
	const batch = 400
	var rates []float64
	total := time.Duration(0)
	ownBefore, baseBefore := ownTime(), baseTime()
	for b.Loop() {
		ours, theirs := hammer(b, client, own.URL, own, batch), hammer(b, client, base.URL, load, batch)
		rates = append(rates, float64(theirs)/float64(ours))
		total += ours
	}
	slices.Sort(rates)
	n := len(rates)
	b.ReportMetric(rates[n/2], "x-"+other+"-rate")
	b.ReportMetric(float64(total.Microseconds())/float64(n), "µs/exchange")
	b.ReportMetric(float64((ownTime()-ownBefore).Microseconds())/float64(n*batch), kind+"-cpu-µs")
	b.ReportMetric(float64((baseTime()-baseBefore).Microseconds())/float64(n*batch), other+"-cpu-µs")
	b.ReportMetric(0, "ns/op") // an op is a round
}

// BenchmarkWebIdentity must be at least 0.35 of the rate of the bare server.
func BenchmarkWebIdentity(b *testing.B) { against(b, "web", "bare") }

// BenchmarkSAML20Roles must be at least 0.06 of it.
func BenchmarkSAML20Roles(b *testing.B) { against(b, "saml", "bare") }

// BenchmarkGetCallerIdentity: a signature of a role session, no exchange.
func BenchmarkGetCallerIdentity(b *testing.B) { against(b, "who", "bare") }

// BenchmarkWebIdentityAt100kSessions must be at least 0.9 of the rate without.
func BenchmarkWebIdentityAt100kSessions(b *testing.B) { against(b, "web-100k", "web") }
