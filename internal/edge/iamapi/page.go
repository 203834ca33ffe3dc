package iamapi

import (
	"encoding/base64"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
)

// page is the part of a listing that a call asks for. A marker holds the key of
// the last entry that was given, under the operation's name: no server keeps
// anything, and a listing that changes meanwhile goes on where it was.
type page struct {
	operation string
	after     string
	from      bool // a marker was given
	most      int
}

const defaultPage = 100

// page reads Marker and MaxItems.
func (c *call) page() page {
	p := page{operation: c.action, most: c.in.number("MaxItems", 1, 1000, defaultPage)}
	marker, ok := c.in.maybe("Marker", markerText)
	if !ok {
		return p
	}
	text, err := base64.RawURLEncoding.DecodeString(marker)
	operation, after, found := strings.Cut(string(text), "\x00")
	if err != nil || !found || operation != c.action {
		c.in.fails(fault.Coded(fault.Invalid, "ValidationError", "Invalid Marker: use the one that the answer before gave."))
	}
	p.after, p.from = after, true
	return p
}

// paged gives the part of all that a page asks for, with the fields that say
// whether there is more. Keys must be unique; all is put in their order.
func paged[T any](p page, all []T, key func(T) string) ([]T, []awsquery.Field) {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	if p.from {
		i, _ := slices.BinarySearchFunc(sorted, p.after+"\x00", func(x T, after string) int { return strings.Compare(key(x), after) })
		sorted = sorted[i:]
	}
	if len(sorted) <= p.most {
		return sorted, []awsquery.Field{{Name: "IsTruncated", Text: "false"}}
	}
	part := sorted[:p.most]
	marker := base64.RawURLEncoding.EncodeToString([]byte(p.operation + "\x00" + key(part[len(part)-1])))
	return part, []awsquery.Field{{Name: "IsTruncated", Text: "true"}, {Name: "Marker", Text: marker}}
}
