package iam

import (
	"crypto/sha256"
	"encoding/base32"
	"time"
)

// AWSPolicy is one of AWS's own managed policies that Carnet knows, in one
// version.
type AWSPolicy struct {
	ID       string // ANPA…, the same on every installation
	Name     string
	Document string
	Created  time.Time
}

// AWSPolicies lists the AWS managed policies that Carnet knows. Their ARNs are
// arn:PARTITION:iam::aws:policy/NAME.
func AWSPolicies() []AWSPolicy {
	var out []AWSPolicy
	for _, p := range awsOwn() {
		sum := sha256.Sum256([]byte(p.name))
		out = append(out, AWSPolicy{
			ID: "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17], Name: p.name, Document: p.document,
			Created: time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC),
		})
	}
	return out
}
