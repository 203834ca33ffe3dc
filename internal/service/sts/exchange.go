package sts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/credential"
	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/policy"
	"carnet.dev/carnet/internal/protocol/sessiontoken"
	"carnet.dev/carnet/internal/service/iam"
)

// exchange is one way to a role session, as far as all ways are alike.
type exchange struct {
	operation string // AssumeRoleWithSAML, …
	role      arn.Role
	limits    *Limits
	caller    *Caller
	authority *iam.Snapshot
	now       time.Time

	sessionName    string
	sourceIdentity string
	tags           []sessiontoken.Tag
	transitive     []string
	provider       string // ARN of the provider that spoke; empty for AssumeRole
	// context holds the condition keys that the way alone knows.
	context policy.Context
}

func (x *exchange) action() string { return "sts:" + x.operation }

// actions are what the trust policy has to allow, all of them (IAM User Guide,
// "Pass session tags in AWS STS", "Monitor and control actions taken with
// assumed roles").
func (x *exchange) actions() []string {
	actions := []string{x.action()}
	if len(x.tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if x.sourceIdentity != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	return actions
}

// compact reads the inline session policy, and holds the ARNs of managed ones to
// their shape. It says nothing of what is there: nobody is proven yet.
func (l *Limits) compact(account string) error {
	if l.HasPolicy {
		document, err := policy.Parse(policy.Session, "session-policy", []byte(l.Policy))
		if err != nil {
			return err
		}
		if err := iam.CheckSupplied(document); err != nil {
			return err
		}
		var small bytes.Buffer
		if err := json.Compact(&small, []byte(l.Policy)); err != nil {
			return err
		}
		l.Policy = small.String()
	}
	for _, name := range l.PolicyARNs {
		field := strings.SplitN(name, ":", 6) // the account of AWS's own is "aws"
		if len(field) != 6 || field[0] != "arn" || field[2] != "iam" || !strings.HasPrefix(field[5], "policy/") {
			return invalid("PolicyArns: %q is not the ARN of a managed policy", clip(name))
		}
		if field[4] != account && field[4] != "aws" {
			return noManaged(name, account)
		}
	}
	return nil
}

// exist checks that the managed session policies are there, for a caller who is
// admitted: what can't be evaluated must not be read as no limit, and whoever is
// not admitted is not told what an account has.
func (l *Limits) exist(authority *iam.Snapshot, account string) error {
	for _, name := range l.PolicyARNs {
		if _, ok := authority.ManagedPolicy(name); !ok {
			return noManaged(name, account)
		}
	}
	return nil
}

func noManaged(name, account string) error {
	return invalid("PolicyArns: there is no managed policy %q for account %s in this authority", clip(name), account)
}

// trusted finds the role and asks its trust policy, and what limits the account,
// for a caller whom a provider vouches for. Whatever is missing, the answer is
// the same; the cause is for the log.
func (x *exchange) trusted() (*iam.Role, error) {
	role, ok := x.authority.Role(x.role)
	if !ok {
		return nil, deny(x.action(), "there is no role "+x.role.String())
	}
	request := policy.Request{
		Principal: policy.Principal{Provider: x.provider},
		Resource:  x.role.String(), ResourceAccount: x.role.Account, Context: x.context.Clone(),
	}
	x.common(&request.Context, role)
	_, controls := x.authority.Guardrails(x.role.Account)
	for _, request.Action = range x.actions() {
		if !role.Trust.Trusts(&request).Allow {
			return nil, deny(request.Action, "the trust policy of "+x.role.String()+" does not allow it: "+unmet(role.Trust.ExplainTrust(&request)))
		}
		if !admitted(controls, request) {
			return nil, deny(request.Action, "a resource control policy of account "+x.role.Account+" does not allow it")
		}
	}
	return role, nil
}

// admitted asks every level of the account's resource controls. They ask of the
// resource, whoever comes: the request is put as one from the account itself.
func admitted(levels [][]*policy.Document, r policy.Request) bool {
	r.Principal.Account = r.ResourceAccount
	for _, level := range levels {
		set := policy.Set{Identity: level}
		if !set.Decide(&r).Allow {
			return false
		}
	}
	return true
}

// unmet tells in one line why no statement of a trust policy allows.
func unmet(e policy.Explanation) string {
	if e.Explicit {
		return "explicit deny in " + e.Cites()
	}
	var out []string
	for _, f := range e.Findings {
		if !f.Deny {
			out = append(out, f.Statement+": "+strings.Join(f.Unmet, ", "))
		}
	}
	return strings.Join(out, "; ")
}

// common adds the condition keys that every way to a role has (IAM User Guide,
// "Available keys for AWS STS").
func (x *exchange) common(ctx *policy.Context, role *iam.Role) {
	x.request(ctx)
	for k, v := range role.Tags {
		ctx.Set("aws:ResourceTag/"+k, v)
		ctx.Set("iam:ResourceTag/"+k, v)
	}
	ctx.Set("aws:ResourceAccount", x.role.Account)
	if x.provider == "" {
		return // the rest is known of a signed caller by Access
	}
	ctx.Set("aws:FederatedProvider", x.provider)
	ctx.Set("aws:SecureTransport", strconv.FormatBool(x.caller.Secure))
	ctx.Set("aws:CurrentTime", x.now.UTC().Format(time.RFC3339))
	ctx.Set("aws:EpochTime", strconv.FormatInt(x.now.Unix(), 10))
	if x.caller.Source.IsValid() {
		ctx.Set("aws:SourceIp", x.caller.Source.Unmap().WithZone("").String())
	}
	if x.caller.UserAgent != "" {
		ctx.Set("aws:UserAgent", x.caller.UserAgent)
	}
}

// request adds what is asked for.
func (x *exchange) request(ctx *policy.Context) {
	ctx.Set("sts:RoleSessionName", x.sessionName)
	if x.sourceIdentity != "" {
		ctx.Set("sts:SourceIdentity", x.sourceIdentity)
	}
	requestTags(ctx, x.tags)
	ctx.Set("sts:TransitiveTagKeys", x.transitive...)
}

func requestTags(ctx *policy.Context, tags []sessiontoken.Tag) {
	var keys []string
	for _, t := range tags {
		ctx.Set("aws:RequestTag/"+t.Key, t.Value)
		keys = append(keys, t.Key)
	}
	ctx.Set("aws:TagKeys", keys...)
}

// duration is what the role session gets: asked for, and within the role's. It
// is asked of a caller who is admitted, as the rest of the limits is.
func (x *exchange) duration(role *iam.Role) (time.Duration, error) {
	if err := x.limits.exist(x.authority, x.role.Account); err != nil {
		return 0, err
	}
	duration := DefaultDuration
	if x.limits.HasDuration {
		duration = x.limits.Duration
	}
	if duration > role.MaxSession {
		return 0, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return duration, nil
}

// claims are the claims of the role session, without what the way adds.
func (x *exchange) claims(role *iam.Role, expires time.Time, epoch uint64) sessiontoken.Claims {
	if ends := x.caller.Ends; !ends.IsZero() && ends.Before(expires) {
		expires = ends
	}
	return sessiontoken.Claims{
		Role: role.ARN, RoleID: role.ID, SessionName: x.sessionName, SecretKey: secret.Random(32),
		IssuedAt: x.now.UTC().Truncate(time.Second), Expires: expires.UTC().Truncate(time.Second), Epoch: epoch,
		Person: x.caller.Person, LoginSession: x.caller.LoginSession, ServicePrincipal: x.caller.ServicePrincipal, Delegation: x.caller.Delegation, OnNode: x.caller.OnNode,
		SourceIdentity: x.sourceIdentity, Tags: x.tags, TransitiveTagKeys: x.transitive, Provider: x.provider,
		SessionPolicy: x.limits.Policy, SessionPolicyARNs: x.limits.PolicyARNs,
	}
}

// issueRole makes the credentials of a role session and records that it did, with
// what else the way knows in detail.
func (s *Service) issueRole(ctx context.Context, x *exchange, c sessiontoken.Claims, detail map[string]string) (RoleAnswer, error) {
	detail["role_id"], detail["expires"] = string(c.RoleID), c.Expires.Format(time.RFC3339)
	session := c.Role.AssumedRole(c.SessionName)
	keys, err := s.issue(ctx, x.caller, &c, x.now, event.Event{
		Action: "sts." + x.operation, Account: c.Role.Account, Role: c.Role.String(), Target: session, Detail: detail,
	})
	if err != nil {
		return RoleAnswer{}, err
	}
	return RoleAnswer{
		Credentials: keys, PackedPolicySize: sessiontoken.PackedSize(c), SourceIdentity: c.SourceIdentity,
		AssumedRoleID: string(c.RoleID) + ":" + c.SessionName, AssumedRoleARN: session,
	}, nil
}

// issue seals the claims, proves that they open, and records the exchange: what
// can't be recorded is not handed out.
func (s *Service) issue(ctx context.Context, caller *Caller, c *sessiontoken.Claims, now time.Time, e event.Event) (credential.Temporary, error) {
	if !now.Before(c.Expires) {
		return credential.Temporary{}, fault.Coded(fault.Expired, "ExpiredToken", "What these keys would rest on has ended.").WithMend("attach again: carnet attach")
	}
	id := identity.NewAccessKeyID()
	token, err := sessiontoken.Seal(s.Keys, id, *c)
	if err != nil {
		return credential.Temporary{}, err
	}
	if _, err := sessiontoken.Open(s.Keys, id, token, now); err != nil {
		return credential.Temporary{}, fmt.Errorf("sts: a fresh session token does not open: %w", err)
	}
	if s.Trail != nil {
		e.At, e.Outcome, e.AccessKeyID = now, event.Done, id
		e.Person, e.LoginSession, e.Request = c.Person, c.LoginSession, caller.Request
		e.Node, e.Attachment, e.ProcessOwner, e.Cluster = c.Node, c.Attachment, c.Owner, s.clusterName(c.Cluster)
		e.ServicePrincipal, e.Delegation = c.ServicePrincipal, c.Delegation
		note(e.Detail, "service_principal", string(c.ServicePrincipal))
		note(e.Detail, "delegation", string(c.Delegation))
		if caller.Source.IsValid() {
			e.Source = caller.Source.String()
		}
		if err := s.Trail.Record(ctx, e); err != nil {
			return credential.Temporary{}, err
		}
	}
	return credential.Temporary{AccessKeyID: id, SecretAccessKey: c.SecretKey, SessionToken: token, Expiration: c.Expires}, nil
}

func (s *Service) clusterName(id identity.ClusterID) string {
	if id == "" || s.ClusterName == nil {
		return string(id)
	}
	return s.ClusterName(id)
}

// note adds a detail that there is.
func note(detail map[string]string, name, value string) {
	if value != "" {
		detail[name] = value
	}
}

var errNotWired = errors.New("sts: this service was made without what the operation needs")
