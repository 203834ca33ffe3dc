package iamapi

import (
	"context"
	"net/http"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/service/access"
)

// call is one authenticated request on its way through.
type call struct {
	face    *IAM
	ctx     context.Context
	request *http.Request
	id      identity.RequestID
	action  string // operation, without "iam:"
	caller  access.Caller
	env     access.Environment
	in      *input
}

// key is one condition key of a question.
type key struct {
	name   string
	values []string
}

// may asks whether the caller may do the call's own action on a resource of
// their account. Errors: AccessDenied in AWS's words.
func (c *call) may(resource string, keys ...[]key) error {
	return c.mayDo("iam:"+c.action, resource, keys...)
}

// mayDo is may for another action, as iam:PassRole.
func (c *call) mayDo(action, resource string, keys ...[]key) error {
	q := access.Question{Action: action, Resource: resource, ResourceAccount: c.caller.Account, Environment: c.env}
	for _, some := range keys {
		for _, k := range some {
			q.Context.Set(k.name, k.values...)
		}
	}
	d := c.face.config.Authority.Authorize(c.ctx, c.caller, q)
	if d.Allow {
		return nil
	}
	return fault.Coded(fault.Denied, "AccessDenied", d.Reason)
}

// resourceTags are the keys of a resource's own tags.
func resourceTags(tags map[string]string) []key {
	var keys []key
	for name, value := range tags {
		keys = append(keys, key{"aws:ResourceTag/" + name, []string{value}}, key{"iam:ResourceTag/" + name, []string{value}})
	}
	return keys
}

// requestTags are the keys of tags that a call sets.
func requestTags(tags map[string]string) []key {
	var keys []key
	var names []string
	for name, value := range tags {
		keys = append(keys, key{"aws:RequestTag/" + name, []string{value}})
		names = append(names, name)
	}
	return append(keys, tagKeys(names)...)
}

// tagKeys is the key of the tag keys that a call names.
func tagKeys(names []string) []key {
	if len(names) == 0 {
		return nil
	}
	return []key{{"aws:TagKeys", names}}
}

// policyARN is the key of a managed policy that a call attaches or detaches.
func policyARN(arn string) []key { return []key{{"iam:PolicyARN", []string{arn}}} }

// boundaryOf is the key of the permissions boundary that a role or user has, or
// gets from the call; empty for none.
func boundaryOf(arn string) []key {
	if arn == "" {
		return nil
	}
	return []key{{"iam:PermissionsBoundary", []string{arn}}}
}

// arn gives the ARN of a resource of the caller's account: kind is role, user
// and so on, path begins and ends with a slash.
func (c *call) arn(kind, path, name string) string {
	return "arn:" + c.partition() + ":iam::" + c.caller.Account + ":" + kind + path + name
}

func (c *call) partition() string {
	if c.caller.Kind == access.RoleSession {
		return c.caller.Role.Partition
	}
	return c.caller.User.Partition
}

// mayUseIAM refuses temporary keys of users: AWS's IAM takes those of
// GetSessionToken only with a second factor, which Carnet has none of, and
// those of GetFederationToken never (IAM User Guide, "Compare AWS STS
// credentials").
func mayUseIAM(c access.Caller) error {
	if c.Kind == access.RoleSession || c.Kind == access.User {
		return nil
	}
	return fault.Coded(fault.Denied, "AccessDenied", "User: "+c.ARN+" can't call IAM with keys from GetSessionToken or GetFederationToken.").
		WithMend("use the keys of a role")
}
