package oidc

import (
	"context"
	"crypto"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns()
		atWork := cap(s.work)
		s.bound(atWork + 2)
		for range atWork {
			if _, ok := s.take(t.Context()); !ok {
				t.Fatal("no turn, though nobody is there")
			}
		}
		var waiting sync.WaitGroup
		got := make(chan bool, 2)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			waiting.Go(func() {
				_, ok := s.take(ctx)
				got <- ok
			})
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Error("more are at work than there are processors")
		}
		if _, ok := s.take(t.Context()); ok {
			t.Error("one more than the bound has a turn")
		}
		s.give(time.Now())
		synctest.Wait()
		if len(got) != 1 || !<-got {
			t.Error("nobody has the turn that was given back")
		}
		cancel() // the other one gives up
		waiting.Wait()
		if <-got {
			t.Error("a turn for a request that has ended")
		}
		for range atWork {
			s.give(time.Now())
		}
		if n := s.inside.Load(); n != 0 || len(s.work) != 0 {
			t.Errorf("%d inside and %d at work at the end", n, len(s.work))
		}
	})
}

// Checking a signature takes a processor and never waits, so all who come meanwhile
// must still be seen to be there.
func TestTheBoundHoldsWhileProcessorsAreBusy(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s := newTurns()
	s.bound(8)
	var coming sync.WaitGroup
	var refused atomic.Int64
	for range 100 {
		coming.Go(func() {
			began, ok := s.take(t.Context())
			if !ok {
				refused.Add(1)
				return
			}
			s.give(began.Add(-yieldAfter)) // it has worked for so long
		})
	}
	coming.Wait()
	if n := refused.Load(); n < 50 {
		t.Errorf("%d of 100 were sent away, with room for 8", n)
	}
}

// By default as many may be inside as are served in turnsPatience.
func TestTheDefaultBoundFollowsTheTimeOfATurn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	synctest.Test(t, func(t *testing.T) {
		s := newTurns()
		if got := runtime.GOMAXPROCS(0); got != 3 || cap(s.work) != 3 {
			t.Errorf("%d at work at once, on %d processors; want 3", cap(s.work), got)
		}
		s.bound(0)
		for _, tt := range []struct {
			turn time.Duration
			want int64 // for each processor
		}{
			{0, 1024}, // nothing is known
			{30 * time.Microsecond, 1024},
			{500 * time.Microsecond, 150},
			{time.Second, 16},
			{time.Millisecond, 75},
		} {
			for range 300 { // until the times before are forgotten
				began, ok := s.take(t.Context())
				if !ok {
					t.Fatal("no turn, though nobody is there")
				}
				s.give(began.Add(-tt.turn))
			}
			if got, want := s.most(), 3*tt.want; got < want*97/100 || got > want*103/100 {
				t.Errorf("turns of %s: %d may be inside, want %d", tt.turn, got, want)
			}
		}
		s.bound(7)
		began, _ := s.take(t.Context())
		if s.give(began); s.most() != 7 {
			t.Errorf("%d may be inside, and the operator has said 7", s.most())
		}
	})
}

// Under twice the load that one processor can take it is busy all the time, who has
// a turn has not waited for long, and who has none knows it at once.
func TestOverloadCostsLittle(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const turn, load = time.Millisecond, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		s := newTurns()
		s.bound(0)
		var served, refused atomic.Int64
		var longest atomic.Int64 // of the second half: at first nothing is known
		var asking sync.WaitGroup
		start := time.Now()
		for time.Since(start) < load {
			asking.Go(func() {
				came := time.Now()
				began, ok := s.take(t.Context())
				if !ok {
					refused.Add(1)
					if waited := time.Since(came); waited != 0 {
						t.Errorf("sent away after %s", waited)
					}
					return
				}
				if came.Sub(start) > load/2 {
					longest.Store(max(longest.Load(), int64(time.Since(came))))
				}
				time.Sleep(turn)
				s.give(began)
				served.Add(1)
			})
			time.Sleep(turn / 2)
		}
		asking.Wait()
		if n := served.Load(); n < int64(load/turn) {
			t.Errorf("%d were served, in time for %d", n, load/turn)
		}
		if waited := time.Duration(longest.Load()); waited > turnsPatience+2*turn || waited < turnsPatience/2 {
			t.Errorf("the longest wait was %s, want some %s", waited, turnsPatience)
		}
		if refused.Load() == 0 {
			t.Error("nobody was sent away")
		}
	})
}

// A token that is one too many is neither bad nor good.
func TestATokenTooManyIsRefusedAtOnce(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	v, err := NewValidator(Config{
		Issuers: []IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"api"}}},
		Cache:   CacheConfig{MaxEntries: 10, MaxBytes: 1 << 20}, MaxVerifications: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	cached := issuer.Token(nil)
	if _, err := v.Validate(t.Context(), cached, Requirement{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := v.store.turns.take(t.Context()); !ok { // another token is being verified
		t.Fatal("no turn")
	}
	_, err = v.Validate(t.Context(), issuer.Token(map[string]any{"jti": "other"}), Requirement{})
	if ReasonOf(err) != Overloaded || !errors.Is(err, ErrCannotKnow) {
		t.Errorf("%v, want %s", err, Overloaded)
	}
	if _, err := v.Validate(t.Context(), cached, Requirement{}); err != nil {
		t.Errorf("a cached token needs no turn: %v", err)
	}
	if _, err = v.Validate(t.Context(), "a.b.c", Requirement{}); ReasonOf(err) != Overloaded {
		t.Errorf("a token that nobody has looked at: %v", err)
	}
	explained := Requirement{Explain: func(Step) {}}
	if _, err = v.Validate(t.Context(), "a.b.c", explained); ReasonOf(err) != MalformedToken {
		t.Errorf("a token that somebody wants explained is looked at: %v", err)
	}
	// The next configuration has room for two.
	next, err := v.Next(Config{Issuers: []IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"api"}}}, MaxVerifications: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if cap(v.store.turns.work) > 1 {
		if _, err := next.Validate(t.Context(), issuer.Token(map[string]any{"jti": "third"}), Requirement{}); err != nil {
			t.Error(err)
		}
	}
	v.store.turns.give(time.Now())
	if n := v.store.turns.inside.Load(); n != 0 {
		t.Errorf("%d inside at the end", n)
	}
	if _, err := NewValidator(Config{MaxVerifications: -1}); err == nil {
		t.Error("a negative bound is accepted")
	}
}

func TestAPanicGivesItsTurnBack(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	v, err := NewValidator(Config{Issuers: []IssuerConfig{{Issuer: issuer.URL, Name: "main", Audiences: []string{"api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Validate(t.Context(), issuer.Token(nil), Requirement{}); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		keys := v.issuers[0].keys
		_, _, _ = keys.verify(t.Context(), keyHint{alg: ES256, kid: issuer.SigningKey().ID, hasKID: true}, func(crypto.PublicKey) bool { panic("in a signature check") }, nil)
		t.Error("the check did not run")
	}()
	if n := v.store.turns.inside.Load(); n != 0 || len(v.store.turns.work) != 0 {
		t.Errorf("%d inside, %d at work after a panic", n, len(v.store.turns.work))
	}
}
