// Package s3conformance holds the gateway to what an S3 store does by itself:
// the test clients of versitygw and of minio-go run straight against a store,
// and through the gateway in front of the same kind of store. What passes
// straight has to pass through the gateway, but for the cases of allowed.tsv,
// each of which has a reason. A case that is listed there and passes fails the
// run too, so that the list stays true.
//
// The lanes through the gateway are: static (an IAM user's keys, the S3
// upstream), session (a role's temporary keys by way of package resign),
// embedded (static keys, the embedded store) and versions (static keys, an
// upstream that keeps versions). It is started by make conformance-s3; nothing
// is skipped.
package s3conformance

import (
	"fmt"
	"slices"
	"strings"
)

// lanes are those that go through the gateway.
var lanes = []string{"static", "session", "embedded", "versions", "minio", "minio-session"}

// exception is one line of allowed.tsv.
type exception struct {
	name   string   // of the case
	lanes  []string // where it may fail; empty: everywhere
	flaky  bool     // it may pass, too
	reason string
}

func (e exception) covers(lane string) bool {
	return len(e.lanes) == 0 || slices.Contains(e.lanes, lane)
}

// parseAllowed reads allowed.tsv: case, where, reason. Where is "all" or lanes
// with commas between them, with "flaky" among them for what may also pass.
// Lines are sorted by case, so that two changes meet where they concern the same.
func parseAllowed(text string) ([]exception, error) {
	var all []exception
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 3 || f[0] == "" || len(f[2]) < len("a reason") {
			return nil, fmt.Errorf("line %d: want case, where and reason with tabs between: %q", i+1, line)
		}
		e := exception{name: f[0], reason: f[2]}
		for place := range strings.SplitSeq(f[1], ",") {
			switch {
			case place == "flaky":
				e.flaky = true
			case place == "all":
			case slices.Contains(lanes, place):
				e.lanes = append(e.lanes, place)
			default:
				return nil, fmt.Errorf("line %d: no lane %q", i+1, place)
			}
		}
		if n := len(all); n > 0 && all[n-1].name > e.name {
			return nil, fmt.Errorf("line %d: %s stands behind %s: keep the lines sorted", i+1, e.name, all[n-1].name)
		}
		all = append(all, e)
	}
	return all, nil
}

// outcome is what one case came to: pass, fail, panic, timeout, skip or lost.
type outcome struct {
	Status       string
	Message      string
	Milliseconds int64
}

// judgement compares one lane with the same cases straight.
type judgement struct {
	passed, straight int
	broken           []string // pass straight, fail here, and are not allowed to
	allowed          []string // pass straight, fail here, and may
	stale            []string // are allowed to fail here, and pass
	better           []string // fail straight, pass here
}

// judge holds a lane to the straight run of the same cases.
func judge(lane string, straight, through map[string]outcome, list []exception) judgement {
	exceptions := map[string][]exception{}
	for _, e := range list {
		if e.covers(lane) {
			exceptions[e.name] = append(exceptions[e.name], e)
		}
	}
	var j judgement
	names := make([]string, 0, len(through))
	for name := range through {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		passes, passesStraight := through[name].Status == "pass", straight[name].Status == "pass"
		if passes {
			j.passed++
		}
		if passesStraight {
			j.straight++
		}
		e := exceptions[name]
		switch {
		case passes && len(e) > 0 && !e[0].flaky:
			j.stale = append(j.stale, name)
		case passes && !passesStraight:
			j.better = append(j.better, name)
		case passesStraight && !passes && len(e) > 0:
			j.allowed = append(j.allowed, name)
		case passesStraight && !passes:
			j.broken = append(j.broken, name)
		}
	}
	return j
}
