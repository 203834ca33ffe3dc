package iamapi

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/awsquery"
	"carnet.dev/carnet/internal/service/iam"
)

// instant writes a time as IAM does: UTC, whole seconds.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// encoded writes a policy document as IAM does: percent-encoded (RFC 3986).
func encoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// tagFields is the list of tags in the order of their keys.
func tagFields(tags map[string]string) awsquery.Field {
	return awsquery.List("Tags", slices.Sorted(maps.Keys(tags)), func(key string) []awsquery.Field {
		return []awsquery.Field{{Name: "Key", Text: key}, {Name: "Value", Text: tags[key], Always: true}}
	})
}

// someTags is tagFields, or nothing where there are none.
func someTags(tags map[string]string) []awsquery.Field {
	if len(tags) == 0 {
		return nil
	}
	return []awsquery.Field{tagFields(tags)}
}

// tagPage is the part of an entity's tags that a call asks for.
func tagPage(p page, tags map[string]string) []awsquery.Field {
	part, more := paged(p, slices.Collect(maps.Keys(tags)), func(key string) string { return key })
	shown := map[string]string{}
	for _, key := range part {
		shown[key] = tags[key]
	}
	return append([]awsquery.Field{tagFields(shown)}, more...)
}

// boundaryFields shows a permissions boundary; nothing where there is none.
func boundaryFields(partition, account string, b *iam.Policy) []awsquery.Field {
	if b == nil {
		return nil
	}
	return []awsquery.Field{{Name: "PermissionsBoundary", Fields: []awsquery.Field{
		{Name: "PermissionsBoundaryType", Text: "PermissionsBoundaryPolicy"}, {Name: "PermissionsBoundaryArn", Text: boundaryARN(partition, account, b)},
	}}}
}

// boundaryARN gives the ARN of a permissions boundary. One that an authority
// file wrote in place is no managed policy: it shows under the name it has.
func boundaryARN(partition, account string, b *iam.Policy) string {
	switch {
	case b == nil:
		return ""
	case b.ARN != "":
		return b.ARN
	}
	return "arn:" + partition + ":iam::" + account + ":policy/" + b.Name
}

// roleFields is a role in full, or as listings show it.
func (c *call) roleFields(v *iam.View, r iam.RoleRecord, full bool) []awsquery.Field {
	partition, _ := v.Partition(r.Account)
	fields := []awsquery.Field{
		{Name: "Path", Text: r.Path}, {Name: "RoleName", Text: r.Name}, {Name: "RoleId", Text: string(r.ID)},
		{Name: "Arn", Text: r.ARN(partition)}, {Name: "CreateDate", Text: instant(r.Created)},
		{Name: "AssumeRolePolicyDocument", Text: encoded(v.Shown(r.Trust))}, {Name: "Description", Text: r.Description},
		{Name: "MaxSessionDuration", Text: strconv.Itoa(int(r.MaxSession / time.Second))},
	}
	if !full {
		return fields
	}
	fields = append(fields, boundaryFields(partition, r.Account, r.Boundary)...)
	return append(append(fields, someTags(r.Tags)...), awsquery.Field{Name: "RoleLastUsed", Always: true})
}

// elsewhere refuses what belongs to another account: its policies say nothing
// of the caller's own.
func (c *call) elsewhere(arn string) error {
	return fault.Coded(fault.Denied, "AccessDenied",
		"User: "+c.caller.ARN+" is not authorized to perform: iam:"+c.action+" on resource: "+clip(arn)+" because it is of another account")
}
