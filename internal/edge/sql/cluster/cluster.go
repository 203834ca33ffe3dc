// Package cluster keeps clusters, nodes and join tokens in SQL. A change of a cluster
// names the revision that it was made of; what can't be read is an error, never left
// out, so that nobody is let in where less was written.
package cluster

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"carnet.dev/carnet/internal/core/fault"
	"carnet.dev/carnet/internal/core/identity"
	"carnet.dev/carnet/internal/edge/sql"
	"carnet.dev/carnet/internal/service/cluster"
	"carnet.dev/carnet/internal/service/directory"
)

// Topic is raised when a cluster or a node changes.
const Topic = "cluster"

// Store is every store interface of service/cluster on a database.
type Store struct{ DB *sql.DB }

var (
	_ cluster.Clusters   = Store{}
	_ cluster.Nodes      = Store{}
	_ cluster.Healths    = Store{}
	_ cluster.JoinTokens = Store{}
)

// Watch calls changed after every change by any server.
func (s Store) Watch(ctx context.Context, changed func()) error {
	return s.DB.Watch(ctx, Topic, changed)
}

// settings is what of a cluster nobody searches for.
type settings struct {
	Managers         []identity.PersonID           `json:"managers,omitempty"`
	People           []identity.PersonID           `json:"people,omitempty"`
	Groups           []identity.GroupID            `json:"groups,omitempty"`
	Orchestrators    []identity.ServicePrincipalID `json:"orchestrators,omitempty"`
	Roles            []string                      `json:"roles,omitempty"`
	LoginNames       identity.IdPID                `json:"login_names,omitempty"`
	Meta             bool                          `json:"meta,omitempty"`
	InstanceMetadata bool                          `json:"instance_metadata,omitempty"`
	SigningProxy     bool                          `json:"signing_proxy,omitempty"`
	LongestSeconds   int64                         `json:"longest_seconds,omitempty"`
}

// texts gives the columns of a cluster that are JSON.
func texts(c cluster.Cluster) (networks, certificates, rest string, err error) {
	prints := make([]string, len(c.Binding.Certificates))
	for i, f := range c.Binding.Certificates {
		prints[i] = f.String()
	}
	var out [3][]byte
	for i, v := range []any{append([]netip.Prefix{}, c.Binding.Networks...), prints, settings{c.Managers, c.People, c.Groups, c.Orchestrators, c.Roles, c.LoginNames,
		c.Meta, c.InstanceMetadata, c.SigningProxy, int64(c.Longest / time.Second)}} {
		if out[i], err = json.Marshal(v); err != nil {
			return "", "", "", err
		}
	}
	return string(out[0]), string(out[1]), string(out[2]), nil
}

// AddCluster stores a new cluster.
func (s Store) AddCluster(ctx context.Context, c cluster.Cluster) error {
	networks, certificates, rest, err := texts(c)
	if err != nil {
		return err
	}
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		t.Changed(Topic)
		_, err := t.Exec(`INSERT INTO cluster (id, name, name_fold, kind, assigned, networks, certificates, settings, revision, made) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			c.ID, c.Name, directory.Fold(c.Name), c.Kind, c.Assigned, networks, certificates, rest, c.Revision, c.Made.UnixMilli())
		return err
	})
	if sql.IsDuplicate(err) {
		return fault.New(fault.Conflict, fmt.Sprintf("there is a cluster %q already, letter case aside", c.Name)).WithCode("cluster.name").
			WithMend("change that one: carnet cluster set " + c.Name + "; or give another name")
	}
	return err
}

// UpdateCluster replaces a cluster of the revision before.
func (s Store) UpdateCluster(ctx context.Context, c cluster.Cluster) (bool, error) {
	networks, certificates, rest, err := texts(c)
	if err != nil {
		return false, err
	}
	return s.mark(ctx, `UPDATE cluster SET kind = $3, assigned = $4, networks = $5, certificates = $6, settings = $7, revision = $2 WHERE id = $1 AND revision = $2 - 1`,
		c.ID, c.Revision, c.Kind, c.Assigned, networks, certificates, rest)
}

// RemoveCluster deletes a cluster; its nodes and join tokens go with it.
func (s Store) RemoveCluster(ctx context.Context, id identity.ClusterID) (bool, error) {
	return s.mark(ctx, `DELETE FROM cluster WHERE id = $1`, id)
}

// mark changes one row at most, and tells of it.
func (s Store) mark(ctx context.Context, query string, args ...any) (done bool, err error) {
	err = s.DB.Write(ctx, func(t *sql.Tx) error {
		n, err := t.Exec(query, args...)
		if done = n == 1; done {
			t.Changed(Topic)
		}
		return err
	})
	return done, err
}

// Clusters gives all clusters.
func (s Store) Clusters(ctx context.Context) (all []cluster.Cluster, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		all = nil
		return t.Each(`SELECT id, name, kind, assigned, networks, certificates, settings, revision, made FROM cluster ORDER BY name_fold`, nil, func(scan func(...any) error) error {
			c, err := scanCluster(scan)
			all = append(all, c)
			return err
		})
	})
	return all, err
}

func scanCluster(scan func(...any) error) (c cluster.Cluster, err error) {
	var networks, certificates, rest string
	var made int64
	if err := scan(&c.ID, &c.Name, &c.Kind, &c.Assigned, &networks, &certificates, &rest, &c.Revision, &made); err != nil {
		return c, err
	}
	c.Made = at(made)
	if c.Binding, err = binding(networks, certificates); err != nil {
		return c, fmt.Errorf("cluster %s: %w", c.ID, err)
	}
	var g settings
	d := json.NewDecoder(bytes.NewReader([]byte(rest)))
	d.DisallowUnknownFields() // a rule of a later release must not be left out
	if err := d.Decode(&g); err != nil {
		return c, fmt.Errorf("cluster %s: %w", c.ID, err)
	}
	c.Managers, c.People, c.Groups, c.Orchestrators, c.Roles = g.Managers, g.People, g.Groups, g.Orchestrators, g.Roles
	c.LoginNames, c.Meta, c.InstanceMetadata, c.SigningProxy = g.LoginNames, g.Meta, g.InstanceMetadata, g.SigningProxy
	c.Longest = time.Duration(g.LongestSeconds) * time.Second
	return c, nil
}

func binding(networks, certificates string) (b cluster.Binding, err error) {
	if err := json.Unmarshal([]byte(networks), &b.Networks); err != nil {
		return b, err
	}
	var list []string
	if err := json.Unmarshal([]byte(certificates), &list); err != nil {
		return b, err
	}
	for _, text := range list {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != len(cluster.Fingerprint{}) {
			return b, fmt.Errorf("%q is not a fingerprint", text)
		}
		b.Certificates = append(b.Certificates, cluster.Fingerprint(raw))
	}
	if len(b.Networks) == 0 {
		b.Networks = nil
	}
	return b, nil
}

// AddJoinToken stores a join token.
func (s Store) AddJoinToken(ctx context.Context, j cluster.JoinToken, most int) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		if err := there(t, j.Cluster); err != nil {
			return err
		}
		var have int
		if err := t.QueryRow(`SELECT COUNT(*) FROM join_token WHERE cluster = $1 AND expires > $2`, j.Cluster, j.Made.UnixMilli()).Scan(&have); err != nil {
			return err
		}
		if have >= most {
			return fault.Coded(fault.Limited, "join-token.most", fmt.Sprintf("there are %d join tokens of this cluster that have not expired, the most that there can be", have)).
				WithMend("wait until some have expired")
		}
		_, err := t.Exec(`INSERT INTO join_token (digest, cluster, made_by, made, expires) VALUES ($1, $2, $3, $4, $5)`, j.Digest[:], j.Cluster, j.By, j.Made.UnixMilli(), j.Expires.UnixMilli())
		return err
	})
}

// there is NotFound where a cluster is gone.
func there(t *sql.Tx, id identity.ClusterID) error {
	var one int
	err := t.QueryRow(`SELECT 1 FROM cluster WHERE id = $1`, id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.Coded(fault.NotFound, "cluster.unknown", "the cluster was removed").WithMend("list those that there are: carnet cluster list")
	}
	return err
}

// JoinToken gives the join token of a digest.
func (s Store) JoinToken(ctx context.Context, digest [32]byte) (j cluster.JoinToken, found bool, err error) {
	err = s.DB.Read(ctx, func(t *sql.Tx) error {
		var made, expires int64
		j = cluster.JoinToken{Digest: digest}
		err := t.QueryRow(`SELECT cluster, made_by, made, expires FROM join_token WHERE digest = $1`, digest[:]).Scan(&j.Cluster, &j.By, &made, &expires)
		found = err == nil
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		j.Made, j.Expires = at(made), at(expires)
		return err
	})
	return j, found, err
}

// SweepJoinTokens deletes the join tokens that expired before a time.
func (s Store) SweepJoinTokens(ctx context.Context, before time.Time) error {
	return s.DB.Write(ctx, func(t *sql.Tx) error {
		_, err := t.Exec(`DELETE FROM join_token WHERE expires < $1`, before.UnixMilli())
		return err
	})
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
