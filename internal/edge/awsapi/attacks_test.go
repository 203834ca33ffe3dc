package awsapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"carnet.dev/carnet/internal/edge/awsapi"
	"carnet.dev/carnet/internal/service/sts"
)

// waiting waits with ID tokens, as for a provider that never answers, and
// refuses assertions at once.
type waiting struct {
	awsapi.Authority
	got, done chan struct{}
}

func (a *waiting) AssumeRoleWithWebIdentity(context.Context, sts.WebRequest) (*sts.WebAnswer, error) {
	a.got <- struct{}{}
	<-a.done
	return nil, errors.New("late")
}

func (a *waiting) AssumeRoleWithSAML(context.Context, sts.SAMLRequest) (*sts.SAMLAnswer, error) {
	return nil, errors.New("seen")
}

// TestAttackIDTokensOfASilentProvider: strangers who send ID tokens of
// a provider that is away don't keep people with assertions out.
func TestAttackIDTokensOfASilentProvider(t *testing.T) {
	t.Parallel()
	a := &waiting{got: make(chan struct{}), done: make(chan struct{})}
	w := newWorld(t, func(c *awsapi.STSConfig) { c.Authority, c.Exchanges = a, 1 })
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.send(t, "POST", "/", formHeader, form("Action", "AssumeRoleWithWebIdentity", "Version", "2011-06-15",
			"RoleArn", "arn:aws:iam::111122223333:role/x", "RoleSessionName", "me", "WebIdentityToken", "a.b.c"))
	}()
	<-a.got
	if status, body := w.send(t, "POST", "/", formHeader, w.call()); status != 500 || strings.Contains(body, "Throttling") {
		t.Errorf("%d %s", status, body)
	}
	close(a.done)
	<-over
}
