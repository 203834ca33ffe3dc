// Package engines writes the settings by which an engine or a library reads S3 with a
// person's own keys.
//
// A block says where keys come from, never a key: the node's agent at its loopback
// endpoint, or an AWS profile whose keys a program fetches. It also names where the
// keys are used. What a block says is exactly what the pages under docs/use say, and
// what is run there.
package engines

import (
	"embed"
	"fmt"
	"sort"
	"strings"
	"text/template"

	"carnet.dev/carnet/internal/core/fault"
)

// Facts are what a block is made of.
type Facts struct {
	// Container and TokenFile are the agent's loopback endpoint and the file with its
	// second factor; empty: there is none, and Profile counts.
	Container, TokenFile string
	// Profile is the AWS profile whose keys are fetched by a program.
	Profile string
	// Region, S3 and STS are where the keys are used; S3 and STS are empty at AWS.
	Region, S3, STS string
	// CA is a PEM file of the authority that proves S3; empty: the system's do.
	CA string
	// Role is the ARN of the role, to show; empty: whichever is current.
	Role string
	// Server is the address of the Carnet server, Node and Socket what the agent is
	// called and where it listens; empty: no agent.
	Server, Node, Socket string
}

//go:embed blocks carnet_credentials.py carnet_spawner.py
var files embed.FS

// Names lists what there are blocks for.
func Names() []string {
	return []string{"duckdb", "hadoop", "jupyterhub", "polars", "python", "spark", "trino"}
}

// Known reports whether there is a block of that name.
func Known(name string) bool {
	i := sort.SearchStrings(Names(), name)
	return i < len(Names()) && Names()[i] == name
}

// Render gives the block of an engine. Faults: Unsupported where it can't be had with
// these facts; Internal where a fact can't stand in it.
func Render(name string, f Facts) (string, error) {
	if !Known(name) {
		return "", fault.Coded(fault.Invalid, "engine.unknown", fmt.Sprintf("there is no block for %q", fault.Clip(name))).
			WithMend("name one of " + strings.Join(Names(), ", "))
	}
	if whole := map[string]string{"python": "carnet_credentials.py", "jupyterhub": "carnet_spawner.py"}[name]; whole != "" {
		b, err := files.ReadFile(whole)
		return string(b), err
	}
	for _, v := range []string{f.Container, f.TokenFile, f.Profile, f.Region, f.S3, f.STS, f.CA, f.Role, f.Server, f.Node, f.Socket} {
		if strings.ContainsFunc(v, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`'"<>&\`+"`", c) }) {
			return "", fault.New(fault.Internal, fmt.Sprintf("%q can't stand in a configuration file", fault.Clip(v)))
		}
	}
	t, err := template.New(name+".tmpl").Option("missingkey=error").ParseFS(files, "blocks/"+name+".tmpl")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := t.Execute(&out, f); err != nil {
		return "", err
	}
	return out.String(), nil
}

// Host is the host and port of the S3 endpoint, without a scheme.
func (f Facts) Host() string {
	_, host, _ := strings.Cut(f.S3, "://")
	return host
}

// TLS reports whether the S3 endpoint is reached over TLS; AWS's own is.
func (f Facts) TLS() bool { return !strings.HasPrefix(f.S3, "http://") }
