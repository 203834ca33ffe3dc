//go:build interop

package gatewaybench

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"carnet.dev/carnet/internal/edge/upstream/jwks/issuertest"
)

var (
	rounds = flag.Int("rounds", 5, "rounds per row; every target takes one turn in each")
	window = flag.Duration("window", 2*time.Second, "length of a turn")
	only   = flag.String("rows", "", "regular expression: the rows to run")
	among  = flag.String("targets", "", "regular expression: the targets to run")
	bare   = flag.Bool("bare", false, "a store and clients without net/http, which leave the gateway nothing to hide behind")
	out    = flag.String("out", "", "file that the results go to, too")
)

// targets are all ways to the store.
type targets struct {
	direct, relay, nginx, proxy, proxyUnsigned process
	carnet, carnetTLS, netHTTP                 *gateway // netHTTP: without the fast path
	nginxTLS                                   process
	role, static, roleTLS                      aws.Credentials
	issuer                                     *issuertest.Issuer
}

func startAll(t *testing.T) *targets {
	t.Helper()
	role := "store"
	if *bare {
		role = "bare-store"
	}
	store := startRole(t, role, "")
	issuer := issuertest.New(t)
	crt, key := certificate(t)
	all := &targets{
		issuer: issuer,
		direct: process{"direct", store.address, store.pid}, relay: startRole(t, "relay", store.address),
		nginx: startNginx(t, store.address, "", ""), nginxTLS: startNginx(t, store.address, crt, key),
		proxy: startProxy(t, store.address, false), proxyUnsigned: startProxy(t, store.address, true),
		carnet: startGateway(t, store.address, "", "", issuer), carnetTLS: startGateway(t, store.address, crt, key, issuer),
	}
	all.proxy.name, all.proxyUnsigned.name, all.nginxTLS.name, all.carnetTLS.name = "sigv4-proxy", "sigv4-proxy-unsigned", "nginx-tls", "carnet-tls"
	all.netHTTP = startGatewayWith(t, store.address, "", "", issuer, "off")
	all.netHTTP.name = "carnet-net-http"
	all.role, all.roleTLS = all.carnet.roleKeys(t, issuer), all.carnetTLS.roleKeys(t, issuer)
	all.static = all.carnet.staticKeys(t, all.role)
	return all
}

// row is one line of the comparison.
type row struct {
	name    string
	c       int // connections
	targets []*target
	claims  []claim
}

// claim is one figure that a row is held to.
type claim struct {
	must bool // of the issue; else the stretch
	what string
	// of gives the figure from one round's samples, by target.
	of    func(round map[string]sample) float64
	least float64 // the target; negative: at most its absolute value
}

// times compares the rates of two targets.
func times(must bool, us, them string, least float64) claim {
	return claim{must, us + " / " + them + ", rate", func(r map[string]sample) float64 { return r[us].ops / r[them].ops }, least}
}

// processor is what a GiB costs, in seconds.
func processor(must bool, us string, most float64) claim {
	return claim{must, us + ", processor s/GiB", func(r map[string]sample) float64 { return r[us].perGiB.Seconds() }, -most}
}

func perRequest(us string, most time.Duration) claim {
	return claim{false, us + ", processor µs/request", func(r map[string]sample) float64 { return us2(r[us].perOp) }, -us2(most)}
}

func us2(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

const (
	kib4  = 4 << 10
	mib1  = 1 << 20
	mib64 = 64 << 20
)

// rows is the table of the issue and of facts/performance.md, section 9.
func (a *targets) rows(t *testing.T) []row {
	reads := func(size int64, rivals ...process) (all []*target) {
		for _, p := range rivals {
			keys := a.role
			if strings.HasPrefix(p.name, "sigv4") {
				keys = aws.Credentials{}
			}
			// Whoever looks at no signature gets the same bytes.
			all = append(all, &target{process: p, request: get(t, a.carnet.address, keys, size)})
		}
		return all
	}
	writes := func(size int64, m mode, rivals ...process) (all []*target) {
		for _, p := range rivals {
			m := m
			if strings.HasPrefix(p.name, "sigv4") {
				m = plain
			}
			all = append(all, &target{process: p, request: put(t, a.carnet.address, a.role, size, m)})
		}
		return all
	}
	five := []process{a.direct, a.relay, a.nginx, a.proxy, a.carnet.process}
	static := a.carnet.process
	static.name = "carnet-static"
	keys := a.netHTTP.roleKeys(t, a.issuer)
	netHTTP := &target{process: a.netHTTP.process, request: get(t, a.netHTTP.address, keys, kib4)}
	netHTTPPut := &target{process: a.netHTTP.process, request: put(t, a.netHTTP.address, keys, kib4, hashed)}
	few := []process{a.direct, a.relay, a.proxy, a.carnet.process}
	all := []row{
		{"GET 4 KiB c=1", 1, reads(kib4, five...), []claim{
			{false, "added p50: carnet / relay", added("relay"), -1.3},
			{false, "added p50: carnet / sigv4-proxy", added("sigv4-proxy"), -0.6},
		}},
		{"GET 4 KiB c=64", 64, append(reads(kib4, five...), netHTTP, &target{process: static, request: get(t, a.carnet.address, a.static, kib4)}), []claim{
			times(true, "carnet", "sigv4-proxy", 1.7), times(true, "carnet", "relay", 0.45),
			times(false, "carnet", "sigv4-proxy", 2.5), times(false, "carnet", "relay", 0.65), perRequest("carnet", 100*time.Microsecond),
			{false, "carnet / sigv4-proxy, processor", func(r map[string]sample) float64 { return float64(r["carnet"].perOp) / float64(r["sigv4-proxy"].perOp) }, -0.35},
			times(false, "carnet-static", "relay", 0.65), times(false, "carnet", "carnet-net-http", 1.08),
		}},
		{"GET 4 KiB c=256", 256, reads(kib4, five...), []claim{times(true, "carnet", "sigv4-proxy", 1.7), times(true, "carnet", "relay", 0.45)}},
		{"GET 1 MiB c=16", 16, reads(mib1, five...), []claim{
			times(true, "carnet", "sigv4-proxy", 2.5), processor(true, "carnet", 0.9),
			times(false, "carnet", "sigv4-proxy", 3), times(false, "carnet", "relay", 0.85), processor(false, "carnet", 0.5),
		}},
		{"GET 64 MiB c=4", 4, reads(mib64, five...), []claim{
			times(true, "carnet", "sigv4-proxy", 1.2), processor(true, "carnet", 0.9),
			times(false, "carnet", "sigv4-proxy", 1.3), times(false, "carnet", "relay", 0.85), processor(false, "carnet", 0.6),
		}},
		{"GET 64 MiB c=32", 32, reads(mib64, five...), []claim{
			times(true, "carnet", "sigv4-proxy", 1.2), processor(true, "carnet", 0.9),
			times(false, "carnet", "sigv4-proxy", 1.8), times(false, "carnet", "relay", 0.85), processor(false, "carnet", 0.6),
		}},
		{"PUT 4 KiB c=16", 16, append(writes(kib4, hashed, five...), netHTTPPut), []claim{times(false, "carnet", "sigv4-proxy", 1.7), times(false, "carnet", "relay", 0.45), times(false, "carnet", "carnet-net-http", 1.08)}},
		{"PUT 1 MiB c=16, unsigned payload", 16, writes(mib1, unsigned, five...), []claim{
			times(true, "carnet", "sigv4-proxy", 2.5), processor(true, "carnet", 0.9), times(false, "carnet", "relay", 0.85)}},
		{"PUT 1 MiB c=16, hashed", 16, writes(mib1, hashed, few...), []claim{times(true, "carnet", "sigv4-proxy", 2.5)}},
		{"PUT 64 MiB c=4, unsigned payload", 4, append(writes(mib64, unsigned, five...), writes(mib64, unsigned, a.proxyUnsigned)...), []claim{
			times(true, "carnet", "sigv4-proxy", 2.5), processor(true, "carnet", 0.9),
			times(false, "carnet", "sigv4-proxy", 3), times(false, "carnet", "sigv4-proxy-unsigned", 2.2), times(false, "carnet", "relay", 0.85), processor(false, "carnet", 0.6),
		}},
		{"PUT 64 MiB c=4, unsigned trailer", 4, writes(mib64, unsignedTrailer, few...), []claim{
			times(true, "carnet", "sigv4-proxy", 2.5), processor(true, "carnet", 0.9),
			times(false, "carnet", "relay", 0.85), processor(false, "carnet", 0.6),
		}},
		{"PUT 64 MiB c=4, hashed", 4, writes(mib64, hashed, few...), []claim{times(true, "carnet", "sigv4-proxy", 2.5), processor(false, "carnet", 0.6+0.75)}},
		{"PUT 64 MiB c=4, aws-chunked signed", 4, writes(mib64, chunked, few...), []claim{times(true, "carnet", "sigv4-proxy", 2.5), processor(false, "carnet", 0.6+0.75)}},
	}
	return append(all, a.overTLS(t)...)
}

// overTLS are rows beside the table: what TLS costs, and what it costs nginx.
func (a *targets) overTLS(t *testing.T) []row {
	secured := func(r func(process, *gateway) *request) []*target {
		return []*target{
			{process: a.carnet.process, request: r(a.carnet.process, a.carnet)},
			{process: a.carnetTLS.process, request: r(a.carnetTLS.process, a.carnetTLS), tls: a.carnetTLS.tlsConfig(t)},
			{process: a.nginxTLS, request: r(a.nginxTLS, a.carnet), tls: a.carnetTLS.tlsConfig(t)},
		}
	}
	keys := func(g *gateway) aws.Credentials {
		if g == a.carnetTLS {
			return a.roleTLS
		}
		return a.role
	}
	beside := []claim{times(false, "carnet-tls", "nginx-tls", 1), times(false, "carnet-tls", "carnet", 0.5)}
	return []row{
		{"TLS GET 4 KiB c=64", 64, secured(func(_ process, g *gateway) *request { return get(t, g.address, keys(g), kib4) }), beside},
		{"TLS GET 64 MiB c=4", 4, secured(func(_ process, g *gateway) *request { return get(t, g.address, keys(g), mib64) }), beside},
		{"TLS PUT 64 MiB c=4, unsigned trailer", 4, secured(func(_ process, g *gateway) *request { return put(t, g.address, keys(g), mib64, unsignedTrailer) }), beside},
	}
}

// added is what carnet adds to the median latency, by what another adds.
func added(them string) func(map[string]sample) float64 {
	return func(r map[string]sample) float64 {
		return float64(r["carnet"].p50-r["direct"].p50) / float64(r[them].p50-r["direct"].p50)
	}
}

// TestBenchGateway prints each row as it ends and the table of claims last. A
// claim that is not met fails nothing: a machine has its moods. A wrong answer
// does.
func TestBenchGateway(t *testing.T) {
	pick := regexp.MustCompile(*only)
	p := newPaper(t)
	a := startAll(t)
	if os.Getenv(sigv4Proxy) == "" {
		p.say("sigv4-proxy is a stand-in of our own that works as aws-sigv4-proxy does: %s names no binary of it\n", sigv4Proxy)
	}
	for _, r := range a.rows(t) {
		if !pick.MatchString(r.name) {
			continue
		}
		p.run(t, r)
	}
	if pick.MatchString("first byte") {
		p.firstByte(t, a)
	}
	if pick.MatchString("boto3") {
		p.boto3(t, a)
	}
	_, peak := resident(t, a.carnet.pid)
	p.say("\ncarnet's peak memory over all rows: %.0f MiB; sigv4-proxy's: %.0f MiB\n", peak, peakOf(t, a.proxy.pid))
	p.close(t)
}

func peakOf(t *testing.T, pid int) float64 {
	_, peak := resident(t, pid)
	return peak
}

// paper takes the results.
type paper struct {
	file   *os.File
	claims []string
}

func newPaper(t *testing.T) *paper {
	t.Helper()
	p := &paper{}
	if *out == "" {
		return p
	}
	if err := os.MkdirAll(filepath.Dir(*out), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.file, err = os.Create(*out); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *paper) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Print(text)
	if p.file != nil {
		_, _ = p.file.WriteString(text)
	}
}

func (p *paper) run(t *testing.T, r row) {
	pick := regexp.MustCompile(*among)
	r.targets = slices.DeleteFunc(r.targets, func(at *target) bool { return !pick.MatchString(at.name) })
	if len(r.targets) == 0 {
		return
	}
	all := make([]map[string]sample, *rounds)
	for i := range all {
		all[i] = map[string]sample{}
		for _, at := range r.targets {
			fmt.Printf("\r%-42s round %d of %d: %-24s", r.name, i+1, *rounds, at.name)
			all[i][at.name] = load(t, at, r.c, *window)
		}
	}
	fmt.Printf("\r%-100s\r", "")
	p.say("\n%s\n", r.name)
	first := r.targets[0].name
	for _, at := range r.targets {
		of := func(f func(sample) float64) float64 {
			return over(all, func(m map[string]sample) float64 { return f(m[at.name]) })
		}
		p.say("  %-22s %9.0f/s %6.2f GiB/s  %5.2f of %s  p50 %8.0f µs  processor %6.0f µs/request", at.name, of(func(s sample) float64 { return s.ops }),
			of(func(s sample) float64 { return s.gib }), over(all, func(m map[string]sample) float64 { return m[at.name].ops / m[first].ops }), first,
			of(func(s sample) float64 { return us2(s.p50) }), of(func(s sample) float64 { return us2(s.perOp) }))
		if at.size >= mib1 {
			p.say(" %5.2f s/GiB", of(func(s sample) float64 { return s.perGiB.Seconds() }))
		}
		p.say("\n")
	}
	for _, c := range r.claims {
		// Without one of its targets a claim has no figure.
		if value := over(all, c.of); value != 0 && !math.IsNaN(value) && !math.IsInf(value, 0) {
			p.hold(r.name, c, value)
		}
	}
}

// over is the median over the rounds.
func over(all []map[string]sample, of func(map[string]sample) float64) float64 {
	var each []float64
	for _, r := range all {
		each = append(each, of(r))
	}
	return median(each)
}

func (p *paper) hold(name string, c claim, value float64) {
	rank, sign, met, bound := "stretch", "≥", value >= c.least, c.least
	if c.least < 0 {
		sign, met, bound = "≤", value <= -c.least, -c.least
	}
	if c.must {
		rank = "must"
	}
	p.claims = append(p.claims, fmt.Sprintf("%-8s %-38s %-42s %8.2f  %s %6.2f  %s", rank, name, c.what, value, sign, bound, map[bool]string{true: "met", false: "NOT MET"}[met]))
}

func (p *paper) close(t *testing.T) {
	p.say("\n%-8s %-38s %-42s %8s  %8s\n%s\n", "", "row", "figure", "value", "target", strings.Join(p.claims, "\n"))
	if p.file != nil {
		if err := p.file.Close(); err != nil {
			t.Error(err)
		}
	}
}
