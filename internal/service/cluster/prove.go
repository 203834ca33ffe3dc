package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/protocol/oidc"
	"carnet.dev/carnet/internal/service/revocation"
)

// Limits of a node's proofs.
const (
	// AssertionLife is how far ahead the end of an assertion may lie, and Skew the
	// clock difference allowed to a node.
	AssertionLife = time.Minute
	Skew          = 30 * time.Second
	// TokenLife is how long a node access token lives.
	TokenLife = 10 * time.Minute
	// KeyGrace is how long a key counts after it was replaced.
	KeyGrace = 10 * time.Minute

	maxAssertion = 4 << 10 // characters
	maxJTI       = 256
	onceNode     = "node-assertion"
)

// Prove finds out which node signed an assertion: a JWT by ES256 with kid = iss = sub
// = the node's id, aud = audience alone, an end at most AssertionLife on, and a jti,
// which is used up. What is revoked from here on refuses what the node is given for
// it. Fault: Unauthenticated, the same for every reason, and Unavailable.
func (s *Service) Prove(ctx context.Context, assertion, audience string) (Node, error) {
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Node{}, err
	}
	t, id, err := readAssertion(assertion)
	if err != nil {
		return Node{}, err
	}
	n, claims, err := s.proven(ctx, t, id, audience)
	if err != nil {
		return Node{}, err
	}
	err = s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.spend(ctx, id, claims); err != nil {
			return err
		}
		there, err := s.Healths.SetSeen(ctx, id, s.now())
		if err == nil && !there {
			err = unproven("the node was removed")
		}
		return err
	})
	n.Epoch = epoch
	return n, err
}

// spend uses up an assertion, in the transaction that ctx carries.
func (s *Service) spend(ctx context.Context, id identity.NodeID, c *oidc.Claims) error {
	won, err := s.Once.Consume(ctx, onceNode, string(id)+"\x00"+c.ID, c.Expires.Add(Skew))
	if err == nil && !won {
		err = unproven("the assertion was used before")
	}
	return err
}

func readAssertion(assertion string) (*oidc.Token, identity.NodeID, error) {
	if len(assertion) > maxAssertion {
		return nil, "", unproven("the assertion is too long")
	}
	t, err := oidc.Parse(assertion)
	if err != nil {
		return nil, "", unproven("the assertion can't be read").WithCause(err)
	}
	return t, identity.NodeID(t.ClaimedIssuer()), nil
}

// proven holds an assertion to a key of the node that it claims. A node, or a key of
// one, that is not in memory may be new: it is looked for, ten times a second at most.
func (s *Service) proven(ctx context.Context, t *oidc.Token, id identity.NodeID, audience string) (Node, *oidc.Claims, error) {
	n, c, err := s.hold(t, id, audience)
	if err == nil || !s.look(ctx) {
		return n, c, err
	}
	return s.hold(t, id, audience)
}

// hold is proven by what is in memory.
func (s *Service) hold(t *oidc.Token, id identity.NodeID, audience string) (Node, *oidc.Claims, error) {
	n, ok := s.Node(id)
	if !ok {
		return Node{}, nil, unproven("no node has this id")
	}
	now := s.Now()
	keys := [][]byte{n.Key}
	if n.Before != nil && now.Before(n.BeforeEnds) {
		keys = append(keys, n.Before)
	}
	var last error
	for _, spki := range keys {
		c, err := holdTo(t, spki, id, audience, now)
		if err == nil {
			return n, c, nil
		}
		last = err
	}
	return Node{}, nil, last
}

// holdTo holds an assertion to one key and to what it has to say.
func holdTo(t *oidc.Token, spki []byte, id identity.NodeID, audience string, now time.Time) (*oidc.Claims, error) {
	public, err := nodeKey(spki)
	if err != nil {
		return nil, err
	}
	document, err := oidc.WriteKeySet([]oidc.PublicKey{{ID: string(id), Algorithm: oidc.ES256, Key: public}})
	if err != nil {
		return nil, err
	}
	set, err := oidc.ParseKeySet(document)
	if err != nil {
		return nil, err
	}
	c, err := t.Verify(set, oidc.Expect{Issuer: string(id), Audiences: []string{audience}, Algorithms: []string{oidc.ES256}, Skew: Skew}, now)
	switch {
	case err != nil:
		return nil, unproven("no key of the node proves the assertion").WithCause(err)
	case c.KeyID != string(id) || c.Subject != string(id):
		return nil, unproven("kid, iss and sub of the assertion are not all the node's id")
	case len(c.Audiences) != 1:
		return nil, unproven("the assertion is for somebody else too")
	case c.ID == "" || len(c.ID) > maxJTI:
		return nil, unproven("the assertion has no jti, or a long one")
	case c.Expires.After(now.Add(AssertionLife + Skew)):
		return nil, unproven("the assertion lives longer than a minute")
	}
	return c, nil
}

// lookEvery bounds how often nodes are read anew for one that is not in memory.
const lookEvery = 100 * time.Millisecond

// look reads anew, unless that was done a moment ago; false: nothing new.
func (s *Service) look(ctx context.Context) bool {
	s.looks.mu.Lock()
	now := s.Now()
	if now.Before(s.looks.next) {
		s.looks.mu.Unlock()
		return false
	}
	s.looks.next = now.Add(lookEvery)
	s.looks.mu.Unlock()
	if err := s.load(ctx); err != nil {
		s.Logger.Warn("nodes can't be read anew", "error", err)
		return false
	}
	return true
}

func unproven(why string) *fault.Fault {
	return fault.Coded(fault.Unauthenticated, "node.unproven", "the node did not prove itself: its key, or its clock, is not the one that is known here").
		WithMend("look at the agent's clock; if the node was removed, have it join again: carnet agent join").
		WithCause(fault.New(fault.Unauthenticated, why))
}

// NewKey replaces a node's key. proof is an assertion by the new key, for audience.
// The old one counts for KeyGrace more, so that a lost answer locks nobody out; to ask
// for the key that already counts changes nothing. Faults: Invalid, Unauthenticated,
// Conflict.
func (s *Service) NewKey(ctx context.Context, node Node, spki []byte, proof, audience string) error {
	if _, err := nodeKey(spki); err != nil {
		return err
	}
	t, id, err := readAssertion(proof)
	if err != nil {
		return err
	}
	if id != node.ID {
		return unproven("the proof is another node's")
	}
	claims, err := holdTo(t, spki, id, audience, s.Now())
	if err != nil {
		return err
	}
	n, ok := s.Node(id)
	if !ok {
		return unproven("the node was removed")
	}
	if bytes.Equal(n.Key, spki) {
		return s.State.Atomic(ctx, func(ctx context.Context) error { return s.spend(ctx, id, claims) })
	}
	n.Before, n.BeforeEnds, n.Key = n.Key, s.now().Add(KeyGrace), spki
	return s.recorded(ctx, n.event("node.key"), func(ctx context.Context) error {
		if err := s.spend(ctx, id, claims); err != nil {
			return err
		}
		done, err := s.Nodes.SetNodeKey(ctx, n)
		if err == nil && !done {
			err = fault.Coded(fault.Conflict, "node.key-changed", "the node's key was changed at the same time").WithMend("try again")
		}
		return err
	})
}

// nodeToken is what a node access token holds, sealed.
type nodeToken struct {
	Node    identity.NodeID    `json:"n"`
	Cluster identity.ClusterID `json:"c"`
	Expires int64              `json:"x"` // Unix seconds
	Epoch   uint64             `json:"e"`
}

const (
	tokenPrefix  = "carnet-node-"
	tokenPurpose = "node-token"
	maxNodeToken = 1024 // characters
)

// IssueNodeToken makes the access token of a node that Prove gave.
func (s *Service) IssueNodeToken(n Node) (secret.Text, time.Time, error) {
	expires := s.Now().UTC().Add(TokenLife).Truncate(time.Second)
	plain, err := json.Marshal(nodeToken{n.ID, n.Cluster, expires.Unix(), n.Epoch})
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	sealed, err := s.Sealer.Seal(tokenPurpose, nil, plain)
	if err != nil {
		return secret.Text{}, time.Time{}, err
	}
	return secret.New(tokenPrefix + base64.RawURLEncoding.EncodeToString(sealed)), expires, nil
}

// NodeOf gives the node behind an access token, from memory: it opens the token and
// asks the feed whether node or cluster were taken back since. Faults:
// Unauthenticated, Expired, Revoked, and Unavailable while this server does not know.
func (s *Service) NodeOf(ctx context.Context, token secret.Text) (Node, error) {
	text, ok := strings.CutPrefix(token.Reveal(), tokenPrefix)
	if !ok || len(text) > maxNodeToken {
		return Node{}, noToken()
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return Node{}, noToken()
	}
	plain, err := s.Sealer.Open(tokenPurpose, nil, sealed)
	if err != nil {
		return Node{}, noToken().WithCause(err)
	}
	var t nodeToken
	if err := json.Unmarshal(plain, &t); err != nil {
		return Node{}, noToken().WithCause(err)
	}
	if !s.Now().Before(time.Unix(t.Expires, 0)) {
		return Node{}, fault.Coded(fault.Expired, "node.token-expired", "the node's access token has expired").WithMend("fetch a new one")
	}
	for _, r := range [...]struct{ kind, id string }{{revocation.Everything, revocation.Everything}, {revocation.Node, string(t.Node)}, {revocation.Cluster, string(t.Cluster)}} {
		refused, err := s.Feed.Refused(r.kind, r.id, t.Epoch)
		if err != nil {
			return Node{}, err
		}
		if refused {
			return Node{}, fault.Coded(fault.Revoked, "node.removed", "this node, or its cluster, was removed").WithMend("have it join again: carnet agent join")
		}
	}
	n, ok := s.Node(t.Node)
	if !ok && s.look(ctx) { // it may have joined at another server a moment ago
		n, ok = s.Node(t.Node)
	}
	if !ok || n.Cluster != t.Cluster {
		return Node{}, fault.Coded(fault.Unavailable, "node.unread", "this server has not read of the node yet").WithMend("try again in a moment")
	}
	n.Epoch = t.Epoch
	return n, nil
}

func noToken() *fault.Fault {
	return fault.Coded(fault.Unauthenticated, "node.token", "the request has no access token of a node").
		WithMend("the agent fetches one with its key: carnet agent")
}
