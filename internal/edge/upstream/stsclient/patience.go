package stsclient

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

const (
	// throttled is how often a call is made while STS says that it comes too
	// often, with growing pauses between: many roles are traded at once.
	throttled = 6
	// unanswered is how often a call is made that failed otherwise, as without
	// an answer: a person waits, and an STS that is away is not back in a second.
	unanswered = 2
)

// patience says how often a call is made again. Refusals never are.
type patience struct{ *retry.Standard }

func newPatience() patience {
	return patience{retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = throttled
		o.MaxBackoff = 5 * time.Second
		o.RateLimiter = unmetered{} // each call backs off for itself
	})}
}

// RetryDelay gives the pause after an attempt, counted from 1; its error ends
// the attempts.
func (p patience) RetryDelay(attempt int, err error) (time.Duration, error) {
	if attempt >= unanswered && !isThrottled(err) {
		return 0, err
	}
	return p.Standard.RetryDelay(attempt, err)
}

func isThrottled(err error) bool {
	var said smithy.APIError
	if !errors.As(err, &said) {
		return false
	}
	_, throttled := retry.DefaultThrottleErrorCodes[said.ErrorCode()]
	return throttled
}

// unmetered lets every call retry within its own attempts.
type unmetered struct{}

func (unmetered) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}

func (unmetered) AddTokens(uint) error { return nil }
