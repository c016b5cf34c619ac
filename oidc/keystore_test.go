package oidc

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// addSource adds an issuer that fetch fetches, as a validator that begins to use
// it does.
func (s *keyStore) addSource(cfg issuerKeysConfig, fetch func(ctx context.Context, fresh bool) (fetched, error)) *issuerKeys {
	configured := s.origin
	s.origin = func(issuerKeysConfig) (keyOrigin, error) { return keyOrigin{fetch: fetch}, nil }
	defer func() { s.origin = configured }()
	k, err := s.add(cfg)
	if err != nil {
		panic(err)
	}
	return k
}

// add adds an issuer as it is configured.
func (s *keyStore) add(cfg issuerKeysConfig) (*issuerKeys, error) {
	k, err := s.acquire(cfg)
	if err != nil {
		return nil, err
	}
	s.schedule([]*issuerKeys{k})
	return k, nil
}

// removeSource does what a validator does that no longer uses an issuer.
func (s *keyStore) removeSource(k *issuerKeys) { s.release([]*issuerKeys{k}) }

func TestKeysAreSharedByContent(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.warm()
		again := b.store.addSource(b.keys.cfg, nil)
		if again != b.keys {
			b.Fatal("other keys for the same configuration")
		}
		stop := b.running()
		defer stop()
		b.store.removeSource(again)
		time.Sleep(48 * time.Minute)
		synctest.Wait()
		b.wantFetches(2, 0) // one user is left
		b.store.removeSource(b.keys)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		b.wantFetches(2, 0)
		if fresh := b.store.addSource(b.keys.cfg, b.issuer.fetch); fresh == b.keys {
			b.Error("keys that nobody used are used again")
		}
	})
}

// A change that says nothing about where the keys are from keeps them: another
// name, other times.
func TestOtherTimesKeepTheKeys(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		stop := b.running()
		defer stop()
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		changed := b.keys.cfg
		changed.name, changed.keys.Refresh = "renamed", 20*time.Minute
		k := b.store.addSource(changed, b.issuer.fetch)
		before, _ := b.keys.current(b.keys.store.clock())
		if after, usable := k.current(k.store.clock()); k == b.keys || !usable || after != before {
			b.Fatalf("generation %d, usable %t after %d", after, usable, before)
		}
		synctest.Wait()
		b.wantFetches(1, 0)
		time.Sleep(6 * time.Minute) // 80 % of the new time since the fetch
		synctest.Wait()
		b.wantFetches(2, 0)
		b.store.removeSource(b.keys)
	})
}

func TestAnOutageIsInherited(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		b.issuer.err = errDown
		b.want(b.ask("a", never), KeysUnavailable)
		changed := b.keys.cfg
		changed.name = "renamed"
		k := b.store.addSource(changed, b.issuer.fetch)
		if _, reason, err := k.verify(b.Context(), keyHint{alg: ES256, kid: "a", hasKID: true}, never, nil); reason != KeysUnavailable || !errors.Is(err, errDown) {
			b.Errorf("%s: %v", reason, err)
		}
		b.wantFetches(1, 0) // a reload is no way past the retry delay
	})
}

func TestKeysOfAnotherOriginAreNotKept(t *testing.T) {
	base := issuerKeysConfig{issuer: "https://id.example.com", name: "a"}
	same := base
	same.http.RootCAs, base.http.RootCAs = x509.NewCertPool(), x509.NewCertPool()
	if !base.same(same) || !base.sameOrigin(same) {
		t.Error("a configuration that was loaded again is another one")
	}
	for _, change := range []func(*issuerKeysConfig){
		func(c *issuerKeysConfig) { c.issuer += "/" },
		func(c *issuerKeysConfig) { c.discoveryURL = "https://id.example.com/d" },
		func(c *issuerKeysConfig) { c.jwksURL = "https://id.example.com/k" },
		func(c *issuerKeysConfig) { c.jwksFile = "keys.json" },
		func(c *issuerKeysConfig) { c.insecure = true },
		func(c *issuerKeysConfig) { c.http.Timeout = time.Second },
		func(c *issuerKeysConfig) { c.http.RootCAs = nil },
	} {
		other := base
		change(&other)
		if base.sameOrigin(other) || other.sameOrigin(base) || base.same(other) {
			t.Errorf("%+v is the origin of %+v", base, other)
		}
	}
}

// What is added to HTTPConfig or KeysConfig is not forgotten in the comparison.
func TestEveryFieldMakesADifference(t *testing.T) {
	changes := func(zero any, differs func(changed reflect.Value) bool) {
		typ := reflect.TypeOf(zero)
		for i := range typ.NumField() {
			changed := reflect.New(typ).Elem()
			switch f := changed.Field(i); f.Kind() {
			case reflect.String:
				f.SetString("x")
			case reflect.Int64:
				f.SetInt(1)
			case reflect.Bool:
				f.SetBool(true)
			case reflect.Pointer:
				f.Set(reflect.New(f.Type().Elem()))
			default:
				t.Fatalf("%s.%s: teach this test its kind", typ, typ.Field(i).Name)
			}
			if !differs(changed) {
				t.Errorf("a change of %s.%s makes no difference", typ, typ.Field(i).Name)
			}
		}
	}
	changes(HTTPConfig{}, func(v reflect.Value) bool {
		changed, _ := v.Interface().(HTTPConfig)
		return !issuerKeysConfig{http: changed}.sameOrigin(issuerKeysConfig{})
	})
	changes(KeysConfig{}, func(v reflect.Value) bool {
		changed, _ := v.Interface().(KeysConfig)
		return !issuerKeysConfig{keys: changed}.same(issuerKeysConfig{})
	})
}

func TestReleaseEndsTheFetchAndWaitsForIt(t *testing.T) {
	inBubble(t, KeysConfig{}, func(b *bench) {
		for _, byRun := range []bool{false, true} {
			k := b.store.addSource(issuerKeysConfig{name: fmt.Sprint(byRun)}, func(ctx context.Context, _ bool) (fetched, error) {
				<-ctx.Done()
				time.Sleep(time.Second) // a fetch that is slow to end
				return fetched{}, ctx.Err()
			})
			stop := func() {}
			if byRun {
				stop = b.running()
			}
			answer := make(chan Reason)
			go func() {
				_, reason, _ := k.verify(context.Background(), keyHint{alg: ES256, kid: "a", hasKID: true}, never, nil)
				answer <- reason
			}()
			synctest.Wait()
			start := time.Now()
			b.store.removeSource(k)
			if took := time.Since(start); took != time.Second {
				b.Errorf("release took %s", took)
			}
			b.want(<-answer, KeysUnavailable)
			_, reason, err := k.verify(b.Context(), keyHint{alg: ES256, kid: "a", hasKID: true}, never, nil)
			if b.want(reason, KeysUnavailable); !errors.Is(err, errRetired) {
				b.Errorf("error %v", err)
			}
			stop()
		}
	})
}

// Run takes up issuers that are added while it runs, many of them spread out,
// and lets go of those that are removed.
func TestIssuersComeAndGoWhileRunRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := quietStore()
		defer store.close()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- store.run(ctx) }()
		synctest.Wait()
		_, jwk := ecJWK(t, "a", elliptic.P256())
		all := &fakeIssuer{set: mustSet(t, jwk), life: time.Hour}
		wantFetches := func(want int) {
			t.Helper()
			synctest.Wait()
			if n, _ := all.fetches(); n != want {
				t.Errorf("%d fetches, want %d", n, want)
			}
		}
		store.origin = func(issuerKeysConfig) (keyOrigin, error) { return keyOrigin{fetch: all.fetch}, nil }
		var list []*issuerKeys
		for i := range 116 {
			k, err := store.acquire(issuerKeysConfig{name: fmt.Sprint(i)})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, k)
		}
		time.Sleep(time.Minute)
		wantFetches(0) // a configuration that is not in use yet
		store.schedule(list)
		wantFetches(firstAtOnce)
		time.Sleep(100 * firstSpacing)
		wantFetches(116)
		store.release(list[10:])
		time.Sleep(48 * time.Minute)
		wantFetches(126)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The timetable against a list that is searched.
func TestTimetable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose
	var table timetable
	var all []*issuerKeys
	for i := range 20 {
		all = append(all, &issuerKeys{number: uint64(i)})
	}
	in := map[*issuerKeys]bool{}
	now := time.Duration(0)
	for range 20000 {
		k := all[random.IntN(len(all))]
		switch random.IntN(4) {
		case 0:
			table.put(k, now+time.Duration(random.IntN(20)-5), dueClass(random.IntN(int(classes))))
			in[k] = true
		case 1:
			table.remove(k)
			delete(in, k)
		case 2:
			now += time.Duration(random.IntN(12) - 5)
		}
		allowed := random.IntN(1 << classes)
		may := func(c dueClass) bool { return allowed&(1<<c) != 0 }
		var want *issuerKeys
		wait := maxNap
		for _, k := range all {
			if !in[k] {
				continue
			}
			if k.slot.at > now {
				wait = min(wait, k.slot.at-now)
				continue
			}
			if may(k.slot.class) && (want == nil || k.slot.class < want.slot.class ||
				k.slot.class == want.slot.class && k.slot.at < want.slot.at) {
				want = k
			}
		}
		if got := table.next(now, may); got != want {
			t.Fatalf("next is %+v, want %+v", got, want)
		}
		// Behind those that may not go yet, some may hide that the clock made late
		// again. They are looked at when there is room.
		hidden := slices.ContainsFunc(table.ready[:], func(q dueQueue) bool { return len(q) > 0 })
		if got := table.wait(now); got > wait && !hidden {
			t.Fatalf("wait is %s, but %s is the time to the next one", got, wait)
		}
	}
	sizes := []int{len(table.later)}
	for _, queue := range table.ready {
		sizes = append(sizes, len(queue))
	}
	if slices.Max(sizes) == 0 || len(in) != sizes[0]+sizes[1]+sizes[2]+sizes[3] {
		t.Errorf("%v in the queues, want %d", sizes, len(in))
	}
}

// BenchmarkPoll is what an event costs Run with ten thousand issuers: one of them
// is due, is fetched and is entered again.
func BenchmarkPoll(b *testing.B) {
	store := quietStore()
	defer store.close()
	now := store.base
	store.clock = func() time.Time { return now }
	_, jwk := ecJWK(b, "a", elliptic.P256())
	set := mustSet(b, jwk)
	var last *issuerKeys
	for i := range 10_000 {
		last = store.addSource(issuerKeysConfig{name: fmt.Sprint(i)}, func(context.Context, bool) (fetched, error) {
			return fetched{set: set, life: time.Hour}, nil
		})
	}
	store.poll(store.ctx, now)
	for _, k := range store.inOrder() {
		k.flights.Wait()
	}
	for b.Loop() {
		last.mu.Lock()
		last.setDue(store.elapsed(now))
		last.reschedule()
		last.mu.Unlock()
		store.poll(store.ctx, now)
		last.flights.Wait()
	}
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
