package gatewaykeys

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
)

// TrinoRule gives one Trino user their key. Trino takes the first rule whose user
// pattern matches the whole name, and refuses whom none matches.
type TrinoRule struct {
	UserPattern string // a Java regular expression that matches the name and no other
	AccessKeyID string
	Secret      secret.Text
}

// The periods after which keys are rolled. Trino keeps one S3 client for each key
// that it has ever seen, until it ends: short periods cost its memory.
const (
	DefaultTrinoRoll = 8 * time.Hour
	ShortestRoll     = time.Minute
)

// TrinoRules are those of one cluster. Notes say who has no rule, and why.
type TrinoRules struct {
	Rules []TrinoRule
	Notes []string
}

// TrinoRules gives a rule for everyone who has a key for a cluster: their newest
// one. A key older than roll is rolled first, 0 meaning DefaultTrinoRoll, and one
// whose life is shorter at half of it; the old one lives on for overlap, negative
// meaning DefaultOverlap. Who can't be served (signed out, or no role left) has no
// rule, nor has a name that two people share. Faults: NotFound, Invalid.
func (s *Service) TrinoRules(ctx context.Context, cluster string, roll, overlap time.Duration) (TrinoRules, error) {
	return s.trinoRules(ctx, cluster, roll, overlap, func(Key) bool { return true })
}

// trinoRules is TrinoRules by the keys alone that only admits.
func (s *Service) trinoRules(ctx context.Context, cluster string, roll, overlap time.Duration, only func(Key) bool) (TrinoRules, error) {
	if roll == 0 {
		roll = DefaultTrinoRoll
	}
	if roll < ShortestRoll || roll > Longest/2 {
		return TrinoRules{}, fault.Coded(fault.Invalid, "trino.roll", fmt.Sprintf("keys are rolled every %s to %s", ShortestRoll, Longest/2))
	}
	if err := s.load(ctx); err != nil { // another server may have rolled a moment ago
		return TrinoRules{}, err
	}
	if _, err := s.cluster(cluster); err != nil {
		return TrinoRules{}, err
	}
	var out TrinoRules
	newest, shared := s.newest(cluster, only)
	for _, name := range shared { // whoever of them asks: Trino would take either for the other
		out.Notes = append(out.Notes, fmt.Sprintf("%q is the name of two people: neither has a rule, since Trino could not tell them apart", name))
	}
	for _, e := range newest {
		if age := s.Now().Sub(e.Made); age >= ShortestRoll && age >= min(roll, e.Expires.Sub(e.Made)/2) {
			rolled, err := s.rollFor(ctx, e, overlap)
			if err != nil {
				if !isAway(err) {
					out.Notes = append(out.Notes, fmt.Sprintf("%q has no rule: %s", e.Owner.Name, fault.Of(err).Public))
					continue
				}
				s.Logger.Warn("a gateway key can't be rolled now; the old one goes on", "gateway_key", e.ID, "error", err)
			} else {
				e = rolled
			}
		}
		out.Rules = append(out.Rules, TrinoRule{UserPattern: javaLiteral(e.Owner.Name), AccessKeyID: e.AccessKeyID, Secret: e.secret})
	}
	return out, nil
}

// newest gives each name's newest key for a cluster that only admits, by name, and the
// names that two people share, whoever of them it admits.
func (s *Service) newest(cluster string, only func(Key) bool) (out []*entry, shared []string) {
	b := s.known.Load()
	rolled := map[identity.GatewayKeyID]bool{}
	for _, e := range b.byAccessKey {
		rolled[e.Follows] = true
	}
	byName, people := map[string]*entry{}, map[string]*entry{}
	for _, e := range b.byAccessKey {
		if fold(e.Cluster) != fold(cluster) || e.Delivered || rolled[e.ID] || s.state(e.Key) != Active {
			continue
		}
		if first := people[e.Owner.Name]; first == nil {
			people[e.Owner.Name] = e
		} else if who(first) != who(e) && !slices.Contains(shared, e.Owner.Name) {
			shared = append(shared, e.Owner.Name)
		}
		had := byName[e.Owner.Name]
		switch {
		case !only(e.Key):
		case had == nil:
			byName[e.Owner.Name] = e
		case had.Made.Before(e.Made):
			byName[e.Owner.Name] = e
		}
	}
	for name, e := range byName {
		if !slices.Contains(shared, name) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int { return strings.Compare(a.Owner.Name, b.Owner.Name) })
	slices.Sort(shared)
	return out, shared
}

// who is the one whom a key acts as: a person, else a service principal.
func who(e *entry) string {
	if e.Owner.Person != "" {
		return string(e.Owner.Person)
	}
	return string(e.Owner.ServicePrincipal)
}

// rollFor rolls a key. Where another server was faster its key is taken.
func (s *Service) rollFor(ctx context.Context, e *entry, overlap time.Duration) (*entry, error) {
	m, err := s.Roll(ctx, e.ID, overlap)
	if err == nil {
		return &entry{Key: m.Key, secret: m.Secret}, nil
	}
	if fault.Of(err).Code != "gateway-key.rolled" {
		return nil, err
	}
	if bad := s.load(ctx); bad != nil {
		return nil, bad
	}
	for _, other := range s.known.Load().byAccessKey {
		if other.Follows == e.ID {
			return other, nil
		}
	}
	return nil, err
}

// javaLiteral writes a text as a Java regular expression that matches it alone
// (java.util.regex.Pattern: a backslash before any other character than a letter or
// digit quotes it).
func javaLiteral(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x80 && !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '@') {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// TrinoMapping is the document that Trino reads
// (io.trino.filesystem.s3.S3SecurityMappings). Its secrets are in clear.
type TrinoMapping struct {
	Mappings []TrinoMappingRule `json:"mappings"`
}

// TrinoMappingRule is one rule of it.
type TrinoMappingRule struct {
	User      string `json:"user"`
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
	Endpoint  string `json:"endpoint"`
	Region    string `json:"region"`
}

// Document writes the rules for a gateway at an address.
func (t TrinoRules) Document(endpoint, region string) TrinoMapping {
	m := TrinoMapping{Mappings: []TrinoMappingRule{}}
	for _, r := range t.Rules {
		m.Mappings = append(m.Mappings, TrinoMappingRule{User: r.UserPattern, AccessKey: r.AccessKeyID, SecretKey: r.Secret.Reveal(), Endpoint: endpoint, Region: region})
	}
	return m
}
