package access

import (
	"context"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/s3"
	"carnet.dev/carnet/internal/service/iam"
)

// Authorize answers whether a caller may do what q asks. Identity, resource,
// boundary and session policies take part as AWS documents ("Policy evaluation
// logic"); whatever is missing denies.
func (a *Access) Authorize(_ context.Context, c Caller, q Question) Decision {
	p, denied := a.principal(c)
	if p == nil {
		return denied
	}
	if why := beyond(c, q.Action); why != "" {
		return Decision{Explicit: true, Reason: "User: " + c.ARN + " is not authorized to perform: " + q.Action + " " + why}
	}
	set := p.onto(q.ResourceAccount, q.ResourcePolicy)
	r := policy.Request{Principal: c.proven.principal, Action: q.Action, Resource: q.Resource, ResourceAccount: q.ResourceAccount, Context: q.Context.Clone()}
	for _, k := range c.proven.known {
		r.Context.Set(k.key, k.values...)
	}
	p.common(&r.Context, c, &q.Environment)
	setGiven(&r.Context, "aws:ResourceAccount", q.ResourceAccount)
	verdict := set.Decide(&r)
	if verdict.Allow && r.Principal.Provider != "" && q.ResourcePolicy != nil && q.ResourcePolicy.Kind() == policy.Trust {
		// Whoever signs enters a role under their own name. A role that trusts a
		// provider trusts its word, and that was given for another role.
		r.Principal.Provider = ""
		verdict = set.Decide(&r)
	}
	d := Decision{Allow: verdict.Allow, Explicit: verdict.Explicit}
	if cite := verdict.Cites(); cite != "" {
		d.Statements = []string{cite}
	}
	if !d.Allow {
		d.Reason = "User: " + c.ARN + " is not authorized to perform: " + q.Action + " on resource: " + q.Resource + " " + verdict.Reason(q.Action)
	}
	return d
}

// beyond says why temporary keys of a user can't do an action at all, whatever
// policies say (STS API Reference, GetSessionToken and GetFederationToken).
func beyond(c Caller, action string) string {
	service, name, _ := strings.Cut(strings.ToLower(action), ":")
	switch {
	case c.Kind == UserSession && service == "iam":
		return "with keys from GetSessionToken, which were made without multi-factor authentication"
	case c.Kind == UserSession && service == "sts" && name != "assumerole" && name != "getcalleridentity" && name != "tagsession" && name != "setsourceidentity":
		return "with keys from GetSessionToken"
	case c.Kind == FederatedUser && (service == "iam" || service == "sts" && name != "getcalleridentity"):
		return "with keys from GetFederationToken"
	}
	return ""
}

// Decide answers whether a caller may do all of checks. The first that is
// refused gives the reason.
func (a *Access) Decide(_ context.Context, c Caller, checks []s3.Check, env Environment) Decision {
	if len(checks) == 0 {
		return Decision{Reason: "Nothing was asked."}
	}
	p, denied := a.principal(c)
	if p == nil {
		return denied
	}
	q := a.question(c, p, env)
	q.alone = len(checks) == 1
	var decided []string
	for i := range checks {
		if why := a.withheld(checks[i].Bucket); why != "" {
			return Decision{Explicit: true, Reason: refusal(c, &checks[i], why), Refused: i}
		}
		set, r, why := a.ask(p, c, &q, &checks[i])
		if why == "" && supply(&set, &r, env.Stored, &checks[i]) != nil {
			why = "because its tags, which a policy asks for, can't be read"
		}
		if why != "" {
			return Decision{Explicit: true, Reason: refusal(c, &checks[i], why), Refused: i}
		}
		verdict := set.Decide(&r)
		if cite := verdict.Cites(); cite != "" {
			decided = append(decided, cite)
		}
		if !verdict.Allow {
			return Decision{Explicit: verdict.Explicit, Reason: refusal(c, &checks[i], verdict.Reason(checks[i].Action)), Statements: decided, Refused: i, Explain: explain(set, r)}
		}
	}
	return Decision{Allow: true, Statements: decided}
}

func (a *Access) withheld(bucket string) string {
	if a.Withheld == nil || bucket == "" {
		return ""
	}
	return a.Withheld(bucket)
}

// explain gives what finds out, when somebody wants to know, why a request was
// refused.
func explain(set policy.Set, r policy.Request) func() policy.Explanation {
	return func() policy.Explanation { return set.Explain(&r) }
}

// ask puts a check to the policies that take part in it. It says why it can't
// where the bucket has a policy that could not be read: that may have held a deny.
func (a *Access) ask(p *standing, c Caller, q *question, check *s3.Check) (set policy.Set, r policy.Request, why string) {
	owner := c.Account
	var resource *policy.Document
	if check.Bucket != "" {
		place, ok := a.Place(check.Bucket)
		if !ok {
			owner = "" // nobody's: another account than any
		} else {
			owner = place.Account
		}
		if b, ok := p.snapshot.Bucket(check.Bucket); ok && !mends(c, check, owner) {
			// A policy kept for another owner than the configuration's is a
			// contradiction that nobody may profit from.
			if b.Policy == nil || b.Account != owner {
				return set, r, "because the policy of the bucket can't be evaluated"
			}
			resource = b.Policy
		}
	}
	return p.onto(owner, resource), q.request(check, owner), ""
}

// mends reports the administrator's role of a bucket's account at the bucket's
// policy. That policy does not bind it there, nor does one that can't be read:
// as the root user of an account at AWS it can always take a policy away with
// which everybody locked themselves out.
func mends(c Caller, check *s3.Check, owner string) bool {
	if c.Kind != RoleSession || c.Role.Name != iam.AdministratorRole || c.Role.Path != "/" || c.Account != owner {
		return false
	}
	return check.Action == "s3:GetBucketPolicy" || check.Action == "s3:PutBucketPolicy" || check.Action == "s3:DeleteBucketPolicy"
}

// refusal is the sentence of AWS's own AccessDenied.
func refusal(c Caller, check *s3.Check, why string) string {
	return "User: " + c.ARN + " is not authorized to perform: " + check.Action + " on resource: " + strconv.Quote(check.ARN()) + " " + why
}

// question is what all checks of one request have in common.
type question struct {
	principal policy.Principal
	context   policy.Context
	alone     bool // one check: what it adds may stand in the context itself
}

func (q *question) request(check *s3.Check, owner string) policy.Request {
	r := policy.Request{Principal: q.principal, Action: check.Action, Resource: check.ARN(), ResourceAccount: owner, Context: q.context}
	if check.Bucket == "" {
		// An action on no bucket is asked on all of S3, so that only policies
		// with Resource "*" or arn:aws:s3:::* allow it.
		r.Resource = "arn:aws:s3:::*"
	}
	if owner != "" || len(check.Context) > 0 {
		if !q.alone {
			r.Context = q.context.Clone()
		}
		if owner != "" {
			r.Context.Set("s3:resourceaccount", owner)
			r.Context.Set("aws:resourceaccount", owner)
		}
		for _, v := range check.Context {
			r.Context.Set(v.Key, v.Values...)
		}
	}
	return r
}

// question fills in the keys of S3 (Service Authorization Reference, "Condition
// keys for Amazon S3"). Their letter case does not count; in lower case they need
// not be made so for each request.
func (a *Access) question(c Caller, p *standing, env Environment) question {
	q := question{principal: c.proven.principal, context: c.proven.context.Clone()}
	k := &q.context
	p.common(k, c, &env)
	k.Set("s3:signatureversion", "AWS4-HMAC-SHA256")
	setGiven(k, "s3:authtype", env.AuthType)
	setGiven(k, "s3:tlsversion", env.TLSVersion)
	setGiven(k, "s3:x-amz-content-sha256", env.PayloadHash)
	if env.SignatureAge > 0 || env.AuthType == "REST-QUERY-STRING" {
		k.Set("s3:signatureage", strconv.FormatInt(env.SignatureAge.Milliseconds(), 10))
	}
	return q
}

// common fills in the global condition keys that a request or IAM can change
// (IAM User Guide, "AWS global condition context keys").
func (p *standing) common(k *policy.Context, c Caller, env *Environment) {
	for key, value := range p.tags {
		// Tags of the session win, letter case of keys aside (IAM User Guide,
		// "Session tags").
		if key = "aws:PrincipalTag/" + key; c.proven.context.Get(key) == nil {
			k.Set(key, value)
		}
	}
	k.Set("aws:securetransport", strconv.FormatBool(env.Secure))
	k.Set("aws:currenttime", env.Now.UTC().Format(time.RFC3339))
	k.Set("aws:epochtime", strconv.FormatInt(env.Now.Unix(), 10))
	if env.SourceIP.IsValid() {
		k.Set("aws:sourceip", env.SourceIP.Unmap().WithZone("").String())
	}
	setGiven(k, "aws:useragent", env.UserAgent)
	setGiven(k, "aws:referer", env.Referer)
}

// setGiven leaves an empty value out: the key is absent then.
func setGiven(k *policy.Context, key, value string) {
	if value != "" {
		k.Set(key, value)
	}
}
