package policy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// operator finds the test behind an operator's name, prefix and suffix off.
func (c *condition) operator(name string) bool {
	comparisons := map[string]compare{
		"Equals": equal, "NotEquals": equal, "LessThan": less, "LessThanEquals": lessEqual,
		"GreaterThan": greater, "GreaterThanEquals": greaterEqual,
	}
	switch name {
	case "StringEquals", "StringNotEquals":
	case "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase":
		c.fold = true
	case "StringLike", "StringNotLike":
		c.compare = like
	case "Bool":
		c.test = testBool
	case "BinaryEquals":
		c.test = testBinary
	case "IpAddress", "NotIpAddress":
		c.test = testIP
	case "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike":
		c.test = testARN
	case "Null":
		c.test = testNull
	default:
		rest, numeric := strings.CutPrefix(name, "Numeric")
		if !numeric {
			var date bool
			if rest, date = strings.CutPrefix(name, "Date"); !date {
				return false
			}
		}
		comparison, ok := comparisons[rest]
		c.compare, c.test = comparison, testDate
		if numeric {
			c.test = testNumeric
		}
		c.negated = rest == "NotEquals"
		return ok
	}
	c.negated = strings.Contains(name, "Not")
	return true
}

func (p *parser) conditions(n node) ([]condition, error) {
	if n.kind != jsonObject {
		return nil, errors.New("Condition must be a map of operators")
	}
	var out []condition
	for _, op := range n.members {
		if op.value.kind != jsonObject || len(op.value.members) == 0 {
			return nil, fmt.Errorf("Condition %s must be a map of keys", clip(op.name))
		}
		for _, key := range op.value.members {
			c, err := p.condition(op.name, key)
			if err != nil {
				return nil, fmt.Errorf("Condition %s %q: %w", clip(op.name), clip(key.name), err)
			}
			out = append(out, c)
		}
	}
	return out, nil
}

func (p *parser) condition(operator string, key member) (condition, error) {
	c := condition{written: operator, asks: key.name, key: foldKey(key.name)}
	name := operator
	if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		name, c.each = rest, forAllValues
	} else if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		name, c.each = rest, forAnyValue
	}
	name, c.ifExists = strings.CutSuffix(name, "IfExists")
	if !c.operator(name) {
		return c, errors.New("there is no such operator")
	}
	if c.test == testNull && (c.ifExists || c.each != oneValue) {
		return c, errors.New("Null takes no IfExists, ForAllValues or ForAnyValue")
	}
	if !strings.Contains(key.name, ":") || strings.ContainsAny(key.name, "*?${}\" \t\r\n") {
		return c, errors.New("this does not name a context key")
	}
	values := key.value.list()
	if len(values) == 0 {
		return c, errors.New("the list of values is empty")
	}
	for _, v := range values {
		if v.kind != jsonString && v.kind != jsonNumber && v.kind != jsonBool {
			return c, errors.New("a value must be a string, a number or a boolean")
		}
		if err := c.add(v.text, p.variables); err != nil {
			return c, fmt.Errorf("value %q: %w", clip(v.text), err)
		}
	}
	return c, nil
}

// add compiles one value. What would never parse at a decision is refused now.
func (c *condition) add(text string, variables bool) error {
	switch c.test {
	case testString:
		p, err := compile(text, variables, c.compare == like)
		c.patterns = append(c.patterns, p)
		return err
	case testARN:
		a, err := compileARN(text, variables)
		c.arns = append(c.arns, a)
		return err
	case testNumeric:
		d, ok := parseDecimal(text)
		c.numbers = append(c.numbers, d)
		return unless(ok, "want a number")
	case testDate:
		t, ok := parseDate(text)
		c.dates = append(c.dates, t)
		return unless(ok, "want a date such as 2026-01-31T12:00:00Z, or epoch seconds")
	case testBool, testNull:
		b, ok := parseBool(text)
		c.flags = append(c.flags, b)
		return unless(ok, "want true or false")
	case testBinary:
		c.texts = append(c.texts, text)
		return unless(isBase64(text), "want base64")
	default:
		n, ok := parseNetwork(text)
		c.networks = append(c.networks, n)
		return unless(ok, "want an address or a CIDR block")
	}
}

func unless(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

func isBase64(s string) bool {
	if strings.ContainsAny(s, "\r\n") {
		return false
	}
	_, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil
}

// parseNetwork reads a CIDR block or a bare address. IPv4 inside IPv6 is
// refused: requests carry plain IPv4 and it would never match.
func parseNetwork(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4In6() {
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	n, err := netip.ParsePrefix(s)
	if err != nil || n.Addr().Is4In6() {
		return netip.Prefix{}, false
	}
	return n.Masked(), true
}
