package oidc

import (
	"context"
	"time"
)

// budget is a context with a deadline that costs nothing until somebody waits: a
// timer for each token would cost as much as all of its claims. One goroutine uses
// it, and stops it.
type budget struct {
	context.Context
	until  time.Time
	timed  context.Context // nil until Done is called
	cancel context.CancelFunc
}

// Deadline implements context.Context.
func (b *budget) Deadline() (time.Time, bool) {
	if at, ok := b.Context.Deadline(); ok && at.Before(b.until) {
		return at, true
	}
	return b.until, true
}

// Done implements context.Context.
func (b *budget) Done() <-chan struct{} {
	if b.timed == nil {
		b.timed, b.cancel = context.WithDeadline(b.Context, b.until)
	}
	return b.timed.Done()
}

// Err implements context.Context.
func (b *budget) Err() error {
	b.Done()
	return b.timed.Err()
}

func (b *budget) stop() {
	if b.cancel != nil {
		b.cancel()
	}
}
