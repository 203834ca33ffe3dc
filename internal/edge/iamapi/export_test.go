package iamapi

import (
	"maps"
	"slices"
)

// Operations lists the operations of the table.
func Operations() []string { return slices.Sorted(maps.Keys(operations())) }

// Refused lists the operations that are refused with a reason.
func Refused() []string {
	var all []string
	for _, r := range refused() {
		all = append(all, r.actions...)
	}
	slices.Sort(all)
	return all
}
