package policy

import (
	"strings"
	"time"
)

// decimal is a number as IAM's Numeric operators take it: digits with at most
// one point, no exponent. Compared digit by digit, so no two different numbers
// are ever equal through rounding.
type decimal struct {
	negative bool
	whole    string // without leading zeros
	fraction string // without trailing zeros
}

func parseDecimal(s string) (decimal, bool) {
	var d decimal
	s, d.negative = strings.CutPrefix(s, "-")
	if len(s) == 0 || len(s) > 64 {
		return decimal{}, false
	}
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || point && fraction == "" || !digits(whole) || !digits(fraction) {
		return decimal{}, false
	}
	d.whole = strings.TrimLeft(whole, "0")
	d.fraction = strings.TrimRight(fraction, "0")
	if d.whole == "" && d.fraction == "" {
		d.negative = false
	}
	return d, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (d decimal) compare(o decimal) int {
	if d.negative != o.negative {
		if d.negative {
			return -1
		}
		return 1
	}
	c := len(d.whole) - len(o.whole)
	if c == 0 {
		c = strings.Compare(d.whole, o.whole)
	}
	if c == 0 {
		c = strings.Compare(d.fraction, o.fraction)
	}
	if d.negative {
		return -c
	}
	return c
}

// parseDate reads the W3C profile of ISO 8601 or epoch seconds. Four digits
// alone could be either and are refused.
func parseDate(s string) (time.Time, bool) {
	if len(s) != 4 && len(s) <= 12 && digits(s) && s != "" {
		var n int64
		for i := range len(s) {
			n = n*10 + int64(s[i]-'0')
		}
		return time.Unix(n, 0), true
	}
	// The layout is chosen by shape: trying them in turn would allocate.
	layout := ""
	switch {
	case len(s) == len("2006-01"):
		layout = "2006-01"
	case len(s) == len("2006-01-02"):
		layout = "2006-01-02"
	case len(s) > 16 && s[10] == 'T' && s[16] == ':':
		layout = time.RFC3339Nano
	case len(s) > 16 && s[10] == 'T':
		layout = "2006-01-02T15:04Z07:00"
	default:
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

func parseBool(s string) (value, ok bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}
