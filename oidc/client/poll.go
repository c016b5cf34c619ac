package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// How often a client asks whether the user has answered yet.
const (
	defaultPollInterval = 5 * time.Second // RFC 8628 section 3.2, CIBA Core 1.0 section 7.3
	minPollInterval     = time.Second
	slowDown            = 5 * time.Second // RFC 8628 section 3.5
	maxPollLife         = 24 * time.Hour
)

// poll asks for the tokens of a grant that waits for a user, until there is an
// answer, the grant ends, or ctx does. It waits for the interval before each
// request, and longer as the provider asks for it; a provider that cannot be
// reached is asked half as often each time (RFC 8628 section 3.5).
func (c *Client) poll(ctx context.Context, g grant, interval time.Duration, end time.Time) (*TokenResponse, error) {
	interval = max(interval, minPollInterval)
	for {
		if !c.clock().Add(interval).Before(end) {
			return nil, fmt.Errorf("client: the user did not answer in time: %w", ErrExpiredToken)
		}
		if err := sleep(ctx, interval); err != nil {
			return nil, err
		}
		t, err := c.token(ctx, g)
		if err == nil {
			return t, nil
		}
		next, again := nextPoll(err, interval)
		if !again || ctx.Err() != nil {
			return nil, err
		}
		interval = next
	}
}

// nextPoll returns how long to wait after an error, and whether to ask again at
// all.
func nextPoll(err error, interval time.Duration) (time.Duration, bool) {
	switch {
	case errors.Is(err, ErrAuthorizationPending):
	case errors.Is(err, ErrSlowDown):
		interval += slowDown
	case IsRetryable(err):
		interval = min(2*interval, maxPollLife)
	default:
		return 0, false
	}
	return max(interval, RetryAfter(err)), true
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// seconds reads a member that is a number of seconds, 1 or more.
func seconds(object oidc.Value, name string) (d time.Duration, known bool, err error) {
	v, _ := object.Member(name)
	if v.Kind() == oidc.KindNull {
		return 0, false, nil
	}
	n, err := strconv.ParseFloat(v.Text(), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(n) || n < 0 {
		return 0, false, fmt.Errorf("the answer's %s is no number of seconds", name)
	}
	return time.Duration(min(n, maxPollLife.Seconds()) * float64(time.Second)), true, nil
}
