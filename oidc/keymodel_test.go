package oidc

import (
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// The store is held against a model: a map of issuers, each with the keys that
// its server published last and those that a fetch has brought. What must always
// be true is said in check and judge; the actions are whatever can happen to a
// store from outside.

const modelKeys = 4

// modelSigners sign for every issuer: whose a token is must not depend on the key.
func modelSigner(n int) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), byte(n+1)))
}

// keyMask says which of the keys are in a set; it is never empty.
type keyMask uint

func (m keyMask) has(key int) bool { return m&(1<<key) != 0 }

// version is a key set that an issuer's server published.
type version struct {
	number int
	mask   keyMask
	set    *keySet
}

// brought is a version that a fetch has brought, and when by the store's clock.
type brought struct {
	version
	at time.Time
}

// modelOrigin is where one configuration of an issuer gets its keys from.
type modelOrigin struct {
	server   *modelServer
	cfg      KeysConfig
	inFlight atomic.Int32

	mu     sync.Mutex // guards what follows
	last   brought    // zero until a fetch succeeded
	forced []time.Time
}

func (o *modelOrigin) brought() brought {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// modelServer is the issuer's end of the network. It lives as long as the test,
// whether the issuer is configured or not.
type modelServer struct {
	world *storeModel

	mu        sync.Mutex // guards what follows
	published []version
	down      bool
	delay     time.Duration
}

func (s *modelServer) publish(mask keyMask) {
	set := *s.world.sets[mask] // another pointer, so that it tells the version
	s.mu.Lock()
	defer s.mu.Unlock()
	v := version{len(s.published) + 1, mask, &set}
	s.published = append(s.published, v)
	s.world.versions.Store(v.set, v)
}

// anyKey draws a key, often one that is published.
func (s *modelServer) anyKey(rt *rapid.T) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	mask := s.published[len(s.published)-1].mask
	key := rapid.IntRange(0, modelKeys).Draw(rt, "key")
	for range rapid.IntRange(0, 2).Draw(rt, "published") * modelKeys {
		if mask.has(key) {
			break
		}
		key = (key + 1) % modelKeys
	}
	return key
}

func (s *modelServer) become(down bool, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down, s.delay = down, delay
}

// fetch answers as the server is when the request arrives, after its delay.
func (o *modelOrigin) fetch(ctx context.Context, fresh bool) (fetched, error) {
	w := o.server.world
	if n := o.inFlight.Add(1); n != 1 {
		w.fault("%d fetches in flight for one issuer", n)
	}
	defer o.inFlight.Add(-1)
	if fresh {
		o.force(w)
	}
	s := o.server
	s.mu.Lock()
	answer, down, delay := s.published[len(s.published)-1], s.down, s.delay
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return fetched{}, ctx.Err()
	}
	if down {
		return fetched{}, errDown
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = brought{answer, w.now()}
	return fetched{set: answer.set, life: o.cfg.lifetime(nil, 0, w.now())}, nil
}

func (o *modelOrigin) force(w *storeModel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := w.now()
	if n := len(o.forced); n > 0 && now.Sub(o.forced[n-1]) < o.cfg.unknownKeyInterval() {
		w.fault("two fetches for unknown keys within %s", now.Sub(o.forced[n-1]))
	}
	o.forced = append(o.forced, now)
}

// usable says whether the keys may be used at now.
func (b brought) usable(now time.Time, cfg KeysConfig) bool {
	return b.set != nil && now.Sub(b.at) < cfg.maxStale()
}

// modelToken is a token and what is true of it.
type modelToken struct {
	text     string
	issuer   string
	key      int // one that no set has, if it is modelKeys
	iat, exp time.Time
}

type storeModel struct {
	sets     map[keyMask]*keySet
	versions sync.Map // of *keySet: version
	ahead    atomic.Int64

	servers map[string]*modelServer
	v       *Validator
	cfg     Config // of v
	stop    func()

	mu      sync.Mutex // guards what follows
	origins map[string]*modelOrigin
	faults  []string
}

// now is the store's clock. Only the test sets it; it runs with the bubble's.
func (w *storeModel) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

func (w *storeModel) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// origin is the store's way to the network. Another configuration of an issuer
// begins with what was known under the one before.
func (w *storeModel) origin(cfg issuerKeysConfig) (keyOrigin, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &modelOrigin{server: w.servers[cfg.issuer], cfg: cfg.keys}
	if before := w.origins[cfg.issuer]; before != nil {
		before.mu.Lock()
		defer before.mu.Unlock()
		o.last, o.forced = before.last, slices.Clone(before.forced)
	}
	w.origins[cfg.issuer] = o
	return keyOrigin{fetch: o.fetch}, nil
}

// modelCaches are bounds of which either is met soon: a token takes about 500
// bytes.
var modelCaches = []CacheConfig{{MaxEntries: 3, MaxBytes: 1 << 20}, {MaxEntries: 100, MaxBytes: 1800}}

// modelIssuers are those that may be configured.
var modelIssuers = []string{"https://a.example", "https://b.example", "https://c.example"}

func newStoreModel(t testing.TB) *storeModel {
	t.Helper()
	w := &storeModel{sets: map[keyMask]*keySet{}, servers: map[string]*modelServer{}, origins: map[string]*modelOrigin{}}
	for mask := keyMask(1); mask < 1<<modelKeys; mask++ {
		var jwks []fmt.Stringer
		for key := range modelKeys {
			if mask.has(key) {
				public, ok := modelSigner(key).Public().(ed25519.PublicKey)
				if !ok {
					t.Fatal("no Ed25519 key")
				}
				jwks = append(jwks, members{"kty": "OKP", "crv": "Ed25519", "kid": fmt.Sprint("k", key), "x": base64url(public)})
			}
		}
		w.sets[mask] = mustSet(t, jwks...)
	}
	return w
}

// begin makes a validator without issuers. It is called inside the bubble, end
// too.
func (w *storeModel) begin(cache CacheConfig) error {
	for _, id := range modelIssuers {
		w.servers[id] = &modelServer{world: w}
		w.servers[id].publish(1)
	}
	v, err := NewValidator(Config{Clock: w.now, Cache: cache})
	if err != nil {
		return err
	}
	v.store.origin = w.origin
	w.v, w.cfg = v, Config{Cache: cache}
	return nil
}

func (w *storeModel) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	v := w.v
	go func() { ended <- v.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			w.fault("Run: %v", err)
		}
		w.stop = nil
	}
}

func (w *storeModel) end() {
	if w.stop != nil {
		w.stop()
	}
	w.v.Close()
}

func (w *storeModel) configured(issuer string) int {
	return slices.IndexFunc(w.cfg.Issuers, func(ic IssuerConfig) bool { return ic.Issuer == issuer })
}

// reconfigure makes the next validator and closes the one before.
func (w *storeModel) reconfigure(issuers []IssuerConfig) {
	cfg := Config{Issuers: issuers, Cache: w.cfg.Cache}
	next, err := w.v.Next(cfg)
	if err != nil {
		w.fault("Next: %v", err)
		return
	}
	w.v.Close()
	w.mu.Lock()
	for id := range w.origins {
		if !slices.ContainsFunc(issuers, func(ic IssuerConfig) bool { return ic.Issuer == id }) {
			delete(w.origins, id) // what was known is gone with the last user
		}
	}
	w.mu.Unlock()
	w.v, w.cfg = next, cfg
}

func (w *storeModel) originOf(issuer string) *modelOrigin {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.origins[issuer]
}

func modelConfig(issuer string, keys KeysConfig) IssuerConfig {
	return IssuerConfig{Issuer: issuer, Name: issuer[len("https://") : len("https://")+1], AnyAudience: true, Leeway: -1, Keys: keys}
}

func (w *storeModel) mint(t testing.TB, issuer string, key, serial int, life time.Duration) modelToken {
	t.Helper()
	iat := w.now().Truncate(time.Second)
	tok := modelToken{issuer: issuer, key: key, iat: iat, exp: iat.Add(life)}
	header := fmt.Sprintf(`{"alg":"EdDSA","kid":"k%d"}`, key)
	claims := fmt.Sprintf(`{"iss":"%s","sub":"%d","iat":%d,"exp":%d}`, issuer, serial, tok.iat.Unix(), tok.exp.Unix())
	tok.text = signWith(t, modelSigner(key), EdDSA, header, claims)
	return tok
}

// reachable says whether a fetch that a token with an unknown key causes would
// bring the key in time, and whether it may be made.
func (w *storeModel) reachable(o *modelOrigin, tok modelToken, now time.Time) bool {
	s := o.server
	s.mu.Lock()
	defer s.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	open := len(o.forced) == 0 || now.Sub(o.forced[len(o.forced)-1]) >= o.cfg.unknownKeyInterval()
	return open && o.inFlight.Load() == 0 && !s.down && s.delay < 150*time.Millisecond && s.published[len(s.published)-1].mask.has(tok.key)
}

// judge presents a token, holds the verdict against the model and reports
// whether the token was accepted.
func (w *storeModel) judge(tok modelToken) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	now := w.now()
	o := w.originOf(tok.issuer)
	var before brought
	var cfg KeysConfig
	reachable := false
	if o != nil {
		before, cfg = o.brought(), o.cfg
		reachable = before.usable(now, cfg) && w.reachable(o, tok, now)
	}
	start := time.Now()
	got, err := w.v.Validate(ctx, tok.text, Requirement{})
	reason := ReasonOf(err)
	if took := time.Since(start); took > 150*time.Millisecond {
		w.fault("a request waited %s", took)
	}
	var after brought
	if o != nil {
		after = o.brought()
	}
	inTime := !now.Before(tok.iat) && now.Before(tok.exp)
	certain := before.usable(now, cfg) && before.mask.has(tok.key)
	possible := certain || after.usable(w.now(), cfg) && after.mask.has(tok.key)
	switch {
	case err == nil && (got.Issuer != tok.issuer || !got.Expiry.Equal(tok.exp)):
		w.fault("the facts of another token")
	case err == nil && (o == nil || !inTime || !possible):
		w.fault("accepted, though configured is %t, in time %t, its key in use %t", o != nil, inTime, possible)
	case err != nil && o != nil && inTime && certain:
		w.fault("%s, though its key is in use", reason)
	case err != nil && inTime && reachable:
		w.fault("%s, though the issuer has the key and may be asked", reason)
	case o == nil && reason != UnknownIssuer:
		w.fault("%q for an issuer that is not configured", reason)
	case o != nil && inTime && reason == UnknownKey && after.mask.has(tok.key) && before.version == after.version:
		w.fault("the issuer's own key is unknown")
	case !slices.Contains([]Reason{"", UnknownIssuer, Expired, NotYetValid, UnknownKey, KeysUnavailable}, reason):
		w.fault("reason %q: %v", reason, err)
	}
	return err == nil
}

// check is called when everything that could happen at this instant has.
func (w *storeModel) check() error {
	w.mu.Lock()
	faults := slices.Clone(w.faults)
	w.mu.Unlock()
	if len(faults) > 0 {
		return errors.New(faults[0])
	}
	now := w.now()
	for _, status := range w.v.Status() {
		iss := w.v.byIss[status.Issuer]
		o := w.originOf(status.Issuer)
		last := o.brought()
		snap := iss.keys.snap.Load()
		switch {
		case snap == nil && last.set != nil:
			return errors.New("keys that came are not in place")
		case snap != nil && (snap.set != last.set || !snap.fetchedAt.Equal(last.at)):
			return errors.New("the keys in place are not those of the last good answer")
		case status.Usable != last.usable(now, o.cfg):
			return fmt.Errorf("usable is %t, %s after the last success", status.Usable, now.Sub(last.at))
		}
		if _, usable := iss.keys.current(iss.keys.store.clock()); usable != status.Usable {
			return errors.New("two opinions on whether the keys are usable")
		}
		iss.keys.mu.Lock()
		waiters := 0
		if f := iss.keys.flight; f != nil {
			waiters = f.waiters
		}
		iss.keys.mu.Unlock()
		if waiters != 0 {
			return fmt.Errorf("%d waiters, and nobody waits", waiters)
		}
	}
	return w.checkCache()
}

func (w *storeModel) checkCache() error { return w.v.cache.check() }

// check compares what the cache counts with what it has. Nobody may use it meanwhile.
func (c *tokenCache) check() error {
	entries, bytes := 0, int64(0)
	for i := range c.shards {
		s := &c.shards[i]
		for _, key := range s.lru.Keys() {
			e, _ := s.lru.Peek(key)
			if c.shard(key) != i {
				return errors.New("an entry is in another shard than its own")
			}
			bytes += e.size()
		}
		for j := range s.atHand {
			set := &s.atHand[j]
			for place, tok := range set.tokens {
				if tok == nil {
					continue
				}
				e, found := s.lru.Peek(set.keys[place])
				if !found || s.setOf(set.keys[place]) != set || s.hand(set.keys[place]) != tok {
					return errors.New("a token is at hand that is not in the cache, or twice, or not where it is looked for")
				}
				if fresh := e.packed.unpack(e.by.issuer, e.expiry); !sameToken(fresh, tok) {
					return fmt.Errorf("a token at hand is %+v and packed %+v", tok, fresh)
				}
			}
		}
		entries += s.lru.Len()
	}
	if stats := c.stats(); bytes != stats.Bytes || entries != stats.Entries || bytes > c.bounds.MaxBytes || entries > c.bounds.MaxEntries {
		return fmt.Errorf("the cache has %d entries of %d bytes and counts %+v", entries, bytes, stats)
	}
	return nil
}

func TestTheStoreAgainstAModel(t *testing.T) {
	sets := newStoreModel(t).sets
	// A run takes a millisecond or two, so there can be more and longer ones than
	// rapid makes unasked.
	for name, value := range map[string]string{"rapid.checks": "150", "rapid.steps": "60"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		var stopped any // rapid ends a run by a panic, which must not end the bubble's goroutine
		synctest.Test(t, func(t *testing.T) {
			defer func() { stopped = recover() }()
			w := &storeModel{sets: sets, servers: map[string]*modelServer{}, origins: map[string]*modelOrigin{}}
			if err := w.begin(rapid.SampledFrom(modelCaches).Draw(rt, "cache")); err != nil {
				rt.Fatal(err)
			}
			defer w.end()
			if rapid.Bool().Draw(rt, "run") {
				w.run()
			}
			w.reconfigure([]IssuerConfig{modelConfig(modelIssuers[0], KeysConfig{}), modelConfig(modelIssuers[1], KeysConfig{})})
			rt.Repeat(w.actions(t))
		})
		if stopped != nil {
			panic(stopped)
		}
	})
}

// actions are what can happen to a store, and the check after each.
func (w *storeModel) actions(t *testing.T) map[string]func(*rapid.T) {
	var tokens, accepted []modelToken
	latest := w.now() // that the clock ever said
	serial := 0
	anyIssuer := rapid.SampledFrom(modelIssuers)
	server := func(rt *rapid.T) *modelServer { return w.servers[anyIssuer.Draw(rt, "issuer")] }
	generations := map[string]*keySnapshot{}
	return map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			synctest.Wait()
			if err := w.check(); err != nil {
				rt.Fatal(err)
			}
			for _, iss := range w.v.issuers {
				snap, before := iss.keys.snap.Load(), generations[iss.id]
				if snap != nil && before != nil && (snap.generation == before.generation) != (snap.set.digest == before.set.digest) && before.set != nil {
					rt.Fatalf("generation %d after %d", snap.generation, before.generation)
				}
				generations[iss.id] = snap
			}
			if now := w.now(); now.After(latest) {
				latest = now
			}
		},
		"rotate": func(rt *rapid.T) {
			server(rt).publish(keyMask(rapid.UintRange(1, 1<<modelKeys-1).Draw(rt, "keys")))
		},
		"drop a key": func(rt *rapid.T) {
			s := server(rt)
			s.mu.Lock()
			mask := s.published[len(s.published)-1].mask
			s.mu.Unlock()
			if mask &= mask - 1; mask != 0 {
				s.publish(mask)
			}
		},
		"weather": func(rt *rapid.T) {
			server(rt).become(rapid.Bool().Draw(rt, "down"), rapid.SampledFrom([]time.Duration{0, 0, 100 * time.Millisecond, time.Second, 5 * time.Second, time.Minute}).Draw(rt, "delay"))
		},
		"time": func(rt *rapid.T) {
			time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, 29 * time.Second, time.Minute, 5 * time.Minute, time.Hour}).Draw(rt, "pass"))
		},
		"clock": func(rt *rapid.T) {
			w.ahead.Add(int64(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 26 * time.Hour, -time.Second, -time.Minute, -time.Hour}).Draw(rt, "jump")))
		},
		"mint": func(rt *rapid.T) {
			serial++
			life := rapid.SampledFrom([]time.Duration{time.Minute, 10 * time.Minute, 30 * time.Hour}).Draw(rt, "life")
			issuer := anyIssuer.Draw(rt, "issuer")
			tok := w.mint(t, issuer, w.servers[issuer].anyKey(rt), serial, life)
			tokens = append(tokens, tok)
			if w.judge(tok) {
				accepted = append(accepted, tok)
			}
		},
		"present": func(rt *rapid.T) { // what may be in the cache
			if recent := accepted[max(0, len(accepted)-3):]; len(recent) > 0 {
				w.judge(recent[rapid.IntRange(0, len(recent)-1).Draw(rt, "token")])
			}
		},
		"present all": func(*rapid.T) { // more than the cache has room for
			for _, tok := range tokens {
				w.judge(tok)
			}
		},
		"flood": func(rt *rapid.T) {
			issuer := anyIssuer.Draw(rt, "issuer")
			tok := w.mint(t, issuer, modelKeys, 0, time.Hour)
			configured := w.configured(issuer) >= 0
			var crowd sync.WaitGroup
			for range rapid.IntRange(2, 100).Draw(rt, "requests") {
				crowd.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
					defer cancel()
					start := time.Now()
					_, err := w.v.Validate(ctx, tok.text, Requirement{})
					if took := time.Since(start); took > 150*time.Millisecond {
						w.fault("one of many waited %s", took)
					}
					if r := ReasonOf(err); configured && r != UnknownKey && r != KeysUnavailable || !configured && r != UnknownIssuer {
						w.fault("a token of nobody's key: %q", r)
					}
				})
			}
			crowd.Wait()
		},
		"add or remove": func(rt *rapid.T) {
			issuer := anyIssuer.Draw(rt, "issuer")
			issuers := slices.Clone(w.cfg.Issuers)
			if i := w.configured(issuer); i >= 0 {
				issuers = slices.Delete(issuers, i, i+1)
				delete(generations, issuer)
			} else {
				issuers = append(issuers, modelConfig(issuer, KeysConfig{}))
			}
			w.reconfigure(issuers)
		},
		"configure otherwise": func(rt *rapid.T) {
			issuers := slices.Clone(w.cfg.Issuers)
			if len(issuers) == 0 {
				return
			}
			i := rapid.IntRange(0, len(issuers)-1).Draw(rt, "which")
			issuers[i].Keys = rapid.SampledFrom([]KeysConfig{
				{}, {MaxStale: 2 * time.Hour}, {UnknownKeyInterval: time.Minute}, {Refresh: time.Minute, MaxStale: 2 * time.Minute},
			}).Draw(rt, "keys")
			w.reconfigure(issuers)
		},
		"run or not": func(*rapid.T) {
			if w.stop != nil {
				w.stop()
			} else {
				w.run()
			}
		},
		"an old answer": func(rt *rapid.T) {
			for _, iss := range w.v.issuers {
				if iss.keys.published > 0 {
					mask := keyMask(rapid.UintRange(1, 1<<modelKeys-1).Draw(rt, "keys"))
					old := &flight{number: iss.keys.published, forced: true, done: make(chan struct{})}
					iss.keys.land(old, fetched{set: w.sets[mask], life: time.Hour}, nil, false)
				}
			}
		},
		"all is well": func(rt *rapid.T) {
			for _, s := range w.servers {
				s.become(false, 0)
			}
			if w.stop == nil {
				w.run()
			}
			if w.now().Before(latest) {
				return // the schedule is in a future that is yet to come
			}
			time.Sleep(3 * time.Minute) // what was slow ends in one; the longest pause after it is 72 s
			synctest.Wait()
			for _, status := range w.v.Status() {
				if !status.Usable {
					rt.Fatalf("%s has no keys, three minutes after the last trouble: %+v", status.Name, status)
				}
			}
		},
	}
}

// The same world with many hands in it at once, for the race detector. What a
// reader may see is that of a register: never a version older than one that
// somebody has seen before, and one set of keys for each generation.
func TestTheStoreUnderManyHands(t *testing.T) {
	sets := newStoreModel(t).sets
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &storeModel{sets: sets, servers: map[string]*modelServer{}, origins: map[string]*modelOrigin{}}
				if err := w.begin(modelCaches[0]); err != nil {
					t.Fatal(err)
				}
				defer w.end()
				w.run()
				w.manyHands(t, seed)
				synctest.Wait()
				if err := w.check(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func (w *storeModel) manyHands(t *testing.T, seed uint64) {
	t.Helper()
	const hands, steps = 6, 200
	var live atomic.Pointer[Validator]
	for _, id := range modelIssuers {
		w.reconfigure(append(slices.Clone(w.cfg.Issuers), modelConfig(id, KeysConfig{})))
	}
	live.Store(w.v)
	var tokens []modelToken
	for serial := range 60 {
		tokens = append(tokens, w.mint(t, modelIssuers[serial%len(modelIssuers)], serial%(modelKeys+1), serial, 1000*time.Hour))
	}
	seen := &register{newest: map[*issuerKeys]view{}, generations: map[uint64]digest{}}
	var configuring sync.Mutex
	var all sync.WaitGroup
	for hand := range hands {
		random := rand.New(rand.NewPCG(seed, uint64(hand))) //nolint:gosec // repeatable on purpose
		all.Go(func() {
			for range steps {
				server := w.servers[modelIssuers[random.IntN(len(modelIssuers))]]
				switch random.IntN(12) {
				case 0:
					server.publish(keyMask(1 + random.UintN(1<<modelKeys-1)))
				case 1:
					server.become(random.IntN(4) == 0, time.Duration(random.IntN(3))*50*time.Millisecond)
				case 2:
					time.Sleep(time.Duration(random.IntN(60)) * time.Second)
				case 3:
					configuring.Lock()
					issuers := slices.Clone(w.cfg.Issuers)
					i := random.IntN(len(issuers))
					issuers[i].Keys.UnknownKeyInterval = time.Duration(1+random.IntN(2)) * time.Minute
					w.reconfigure(issuers)
					live.Store(w.v)
					configuring.Unlock()
				default:
					seen.judge(w, live.Load(), tokens[random.IntN(len(tokens))])
				}
			}
		})
	}
	all.Wait()
	for _, fault := range seen.faults {
		t.Error(fault)
	}
	if len(seen.generations) < 10 {
		t.Errorf("only %d generations of keys: little happened", len(seen.generations))
	}
}

// view is what a reader can see of an issuer's keys.
type view struct {
	version    int
	generation uint64
}

// register remembers the newest that anybody has seen.
type register struct {
	mu          sync.Mutex // guards all
	newest      map[*issuerKeys]view
	generations map[uint64]digest
	faults      []string
}

// look reads the keys of an issuer and holds what it sees against what others
// had seen before it looked.
func (r *register) look(w *storeModel, keys *issuerKeys) view {
	r.mu.Lock()
	before := r.newest[keys]
	r.mu.Unlock()
	snap := keys.snap.Load()
	if snap == nil {
		return view{}
	}
	stored, _ := w.versions.Load(snap.set)
	v, _ := stored.(version)
	now := view{v.number, snap.generation}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.version < before.version || now.generation < before.generation {
		r.faults = append(r.faults, fmt.Sprintf("%+v after somebody saw %+v", now, before))
	}
	if known, ok := r.generations[snap.generation]; ok && known != snap.set.digest {
		r.faults = append(r.faults, fmt.Sprintf("generation %d is two sets of keys", snap.generation))
	}
	r.generations[snap.generation] = snap.set.digest
	if newest := r.newest[keys]; now.version > newest.version {
		r.newest[keys] = now
	}
	return now
}

// judge presents a token: if it is accepted, its key was in a version that was
// in place between before and after.
func (r *register) judge(w *storeModel, v *Validator, tok modelToken) {
	keys := v.byIss[tok.issuer].keys
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Millisecond)
	defer cancel()
	from := r.look(w, keys).version
	_, err := v.Validate(ctx, tok.text, Requirement{})
	to := r.look(w, keys).version
	s := w.servers[tok.issuer]
	s.mu.Lock()
	possible := slices.ContainsFunc(s.published[max(0, from-1):to], func(v version) bool { return v.mask.has(tok.key) })
	certain := from == to && from > 0 && s.published[to-1].mask.has(tok.key)
	s.mu.Unlock()
	if reason := ReasonOf(err); err == nil && !possible || certain && reason == UnknownKey {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.faults = append(r.faults, fmt.Sprintf("%q for the key %d, with the versions %d to %d", reason, tok.key, from, to))
	}
}
