package issuer

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
)

// Lifetimes of tokens. Those for AWS never live longer than ForAWS.
const (
	ForAWS   = 5 * time.Minute
	ForJDBC  = 15 * time.Minute
	Standard = time.Hour
	most     = 24 * time.Hour
)

// Claims of our own, and those that STS reads.
const (
	ClaimEpoch          = "carnet_epoch"
	claimAttachment     = "carnet_attachment"
	claimNode           = "carnet_node"
	claimCluster        = "carnet_cluster"
	claimOwner          = "carnet_process_owner"
	claimRoles          = "https://aws.amazon.com/roles"
	claimSourceIdentity = "https://aws.amazon.com/source_identity"
	claimTags           = "https://aws.amazon.com/tags"
)

// Tag is a session tag.
type Tag struct{ Key, Value string }

// IDToken says what an ID token shall say.
type IDToken struct {
	// Level is the issuer; empty: the registered one, which alone mints for
	// AudienceAWS, whatever stands here.
	Level Level
	// Subject is user:…, sp:… or job:….
	Subject string
	// Audience is AudienceAWS, one that the configuration lists, or with Client
	// the id of a registered client, by the caller's word.
	Audience string
	Client   bool
	// Role is the one role that the token is good for; AudienceAWS needs it.
	Role              arn.Role
	SourceIdentity    string
	Tags              []Tag
	TransitiveTagKeys []string
	LoginSession      identity.LoginSessionID // sid
	// OnNode is where a token for AudienceAWS was asked for: our STS holds it, and
	// the keys that it buys, to that.
	OnNode identity.OnNode
	// Epoch is the revocation epoch at which it is made: our STS refuses what
	// was revoked since.
	Epoch           uint64
	AuthTime        time.Time
	Nonce           string
	AuthorizedParty string
	// AccessTokenHash is at_hash: of the access token that was given with it.
	AccessTokenHash string
	ACR             string
	AMR             []string
	// Profile are claims about the person (name, email, preferred_username), for
	// relying parties alone.
	Profile map[string]string
	// Algorithm is RS256 or ES256; empty: the configured one.
	Algorithm string
	// Lifetime is at most 5 minutes for AWS; 0: that, or an hour for others. It
	// may come out shorter, see Minted.
	Lifetime time.Duration
}

// AccessToken is an access token for our own API (RFC 9068).
type AccessToken struct {
	Level        Level // empty: Workspace
	Subject      string
	ClientID     string
	Scope        string // scopes, with a space between
	LoginSession identity.LoginSessionID
	Epoch        uint64
	AuthTime     time.Time
	ACR          string
	Lifetime     time.Duration // 0: an hour
	// ID, Issued and Expires are known of a token that was verified.
	ID      string
	Issued  time.Time
	Expires time.Time
}

// Minted is a token that was minted.
type Minted struct {
	Token   secret.Text
	ID      string // jti
	Issuer  string
	KeyID   string
	Issued  time.Time
	Expires time.Time
}

// MintID mints an ID token. The same one, asked for again, is the live token
// until half its life is over. Faults: Unavailable (CodeKey, CodeHalted), Denied
// (CodeAudience), Invalid.
func (s *Service) MintID(t IDToken) (Minted, error) {
	aws := t.Audience == AudienceAWS
	if aws || t.Level == "" {
		t.Level = s.Registered()
	}
	if t.Algorithm == "" {
		t.Algorithm = s.Signing
	}
	if err := s.admit(t); err != nil {
		return Minted{}, err
	}
	if t.Lifetime <= 0 {
		t.Lifetime = Standard
	}
	if aws {
		t.Lifetime = min(t.Lifetime, ForAWS)
	}
	if t.Audience == AudienceJDBC {
		t.Lifetime = min(t.Lifetime, ForJDBC)
	}
	key, now, err := s.signer(t.Level, t.Algorithm)
	if err != nil {
		return Minted{}, err
	}
	digest, keep := t.digest()
	if keep {
		if m, ok := s.live.find(digest, key.ID, t.Epoch, now); ok {
			return m, nil
		}
	}
	m, err := s.sign(key, oidc.TypeIDToken, t.Level, t.claims(), now, t.Lifetime)
	if err == nil && keep {
		s.live.keep(digest, m, t.Epoch)
	}
	return m, err
}

// admit holds a token to its audience.
func (s *Service) admit(t IDToken) error {
	switch listed := slices.Contains(s.Audiences, t.Audience); {
	case t.Audience == "" || t.Audience == s.APIAudience():
		return noAudience(t.Audience)
	case (t.Audience == AudienceAWS || t.Audience == AudienceJDBC) && t.Client:
		return noAudience(t.Audience)
	case t.Audience == AudienceAWS && t.Role.IsZero():
		return fault.New(fault.Invalid, "a token for AWS names no role").WithMend("ask for one role")
	case strings.ContainsAny(t.Role.Path, ";,"):
		// A reader that splits the claim at these would find another role in it.
		return fault.New(fault.Invalid, "the path of a role that a token names has no comma and no semicolon").WithMend("have the role made under another path")
	case t.Audience != AudienceAWS && t.Audience != AudienceJDBC && !listed && !t.Client:
		return noAudience(t.Audience)
	case t.Audience != AudienceAWS && !t.Role.IsZero():
		return fault.New(fault.Invalid, "only a token for AWS names a role")
	}
	return subject(t.Subject)
}

func subject(s string) error {
	if s == "" || len(s) > 255 {
		return fault.New(fault.Invalid, "a token needs a subject of at most 255 characters")
	}
	return nil
}

func noAudience(a string) error {
	return fault.Coded(fault.Denied, CodeAudience, fmt.Sprintf("No ID token is minted for the audience %q", a)).
		WithMend("ask for " + AudienceAWS + ", or have an administrator list the audience under oidc.audiences")
}

// claims gives what stands in an ID token beside what all tokens have.
func (t IDToken) claims() map[string]any {
	c := map[string]any{"sub": t.Subject, "aud": t.Audience, ClaimEpoch: t.Epoch}
	put(c, map[string]string{"sid": string(t.LoginSession), "nonce": t.Nonce, "azp": t.AuthorizedParty, "acr": t.ACR, "at_hash": t.AccessTokenHash})
	if !t.AuthTime.IsZero() {
		c["auth_time"] = t.AuthTime.Unix()
	}
	if len(t.AMR) > 0 {
		c["amr"] = t.AMR
	}
	if t.Audience != AudienceAWS {
		put(c, t.Profile)
		return c
	}
	c[claimRoles] = t.Role.String()
	put(c, map[string]string{claimSourceIdentity: t.SourceIdentity, claimAttachment: string(t.OnNode.Attachment), claimNode: string(t.OnNode.Node),
		claimCluster: string(t.OnNode.Cluster), claimOwner: t.OnNode.Owner})
	if len(t.Tags) > 0 {
		tags := map[string][]string{}
		for _, tag := range t.Tags {
			tags[tag.Key] = []string{tag.Value}
		}
		all := map[string]any{"principal_tags": tags}
		if len(t.TransitiveTagKeys) > 0 {
			all["transitive_tag_keys"] = t.TransitiveTagKeys
		}
		c[claimTags] = all
	}
	return c
}

// OnNodeOf reads where a token of ours was asked for; false where what stands there
// is not readable, which refuses it.
func OnNodeOf(c *oidc.Claims) (on identity.OnNode, ok bool) {
	text := func(name string) string {
		v, there := c.All()[name]
		s, isText := v.(string)
		ok = ok && (!there || isText && s != "")
		return s
	}
	ok = true
	on = identity.OnNode{Attachment: identity.AttachmentID(text(claimAttachment)), Node: identity.NodeID(text(claimNode)),
		Cluster: identity.ClusterID(text(claimCluster)), Owner: text(claimOwner)}
	return on, ok
}

// put adds what has a value, and replaces nothing.
func put(c map[string]any, more map[string]string) {
	for name, v := range more {
		if _, there := c[name]; v != "" && !there {
			c[name] = v
		}
	}
}

// MintAccess mints an access token for our own API, which no relying party
// takes for an ID token. Faults: Unavailable (CodeKey, CodeHalted), Invalid.
func (s *Service) MintAccess(t AccessToken) (Minted, error) {
	if t.Level == "" {
		t.Level = Workspace
	}
	if t.Lifetime <= 0 {
		t.Lifetime = Standard
	}
	if err := subject(t.Subject); err != nil {
		return Minted{}, err
	}
	key, now, err := s.signer(t.Level, oidc.ES256)
	if err != nil {
		return Minted{}, err
	}
	c := map[string]any{"sub": t.Subject, "aud": s.APIAudience(), "client_id": t.ClientID, ClaimEpoch: t.Epoch}
	put(c, map[string]string{"scope": t.Scope, "sid": string(t.LoginSession), "acr": t.ACR})
	if !t.AuthTime.IsZero() {
		c["auth_time"] = t.AuthTime.Unix()
	}
	return s.sign(key, oidc.TypeAccessToken, t.Level, c, now, t.Lifetime)
}

// signer gives the key in use.
func (s *Service) signer(l Level, algorithm string) (*signer, time.Time, error) {
	v, now := s.current(), s.Now()
	if stop := v.of.stop; !stop.At.IsZero() {
		return nil, now, halted(stop)
	}
	key := v.faces[l].sign[algorithm]
	if key == nil {
		return nil, now, fault.Coded(fault.Unavailable, CodeKey, fmt.Sprintf("The %s issuer has no %s key in use", l, algorithm)).
			WithMend("run `carnet issuer check` on the server")
	}
	return key, now, nil
}

func halted(stop Stop) error {
	return fault.Coded(fault.Unavailable, CodeHalted, "Minting stopped: a key that is not ours stands where our keys are published").
		WithMend("find out who wrote it, then run on the server: carnet issuer publish --replace").
		WithCause(fmt.Errorf("key %q, found %s: %s", stop.KeyID, stop.At.Format(time.RFC3339), stop.Reason))
}

// sign adds what all tokens have. No token outlives the time for which its key
// is taken.
func (s *Service) sign(key *signer, typ string, l Level, claims map[string]any, now time.Time, life time.Duration) (Minted, error) {
	expires := now.Add(min(life, s.Grace, most))
	if !key.gone.IsZero() && key.gone.Before(expires) {
		expires = key.gone
	}
	id := make([]byte, 16)
	rand.Read(id)
	m := Minted{ID: hex.EncodeToString(id), Issuer: s.URL(l), KeyID: key.ID, Issued: now.UTC().Truncate(time.Second), Expires: expires.UTC().Truncate(time.Second)}
	claims["iss"], claims["jti"] = m.Issuer, m.ID
	claims["iat"], claims["exp"] = m.Issued.Unix(), m.Expires.Unix()
	text, err := key.Sign(typ, claims)
	if err != nil {
		return Minted{}, fault.Wrap(err, fault.Internal, "a token could not be signed")
	}
	m.Token = secret.New(text)
	return m, nil
}
