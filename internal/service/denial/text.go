package denial

import (
	"fmt"
	"strings"
	"time"
)

// String tells a denial as text, for a terminal.
func (d Denial) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s was denied at %s.\n\n", d.Operation, d.At.UTC().Format(time.RFC3339))
	fact := func(name string, values ...string) {
		if text := strings.Join(strings.Fields(strings.Join(values, " ")), " "); text != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, text)
		}
	}
	fact("request id", string(d.Request))
	fact("answer", d.Code+":", d.Reason)
	fact("decided by", d.Decider())
	fact("who", d.Principal)
	fact("role", d.Role)
	fact("person", d.PersonName, string(d.Person))
	fact("sign-in", string(d.LoginSession))
	fact("service", string(d.ServicePrincipal))
	fact("delegation", string(d.Delegation))
	fact("gateway key", string(d.GatewayKey))
	fact("cluster", d.Cluster)
	fact("access key", d.AccessKeyID)
	fact("from", d.Source)
	fact("with", d.UserAgent)
	fact("bucket", d.Bucket)
	fact("of account", d.BucketAccount)
	fact("key", d.Key)
	fact("upstream", d.Upstream)
	fact("its own ids", d.StoreRequest, d.StoreHost)
	for i, c := range d.Checks {
		fmt.Fprintf(&b, "\n%d. %s on %s: %s\n", i+1, c.Action, c.Resource, c.Sentence())
		for _, s := range c.Statements {
			fmt.Fprintf(&b, "     %s\n", s)
		}
		if c.MoreStatements > 0 {
			fmt.Fprintf(&b, "     and %d more statements that do not apply\n", c.MoreStatements)
		}
	}
	if d.MoreChecks > 0 {
		fmt.Fprintf(&b, "\nand %d more checks that were denied\n", d.MoreChecks)
	}
	return b.String()
}

// Decider says in words who denied.
func (d Denial) Decider() string {
	switch d.DecidedBy {
	case ByPolicy:
		return "the policies of the local authority"
	case ByAWS:
		return "AWS, by the role's own keys: its policies are there"
	case ByStore:
		return "the store behind the gateway"
	}
	return "the gateway: no rule of the configuration admits it"
}

// Sentence says how a check ended, and by what.
func (c Check) Sentence() string {
	by := strings.Join(c.Determining, ", ")
	switch {
	case c.Outcome == Allowed && by != "":
		return "allowed by " + by
	case c.Outcome == Allowed:
		return "allowed"
	case c.Outcome == NotAsked:
		return "not asked any more"
	case c.Explicit && by != "":
		return "denied by " + by + ", " + c.Reason
	case c.Reason == "":
		return "denied before any policy was asked"
	case c.Explicit:
		return "denied " + c.Reason
	}
	return "no statement allows it, " + c.Reason
}

// String tells what the statement said.
func (s Statement) String() string {
	text := fmt.Sprintf("%-5s %s (%s)", s.Effect, s.Name, s.Policy)
	if s.Applies {
		return text + ": applies"
	}
	return text + ": " + strings.Join(s.Unmet, "; ")
}
