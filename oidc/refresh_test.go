package oidc

import (
	"context"
	"crypto/elliptic"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunKeepsTheSchedule(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		start := time.Now()
		b.issuer.err = errDown
		stop := b.running()
		time.Sleep(5 * time.Second)
		b.issuer.change(func() { b.issuer.err = nil })
		time.Sleep(3 * time.Hour)
		stop()
		var got []time.Duration
		for _, at := range b.issuer.times {
			got = append(got, at.Sub(start))
		}
		const refresh = 48 * time.Minute
		up := 7 * time.Second
		want := []time.Duration{0, time.Second, 3 * time.Second, up, up + refresh, up + 2*refresh, up + 3*refresh}
		if !slices.Equal(got, want) {
			t.Errorf("fetches at %v, want %v", got, want)
		}
	})
}

func TestRunSpreadsManyFirstFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := quietStore()
		defer store.close()
		all := &fakeIssuer{err: errDown}
		for i := range 116 {
			store.addSource(issuerKeysConfig{name: fmt.Sprint(i)}, all.fetch)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- store.run(ctx) }()
		synctest.Wait()
		if n, _ := all.fetches(); n != firstAtOnce {
			t.Errorf("%d fetches at once, want %d", n, firstAtOnce)
		}
		time.Sleep(100 * firstSpacing)
		synctest.Wait()
		if n, _ := all.fetches(); n != 116 {
			t.Errorf("%d fetches after %s, want all", n, 100*firstSpacing)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Keys of many issuers that came together, at a start or after an outage, are not
// refreshed together ever after.
func TestRefreshesOfManyIssuersSpreadOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			issuers = 1000
			refresh = 48 * time.Minute
			bin     = 4 * time.Minute
			mean    = issuers * int(bin) / int(refresh)
		)
		store := newKeyStore(keyStoreConfig{clock: time.Now, logger: quietStore().logger}) // with its own jitter
		defer store.close()
		_, jwk := ecJWK(t, "a", elliptic.P256())
		all := &fakeIssuer{set: mustSet(t, jwk), life: time.Hour}
		for i := range issuers {
			store.addSource(issuerKeysConfig{name: fmt.Sprint(i), issuer: fmt.Sprint(i)}, all.fetch)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- store.run(ctx) }()
		watch := func(when string) {
			t.Helper()
			time.Sleep(2 * time.Minute) // all have keys by now
			for range 2 * refresh / bin {
				before, _ := all.fetches()
				time.Sleep(bin)
				if after, _ := all.fetches(); after-before > 2*mean || after-before < mean/3 {
					t.Errorf("%s: %d refreshes in %s, the mean is %d", when, after-before, bin, mean)
				}
			}
		}
		watch("after the start")
		all.change(func() { all.err = errDown })
		time.Sleep(2 * time.Hour)
		all.change(func() { all.err = nil })
		watch("after an outage")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Sixteen refreshes run in the background; those whose last fetch succeeded go
// first, and those that failed leave room. First fetches and fetches that
// requests wait for do not queue.
func TestBackgroundRefreshesQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := quietStore()
		defer store.close()
		_, jwk := ecJWK(t, "a", elliptic.P256())
		healthy := &fakeIssuer{set: mustSet(t, jwk), life: time.Hour}
		failing := &fakeIssuer{err: errDown}
		for i := range 20 {
			store.addSource(issuerKeysConfig{name: fmt.Sprint("failing", i)}, failing.fetch)
		}
		for i := range 12 {
			store.addSource(issuerKeysConfig{name: fmt.Sprint("healthy", i)}, healthy.fetch)
		}
		var bad, good int // since the last count
		count := func(wantBad, wantGood int) {
			t.Helper()
			synctest.Wait()
			b, _ := failing.fetches()
			g, _ := healthy.fetches()
			if b-bad != wantBad || g-good != wantGood {
				t.Errorf("%d fetches of failing issuers and %d of healthy ones; want %d, %d", b-bad, g-good, wantBad, wantGood)
			}
			bad, good = b, g
		}
		poll := func() { store.poll(store.ctx, time.Now()) }

		poll()
		count(20, 12) // first fetches do not queue
		time.Sleep(time.Second)
		failingHold := make(chan struct{})
		failing.change(func() { failing.hold = failingHold })
		poll()
		count(maxRetries, 0)
		time.Sleep(48 * time.Minute)
		healthyHold := make(chan struct{})
		healthy.change(func() { healthy.hold = healthyHold })
		poll()
		count(0, maxBackground-maxRetries)
		poll()
		count(0, 0)
		last := make(chan struct{}) // else those that end make room for more
		failing.change(func() { failing.hold = last })
		close(failingHold)
		synctest.Wait()
		poll()
		count(4, 4) // the healthy ones first, then as many others as there is room for
		// A request does not queue.
		quick := &fakeIssuer{set: mustSet(t, jwk), life: time.Hour}
		k := store.addSource(issuerKeysConfig{name: "quick"}, quick.fetch)
		if _, reason, err := k.verify(t.Context(), keyHint{alg: ES256, kid: "a", hasKID: true}, signedBy(t, jwk), nil); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
	})
}

func TestRunIsForOneAtATime(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		stop := b.running()
		if err := b.store.run(b.Context()); err == nil {
			t.Error("a second Run")
		}
		stop()
		b.running()() // but again
	})
}

func TestRunEndsWithTheStore(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.issuer.hold = make(chan struct{})
		done := make(chan error)
		go func() { done <- b.store.run(b.Context()) }()
		synctest.Wait()
		b.store.close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestEndOfRunEndsItsFetches(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.issuer.hold = make(chan struct{})
		stop := b.running()
		stop()
		b.issuer.change(func() { b.issuer.hold = nil })
		b.want(b.ask("a", signedBy(b.T, b.a)), "") // the store goes on without it
		b.wantFetches(2, 0)
	})
}

func TestRunNoticesAClockThatWasSet(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		var mu sync.Mutex
		var ahead time.Duration
		b.store.clock = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(ahead)
		}
		stop := b.running()
		defer stop()
		mu.Lock()
		ahead = time.Hour
		mu.Unlock()
		time.Sleep(maxNap)
		synctest.Wait()
		b.wantFetches(2, 0)
	})
}

// With the jitter as it is drawn in production: no refresh comes before 72 % or
// after 88 % of the lifetime that was said, and no retry earlier or later than a
// fifth off its second, two, four … sixty.
func TestRunKeepsTheScheduleWithinTheJitter(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.store.jitter = newKeyStore(keyStoreConfig{clock: time.Now}).jitter
		stop := b.running()
		b.warm()
		time.Sleep(20 * time.Hour)
		b.issuer.change(func() { b.issuer.err = errDown })
		start := len(b.fetchTimes())
		time.Sleep(2 * time.Hour)
		stop()
		times := b.fetchTimes()
		pause := func(i int) time.Duration { return times[i].Sub(times[i-1]) }
		between := func(i int, middle time.Duration, off float64) {
			t.Helper()
			low, high := vary(middle, -off), vary(middle, off)+time.Millisecond
			if p := pause(i); p < low || p > high {
				t.Errorf("fetch %d comes %s after the one before, not between %s and %s", i, p, low, high)
			}
		}
		seen := map[time.Duration]bool{}
		for i := 1; i < start; i++ {
			between(i, 48*time.Minute, 0.1)
			seen[pause(i)] = true
		}
		if start < 20 || len(seen) < start/2 {
			t.Errorf("%d refreshes with %d different pauses: the jitter does nothing", start, len(seen))
		}
		between(start, 48*time.Minute, 0.1) // the first that failed
		for i := start + 1; i < len(times); i++ {
			between(i, min(time.Second<<min(i-start-1, 6), time.Minute), 0.2)
		}
		if n := len(times) - start; n < 60 {
			t.Errorf("%d tries in an outage", n)
		}
	})
}

func (b *bench) fetchTimes() []time.Time {
	b.issuer.mu.Lock()
	defer b.issuer.mu.Unlock()
	return slices.Clone(b.issuer.times)
}
