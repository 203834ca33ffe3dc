package denial

import (
	"slices"

	"carnet.dev/carnet/internal/protocol/policy"
)

// mostStatements bounds what is shown of those that do not apply: the nearest,
// which fail in the fewest elements.
const mostStatements = 20

// Explained fills in what the policies said of a check that they denied.
func (c *Check) Explained(e policy.Explanation) {
	c.Explicit, c.Reason, c.Determining = e.Explicit, e.Reason, e.Determining
	var rest []Statement
	for _, f := range e.Findings {
		s := Statement{Policy: f.By.String(), Name: f.Statement, Effect: "Allow", Applies: f.Applies, Unmet: f.Unmet}
		if f.Deny {
			s.Effect = "Deny"
		}
		if s.Applies {
			c.Statements = append(c.Statements, s)
		} else {
			rest = append(rest, s)
		}
	}
	slices.SortStableFunc(rest, func(a, b Statement) int { return len(a.Unmet) - len(b.Unmet) })
	n := min(len(rest), mostStatements)
	c.Statements = append(c.Statements, rest[:n]...)
	c.MoreStatements = len(rest) - n
}
