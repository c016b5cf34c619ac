package oidc

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// turnsPatience is how long the last in the queue may wait, by default: half of
	// the time that a check has, and long enough for a burst.
	turnsPatience = 75 * time.Millisecond
	// However quickly or slowly signatures are checked, so many may be in verification
	// for each processor.
	minTurnsPerProcessor = 16
	maxTurnsPerProcessor = 1024
	// longestTurn is what a turn counts for at most: one that took longer was not at
	// work all the time.
	longestTurn = 10 * time.Millisecond
	// yieldAfter is how long signatures are checked before others may run.
	yieldAfter = 5 * time.Millisecond
)

// errCrowdedOut is why a token was not looked at.
var errCrowdedOut = errors.New("too many tokens are being verified: this process is overloaded")

// turns bounds the tokens whose signature is being checked. As many as there are
// processors are at work, since more at once would only make each take longer;
// others wait for their turn, and beyond a bound they are sent away at once:
// under overload, work that comes too late to be of use is the first to be saved.
type turns struct {
	work    chan struct{} // a place for each that is at work
	inside  atomic.Int64  // at work or waiting
	fixed   atomic.Int64  // how many may be; 0: as many as are served in time
	average atomic.Int64  // ns that a turn takes, of the last ones
	worked  atomic.Int64  // ns since others were let in
}

func newTurns() *turns { return &turns{work: make(chan struct{}, runtime.GOMAXPROCS(0))} }

// bound sets how many may be inside; zero leaves it to what turns are measured to
// take. It can change at any time; who is inside stays.
func (t *turns) bound(most int) { t.fixed.Store(int64(most)) }

// most is how many may be inside: by default as many as the processors can serve in
// turnsPatience.
func (t *turns) most() int64 {
	if fixed := t.fixed.Load(); fixed != 0 {
		return fixed
	}
	each := int64(maxTurnsPerProcessor)
	if average := t.average.Load(); average > 0 {
		each = min(max(int64(turnsPatience)/average, minTurnsPerProcessor), maxTurnsPerProcessor)
	}
	return each * int64(cap(t.work))
}

// full reports whether one more would be sent away.
func (t *turns) full() bool { return t.inside.Load() >= t.most() }

// take waits for a turn, at most until ctx ends. It says false if there is none
// to be had, and else is followed by give, with the time that it returns.
func (t *turns) take(ctx context.Context) (time.Time, bool) {
	if t.inside.Add(1) > t.most() {
		t.inside.Add(-1)
		return time.Time{}, false
	}
	select {
	case t.work <- struct{}{}:
		return time.Now(), true
	default:
	}
	select {
	case t.work <- struct{}{}:
		return time.Now(), true
	case <-ctx.Done():
		t.inside.Add(-1)
		return time.Time{}, false
	}
}

// give ends the turn that began then.
func (t *turns) give(began time.Time) {
	took := min(time.Since(began), longestTurn)
	average := t.average.Load()
	t.average.Store(average + (int64(took)-average)/16) // who comes in between counts for less
	// A turn never waits, so while turns follow each other nobody else would run who
	// has to read requests and write answers. They would queue with the scheduler,
	// which has no bound. Who comes in now finds the place taken, and waits here.
	if t.worked.Add(int64(took)) >= int64(yieldAfter) {
		t.worked.Store(0)
		runtime.Gosched()
	}
	<-t.work
	t.inside.Add(-1)
}
