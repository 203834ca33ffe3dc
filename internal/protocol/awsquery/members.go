package awsquery

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// Names gives the names of all parameters, sorted.
func (p Parameters) Names() []string { return slices.Sorted(maps.Keys(p.values)) }

// Members gives the members of the list PREFIX.member.1, PREFIX.member.2 and so
// on, each as parameters of its own: PREFIX.member.1.Key is Key there, and a
// member that is a plain text stands under the empty name. It fails where the
// numbers have a gap or are not written as numbers are. A bare PREFIX without a
// value is an empty list, as clients write one; nil is no list at all.
func (p Parameters) Members(prefix string) ([]Parameters, error) {
	numbered := map[int]Parameters{}
	empty := false
	for name, value := range p.values {
		rest, ok := strings.CutPrefix(name, prefix)
		switch {
		case !ok || rest != "" && rest[0] != '.':
			continue
		case value == "" && (rest == "" || rest == ".member"):
			empty = true
			continue
		}
		rest, ok = strings.CutPrefix(rest, ".member.")
		number, field, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 1 || strconv.Itoa(n) != number {
			return nil, unnumbered(prefix)
		}
		if numbered[n].values == nil {
			numbered[n] = Parameters{values: map[string]string{}}
		}
		if _, twice := numbered[n].values[field]; twice { // "…1" and "…1."
			return nil, unnumbered(prefix)
		}
		numbered[n].values[field] = value
	}
	if len(numbered) == 0 && !empty {
		return nil, nil
	}
	out := make([]Parameters, 0, len(numbered))
	for n := range len(numbered) {
		member, ok := numbered[n+1]
		if !ok {
			return nil, unnumbered(prefix)
		}
		out = append(out, member)
	}
	return out, nil
}

func unnumbered(prefix string) error {
	return fault.Coded(fault.Invalid, "ValidationError", fmt.Sprintf("The members of %s must be numbered from 1 without a gap.", clip(prefix)))
}
