package oidc

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestStoreAgainstAModel does random things to an issuer, its network and the
// clock while requests come, and holds the store to what must always be true.
func TestStoreAgainstAModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, 0))) }) //nolint:gosec // repeatable on purpose
		})
	}
}

type modelIssuer struct {
	inFlight, most atomic.Int32

	mu      sync.Mutex
	set     *keySet // guarded by mu, as is all that follows
	down    bool
	delay   time.Duration
	forced  []time.Time
	success time.Time // when the last good answer was sent
	served  *keySet   // that answer
}

func (m *modelIssuer) fetch(ctx context.Context, fresh bool) (fetched, error) {
	m.most.Store(max(m.most.Load(), m.inFlight.Add(1)))
	defer m.inFlight.Add(-1)
	m.mu.Lock()
	if fresh {
		m.forced = append(m.forced, time.Now())
	}
	set, down, delay := m.set, m.down, m.delay // the state when the request reaches the issuer
	m.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return fetched{}, ctx.Err()
	}
	if down {
		return fetched{}, errDown
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.success, m.served = time.Now(), set
	return fetched{set: set, life: time.Hour}, nil
}

func runModel(t *testing.T, random *rand.Rand) {
	const maxStale = 3 * time.Hour
	var jwks []members
	var tries []func(crypto.PublicKey) bool
	for i := range 4 {
		_, jwk := ecJWK(t, fmt.Sprint("k", i), elliptic.P256())
		jwks, tries = append(jwks, jwk), append(tries, signedBy(t, jwk))
	}
	pick := func() *keySet {
		from := random.IntN(len(jwks))
		var some []fmt.Stringer
		for _, jwk := range jwks[from : from+1+random.IntN(len(jwks)-from)] {
			some = append(some, jwk)
		}
		return mustSet(t, some...)
	}
	issuer := &modelIssuer{set: pick()}
	store := newKeyStore(keyStoreConfig{clock: time.Now, logger: quietStore().logger})
	defer store.close()
	keys := store.addSource(issuerKeysConfig{name: "model", keys: KeysConfig{MaxStale: maxStale}}, issuer.fetch)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- store.run(ctx) }()
	var requests sync.WaitGroup

	var generation uint64
	var digestAt digest
	for range 200 {
		switch random.IntN(8) {
		case 0:
			set := pick()
			issuer.mu.Lock()
			issuer.set = set
			issuer.mu.Unlock()
		case 1:
			issuer.mu.Lock()
			issuer.down = random.IntN(2) == 0
			issuer.delay = []time.Duration{0, 0, time.Second, 5 * time.Second}[random.IntN(4)]
			issuer.mu.Unlock()
		case 2:
			time.Sleep(time.Duration(random.Int64N(int64(maxStale))))
		case 3, 4:
			time.Sleep(time.Duration(random.Int64N(int64(time.Minute))))
		default:
			for range 1 + random.IntN(100) {
				kid := random.IntN(len(jwks) + 2)
				name := fmt.Sprint("k", kid)
				try := never
				if kid < len(jwks) && random.IntN(4) > 0 {
					try = tries[kid]
				}
				requests.Go(func() {
					ctx, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
					defer cancel()
					_, reason, err := keys.verify(ctx, keyHint{alg: ES256, kid: name, hasKID: true}, try, nil)
					switch reason {
					case "", UnknownKey, BadSignature, KeysUnavailable:
					default:
						t.Errorf("reason %q", reason)
					}
					if reason == "" && kid >= len(jwks) || (reason == "") != (err == nil) {
						t.Errorf("kid %d: reason %q, error %v", kid, reason, err)
					}
				})
			}
		}
		synctest.Wait()

		// Quiet now: everything that could happen at this instant has happened.
		snap := keys.snap.Load()
		issuer.mu.Lock()
		success, served := issuer.success, issuer.served
		issuer.mu.Unlock()
		if snap != nil {
			if snap.set != served || snap.fetchedAt != success {
				t.Fatal("the keys in place are not those of the last good answer")
			}
			if snap.generation < generation {
				t.Fatalf("generation %d after %d", snap.generation, generation)
			}
			if snap.generation == generation && snap.set.digest != digestAt {
				t.Fatal("other keys under the same generation")
			}
			generation, digestAt = snap.generation, snap.set.digest
			if _, usable := keys.current(); usable != (time.Since(success) < maxStale) {
				t.Fatalf("usable %t, %s after the last success", usable, time.Since(success))
			}
		}
	}
	requests.Wait()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	store.close()

	if most := issuer.most.Load(); most != 1 {
		t.Errorf("%d fetches at once, want one", most)
	}
	if f := keys.flight; f != nil {
		t.Error("a flight after the end")
	}
	for i := range issuer.forced[:max(0, len(issuer.forced)-1)] {
		if pause := issuer.forced[i+1].Sub(issuer.forced[i]); pause < defaultUnknownKeyInterval {
			t.Errorf("two fetches for unknown keys within %s", pause)
		}
	}
	if len(issuer.forced) == 0 || !slices.IsSortedFunc(issuer.forced, time.Time.Compare) {
		t.Error("the model did not bite: no fetch for an unknown key")
	}
}

// Readers and refreshes at full speed, for the race detector.
func TestReadersDuringRefreshes(t *testing.T) {
	_, a := ecJWK(t, "a", elliptic.P256())
	_, b := ecJWK(t, "b", elliptic.P256())
	sets := []*keySet{mustSet(t, a), mustSet(t, a, b)}
	var n atomic.Int64
	var ahead atomic.Int64
	store := quietStore()
	store.clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	defer store.close()
	keys := store.addSource(issuerKeysConfig{name: "x"}, func(context.Context, bool) (fetched, error) {
		return fetched{set: sets[n.Add(1)%2], life: time.Hour}, nil
	})
	try := signedBy(t, a)
	var crowd sync.WaitGroup
	for range 8 {
		crowd.Go(func() {
			for range 500 {
				ahead.Add(int64(time.Second))
				if _, reason, err := keys.verify(t.Context(), keyHint{alg: ES256, kid: "a", hasKID: true}, try, nil); err != nil {
					t.Errorf("%s: %v", reason, err)
				}
				_, _, _ = keys.verify(t.Context(), keyHint{alg: ES256, kid: "nobody's", hasKID: true}, never, nil)
				_ = keys.status()
				keys.current()
			}
		})
	}
	crowd.Wait()
}

func TestIssuersAreAddedByTheRules(t *testing.T) {
	web := newSite(t, false)
	_, a := ecJWK(t, "a", elliptic.P256())
	web.put("/keys", page(setOf(a)))
	log := &fetchLog{}
	store := newKeyStore(keyStoreConfig{clock: time.Now, logger: quietStore().logger, onFetch: log.add})
	defer store.close()
	for _, bad := range []issuerKeysConfig{
		{issuer: "nowhere"},
		{issuer: "x", jwksURL: web.URL, http: HTTPConfig{Timeout: time.Millisecond}},
		{issuer: "x", jwksURL: web.URL, http: HTTPConfig{Timeout: time.Hour}},
		{issuer: "x", jwksURL: web.URL, keys: KeysConfig{Refresh: time.Millisecond}},
	} {
		if _, err := store.add(bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
	k, err := store.add(issuerKeysConfig{issuer: "x", name: "x", jwksURL: web.URL + "/keys"})
	if err != nil {
		t.Fatal(err)
	}
	if _, reason, err := k.verify(t.Context(), keyHint{alg: ES256, kid: "a", hasKID: true}, signedBy(t, a), nil); err != nil {
		t.Errorf("%s: %v", reason, err)
	}
	wantStrings(t, "events", log.took(), "jwks ok")
}
