package policy

import (
	"net/netip"
	"time"
)

// verdict is what one test says. broken means that a present value did not
// parse: an Allow does not apply then, and a Deny does.
type verdict int8

const (
	no verdict = iota
	yes
	broken
)

// condition is one operator on one key, with its values compiled.
type condition struct {
	written  string // the operator as the policy has it, for Explain
	asks     string // the key as the policy has it
	key      string // in lower case
	test     test
	compare  compare
	negated  bool
	fold     bool // letter case aside
	ifExists bool
	each     quantifier

	patterns []pattern
	arns     []arnPattern
	numbers  []decimal
	dates    []time.Time
	networks []netip.Prefix
	flags    []bool
	texts    []string
}

type test uint8

const (
	testString test = iota
	testNumeric
	testDate
	testBool
	testBinary
	testIP
	testARN
	testNull
)

type compare uint8

const (
	equal compare = iota
	like
	less
	lessEqual
	greater
	greaterEqual
)

type quantifier uint8

const (
	oneValue quantifier = iota
	forAllValues
	forAnyValue
)

// eval answers for one request.
func (c *condition) eval(ctx *Context) verdict {
	values := ctx.lookup(c.key)
	present := len(values) > 0
	if c.test == testNull {
		for _, absent := range c.flags {
			if absent != present {
				return yes
			}
		}
		return no
	}
	if !present {
		switch {
		case c.ifExists || c.each == forAllValues:
			return yes
		case c.each == forAnyValue || !c.negated:
			return no
		}
		return yes
	}
	if c.each == oneValue {
		if len(values) > 1 {
			return broken
		}
		return c.one(values[0], ctx)
	}
	return c.many(values, ctx)
}

// many combines the values of the request: any yes for ForAnyValue, no no for
// ForAllValues, and a broken one counts where it could turn the answer.
func (c *condition) many(values []string, ctx *Context) verdict {
	decides, otherwise := yes, no
	if c.each == forAllValues {
		decides, otherwise = no, yes
	}
	for _, v := range values {
		switch got := c.one(v, ctx); got {
		case decides:
			return decides
		case broken:
			otherwise = broken
		}
	}
	return otherwise
}

// one tests one value of the request against the values of the policy.
func (c *condition) one(value string, ctx *Context) verdict {
	got := c.matches(value, ctx)
	if c.negated && got != broken {
		return yes - got
	}
	return got
}

// matches reports whether value fits any of the policy's values, before a
// negated operator turns it round. A value with an unresolved variable fits
// nothing, so a negated operator holds against it (IAM User Guide, "Policy
// variables with no value").
func (c *condition) matches(value string, ctx *Context) verdict {
	switch c.test {
	case testString:
		for _, p := range c.patterns {
			if c.fold && p.matchFold(value, ctx) || !c.fold && p.match(value, ctx) {
				return yes
			}
		}
	case testARN:
		fields, last, ok := splitARN(value)
		if !ok {
			return broken
		}
		for i := range c.arns {
			if c.arns[i].match(value, &fields, last, ctx) {
				return yes
			}
		}
	case testNumeric, testDate:
		return c.ordered(value)
	case testBool:
		b, ok := parseBool(value)
		if !ok {
			return broken
		}
		for _, want := range c.flags {
			if b == want {
				return yes
			}
		}
	case testBinary:
		if !isBase64(value) {
			return broken
		}
		for _, want := range c.texts {
			if value == want {
				return yes
			}
		}
	case testIP:
		return c.inNetworks(value)
	}
	return no
}

func (c *condition) ordered(value string) verdict {
	if c.test == testNumeric {
		d, ok := parseDecimal(value)
		if !ok {
			return broken
		}
		for _, want := range c.numbers {
			if c.compare.holds(d.compare(want)) {
				return yes
			}
		}
		return no
	}
	t, ok := parseDate(value)
	if !ok {
		return broken
	}
	for _, want := range c.dates {
		if c.compare.holds(t.Compare(want)) {
			return yes
		}
	}
	return no
}

// holds reads the sign of a three-way comparison.
func (k compare) holds(sign int) bool {
	switch k {
	case less:
		return sign < 0
	case lessEqual:
		return sign <= 0
	case greater:
		return sign > 0
	case greaterEqual:
		return sign >= 0
	}
	return sign == 0
}

func (c *condition) inNetworks(value string) verdict {
	a, err := netip.ParseAddr(value)
	if err != nil {
		return broken
	}
	a = a.Unmap().WithZone("")
	for _, n := range c.networks {
		if n.Contains(a) {
			return yes
		}
	}
	return no
}
