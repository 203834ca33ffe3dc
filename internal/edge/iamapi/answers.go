package iamapi

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/protocol/sigv4"
	"carnet.dev/carnet/internal/service/iam"
)

func text(name, value string) awsquery.Field { return awsquery.Field{Name: name, Text: value} }

func count(name string, n int) awsquery.Field { return text(name, strconv.Itoa(n)) }

func truth(name string, v bool) awsquery.Field { return text(name, strconv.FormatBool(v)) }

// when writes a time as AWS does; a zero one is left out.
func when(name string, t time.Time) awsquery.Field {
	if t.IsZero() {
		return awsquery.Field{}
	}
	return text(name, t.UTC().Format("2006-01-02T15:04:05Z"))
}

// document writes a policy as AWS does: percent-encoded (RFC 3986).
func document(name, policy string) awsquery.Field {
	return text(name, string(sigv4.AppendEscaped(nil, policy, false)))
}

// group makes an element of fields.
func group(name string, fields ...awsquery.Field) awsquery.Field {
	return awsquery.Field{Name: name, Fields: fields}
}

// tagList writes tags by key. Where AWS leaves an empty list out, so do callers.
func tagList(tags map[string]string) awsquery.Field {
	return awsquery.List("Tags", slices.Sorted(maps.Keys(tags)), func(key string) []awsquery.Field {
		return []awsquery.Field{text("Key", key), {Name: "Value", Text: tags[key], Always: true}}
	})
}

// someTags is tagList where there are tags.
func someTags(tags map[string]string) awsquery.Field {
	if len(tags) == 0 {
		return awsquery.Field{}
	}
	return tagList(tags)
}

// boundaryField writes a permissions boundary; nothing for none.
func (c *call) boundaryField(b *iam.Policy) awsquery.Field {
	if b == nil {
		return awsquery.Field{}
	}
	return group("PermissionsBoundary", text("PermissionsBoundaryType", "Policy"), text("PermissionsBoundaryArn", c.boundaryARN(b)))
}

// boundaryARN names a permissions boundary. One that an authority file wrote in
// place is no managed policy; it is shown under a path that says so, since an
// answer without it would look as if there were none.
func (c *call) boundaryARN(b *iam.Policy) string {
	switch {
	case b == nil:
		return ""
	case b.ARN != "":
		return b.ARN
	}
	return c.arn("policy", "/authority-file/", b.Name)
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

// partOfTags is part for tags.
func partOfTags(p page, tags map[string]string) []awsquery.Field {
	some, more := paged(p, slices.Collect(maps.Keys(tags)), func(s string) string { return s })
	kept := map[string]string{}
	for _, key := range some {
		kept[key] = tags[key]
	}
	return append([]awsquery.Field{tagList(kept)}, more...)
}
