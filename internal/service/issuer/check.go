package issuer

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// Weight says how bad a finding is.
type Weight string

// The weights.
const (
	Good    Weight = "ok"
	Warning Weight = "warning"
	Problem Weight = "problem"
)

// Finding is one thing that a check found.
type Finding struct {
	Level  Level  `json:"level"`
	Weight Weight `json:"weight"`
	What   string `json:"what"`
	Do     string `json:"do,omitempty"` // what to do next
}

// Fetcher gets what stands at an address, by the guarded client.
type Fetcher interface {
	Get(ctx context.Context, url string) ([]byte, error)
}

// Check compares what the world sees at the issuers' URLs with what is signed
// with here.
func (s *Service) Check(ctx context.Context, from Fetcher) []Finding {
	var all []Finding
	if stop := s.rows.Load().stop; !stop.At.IsZero() {
		all = append(all, Finding{s.Registered(), Problem, "Minting stopped at " + stamp(stop.At) + ": " + stop.Reason,
			"find out who wrote it, then run: carnet issuer publish --replace"})
	}
	for _, l := range Levels() {
		c := checking{s: s, level: l}
		c.check(ctx, from)
		all = append(all, c.found...)
	}
	return all
}

type checking struct {
	s     *Service
	level Level
	found []Finding
}

func (c *checking) say(w Weight, do, what string, args ...any) {
	c.found = append(c.found, Finding{c.level, w, fmt.Sprintf(what, args...), do})
}

func (c *checking) check(ctx context.Context, from Fetcher) {
	s, name := c.s, c.s.URL(c.level)
	if why := NotForAWS(name); why != "" && c.level == s.Registered() {
		c.say(Warning, "set base_url, oidc.public_url or oidc.account_url to an https address without a port; the local authority takes loopback with iam.loopback_providers",
			"AWS can't trust %s: %s", name, why)
	}
	for _, a := range Algorithms() {
		if key, _, err := s.signer(c.level, a); err != nil && fault.Of(err).Code == CodeKey {
			do := "look at: carnet issuer keys list"
			if s.Elsewhere {
				do = "publish it: carnet issuer publish"
			}
			c.say(Problem, do, "No %s key is in use: nothing is minted with it", a)
		} else if err == nil && !key.gone.IsZero() {
			c.say(Good, "", "%s key %s signs; the next one replaces it before %s", a, short(key.ID), stamp(key.gone))
		}
	}
	raw, err := from.Get(ctx, name+oidc.WellKnown()[0])
	if err != nil {
		c.say(Problem, c.reach(), "The world can't read the discovery document: %s", fault.Of(err).Public)
		return
	}
	called, keys, err := oidc.ReadMetadata(raw)
	switch want := name + "/jwks.json"; {
	case err != nil:
		c.say(Problem, c.mend(), "What stands at the discovery address is none: %s", fault.Of(err).Public)
		return
	case called != name:
		c.say(Problem, c.mend(), "The discovery document there calls itself %q, and relying parties refuse it: want %q", clip(called), name)
	case keys != want:
		c.say(Problem, "find out who wrote it: whoever has the keys there can sign as this issuer; then: carnet issuer publish --replace",
			"The discovery document there leads to the keys at %q: want %q", clip(keys), want)
	default:
		c.say(Good, "", "Discovery is at %s", name)
	}
	if raw, err = from.Get(ctx, name+"/jwks.json"); err != nil {
		c.say(Problem, c.reach(), "The world can't read the key set: %s", fault.Of(err).Public)
		return
	}
	c.keys(raw)
}

// keys compares the key set that the world reads with ours.
func (c *checking) keys(raw []byte) {
	set, err := oidc.ParseKeySet(raw)
	if err != nil {
		c.say(Problem, c.mend(), "What stands at the key set's address is none: %s", fault.Of(err).Public)
		return
	}
	now := c.s.Now()
	there := map[string]bool{}
	for _, k := range set.Published() {
		there[k.Thumbprint] = true
		if _, ours := c.s.ours(c.level, k.Thumbprint); !ours {
			c.say(Problem, "find out who wrote it: whoever has it can sign as this issuer; then: carnet issuer publish --replace",
				"The key %q stands there and is not ours", clip(k.ID))
		}
	}
	differs := false
	for _, k := range c.s.rows.Load().keys {
		if k.Level != c.level {
			continue
		}
		switch st := k.State(now); {
		case st == Used && !there[k.ID]:
			differs = true
			c.say(Problem, c.mend(), "The %s key %s signs, and the world doesn't see it: its tokens are refused", k.Algorithm, short(k.ID))
		case st == Published && !there[k.ID]:
			differs = true
			c.say(Warning, c.mend(), "The %s key %s is to be used from %s, and the world doesn't see it yet", k.Algorithm, short(k.ID), stamp(k.UsedFrom))
		case st == Retired && !there[k.ID]:
			differs = true
			c.say(Warning, c.mend(), "The %s key %s is not seen any more, and some of its tokens still live", k.Algorithm, short(k.ID))
		case st == Gone && there[k.ID]:
			differs = true
			c.say(Warning, c.mend(), "The %s key %s is gone here, and the world still takes its tokens", k.Algorithm, short(k.ID))
		}
	}
	if !differs && !slices.ContainsFunc(c.found, func(f Finding) bool { return f.Weight == Problem }) {
		c.say(Good, "", "The world sees the keys that are signed with")
	}
}

// mend says how the documents there become ours.
func (c *checking) mend() string {
	if c.s.Elsewhere {
		return "run: carnet issuer publish"
	}
	if c.s.PublicURL != "" || c.level == Account && c.s.AccountURL != "" {
		return "have what serves that address pass " + c.s.Path(c.level) + "/ on to this server, or set oidc.publish"
	}
	return "see what answers at that address: it is not this server"
}

func (c *checking) reach() string {
	return "make " + c.s.URL(c.level) + "/ readable from the internet, or publish the documents with oidc.public_url and oidc.publish; from inside, egress.allow may be what is missing"
}

func short(id string) string { return id[:min(12, len(id))] }

// NotForAWS says why IAM at AWS takes no provider with this URL ("Create an
// OpenID Connect (OIDC) identity provider in IAM"); empty where it does.
func NotForAWS(name string) string {
	u, err := url.Parse(name)
	switch {
	case err != nil || u.Hostname() == "":
		return "it is not a URL"
	case len(name) > 255:
		return "it is longer than 255 characters"
	case u.Scheme != "https":
		return "it does not begin with https://"
	case u.Port() != "":
		return "it has a port"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "it has a query or a fragment"
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if a, err := netip.ParseAddr(host); host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && (a.IsLoopback() || a.IsPrivate()) {
		return "AWS can't reach that host"
	}
	return ""
}
