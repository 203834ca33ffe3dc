// Package credential holds temporary credentials: what STS hands out and what
// agents, gateways and command lines pass on.
package credential

import (
	"time"

	"carnet.dev/carnet/internal/core/arn"
	"carnet.dev/carnet/internal/core/secret"
)

// Temporary is one set of temporary credentials as STS returns it.
type Temporary struct {
	AccessKeyID     string
	SecretAccessKey secret.Text
	SessionToken    secret.Text
	Expiration      time.Time // UTC, whole seconds
}

// RoleSession is one role held by one person for a while.
type RoleSession struct {
	Role        arn.Role
	SessionName string
	// AssumedRoleARN is the ARN under which the person acts.
	AssumedRoleARN string
	Credentials    Temporary
}

// Live reports whether the keys are usable at now.
func (t Temporary) Live(now time.Time) bool {
	return t.AccessKeyID != "" && now.Before(t.Expiration)
}
