// Package bench_test measures Carnet beside rivals that it must not depend on.
// It is a module of its own, so that neither the program nor its plain tests
// know them.
//
// SAML: our verification with role mapping, against crewjam/saml's
// ParseXMLResponse and against goxmldsig alone (tree and Validate, no SAML
// check at all), on the same bytes, interleaved in one run. crewjam/saml 0.5.1
// asks for goxmldsig 1.4.0 and etree 1.5.0; one module has one version of each,
// so it runs here on the newer ones that Carnet requires. They cost it about a
// tenth, which a narrow win must not rest on, and on them it panics past 1,000
// elements: the sizes stay far below.
//
// Only ratios of one run mean anything: the clock of a shared machine drifts.
// A missed target is printed and fails nothing; a refused response fails.
package bench_test

import (
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/beevik/etree"
	crewjam "github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"carnet.dev/carnet/internal/edge/devidp/forge"
	"carnet.dev/carnet/internal/protocol/saml"
)

const requestID = "_request1"

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// The targets, which hold at 20 roles: our time is at most mostDsig times that
// of goxmldsig alone, and crewjam's at least leastCrewjam times ours.
const (
	targetRoles  = 20
	mostDsig     = 1.5
	leastCrewjam = 2.0
)

// contender does the same work on the same bytes, once.
type contender struct {
	name string
	once func() error
}

// ratios are the medians of one size.
type ratios struct {
	roles         int
	dsig, crewjam float64 // ours to goxmldsig; crewjam to ours
}

// BenchmarkSAML prints a line per size and then the closing table.
func BenchmarkSAML(b *testing.B) {
	idp := forge.New(b, now)
	sizes := []int{1, targetRoles, 100}
	measured := make([]ratios, len(sizes)) // a size that -bench left out stays empty
	for i, roles := range sizes {
		raw := withRoles(b, idp, roles)
		ours, rival, library := contenders(b, idp, raw, roles)
		b.Run(fmt.Sprintf("roles=%d", roles), func(b *testing.B) {
			rounds := interleave(b, ours, rival, library)
			measured[i] = ratios{
				roles:   roles,
				dsig:    median(rounds, func(r []time.Duration) float64 { return float64(r[0]) / float64(r[2]) }),
				crewjam: median(rounds, func(r []time.Duration) float64 { return float64(r[1]) / float64(r[0]) }),
			}
			b.ReportMetric(0, "ns/op") // an op is a round of all three
			for j, c := range []contender{ours, rival, library} {
				us := median(rounds, func(r []time.Duration) float64 { return float64(r[j]) / float64(time.Microsecond) })
				b.ReportMetric(us, c.name+"-µs")
			}
			b.ReportMetric(measured[i].dsig, "x/goxmldsig")
			b.ReportMetric(measured[i].crewjam, "x-faster/crewjam")
		})
	}
	printTable(b, measured)
}

// withRoles gives an honest signed response with n roles.
func withRoles(tb testing.TB, idp *forge.IdP, n int) []byte {
	tb.Helper()
	a := idp.Answer(requestID, now)
	a.Attributes[0].Values = nil
	for i := range n {
		a.Attributes[0].Values = append(a.Attributes[0].Values, fmt.Sprintf("arn:aws:iam::111122223333:role/team-%03d,%s", i, forge.Provider))
	}
	return idp.Respond(tb, a)
}

// contenders makes the three, each of which fails unless it took the response
// and, where it reads attributes, found every role.
func contenders(b *testing.B, idp *forge.IdP, raw []byte, roles int) (ours, rival, library contender) {
	b.Helper()
	return carnet(b, idp, raw, roles), crewjamSAML(b, idp, raw, roles), dsigAlone(idp, raw)
}

func carnet(b *testing.B, idp *forge.IdP, raw []byte, roles int) contender {
	b.Helper()
	metadata, err := saml.ParseMetadata(idp.Metadata())
	if err != nil {
		b.Fatal(err)
	}
	want := saml.Expect{ACS: forge.ACS, Audience: forge.ACS, RequestID: requestID, Skew: saml.DefaultSkew}
	return contender{"carnet", func() error {
		a, err := saml.Verify(raw, metadata, want, now)
		if err != nil {
			return err
		}
		if pairs, malformed := saml.RolePairs(a); len(pairs) != roles || len(malformed) != 0 {
			return fmt.Errorf("%d role pairs and %d malformed, want %d", len(pairs), len(malformed), roles)
		}
		return nil
	}}
}

// crewjamSAML sets crewjam's package clock, which it has instead of a parameter.
func crewjamSAML(b *testing.B, idp *forge.IdP, raw []byte, roles int) contender {
	b.Helper()
	crewjam.TimeNow = func() time.Time { return now }
	crewjam.Clock = dsig.NewFakeClockAt(now)
	acs, err := url.Parse(forge.ACS)
	if err != nil {
		b.Fatal(err)
	}
	sp := crewjam.ServiceProvider{EntityID: forge.ACS, AcsURL: *acs, IDPMetadata: new(crewjam.EntityDescriptor)}
	if err := xml.Unmarshal(idp.Metadata(), sp.IDPMetadata); err != nil {
		b.Fatal(err)
	}
	return contender{"crewjam", func() error {
		a, err := sp.ParseXMLResponse(raw, []string{requestID}, *acs)
		if err != nil {
			if refused := new(crewjam.InvalidResponseError); errors.As(err, &refused) {
				return refused.PrivateErr // err itself says nothing
			}
			return err
		}
		if got := len(a.AttributeStatements[0].Attributes[0].Values); got != roles {
			return fmt.Errorf("%d role values, want %d", got, roles)
		}
		return nil
	}}
}

func dsigAlone(idp *forge.IdP, raw []byte) contender {
	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{idp.Certificate}})
	ctx.Clock = dsig.NewFakeClockAt(now)
	return contender{"goxmldsig", func() error {
		doc := etree.NewDocument()
		if err := doc.ReadFromBytes(raw); err != nil {
			return err
		}
		_, err := ctx.Validate(doc.FindElement("./Response/Assertion"))
		return err
	}}
}

const (
	leastRounds = 9
	turn        = 40 * time.Millisecond
)

// interleave gives, per round, the time of one operation of each contender, in
// the order given. Who begins changes from round to round, and each turn begins
// with a clean heap: nobody pays for another's garbage.
func interleave(b *testing.B, all ...contender) (rounds [][]time.Duration) {
	b.Helper()
	round := func() {
		times := make([]time.Duration, len(all))
		for i := range all {
			j := (i + len(rounds)) % len(all)
			times[j] = timed(b, all[j])
		}
		rounds = append(rounds, times)
	}
	for _, c := range all { // warm, and refused here rather than halfway
		timed(b, c)
	}
	for b.Loop() {
		round()
	}
	for len(rounds) < leastRounds {
		round()
	}
	return rounds
}

func timed(b *testing.B, c contender) time.Duration {
	b.Helper()
	runtime.GC()
	n, begin := 0, time.Now()
	for ; time.Since(begin) < turn; n++ {
		if err := c.once(); err != nil {
			b.Fatalf("%s: %v", c.name, err)
		}
	}
	return time.Since(begin) / time.Duration(n)
}

func median(rounds [][]time.Duration, of func([]time.Duration) float64) float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func printTable(b *testing.B, measured []ratios) {
	b.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nSAML verification and role mapping\tvalue\ttarget\tmet\n")
	for _, m := range measured {
		if m.roles == 0 {
			continue
		}
		fmt.Fprintf(w, "time to goxmldsig alone, roles=%d\t%.2fx\t%s\n", m.roles, m.dsig, verdict(m.roles, "at most", mostDsig, m.dsig <= mostDsig))
		fmt.Fprintf(w, "faster than crewjam/saml, roles=%d\t%.2fx\t%s\n", m.roles, m.crewjam, verdict(m.roles, "at least", leastCrewjam, m.crewjam >= leastCrewjam))
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
}

// verdict fills the columns target and met; only targetRoles has targets.
func verdict(roles int, bound string, target float64, met bool) string {
	switch {
	case roles != targetRoles:
		return "none\t-"
	case met:
		return fmt.Sprintf("%s %.1fx\tyes", bound, target)
	}
	return fmt.Sprintf("%s %.1fx\tNOT MET", bound, target)
}
