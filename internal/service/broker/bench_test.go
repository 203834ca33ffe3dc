package broker_test

import (
	"fmt"
	"testing"
	"time"

	"carnet.dev/carnet/internal/service/broker"
)

// BenchmarkExchange trades many roles at an STS that takes 50 ms a call, and
// gives the ratio to the ideal at 32 in parallel.
func BenchmarkExchange(b *testing.B) {
	const each = 50 * time.Millisecond
	for _, n := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("roles=%d", n), func(b *testing.B) {
			var names []string
			for i := range n {
				names = append(names, fmt.Sprintf("r%d", i))
			}
			r := request(b, names...)
			sts := &authority{takes: each}
			x := broker.New(broker.Config{STS: sts, Store: &shelf{}, Now: time.Now})
			for b.Loop() {
				r.IssueInstant, sts.calls = time.Now(), nil
				out, err := x.Exchange(b.Context(), r)
				if err != nil || out[n-1].Failure != nil {
					b.Fatal(err, out)
				}
			}
			ideal := each * time.Duration((n+31)/32)
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(ideal), "x-ideal")
		})
	}
}
