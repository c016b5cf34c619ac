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

	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTurns()
		atWork := cap(s.work)
		s.bound(atWork + 2)
		for range atWork {
			if !s.take(t.Context()) {
				t.Fatal("no turn, though nobody is there")
			}
		}
		var waiting sync.WaitGroup
		got := make(chan bool, 2)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			waiting.Go(func() { got <- s.take(ctx) })
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Error("more are at work than there are processors")
		}
		if s.take(t.Context()) {
			t.Error("one more than the bound has a turn")
		}
		s.give()
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
			s.give()
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
			if !s.take(t.Context()) {
				refused.Add(1)
				return
			}
			s.give()
		})
	}
	coming.Wait()
	if n := refused.Load(); n < 50 {
		t.Errorf("%d of 100 were sent away, with room for 8", n)
	}
}

func TestTheDefaultBoundIsByProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	s := newTurns()
	if got := runtime.GOMAXPROCS(0); got != 3 || cap(s.work) != 3 {
		t.Errorf("%d at work at once, on %d processors; want 3", cap(s.work), got)
	}
	s.bound(0)
	if got, want := s.most.Load(), int64(256*runtime.GOMAXPROCS(0)); got != want {
		t.Errorf("%d, want %d", got, want)
	}
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
	if !v.store.turns.take(t.Context()) { // another token is being verified
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
	v.store.turns.give()
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
