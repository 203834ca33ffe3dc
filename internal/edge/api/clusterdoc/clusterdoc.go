// Package clusterdoc holds the documents of the API about clusters and their nodes.
//
// Client, pages and the host's commands share them. Fields are only ever added.
package clusterdoc

import "time"

// ClusterList lists clusters, by name: all for administrators, for others those that
// they manage or may attach to.
type ClusterList struct {
	Clusters []Cluster `json:"clusters"`
}

// Cluster is one set of machines that people share. Whoever does not manage it sees
// its name, kind and what may be done there.
type Cluster struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Kind     string `json:"kind"` // standard, high-concurrency
	Revision int    `json:"revision"`
	// Manages: whoever asked manages it, or is an administrator.
	Manages bool `json:"manages"`
	// Assigned is the one person of a standard cluster; nil: nobody.
	Assigned      *ClusterMember  `json:"assigned"`
	Managers      []ClusterMember `json:"managers"`
	People        []ClusterMember `json:"people"`
	Groups        []ClusterMember `json:"groups"`
	Orchestrators []ClusterMember `json:"orchestrators"`
	// Roles are patterns of role ARNs; none: every role that a person holds.
	Roles []string `json:"roles"`
	// LoginNames is the identity provider whose user names equal the nodes' login
	// names; nil: a login name proves nothing.
	LoginNames       *ClusterMember `json:"login_names"`
	Meta             bool           `json:"meta"`
	InstanceMetadata bool           `json:"instance_metadata"`
	SigningProxy     bool           `json:"signing_proxy"`
	LongestSeconds   int            `json:"longest_seconds"` // of an attachment
	Networks         []string       `json:"networks"`
	Certificates     []string       `json:"certificates"` // SHA-256, hex
	Nodes            int            `json:"nodes"`        // how many joined
	Made             time.Time      `json:"made"`
	Warnings         []string       `json:"warnings"`
}

// ClusterMember is a person, group, service principal or identity provider.
type ClusterMember struct {
	ID   string `json:"id"`
	Name string `json:"name"` // empty: it is gone
}

// NewCluster is a cluster to be. Who it names is named by id, or by a name that only
// one has.
type NewCluster struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Settings ClusterSettings `json:"settings"`
}

// ClusterSettings holds what shall be set; what is nil stays, and an empty list
// empties. A new cluster has the defaults of its kind.
type ClusterSettings struct {
	Assigned         *string   `json:"assigned,omitempty"` // empty: nobody
	Managers         *[]string `json:"managers,omitempty"`
	People           *[]string `json:"people,omitempty"`
	Groups           *[]string `json:"groups,omitempty"`
	Orchestrators    *[]string `json:"orchestrators,omitempty"`
	Roles            *[]string `json:"roles,omitempty"`
	LoginNames       *string   `json:"login_names,omitempty"` // empty: none
	Meta             *bool     `json:"meta,omitempty"`
	InstanceMetadata *bool     `json:"instance_metadata,omitempty"`
	SigningProxy     *bool     `json:"signing_proxy,omitempty"`
	LongestSeconds   *int      `json:"longest_seconds,omitempty"` // 0: the default
	Networks         *[]string `json:"networks,omitempty"`
	Certificates     *[]string `json:"certificates,omitempty"`
}

// ClusterChange changes a cluster of the revision that was seen.
type ClusterChange struct {
	Revision int             `json:"revision"`
	Settings ClusterSettings `json:"settings"`
}

// Assignment makes a person the one of a standard cluster; empty: nobody.
type Assignment struct {
	Person string `json:"person"`
}

// JoinTokenRequest asks for a join token.
type JoinTokenRequest struct {
	LifetimeSeconds int `json:"lifetime_seconds,omitempty"` // 0: an hour; at most 86400
}

// JoinToken lets one machine join, once. It is shown this once.
type JoinToken struct {
	JoinToken string    `json:"join_token"`
	Cluster   string    `json:"cluster"` // its name
	Expires   time.Time `json:"expires"`
}

// NodeList lists the nodes of a cluster, by name.
type NodeList struct {
	Nodes []Node `json:"nodes"`
}

// Node is one machine that joined.
type Node struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	State  string    `json:"state"` // well, troubled, silent
	Joined time.Time `json:"joined"`
	Seen   time.Time `json:"seen"`
	// Version is the agent's.
	Version           string   `json:"version"`
	Faces             []string `json:"faces"` // that answer
	Troubles          []string `json:"troubles"`
	MetadataReachable bool     `json:"metadata_reachable"`
}
