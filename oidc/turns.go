package oidc

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
)

// turnsPerProcessor is the default bound of tokens in verification, for each
// processor. The last in that queue waits some 20 ms for signatures of the usual
// sizes: long enough for a burst, and short enough that an answer still helps.
const turnsPerProcessor = 256

// errCrowdedOut is why a token was not looked at.
var errCrowdedOut = errors.New("too many tokens are being verified: this process is overloaded")

// turns bounds the tokens whose signature is being checked. As many as there are
// processors are at work, since more at once would only make each take longer;
// others wait for their turn, and beyond a bound they are sent away at once:
// under overload, work that comes too late to be of use is the first to be saved.
type turns struct {
	work   chan struct{} // a place for each that is at work
	inside atomic.Int64  // at work or waiting
	most   atomic.Int64
}

func newTurns() *turns { return &turns{work: make(chan struct{}, runtime.GOMAXPROCS(0))} }

// bound sets how many may be inside: the default if most is zero. It can change
// at any time; who is inside stays.
func (t *turns) bound(most int) {
	if most == 0 {
		most = turnsPerProcessor * cap(t.work)
	}
	t.most.Store(int64(most))
}

// full reports whether one more would be sent away.
func (t *turns) full() bool { return t.inside.Load() >= t.most.Load() }

// take waits for a turn, at most until ctx ends. It says false if there is none
// to be had, and else is followed by give.
func (t *turns) take(ctx context.Context) bool {
	if t.inside.Add(1) > t.most.Load() {
		t.inside.Add(-1)
		return false
	}
	// Whoever is ready to run comes in now, and is counted. Otherwise a signature is
	// checked from beginning to end before the next request is even looked at, and
	// under overload the queue is one of the scheduler, without a bound.
	runtime.Gosched()
	select {
	case t.work <- struct{}{}:
		return true
	default:
	}
	select {
	case t.work <- struct{}{}:
		return true
	case <-ctx.Done():
		t.inside.Add(-1)
		return false
	}
}

func (t *turns) give() {
	<-t.work
	t.inside.Add(-1)
}
