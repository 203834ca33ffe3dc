package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
)

// AddNode stores a new node.
func (s Store) AddNode(ctx context.Context, n cluster.Node, most int) error {
	err := s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := there(t, n.Cluster); err != nil {
			return err
		}
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM node WHERE cluster = $1`, n.Cluster).Scan(&have); err != nil {
			return err
		}
		if have >= most {
			return fault.Coded(fault.Limited, "node.most", fmt.Sprintf("the cluster has %d nodes already, the most that there can be", have)).WithMend("remove those that are gone: carnet node remove")
		}
		t.Changed(Topic)
		if _, err := t.Exec(`INSERT INTO node (id, cluster, name, name_fold, public_key, old_key, old_key_ends, joined, epoch) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			n.ID, n.Cluster, n.Name, directory.Fold(n.Name), n.Key, notNull(n.Before), milli(n.BeforeEnds), n.Joined.UnixMilli(), int64(n.Epoch)); err != nil {
			return err
		}
		_, err := t.Exec(`INSERT INTO node_health (node, report, seen) VALUES ($1, '{}', $2)`, n.ID, n.Joined.UnixMilli())
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.New(fault.Conflict, fmt.Sprintf("the cluster has a node %q already, letter case aside", n.Name)).WithCode("node.name").
			WithMend("if that one is gone, an administrator takes it out: carnet node remove CLUSTER " + n.Name + "; else join under another name")
	}
	return err
}

func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// SetNodeKey replaces a node's key by the next.
func (s Store) SetNodeKey(ctx context.Context, n cluster.Node) (bool, error) {
	return s.mark(ctx, `UPDATE node SET public_key = $2, old_key = $3, old_key_ends = $4 WHERE id = $1 AND public_key = $3`, n.ID, n.Key, n.Before, milli(n.BeforeEnds))
}

// RemoveNode deletes a node.
func (s Store) RemoveNode(ctx context.Context, id identity.NodeID) (bool, error) {
	return s.mark(ctx, `DELETE FROM node WHERE id = $1`, id)
}

// Nodes gives all nodes.
func (s Store) Nodes(ctx context.Context) (all []cluster.Node, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT id, cluster, name, public_key, old_key, old_key_ends, joined, epoch FROM node ORDER BY cluster, name_fold`, nil, func(scan func(...any) error) error {
			var n cluster.Node
			var ends, joined, epoch int64
			if err := scan(&n.ID, &n.Cluster, &n.Name, &n.Key, &n.Before, &ends, &joined, &epoch); err != nil {
				return err
			}
			if len(n.Before) == 0 {
				n.Before = nil
			}
			n.BeforeEnds, n.Joined, n.Epoch = at(ends), at(joined), uint64(epoch)
			all = append(all, n)
			return nil
		})
	})
	return all, err
}

// report is a cluster.Report as it is kept.
type report struct {
	Version           string   `json:"version,omitempty"`
	Faces             []string `json:"faces,omitempty"`
	Troubles          []string `json:"troubles,omitempty"`
	MetadataReachable bool     `json:"metadata_reachable,omitempty"`
}

// SetSeen notes when a node was seen.
func (s Store) SetSeen(ctx context.Context, id identity.NodeID, at time.Time) (bool, error) {
	return s.quietly(ctx, `UPDATE node_health SET seen = $2 WHERE node = $1`, id, at.UnixMilli())
}

// SetHealth replaces what is kept of a node.
func (s Store) SetHealth(ctx context.Context, h cluster.Health) (bool, error) {
	text, err := json.Marshal(report(h.Report))
	if err != nil {
		return false, err
	}
	return s.quietly(ctx, `UPDATE node_health SET report = $2, seen = $3 WHERE node = $1`, h.Node, string(text), h.Seen.UnixMilli())
}

// quietly changes one row at most, and tells nobody.
func (s Store) quietly(ctx context.Context, query string, args ...any) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(query, args...)
		done = n == 1
		return err
	})
	return done, err
}

// Healths gives how the nodes of a cluster were seen last.
func (s Store) Healths(ctx context.Context, of identity.ClusterID) (all []cluster.Health, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT h.node, h.report, h.seen FROM node n JOIN node_health h ON h.node = n.id WHERE n.cluster = $1 ORDER BY n.name_fold`, []any{of}, func(scan func(...any) error) error {
			var h cluster.Health
			var text string
			var seen int64
			if err := scan(&h.Node, &text, &seen); err != nil {
				return err
			}
			var r report
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				return fmt.Errorf("node %s: %w", h.Node, err)
			}
			h.Report, h.Seen = cluster.Report(r), at(seen)
			all = append(all, h)
			return nil
		})
	})
	return all, err
}
