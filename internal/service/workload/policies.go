package workload

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/issuer"
)

// Limits of what a policy says.
const (
	mostName      = 128
	mostURL       = 255
	mostAudiences = 10
	mostSubject   = 1024
	mostKeys      = 64 << 10 // bytes of an inline key set
)

// All gives the federation policies, by name.
func (s *Service) All() []FederationPolicy { return slices.Clone(s.known.Load().all) }

// Find gives a policy by id, or by a name that only one has, letter case aside.
// Faults: NotFound, Conflict.
func (s *Service) Find(text string) (FederationPolicy, error) {
	var found []FederationPolicy
	for _, p := range s.known.Load().all {
		if string(p.ID) == text {
			return p, nil
		}
		if strings.EqualFold(p.Name, text) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return FederationPolicy{}, fault.New(fault.NotFound, fmt.Sprintf("there is no federation policy %q", clip(text))).
			WithMend("list them: carnet federation-policy list")
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, p := range found {
		ids[i] = string(p.ID)
	}
	return FederationPolicy{}, fault.New(fault.Conflict, fmt.Sprintf("%q is the name of several federation policies: %s", clip(text), strings.Join(ids, ", "))).
		WithMend("give the id")
}

// Add stores a new policy, by an administrator's word. Faults: Invalid, NotFound
// (the service principal), Conflict (name, number).
func (s *Service) Add(ctx context.Context, p FederationPolicy) (FederationPolicy, error) {
	if p.SubjectClaim == "" {
		p.SubjectClaim = "sub"
	}
	if err := s.check(ctx, p); err != nil {
		return FederationPolicy{}, err
	}
	p.ID, p.Created = identity.NewFederationPolicyID(), s.now()
	most := MostPerPrincipal
	detail := map[string]string{"name": p.Name, "issuer": p.Issuer, "claim": p.SubjectClaim}
	if p.ServicePrincipal != "" {
		detail["service_principal"], detail["subject"] = string(p.ServicePrincipal), p.Subject
	} else {
		most = MostAccountWide
	}
	e := event.Event{Action: "federation-policy.add", Outcome: event.Done, Target: string(p.ID), IdP: p.IdP, Detail: detail}
	err := s.recorded(ctx, e, func(ctx context.Context) error { return s.Policies.AddPolicy(ctx, p, most) })
	s.reload(ctx)
	return p, err
}

// Remove takes a policy out. What was issued by it lives to its end, an hour at
// most; to end that too, revoke the service principal. Fault: NotFound.
func (s *Service) Remove(ctx context.Context, id identity.FederationPolicyID) error {
	e := event.Event{Action: "federation-policy.remove", Outcome: event.Done, Target: string(id)}
	err := s.recorded(ctx, e, func(ctx context.Context) error {
		gone, err := s.Policies.RemovePolicy(ctx, id)
		if err == nil && !gone {
			err = fault.New(fault.NotFound, "there is no such federation policy")
		}
		return err
	})
	s.reload(ctx)
	return err
}

// reload follows our own change before its caller is answered.
func (s *Service) reload(ctx context.Context) {
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		s.Logger.Warn("the federation policies could not be read after a change", "error", err)
	}
}

func invalid(field, format string, args ...any) *fault.Fault {
	return fault.Coded(fault.Invalid, "federation-policy."+field, fmt.Sprintf(format, args...))
}

// check holds a policy to what it must and must not say.
func (s *Service) check(ctx context.Context, p FederationPolicy) error {
	if !readable(p.Name, mostName) {
		return invalid("name", "a policy's name is 1 to %d bytes that can be seen", mostName)
	}
	if err := s.checkIssuer(p.Issuer); err != nil {
		return err
	}
	if err := s.checkKeys(p); err != nil {
		return err
	}
	if len(p.Audiences) > mostAudiences {
		return invalid("audiences", "%d audiences: want at most %d", len(p.Audiences), mostAudiences)
	}
	for _, a := range p.Audiences {
		if !readable(a, mostURL) {
			return invalid("audiences", "an audience is 1 to %d bytes that can be seen", mostURL)
		}
		if a == issuer.AudienceAWS {
			return invalid("audiences", "tokens for %s are made to be traded at AWS, not here: whoever gets one could come as the workload", a).
				WithMend("have the tokens made for this installation, and leave --audience out")
		}
	}
	if !readable(p.SubjectClaim, mostName) {
		return invalid("subject-claim", "the name of a claim is 1 to %d bytes that can be seen", mostName)
	}
	return s.checkWhom(ctx, p)
}

// checkWhom holds the two kinds of policies apart: one names its one subject and
// the service principal that it is, the other the people of an identity provider.
func (s *Service) checkWhom(ctx context.Context, p FederationPolicy) error {
	switch {
	case (p.ServicePrincipal == "") == (p.IdP == ""):
		return invalid("whom", "a policy is for one service principal, or for the people of one identity provider").
			WithMend("give --service-principal, or --people-of")
	case p.ServicePrincipal == "" && p.Subject != "":
		return invalid("subject", "a policy for people has no subject: the claim says who it is")
	case p.ServicePrincipal == "" && slices.Contains([]string{"email", "mail", "upn", "preferred_username", "unique_name"}, strings.ToLower(p.SubjectClaim)):
		return invalid("subject-claim", "the claim %s may be given to another person later: people are known by the subject of their identity provider alone", p.SubjectClaim).
			WithMend("name a claim that holds that subject")
	case p.ServicePrincipal == "":
		_, err := s.IdPs.Speaker(p.IdP)
		return err
	case !readable(p.Subject, mostSubject):
		return invalid("subject", "a policy for a service principal names one subject, letter for letter, of at most %d bytes", mostSubject).
			WithMend("give --subject, such as repo:ORG/REPO:environment:ENV for GitHub or system:serviceaccount:NAMESPACE:NAME for Kubernetes")
	case strings.ContainsAny(p.Subject, "*?"):
		return invalid("subject", "the subject %q looks like a pattern: subjects are compared letter for letter", clip(p.Subject)).
			WithMend("add one policy for each subject")
	}
	_, err := s.Directory.ServicePrincipal(ctx, p.ServicePrincipal)
	return err
}

// readable reports whether a text has 1 to most bytes, all of which are seen.
func readable(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// checkIssuer holds an issuer to the form that OpenID Connect gives it, and keeps
// our own out: a token of ours proves somebody elsewhere.
func (s *Service) checkIssuer(text string) error {
	const discovery = "/.well-known/openid-configuration"
	if issuer, pasted := strings.CutSuffix(strings.TrimSuffix(text, "/"), discovery); pasted {
		return invalid("issuer", "that is the address of a discovery document, not the issuer").WithMend("give the issuer: " + clip(issuer))
	}
	if err := s.checkURL("issuer", text); err != nil {
		return err
	}
	if u, err := url.Parse(text); err != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return invalid("issuer", "an issuer has no query and no fragment: %q", clip(text))
	}
	if _, ours := s.Issuer.LevelOf(text); ours {
		return invalid("issuer", "%s is this installation's own issuer: what it issues is not a proof here", text).
			WithMend("a service principal signs in with a credential of its own, or by tokens of where it runs")
	}
	return nil
}

func (s *Service) checkURL(field, text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil, len(text) > mostURL, u.Host == "", u.Opaque != "", !readable(text, mostURL):
		return invalid(field, "%q is not a URL of at most %d characters", clip(text), mostURL)
	case u.User != nil:
		return invalid(field, "the URL must not hold a user name or password")
	case u.Scheme != "https" && (u.Scheme != "http" || !s.Loopback || !loopback(u)):
		return invalid(field, "%q is not https", clip(text))
	}
	return nil
}

func loopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// checkKeys holds what a policy says of keys: given with it, at an address, or
// found by discovery.
func (s *Service) checkKeys(p FederationPolicy) error {
	switch {
	case len(p.JWKS) > 0 && p.JWKSURL != "":
		return invalid("keys", "a policy has its keys, or an address of them, not both")
	case p.JWKSURL != "":
		return s.checkURL("jwks-url", p.JWKSURL)
	case p.JWKS == nil:
		return nil
	case len(p.JWKS) > mostKeys:
		return invalid("keys", "the key set has %d bytes: want at most %d", len(p.JWKS), mostKeys)
	}
	set, err := oidc.ParseKeySet(p.JWKS)
	if err != nil {
		return invalid("keys", "%s", fault.Of(err).Public)
	}
	if notes := set.Notes(); len(notes) > 0 || set.Len() == 0 {
		return invalid("keys", "the key set has nothing that could be used, or something that can't be: %s", strings.Join(notes, "; ")).
			WithMend("give public keys for RS256 or ES256 alone")
	}
	return nil
}

// clip bounds what a text repeats of outside input.
func clip(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
