package oidc

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// testClock is a clock that a test moves. Tests of the store use synctest's.
type testClock struct {
	mu sync.Mutex
	t  time.Time // guarded by mu
}

func newTestClock() *testClock {
	return &testClock{t: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// fakeIssuer answers fetches from memory.
type fakeIssuer struct {
	mu     sync.Mutex
	set    *keySet
	life   time.Duration
	err    error
	hold   chan struct{} // if set, fetches wait until it is closed, or their context ends
	panics bool
	times  []time.Time // of the fetches
	forced int         // of these, fresh ones
}

func (i *fakeIssuer) fetch(ctx context.Context, fresh bool) (fetched, error) {
	i.mu.Lock()
	i.times = append(i.times, time.Now())
	if fresh {
		i.forced++
	}
	hold := i.hold
	i.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return fetched{}, ctx.Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.panics {
		panic("as the test wants it")
	}
	return fetched{set: i.set, life: i.life}, i.err
}

// change changes what the issuer answers.
func (i *fakeIssuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *fakeIssuer) fetches() (all, forced int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.times), i.forced
}

func mustSet(t testing.TB, keys ...fmt.Stringer) *keySet {
	t.Helper()
	set, err := parseKeySet([]byte(setOf(keys...)))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var errDown = errors.New("the issuer is down")

// bench is a store with one issuer, which has the key a, and a second key b.
type bench struct {
	*testing.T
	store  *keyStore
	keys   *issuerKeys
	issuer *fakeIssuer
	a, b   members
}

// newBench is used inside synctest.Test: the clock is the bubble's, and
// time.Sleep moves it without waiting.
func newBench(t *testing.T, cfg KeysConfig) *bench {
	t.Helper()
	b := &bench{T: t, store: quietStore()}
	t.Cleanup(b.store.close)
	_, b.a = ecJWK(t, "a", elliptic.P256())
	_, b.b = ecJWK(t, "b", elliptic.P256())
	b.issuer = &fakeIssuer{set: mustSet(t, b.a), life: time.Hour}
	b.keys = b.store.addSource(issuerKeysConfig{issuer: "https://id.example.com", name: "test", keys: cfg}, b.issuer.fetch)
	return b
}

func quietStore() *keyStore {
	return newKeyStore(keyStoreConfig{clock: time.Now, logger: slog.New(slog.DiscardHandler), jitter: func() float64 { return 0 }})
}

// signedBy returns a try that accepts one key.
func signedBy(t testing.TB, jwk members) func(crypto.PublicKey) bool {
	t.Helper()
	want := mustParse(t, jwk).pub.(interface{ Equal(crypto.PublicKey) bool })
	return want.Equal
}

func never(crypto.PublicKey) bool { return false }

// ask verifies a token with a kid, signed by the given key.
func (b *bench) ask(kid string, try func(crypto.PublicKey) bool) Reason {
	b.Helper()
	_, reason, err := b.keys.verify(b.Context(), keyHint{alg: ES256, kid: kid, hasKID: true}, try, nil)
	if (reason == "") != (err == nil) {
		b.Errorf("reason %q with error %v", reason, err)
	}
	return reason
}

func (b *bench) want(got, want Reason) {
	b.Helper()
	if got != want {
		b.Errorf("reason %q, want %q", got, want)
	}
}

func (b *bench) wantFetches(all, forced int) {
	b.Helper()
	if a, f := b.issuer.fetches(); a != all || f != forced {
		b.Errorf("%d fetches, %d of them forced; want %d, %d", a, f, all, forced)
	}
}

// warm has the first fetch done.
func (b *bench) warm() {
	b.Helper()
	b.want(b.ask("a", signedBy(b.T, b.a)), "")
	b.wantFetches(1, 0)
}

func inBubble(t *testing.T, cfg KeysConfig, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newBench(t, cfg)) })
}

func TestKnownKeyNeedsNoFetch(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		for range 100 {
			b.want(b.ask("a", signedBy(b.T, b.a)), "")
		}
		b.wantFetches(1, 0)
	})
}

func TestFloodOfUnknownKeysCausesOneFetchPerInterval(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		for round := range 3 {
			var crowd sync.WaitGroup
			for i := range 50 {
				crowd.Go(func() { b.want(b.ask(fmt.Sprint("random", round, i), never), UnknownKey) })
			}
			crowd.Wait()
			for i := range 500 {
				b.want(b.ask(fmt.Sprint("again", round, i), never), UnknownKey)
			}
			b.wantFetches(2+round, 1+round)
			time.Sleep(30 * time.Second)
		}
		s := b.keys.status()
		if s.UnknownKeyFetched != 3 || s.UnknownKeySuppressed < 1500 || s.UnknownKeySuppressed > 3*549 {
			b.Errorf("status %+v", s)
		}
	})
}

func TestFloodDuringAnOutage(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		b.issuer.change(func() { b.issuer.err = errDown })
		for round := range 2 {
			for i := range 100 {
				b.want(b.ask(fmt.Sprint("random", i), never), KeysUnavailable)
			}
			b.wantFetches(2+round, 1+round)
			b.want(b.ask("a", signedBy(b.T, b.a)), "")
			b.want(b.ask("a", never), BadSignature)
			time.Sleep(30 * time.Second)
		}
		b.issuer.change(func() { b.issuer.err = nil })
		b.want(b.ask("random", never), UnknownKey)
		b.want(b.ask("random", never), UnknownKey)
		b.wantFetches(4, 3)
	})
}

func TestRotatedKeyIsFoundAtOnce(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		b.issuer.change(func() { b.issuer.set = mustSet(b.T, b.a, b.b) })
		b.want(b.ask("b", signedBy(b.T, b.b)), "")
		b.wantFetches(2, 1)
	})
}

func TestScheduledRefreshLeavesTheGateOpen(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		time.Sleep(48 * time.Minute)
		b.store.poll(b.store.ctx, time.Now())
		synctest.Wait()
		b.wantFetches(2, 0)
		b.issuer.change(func() { b.issuer.set = mustSet(b.T, b.b) })
		b.want(b.ask("b", signedBy(b.T, b.b)), "")
		b.wantFetches(3, 1)
	})
}

func TestBadSignaturesCauseNoFetchWhileKeysAreYoung(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kid    string
		hasKID bool
		alg    Algorithm
		want   Reason
		old    int // fetches once the keys are old
	}{
		{"known kid", "a", true, ES256, BadSignature, 1},
		{"no kid, one key", "", false, ES256, BadSignature, 1},
		{"kid of a key for another algorithm", "a", true, RS256, UnknownKey, 1},
		{"no kid, no key", "", false, RS256, UnknownKey, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, KeysConfig{}, func(b *bench) {
				b.warm()
				flood := func() {
					for range 200 {
						_, reason, _ := b.keys.verify(b.Context(), keyHint{alg: tt.alg, kid: tt.kid, hasKID: tt.hasKID}, never, nil)
						b.want(reason, tt.want)
					}
				}
				time.Sleep(youngKeys - 1)
				flood()
				b.wantFetches(1, 0)
				time.Sleep(1)
				flood()
				b.wantFetches(1+tt.old, tt.old)
				time.Sleep(time.Minute) // the fetch made them young again
				flood()
				b.wantFetches(1+tt.old, tt.old)
				time.Sleep(youngKeys)
				flood()
				b.wantFetches(1+2*tt.old, 2*tt.old)
			})
		})
	}
}

func TestReplacedKeyOfTheSameIDIsFound(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		b.issuer.change(func() { b.issuer.set = mustSet(b.T, b.b.with("kid", "a")) })
		b.want(b.ask("a", signedBy(b.T, b.b)), BadSignature)
		time.Sleep(youngKeys)
		b.want(b.ask("a", signedBy(b.T, b.b)), "")
	})
}

func TestBadSignatureDuringAnOutageIsStillBad(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		time.Sleep(youngKeys)
		b.issuer.change(func() { b.issuer.err = errDown })
		for range 10 {
			b.want(b.ask("a", never), BadSignature)
		}
		b.wantFetches(2, 1)
		_, reason, _ := b.keys.verify(b.Context(), keyHint{alg: RS256, kid: "a", hasKID: true}, never, nil)
		b.want(reason, KeysUnavailable)
	})
}

func TestAmbiguousTokenWithoutKeyID(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.issuer.set = mustSet(b.T, b.a, b.b)
		b.warm()
		time.Sleep(2 * youngKeys)
		_, reason, _ := b.keys.verify(b.Context(), keyHint{alg: ES256, kid: "", hasKID: false}, signedBy(b.T, b.a), nil)
		b.want(reason, UnknownKey)
		b.wantFetches(1, 0)
	})
}

func TestOldKeysServeThroughAnOutageUntilMaxStale(t *testing.T) {
	inBubble(t, KeysConfig{MaxStale: 2 * time.Hour}, func(b *bench) {
		b.warm()
		stop := b.running()
		defer stop()
		b.issuer.change(func() { b.issuer.err = errDown })
		time.Sleep(time.Hour)
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
		s := b.keys.status()
		if !s.Usable || !s.Stale || s.UsableKeys != 1 || !strings.Contains(s.LastError, errDown.Error()) {
			b.Errorf("in the outage: %+v", s)
		}
		time.Sleep(time.Hour - time.Second)
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
		time.Sleep(time.Second)
		b.want(b.ask("a", signedBy(b.T, b.a)), KeysUnavailable)
		if _, usable := b.keys.current(b.keys.store.clock()); usable {
			b.Error("cached tokens are still believed")
		}
		if s := b.keys.status(); s.Usable || s.UsableKeys != 0 || s.LastSuccess.IsZero() {
			b.Errorf("past maxStale: %+v", s)
		}
		b.issuer.change(func() { b.issuer.err = nil })
		time.Sleep(time.Minute)
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
		if s := b.keys.status(); !s.Usable || s.Stale || s.LastError != "" {
			b.Errorf("after the outage: %+v", s)
		}
	})
}

// running starts Run; the function that it returns ends it and waits.
func (b *bench) running() (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	go func() { done <- b.store.run(ctx) }()
	synctest.Wait()
	return func() {
		b.Helper()
		cancel()
		if err := <-done; err != nil {
			b.Errorf("run: %v", err)
		}
	}
}

func TestRemovedKeyStopsAtTheNextRefresh(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.issuer.set = mustSet(b.T, b.a, b.b)
		b.warm()
		before, _ := b.keys.current(b.keys.store.clock())
		b.issuer.change(func() { b.issuer.set = mustSet(b.T, b.b) })
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
		time.Sleep(48 * time.Minute)
		b.store.poll(b.store.ctx, time.Now())
		synctest.Wait()
		if after, usable := b.keys.current(b.keys.store.clock()); after == before || !usable {
			b.Errorf("generation %d, usable %t; want another than %d", after, usable, before)
		}
		b.want(b.ask("a", signedBy(b.T, b.a)), UnknownKey)
		b.want(b.ask("b", signedBy(b.T, b.b)), "")
	})
}

func TestGenerationStaysWithEqualKeys(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		other := b.store.addSource(issuerKeysConfig{name: "other"}, b.issuer.fetch)
		b.warm()
		before, _ := b.keys.current(b.keys.store.clock())
		b.issuer.change(func() { b.issuer.set = mustSet(b.T, b.a, rawKey(`{}`)) })
		time.Sleep(48 * time.Minute)
		b.store.poll(b.store.ctx, time.Now())
		synctest.Wait()
		if after, _ := b.keys.current(b.keys.store.clock()); after != before {
			b.Errorf("generation %d, want %d", after, before)
		}
		if s := b.keys.status(); len(s.SkippedKeys) != 1 {
			b.Errorf("status %+v: the new set is not in place", s)
		}
		if elsewhere, usable := other.current(other.store.clock()); elsewhere == before || !usable {
			b.Errorf("two issuers have the generation %d", before)
		}
	})
}

func TestOlderResultIsDropped(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		newer := &flight{number: 2, done: make(chan struct{})}
		older := &flight{number: 1, done: make(chan struct{})}
		b.keys.land(newer, fetched{set: mustSet(b.T, b.b), life: time.Hour}, nil, false)
		b.keys.land(older, fetched{set: mustSet(b.T, b.a), life: time.Hour}, nil, false)
		if set := b.keys.snap.Load().set; set.keys[0].kid != "b" {
			b.Error("a slow answer replaced a newer one")
		}
	})
}

// Between a request's look at the keys and its question what to wait for, the
// fetch that brings the key may land.
func TestKeysThatCameMeanwhileAreLookedAt(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		seen := b.keys.snap.Load()
		b.want(b.ask("random", never), UnknownKey) // closes the gate
		if _, _, again := b.keys.board(seen, unknown, time.Now()); !again {
			b.Error("the request is refused although other keys came")
		}
	})
}

func TestKeysThatCameDuringTheSignatureCheckAreLookedAt(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		time.Sleep(youngKeys)
		_, newer := ecJWK(t, "a", elliptic.P256())
		good, came := signedBy(t, newer), false
		b.want(b.ask("a", func(key crypto.PublicKey) bool {
			if !came {
				b.keys.mu.Lock()
				defer b.keys.mu.Unlock()
				came = b.keys.publish(fetched{set: mustSet(t, newer), life: time.Hour}, time.Now())
			}
			return good(key)
		}), "")
		b.wantFetches(1, 0)
	})
}

func TestFirstTokenDoesNotWaitForTheScheduledFetch(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.keys.mu.Lock()
		b.keys.setDue(time.Hour)
		b.keys.mu.Unlock()
		b.warm()
	})
}

func TestRefusalsSayWhetherTheIssuerCouldBeAsked(t *testing.T) {
	for _, tt := range []struct {
		result      outcome
		asked, down Reason // if the issuer was asked; if it is down
	}{
		{noKeys, KeysUnavailable, KeysUnavailable},
		{unknown, UnknownKey, KeysUnavailable},
		{unfit, UnknownKey, KeysUnavailable},
		{ambiguous, UnknownKey, UnknownKey},
		{forged, BadSignature, BadSignature},
	} {
		if _, got, err := tt.result.refusal(nil); got != tt.asked || !errors.Is(err, tt.result.cause()) {
			t.Errorf("%v: %q, %v, want %q", tt.result.cause(), got, err, tt.asked)
		}
		if _, got, err := tt.result.refusal(errDown); got != tt.down || !errors.Is(err, tt.result.cause()) {
			t.Errorf("%v, and the issuer is down: %q, %v, want %q", tt.result.cause(), got, err, tt.down)
		}
	}
}

func TestOneIssuersTroubleDoesNotDelayAnother(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		slow := &fakeIssuer{hold: make(chan struct{})}
		for i := range 50 {
			b.store.addSource(issuerKeysConfig{name: fmt.Sprint("slow", i)}, slow.fetch)
		}
		stop := b.running()
		defer stop()
		start := time.Now()
		b.warm()
		if took := time.Since(start); took != 0 {
			b.Errorf("took %s", took)
		}
	})
}

func TestAtMost64RequestsWait(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		hold := make(chan struct{})
		b.issuer.hold = hold
		var crowd sync.WaitGroup
		for range maxWaiters {
			crowd.Go(func() { b.want(b.ask("a", signedBy(b.T, b.a)), "") })
		}
		synctest.Wait()
		b.want(b.ask("a", signedBy(b.T, b.a)), KeysUnavailable) // at once: nothing would ever wake it
		close(hold)
		crowd.Wait()
		b.wantFetches(1, 0)
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
	})
}

func TestWaitEndsWithTheRequestAndTheFetchGoesOn(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		hold := make(chan struct{})
		b.issuer.hold = hold
		for range 2 * maxWaiters { // those who leave make room
			ctx, cancel := context.WithTimeout(b.Context(), 150*time.Millisecond)
			_, reason, err := b.keys.verify(ctx, keyHint{alg: ES256, kid: "a", hasKID: true}, signedBy(b.T, b.a), nil)
			cancel()
			b.want(reason, KeysUnavailable)
			if !errors.Is(err, errBudget) {
				b.Errorf("error %v", err)
			}
		}
		close(hold)
		synctest.Wait()
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
		b.wantFetches(1, 0)
	})
}

// A fetch that was in flight when the request came may have left the issuer
// before the key was there: then the gate may be used once.
func TestJoinedFetchMayBeTooOld(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		time.Sleep(48 * time.Minute)
		hold := make(chan struct{})
		b.issuer.change(func() { b.issuer.hold = hold })
		b.store.poll(b.store.ctx, time.Now())
		synctest.Wait()
		var crowd sync.WaitGroup
		crowd.Go(func() { b.want(b.ask("b", signedBy(b.T, b.b)), "") })
		crowd.Go(func() { b.want(b.ask("c", never), UnknownKey) })
		synctest.Wait()
		b.wantFetches(2, 0)
		next := make(chan struct{})
		b.issuer.change(func() { b.issuer.hold = next })
		close(hold)
		synctest.Wait()
		b.wantFetches(3, 1)
		b.issuer.change(func() { b.issuer.set, b.issuer.hold = mustSet(b.T, b.a, b.b), nil })
		close(next)
		crowd.Wait()
		b.wantFetches(3, 1)
	})
}

func TestFirstFetchThatLacksTheKeyIsConclusive(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.want(b.ask("random", never), UnknownKey)
		b.wantFetches(1, 0)
	})
}

func TestWithoutKeysOnlyADueFetchIsMade(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.issuer.err = errDown
		for failures, pause := range []time.Duration{0, 1, 2, 4, 8, 16, 32, 60, 60} {
			time.Sleep(pause*time.Second - 1)
			if failures > 0 {
				b.want(b.ask("a", signedBy(b.T, b.a)), KeysUnavailable)
				b.wantFetches(failures, 0)
			}
			time.Sleep(1)
			for range 10 {
				b.want(b.ask("a", signedBy(b.T, b.a)), KeysUnavailable)
			}
			b.wantFetches(failures+1, 0)
		}
		_, _, err := b.keys.verify(b.Context(), keyHint{alg: ES256, kid: "a", hasKID: true}, never, nil)
		if !errors.Is(err, errDown) {
			b.Errorf("error %v does not say what is wrong", err)
		}
		b.issuer.change(func() { b.issuer.err = nil })
		time.Sleep(time.Minute)
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
	})
}

func TestWithoutRunARefreshIsStartedByARequestThatDoesNotWait(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		b.issuer.change(func() { b.issuer.hold = make(chan struct{}) }) // for ever
		time.Sleep(48 * time.Minute)
		for range 10 {
			b.want(b.ask("a", signedBy(b.T, b.a)), "")
		}
		synctest.Wait()
		b.wantFetches(2, 0)
	})
}

func TestPanicIsAFailedFetch(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		var logged strings.Builder
		b.store.logger = slog.New(slog.NewTextHandler(&logged, nil))
		b.warm()
		b.issuer.change(func() { b.issuer.panics = true })
		b.want(b.ask("b", never), KeysUnavailable)
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
		s := b.keys.status()
		b.store.close() // the log is complete
		if !strings.Contains(s.LastError, "internal error") || !strings.Contains(logged.String(), "as the test wants it") {
			b.Errorf("status %+v, log %s", s, &logged)
		}
	})
}

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		b.issuer.change(func() { b.issuer.hold = make(chan struct{}) })
		var crowd sync.WaitGroup
		crowd.Go(func() { b.want(b.ask("b", never), KeysUnavailable) })
		synctest.Wait()
		b.store.close()
		crowd.Wait()
		b.want(b.ask("a", signedBy(b.T, b.a)), "")
		b.want(b.ask("c", never), KeysUnavailable)
		b.wantFetches(2, 1)
		if s := b.keys.status(); s.LastError != "" || s.Stale {
			b.Errorf("status %+v: a fetch that was given up says nothing of the issuer", s)
		}
		b.store.close()
	})
}

func TestStatusBeforeTheFirstFetch(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		want := IssuerStatus{Issuer: "https://id.example.com", Name: "test"}
		if got := b.keys.status(); fmt.Sprint(got) != fmt.Sprint(want) {
			b.Errorf("status %+v, want %+v", got, want)
		}
		b.issuer.err = errors.New("a\nb\x1b" + strings.Repeat("x", 1000))
		b.want(b.ask("a", never), KeysUnavailable)
		s := b.keys.status()
		if !s.FirstFetchEnded || s.Usable || s.NextRefresh != time.Now().Add(time.Second) || s.LastAttempt != time.Now() {
			b.Errorf("after the first failure: %+v", s)
		}
		if !strings.HasPrefix(s.LastError, "a; b?xxx") || len(s.LastError) > 512 {
			b.Errorf("last error %q", s.LastError)
		}
	})
}

func TestLogHasALineForEachChange(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		var logged strings.Builder
		b.store.logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				switch a.Key {
				case slog.TimeKey:
					return slog.Attr{}
				case "until":
					return slog.Duration("until", time.Until(a.Value.Time()))
				}
				return a
			},
		}))
		poll := func() {
			time.Sleep(2 * time.Hour)
			b.store.poll(b.store.ctx, time.Now())
			synctest.Wait()
		}
		b.warm()
		poll()
		b.issuer.change(func() { b.issuer.err = errDown })
		poll()
		poll()
		time.Sleep(20 * time.Hour)
		poll()
		poll()
		b.issuer.change(func() { b.issuer.err = errors.New("a certificate of another name") })
		poll()
		b.issuer.change(func() { b.issuer.err, b.issuer.set = nil, mustSet(b.T, b.a, b.b, rawKey(`{}`)) })
		poll()
		poll()
		want := `level=INFO msg="keys changed" issuer=test usable=1 skipped=0
level=WARN msg="keys could not be fetched, the last good ones hold" issuer=test until=22h0m0s error="the issuer is down"
level=ERROR msg="the last good keys are too old: tokens of the issuer get 503" issuer=test error="the issuer is down"
level=ERROR msg="keys could not be fetched and there are none: tokens of the issuer get 503" issuer=test error="a certificate of another name"
level=INFO msg="keys are fetched again" issuer=test
level=INFO msg="keys changed" issuer=test usable=2 skipped=1 first_skipped="a key without kid: unknown kty"
`
		if logged.String() != want {
			b.Errorf("log:\n%s\nwant:\n%s", &logged, want)
		}
	})
}

func TestExplanation(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		time.Sleep(time.Minute)
		var said []string
		for range 2 {
			_, reason, _ := b.keys.verify(b.Context(), keyHint{alg: ES256, kid: "b", hasKID: true}, never, func(s string) { said = append(said, s) })
			b.want(reason, UnknownKey)
		}
		wantStrings(b.T, "explanation", said,
			`kid "b", among 1 usable keys fetched 1m0s ago: the issuer has no key of this kid`,
			`waiting for a fetch of the issuer's keys`,
			`kid "b", among 1 usable keys fetched 0s ago: the issuer has no key of this kid`,
			`kid "b", among 1 usable keys fetched 0s ago: the issuer has no key of this kid`,
			`the issuer was asked a moment ago and is not asked again so soon`)
	})
}

// An outage is one line, although each try of it has another port of our own,
// and can end in another way.
func TestAnOutageIsOneTrouble(t *testing.T) {
	get := func(result FetchResult, text string) error {
		return fmt.Errorf("GET https://id.example.com/keys: %w", failed(result, "%s", text))
	}
	reset := get(FetchConnect, "read tcp 10.0.0.7:40968->10.0.0.9:443: read: connection reset by peer")
	again := get(FetchConnect, "read tcp 10.0.0.7:51234->10.0.0.9:443: read: connection reset by peer")
	timeout := get(FetchTimeout, "dial tcp 10.0.0.8:443: i/o timeout")
	page := get(FetchMalformed, "an HTML page in place of JSON")
	for _, tt := range []struct {
		a, b error
		same bool
	}{
		{nil, reset, false},
		{reset, again, true},
		{reset, timeout, true},
		{errors.Join(reset, timeout), timeout, true},
		{reset, page, false},
		{page, page, true},
		{reset, errors.Join(reset, page), false},
		{get(FetchTLS, "a"), get(FetchTLS, "b"), false},
	} {
		if got := sameTrouble(tt.a, tt.b); got != tt.same {
			t.Errorf("sameTrouble(%v, %v) is %v", tt.a, tt.b, got)
		}
	}
	if got, want := errorText(reset), "GET https://id.example.com/keys: read tcp 10.0.0.9:443: read: connection reset by peer"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestSkippedKeySaysWhichAndWhy(t *testing.T) {
	for want, k := range map[string]SkippedKey{
		`"a\x1b\u2028b": no kty`:    {KeyID: "a\x1b\u2028b", Reason: "no kty"},
		"a key without kid: no kty": {Reason: "no kty"},
	} {
		if got := k.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
