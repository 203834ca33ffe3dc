package trail

import (
	"time"

	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/gateway"
	"carnet.dev/carnet/internal/service/access"
	"carnet.dev/carnet/internal/service/denial"
)

// mostChecks bounds the checks of a denial that are shown.
const mostChecks = 16

// keep has the denial kept for explanation. What the statements said is found out
// later, off the request's path.
func (t *Trail) keep(r *gateway.Record) {
	if t.Denials == nil {
		return
	}
	c := r.Caller
	d := denial.Denial{
		Request: r.Request, At: r.Began.UTC().Truncate(time.Millisecond), Operation: string(r.Operation), Code: r.Code, Reason: r.Message, DecidedBy: by(r),
		Principal: c.ARN, Role: role(c), Account: c.Account, Person: c.Person, LoginSession: c.LoginSession,
		ServicePrincipal: c.ServicePrincipal, Delegation: c.Delegation, GatewayKey: identity.GatewayKeyID(r.GatewayKey), Cluster: r.Cluster,
		AccessKeyID: r.AccessKeyID, Source: r.Source.String(), UserAgent: r.UserAgent[:min(len(r.UserAgent), mostDetail)],
		Bucket: r.Bucket, Key: r.Key, VersionID: r.VersionID, BucketAccount: r.Place.Account, Upstream: r.Place.Upstream, Checks: []denial.Check{},
	}
	if r.FromStore {
		d.StoreRequest, d.StoreHost = r.StoreRequest, r.StoreHost
	}
	if d.Code == "" {
		d.Code = "AccessDenied"
	}
	asked := shown(r.Decisions)
	d.MoreChecks = r.Denials - refusals(asked)
	t.Denials.Keep(r.AccessKeyID, func() denial.Denial {
		for _, q := range asked {
			d.Checks = append(d.Checks, checks(q)...)
		}
		if d.Reason == "" && len(asked) > 0 {
			d.Reason = asked[0].Decision.Reason
		}
		return d
	})
}

// shown gives a copy of the decisions that denied, or of all where there are few:
// the record is used again.
func shown(all []gateway.Decided) []gateway.Decided {
	out := make([]gateway.Decided, 0, min(len(all), mostChecks))
	for _, d := range all {
		if (!d.Decision.Allow || len(all) <= mostChecks) && len(out) < mostChecks {
			out = append(out, d)
		}
	}
	return out
}

func refusals(all []gateway.Decided) (n int) {
	for _, d := range all {
		if !d.Decision.Allow {
			n++
		}
	}
	return n
}

// checks tells of one question and its answer: the first check that was refused
// ends it.
func checks(q gateway.Decided) (all []denial.Check) {
	d := q.Decision
	for i, check := range q.Checks {
		c := denial.Check{Action: check.Action, Resource: check.ARN(), Outcome: denial.Allowed}
		switch {
		case d.Allow || i < d.Refused:
			if i < len(d.Statements) {
				c.Determining = d.Statements[i : i+1]
			}
		case i == d.Refused:
			c.Outcome, c.Explicit = denial.Refused, d.Explicit
			explain(&c, d)
		default:
			c.Outcome = denial.NotAsked
		}
		all = append(all, c)
	}
	return all
}

func explain(c *denial.Check, d access.Decision) {
	if d.Explain == nil {
		return
	}
	c.Explained(d.Explain())
}
