package iamapi

import (
	"fmt"
	"regexp"
	"strings"

	"carnet.dev/carnet/internal/core/fault"
)

// exclusions are the policies that a simulation leaves out (IAM API Reference,
// PolicyIdentifier).
type exclusions struct {
	kinds    map[string]bool
	arns     []*regexp.Regexp
	embedded []embedded
}

// embedded names an inline policy of users, groups or roles.
type embedded struct {
	policy, word string
	bearer       *regexp.Regexp
}

// exclusions reads PolicyExclusionList.
func (c *call) exclusions() exclusions {
	e := exclusions{kinds: map[string]bool{}}
	kinds := words("inline", "aws-managed", "user-managed", "permission-boundary", "scp", "rcp")
	const inline = "InlinePolicyIdentifier."
	for i, m := range c.in.members("PolicyExclusionList", 0, 256, "PolicyType", "PolicyArn", inline+"PolicyName", inline+"AttachmentType", inline+"AttachmentName") {
		at := fmt.Sprintf("policyExclusionList.%d.member.", i+1)
		kind, byKind := m.Get("PolicyType")
		arn, byARN := m.Get("PolicyArn")
		policy, byName := m.Get(inline + "PolicyName")
		word, _ := m.Get(inline + "AttachmentType")
		bearer, _ := m.Get(inline + "AttachmentName")
		switch {
		case len(m.Names()) > 1 && !byName, len(m.Names()) != 3 && byName:
			c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", "Each member of PolicyExclusionList has exactly one of PolicyType, PolicyArn and InlinePolicyIdentifier."))
		case byKind:
			c.in.hold(kind, at+"policyType", kinds)
			e.kinds[kind] = true
		case byARN:
			c.in.hold(arn, at+"policyArn", arnText)
			e.arns = append(e.arns, c.glob(arn))
		default:
			c.in.hold(policy, at+"inlinePolicyIdentifier.policyName", policyName)
			c.in.hold(bearer, at+"inlinePolicyIdentifier.attachmentName", attachmentName)
			e.embedded = append(e.embedded, embedded{policy, strings.ToLower(word), c.glob(bearer)})
		}
	}
	return e
}

// attachmentName is the name of a user, group or role, or a pattern of it.
var attachmentName = rule{least: 1, most: 128}

// glob compiles a text with at most one * and any number of ?. One that is
// longer than any rule has been refused: compiling costs many times its length.
func (c *call) glob(text string) *regexp.Regexp {
	if len(text) > 4*arnText.most {
		text = ""
	}
	if strings.Count(text, "*") > 1 {
		c.in.fails(fault.Coded(fault.Invalid, "InvalidInput", "At most one * may stand in "+clip(text)+"."))
	}
	return compiled(strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(text)))
}

func (e exclusions) kind(k string) bool { return e.kinds[k] }

func (e exclusions) inline(b bearer, policy string) bool {
	if e.kinds["inline"] {
		return true
	}
	for _, x := range e.embedded {
		if x.policy == policy && x.word == b.kind.word && x.bearer.MatchString(b.name) {
			return true
		}
	}
	return false
}

func (e exclusions) managed(m managed) bool {
	if e.kinds["aws-managed"] && m.aws || e.kinds["user-managed"] && !m.aws {
		return true
	}
	for _, x := range e.arns {
		if x.MatchString(m.arn) {
			return true
		}
	}
	return false
}
