package cluster

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"carnet.dev/carnet/internal/core/event"
	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/core/secret"
	"carnet.dev/carnet/internal/service/directory"
	"carnet.dev/carnet/internal/service/revocation"
)

// Limits of joining.
const (
	// DefaultJoinLife is how long a join token is good, where nothing is said, and
	// LongestJoinLife how long at most.
	DefaultJoinLife = time.Hour
	LongestJoinLife = 24 * time.Hour
	// MostJoinTokens bounds the join tokens of a cluster that have not expired, and
	// MostNodes its nodes.
	MostJoinTokens = 1000
	MostNodes      = 10_000
)

const (
	joinPrefix  = "carnet-join-"
	joinOnce    = "join-token"
	joinBytes   = 20
	joinLetters = 32 // of joinBytes, base32
)

// NewJoinToken makes a join token of a cluster: whoever presents it first, within its
// life, becomes a node there. A life of 0 is DefaultJoinLife. It is shown once; its
// digest is kept. Faults: NotFound, Invalid, Limited.
func (s *Service) NewJoinToken(ctx context.Context, id identity.ClusterID, by identity.PersonID, life time.Duration) (secret.Text, error) {
	c, ok := s.Cluster(id)
	if !ok {
		return secret.Text{}, unknown(string(id))
	}
	if life == 0 {
		life = DefaultJoinLife
	}
	if life < time.Minute || life > LongestJoinLife {
		return secret.Text{}, fault.Coded(fault.Invalid, "join-token.life", "a join token is good for a minute to 24 hours").
			WithMend("make it when the node is there: an hour is plenty")
	}
	raw := make([]byte, joinBytes)
	rand.Read(raw)
	token := secret.New(joinPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)))
	now := s.now()
	t := JoinToken{Digest: token.Digest(), Cluster: c.ID, By: by, Made: now, Expires: now.Add(life)}
	e := event.Event{Action: "join-token.make", Outcome: event.Done, Cluster: c.Name, Target: string(c.ID), Detail: map[string]string{"expires": t.Expires.Format(time.RFC3339)}}
	err := s.State.Atomic(ctx, func(ctx context.Context) error {
		if err := s.JoinTokens.AddJoinToken(ctx, t, MostJoinTokens); err != nil {
			return err
		}
		return s.Trail.Record(ctx, e)
	})
	if err != nil {
		return secret.Text{}, err
	}
	return token, nil
}

// Join trades a join token for a place among the nodes of its cluster. name is the
// node's, unique there; spki is the public half of a key that the node made, ECDSA
// P-256. The token is used up by this, and only where it succeeds. Faults: Denied for
// a token that is none, was used or has expired, alike; Invalid; Conflict; Limited.
func (s *Service) Join(ctx context.Context, token secret.Text, name string, spki []byte, version string) (Node, Cluster, error) {
	if len(token.Reveal()) != len(joinPrefix)+joinLetters || !strings.HasPrefix(token.Reveal(), joinPrefix) {
		return Node{}, Cluster{}, noJoin("the text has not the form of a join token")
	}
	if !NameForm(name) {
		return Node{}, Cluster{}, fault.Coded(fault.Invalid, "node.name", fmt.Sprintf("%q is not a name of a node: want 1 to 64 letters, digits, dots, hyphens and underscores", fault.Clip(name))).
			WithMend("give the node another name: carnet agent join --name NAME")
	}
	if _, err := nodeKey(spki); err != nil {
		return Node{}, Cluster{}, err
	}
	epoch, err := s.Feed.Epoch()
	if err != nil {
		return Node{}, Cluster{}, err
	}
	n := Node{ID: identity.NewNodeID(), Name: name, Key: spki, Joined: s.now(), Epoch: epoch}
	err = s.State.Atomic(ctx, func(ctx context.Context) error { return s.join(ctx, token.Digest(), &n, version) })
	if err != nil {
		return Node{}, Cluster{}, err
	}
	if err := s.load(context.WithoutCancel(ctx)); err != nil {
		return Node{}, Cluster{}, err
	}
	c, ok := s.Cluster(n.Cluster)
	if !ok {
		return Node{}, Cluster{}, noJoin("its cluster was removed meanwhile")
	}
	return n, c, nil
}

// join is Join within its transaction.
func (s *Service) join(ctx context.Context, digest [32]byte, n *Node, version string) error {
	t, ok, err := s.JoinTokens.JoinToken(ctx, digest)
	switch {
	case err != nil:
		return err
	case !ok:
		return noJoin("no join token has this digest")
	case !s.Now().Before(t.Expires):
		return noJoin("it expired at " + t.Expires.Format(time.RFC3339))
	}
	won, err := s.Once.Consume(ctx, joinOnce, hex.EncodeToString(digest[:]), t.Expires)
	if err != nil {
		return err
	}
	if !won {
		return noJoin("it was used before")
	}
	n.Cluster = t.Cluster
	if err := s.Nodes.AddNode(ctx, *n, MostNodes); err != nil {
		return err
	}
	if _, err := s.Healths.SetHealth(ctx, Health{Node: n.ID, Seen: n.Joined, Report: Report{Version: printable(version, mostVersion)}}); err != nil {
		return err
	}
	e := n.event("node.join")
	e.Detail["join_token_made_by"] = cmp.Or(string(t.By), "host")
	return s.Trail.Record(ctx, e)
}

func noJoin(why string) *fault.Fault {
	return fault.Coded(fault.Denied, "join-token.refused", "this join token lets nobody join: it is unknown, was used, or has expired").
		WithMend("have a new one made: carnet cluster join-token CLUSTER").WithCause(fault.New(fault.Denied, why))
}

// nodeKey reads the public half of a node's key.
func nodeKey(spki []byte) (*ecdsa.PublicKey, error) {
	const most = 256 // bytes; such a key has 91
	if len(spki) <= most {
		if parsed, err := x509.ParsePKIXPublicKey(spki); err == nil {
			if k, ok := parsed.(*ecdsa.PublicKey); ok && k.Curve == elliptic.P256() {
				return k, nil
			}
		}
	}
	return nil, fault.Coded(fault.Invalid, "node.key", "the node's public key is not an ECDSA key on P-256 (SubjectPublicKeyInfo, DER)").
		WithMend("let the agent make it: carnet agent join")
}

// RemoveNode takes a node out: its access tokens are refused within two seconds, and
// its key proves nothing any more. Who was attached there has nothing there from then
// on. Fault: NotFound.
func (s *Service) RemoveNode(ctx context.Context, id identity.NodeID) error {
	n, ok := s.Node(id)
	if !ok {
		return fault.Coded(fault.NotFound, "node.unknown", fmt.Sprintf("there is no node %q", fault.Clip(string(id)))).
			WithMend("list them: carnet node list CLUSTER")
	}
	return s.recorded(ctx, n.event("node.remove"), func(ctx context.Context) error {
		gone, err := s.Nodes.RemoveNode(ctx, id)
		if err != nil {
			return err
		}
		if !gone {
			return fault.Coded(fault.NotFound, "node.unknown", "the node "+string(id)+" was removed already")
		}
		_, err = s.Feed.Revoke(ctx, revocation.Node, string(id))
		return err
	})
}

// FindNode gives a node of a cluster by id or name, letter case aside. Fault:
// NotFound.
func (s *Service) FindNode(of identity.ClusterID, text string) (Node, error) {
	for _, n := range s.NodesOf(of) {
		if string(n.ID) == text || directory.Fold(n.Name) == directory.Fold(text) {
			return n, nil
		}
	}
	return Node{}, fault.Coded(fault.NotFound, "node.unknown", fmt.Sprintf("the cluster has no node %q", fault.Clip(text))).
		WithMend("list them: carnet node list CLUSTER")
}

func (n Node) event(action string) event.Event {
	return event.Event{Action: action, Outcome: event.Done, Node: n.ID, Target: string(n.ID), Detail: map[string]string{"name": n.Name, "cluster_id": string(n.Cluster)}}
}

func byName(a, b Node) int { return strings.Compare(directory.Fold(a.Name), directory.Fold(b.Name)) }
