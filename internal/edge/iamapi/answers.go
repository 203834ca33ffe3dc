package iamapi

import (
	"strconv"
	"time"

	"carnet.dev/carnet/internal/protocol/awsquery"
)

func text(name, value string) awsquery.Field { return awsquery.Field{Name: name, Text: value} }

func count(name string, n int) awsquery.Field { return text(name, strconv.Itoa(n)) }

func truth(name string, v bool) awsquery.Field { return text(name, strconv.FormatBool(v)) }

// when writes a time as AWS does; a zero one is left out.
func when(name string, t time.Time) awsquery.Field {
	if t.IsZero() {
		return awsquery.Field{}
	}
	return text(name, instant(t))
}

// document writes a policy as AWS does: percent-encoded (RFC 3986).
func document(name, policy string) awsquery.Field {
	return text(name, encoded(policy))
}

// group makes an element of fields.
func group(name string, fields ...awsquery.Field) awsquery.Field {
	return awsquery.Field{Name: name, Fields: fields}
}

// mapField writes a map as the Query protocol does.
func mapField(name string, entries [][2]string) awsquery.Field {
	out := awsquery.Field{Name: name, Always: true}
	for _, e := range entries {
		out.Fields = append(out.Fields, group("entry", text("key", e[0]), text("value", e[1])))
	}
	return out
}

// part is an answer of one page: a list of what the page holds, and whether
// there is more.
func part[T any](list string, p page, all []T, key func(T) string, fields func(T) []awsquery.Field) []awsquery.Field {
	some, more := paged(p, all, key)
	return append([]awsquery.Field{awsquery.List(list, some, fields)}, more...)
}

// partOfTexts is part for a list of texts.
func partOfTexts(list string, p page, all []string) []awsquery.Field {
	some, more := paged(p, all, func(s string) string { return s })
	return append([]awsquery.Field{awsquery.Texts(list, some)}, more...)
}
