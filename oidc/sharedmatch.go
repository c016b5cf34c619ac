package oidc

import (
	"context"
	"sync"
)

// sharedMatches has each token's signature compared once, however many requests
// come with the token while that is under way: those of one user, as a rule, just
// after it got the token.
//
// What is shared is the outcome alone, which depends on nothing but the token, its
// issuer's configuration and the keys: all three are in matchKey. Whatever a request
// wants beside that was judged before, or is after it, for each. That the first one
// got no turn says nothing about the token: the others then try for themselves.
type sharedMatches struct {
	mu       sync.Mutex
	underWay map[matchKey]*sharedMatch // guarded by mu
}

type matchKey struct {
	token  digest
	issuer *issuer
	snap   *keySnapshot
}

type sharedMatch struct {
	done   chan struct{} // closed at the end; nil if nobody waits for that. Guarded by sharedMatches.mu
	result outcome       // read after done
	turn   bool          // read after done; false if there is no result
}

// do returns what match does: its own call, or another request's that is under
// way. It waits for that until ctx ends, and says false then.
func (s *sharedMatches) do(ctx context.Context, key matchKey, match func() (outcome, bool)) (outcome, bool) {
	for {
		s.mu.Lock()
		m := s.underWay[key]
		if m == nil {
			m = &sharedMatch{}
			if s.underWay == nil {
				s.underWay = map[matchKey]*sharedMatch{}
			}
			s.underWay[key] = m
			s.mu.Unlock()
			return s.first(key, m, match)
		}
		if m.done == nil {
			m.done = make(chan struct{})
		}
		s.mu.Unlock()
		select {
		case <-m.done:
			if m.turn {
				return m.result, true
			}
		case <-ctx.Done():
			return 0, false
		}
	}
}

// first calls match for all. If it panics, the others are told of no result.
func (s *sharedMatches) first(key matchKey, m *sharedMatch, match func() (outcome, bool)) (outcome, bool) {
	defer func() {
		s.mu.Lock()
		delete(s.underWay, key)
		done := m.done
		s.mu.Unlock()
		if done != nil {
			close(done)
		}
	}()
	m.result, m.turn = match()
	return m.result, m.turn
}
