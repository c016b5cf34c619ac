package oidc

import (
	"context"
	"errors"
	"time"
)

const (
	maxBackground = 16 // background refreshes at once
	maxRetries    = 8  // of these, refreshes of issuers that failed last time: slow ones must leave room
	maxRetryDelay = 60 * time.Second
	maxNap        = time.Second // timers do not notice when the clock is set
	firstAtOnce   = 16          // first fetches that Run starts at once; the others follow spaced out
	firstSpacing  = 5 * time.Millisecond
)

// freshness returns how long keys live whose answer said life, and when their
// refresh is due: at 80 % of that. The jitter, from -1 to 1, keeps issuers and
// replicas from moving in step.
func freshness(life time.Duration, jitter float64) (lifetime, refreshAfter time.Duration) {
	lifetime = vary(life, 0.1*jitter)
	return lifetime, lifetime * 8 / 10
}

// strew brings a refresh forward, to any moment until it is due. Issuers that got
// their keys together, at a start or at the end of an outage, would otherwise be
// asked together again and again: the jitter alone takes half a day to part them.
func strew(refreshAfter time.Duration, jitter float64) time.Duration {
	return time.Duration(float64(refreshAfter) * (1 + jitter) / 2)
}

// retryDelay returns the pause after a number of failures in a row: 1 s, 2 s,
// 4 s and so on to 60 s.
func retryDelay(failures int, jitter float64) time.Duration {
	delay := maxRetryDelay
	if failures < 7 {
		delay = min(delay, time.Second<<max(failures-1, 0))
	}
	return vary(delay, 0.2*jitter)
}

func vary(d time.Duration, by float64) time.Duration {
	return d + time.Duration(float64(d)*by)
}

// run keeps the keys in use fresh until ctx or the store ends, and
// returns when the fetches that it started have ended.
func (s *keyStore) run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return errors.New("oidc: Run is already running")
	}
	defer s.running.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	s.spreadFirst(s.clock())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.own.Wait() // their context has ended
			return nil
		case <-timer.C:
		case <-s.wake:
		}
		timer.Reset(s.poll(ctx, s.clock()))
	}
}

// crowded reports whether there are so many issuers that their fetches are spread.
func (s *keyStore) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.issuers) > firstAtOnce
}

// spreadFirst schedules the first fetches.
func (s *keyStore) spreadFirst(now time.Time) {
	for i, k := range s.inOrder() {
		k.mu.Lock()
		if !k.landed {
			k.setDue(s.elapsed(now) + firstDelay(i))
			k.reschedule()
		}
		k.mu.Unlock()
	}
}

// firstDelay returns when the first fetch of the i-th of many new issuers is due.
func firstDelay(i int) time.Duration {
	return time.Duration(max(0, i+1-firstAtOnce)) * firstSpacing
}

// poll starts what is due at now, as far as there is room, and returns how long
// nothing else will be.
func (s *keyStore) poll(ctx context.Context, now time.Time) time.Duration {
	for ctx.Err() == nil {
		k, nap := s.nextDue(now)
		if k == nil {
			return nap
		}
		k.startDue(ctx, now, true)
	}
	return maxNap
}

// nextDue returns keys whose refresh is due and can start, or nil and how long
// there will be none. Room is made, and then told of, by flights that end.
func (s *keyStore) nextDue(now time.Time) (*issuerKeys, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, maxNap
	}
	k := s.timetable.next(s.elapsed(now), func(class dueClass) bool {
		switch class {
		case lastSucceeded:
			return s.background < maxBackground
		case lastFailed:
			return s.background < maxBackground && s.retries < maxRetries
		default:
			return true
		}
	})
	return k, s.timetable.wait(s.elapsed(now))
}
