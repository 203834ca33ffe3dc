package iamapi

import (
	"maps"
	"slices"
)

// Operations lists the operations of the table.
func Operations() []string { return slices.Sorted(maps.Keys(operations())) }

// Parted counts the operations of all parts.
func Parted() int {
	n := 0
	for _, part := range parts() {
		n += len(part)
	}
	return n
}

// Refused lists the operations that are refused with a reason.
func Refused() []string {
	var all []string
	for _, r := range refused() {
		all = append(all, r.actions...)
	}
	slices.Sort(all)
	return all
}
