// Package policy is AWS's policy language, compiled: identity, resource, trust
// and session policies, permissions boundaries and guardrails.
//
// Parse refuses what the engine could not evaluate (IAM User Guide, "IAM JSON
// policy element reference"), so nothing is dropped in silence later. Decide is
// the hot question and allocates nothing; Explain is the complete one, Simulate
// the one of the IAM API, and both are held equal to it. An absent context key
// and an unresolved variable follow AWS: no match, so a negated operator holds.
// A present value that does not parse denies, in a Deny statement too. Text
// substituted for a variable is literal and never acts as a wildcard; nothing is
// allowed but by a matching Allow.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"carnet.dev/carnet/internal/core/fault"
)

// Kind says where a policy is attached, and so which elements it may have.
type Kind uint8

// The kinds. Their limits are in characters without white space.
const (
	Identity  Kind = iota // of a role or user: no Principal; 10240
	Resource              // of a bucket: Principal and Resource; 20480
	Trust                 // of a role: Principal, no Resource, sts: actions only; 4096
	Session               // passed to STS: as Identity; 2048
	Boundary              // permissions boundary: as Identity; 6144
	Guardrail             // service or resource control: Principal may be "*" only; 5120
)

// maxSource bounds what is read at all, white space included.
const maxSource = 64 << 10

func (k Kind) limit() int {
	return [...]int{10240, 20480, 4096, 2048, 6144, 5120}[k]
}

// String names the kind as AWS's error texts do.
func (k Kind) String() string {
	return [...]string{
		"identity-based policy", "resource-based policy", "role trust policy",
		"session policy", "permissions boundary", "service control policy",
	}[k]
}

// Document is one compiled policy. Immutable; safe for many goroutines.
type Document struct {
	kind       Kind
	name       string
	size       int
	statements []statement
	places     [][2]Position // where each statement begins and ends
	allows     index
	denies     index
	asks       Asks
}

type statement struct {
	sid         string
	label       string // as Explain and decisions cite it: policy#Sid or policy#2
	deny        bool
	actions     []pattern
	notAction   bool
	resources   []resourcePattern
	notResource bool
	noResource  bool // trust policies have none
	principals  *principals
	conditions  []condition
}

// Parse compiles the JSON text of a policy, or says what is wrong with it.
// The fault's code is MalformedPolicyDocument.
func Parse(kind Kind, name string, src []byte) (*Document, error) {
	d, err := parse(kind, src)
	if err != nil {
		return nil, fault.Coded(fault.Invalid, "MalformedPolicyDocument",
			fmt.Sprintf("%s %q is malformed: %s", kind, name, err))
	}
	d.name = name
	for i := range d.statements {
		s := &d.statements[i]
		if s.label = name + "#" + s.sid; s.sid == "" {
			s.label = fmt.Sprintf("%s#%d", name, i+1)
		}
	}
	return d, nil
}

func parse(kind Kind, src []byte) (*Document, error) {
	if len(src) > maxSource {
		return nil, fmt.Errorf("it is longer than %d bytes", maxSource)
	}
	root, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, src); err != nil {
		return nil, err
	}
	size := utf8.RuneCount(compact.Bytes())
	if size > kind.limit() {
		return nil, fmt.Errorf("it has %d characters without white space, more than the %d of a %s", size, kind.limit(), kind)
	}
	p := parser{kind: kind, src: src}
	d, err := p.document(root)
	if err != nil {
		return nil, err
	}
	d.size = size
	return d, nil
}

// Kind gives the kind that the document was parsed as.
func (d *Document) Kind() Kind { return d.kind }

// Size gives the characters that count against limits: without white space.
func (d *Document) Size() int { return d.size }

// Name gives the name under which decisions cite the document.
func (d *Document) Name() string { return d.name }

// Unite makes one document of several that are asked together, such as all
// policies of a role: the same answers from one index. Statements keep the
// names that they are cited under.
func Unite(documents []*Document) *Document {
	if len(documents) == 1 {
		return documents[0]
	}
	u := &Document{}
	for _, d := range documents {
		u.kind = d.kind
		u.size += d.size
		u.statements = append(u.statements, d.statements...)
		u.places = append(u.places, d.places...)
	}
	u.buildIndex()
	return u
}

// RolePrincipals lists the ARNs of roles and users that Principal elements
// name, each once: what Pin wants ids for.
func (d *Document) RolePrincipals() []string {
	return d.principalTexts(byARN)
}

// FederatedPrincipals lists the provider ARNs that Principal elements name,
// each once.
func (d *Document) FederatedPrincipals() []string {
	return d.principalTexts(byProvider)
}

func (d *Document) principalTexts(kind principalKind) []string {
	var out []string
	for i := range d.statements {
		if p := d.statements[i].principals; p != nil {
			for _, e := range p.entries {
				if e.kind == kind && !slices.Contains(out, e.text) {
					out = append(out, e.text)
				}
			}
		}
	}
	return out
}

// Pin gives a copy in which each role or user ARN stands for one unique id, so
// a principal deleted and made again under the same name is another one. An
// ARN without an id matches nobody.
func (d *Document) Pin(ids map[string]string) *Document {
	c := *d
	c.statements = slices.Clone(d.statements)
	for i := range c.statements {
		s := &c.statements[i]
		if s.principals == nil {
			continue
		}
		p := *s.principals
		p.entries = slices.Clone(p.entries)
		for j := range p.entries {
			if e := &p.entries[j]; e.kind == byARN {
				e.pinned, e.id = true, ids[e.text]
			}
		}
		s.principals = &p
	}
	return &c
}

// Within reports whether every Resource of the document is the bucket or lies
// in it, as S3 demands of a bucket policy ("Policy has invalid resource").
func (d *Document) Within(bucket string) bool {
	for i := range d.statements {
		s := &d.statements[i]
		for _, r := range s.resources {
			if r.any || r.literalHead != "arn:aws:s3:::" || !r.last.startsWithSegment(bucket) {
				return false
			}
		}
	}
	return true
}
