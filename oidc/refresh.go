package oidc

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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

type keyStoreConfig struct {
	clock   func() time.Time
	logger  *slog.Logger
	onFetch func(FetchEvent)
	jitter  func() float64 // from -1 to 1; nil means random
}

// keyStore owns the keys of all issuers and every goroutine that fetches them.
type keyStore struct {
	clock   func() time.Time
	base    time.Time // what elapsed counts from
	logger  *slog.Logger
	onFetch func(FetchEvent)
	jitter  func() float64
	issuers []*issuerKeys // fixed once the store is in use

	generation atomic.Uint64 // the last one given to a set of keys
	running    atomic.Bool   // run is active
	wake       chan struct{} // a place in the background got free, or a new time is due

	// ctx is the life of the store: fetches end with it and with nothing else
	// but run.
	ctx    context.Context
	cancel context.CancelFunc

	mu         sync.Mutex     // guards what follows
	flights    sync.WaitGroup // Add with mu held and the store open
	closed     bool
	background int // flights that are counted
	retries    int // of these, retries
}

func newKeyStore(cfg keyStoreConfig) *keyStore {
	s := &keyStore{clock: cfg.clock, base: cfg.clock(), logger: cfg.logger, onFetch: cfg.onFetch, jitter: cfg.jitter, wake: make(chan struct{}, 1)}
	if s.jitter == nil {
		s.jitter = func() float64 { return 2*rand.Float64() - 1 } //nolint:gosec // spreads load, hides nothing
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// add adds an issuer, before the store is used. Nothing is fetched yet.
func (s *keyStore) add(cfg issuerKeysConfig) (*issuerKeys, error) {
	if err := errors.Join(cfg.http.check(), cfg.keys.check()); err != nil {
		return nil, err
	}
	if cfg.jwksFile != "" {
		source, err := newFileSource(cfg, s.clock, s.onFetch)
		if err != nil {
			return nil, err
		}
		k := s.addSource(cfg, source.fetch)
		k.local = true
		return k, nil
	}
	source, err := newKeySource(cfg, newFetcher(cfg, s.clock, s.onFetch), s.clock)
	if err != nil {
		return nil, err
	}
	k := s.addSource(cfg, source.fetch)
	if path := cfg.keys.SnapshotFile; path != "" {
		k.kept = &snapshotFile{path: path, maxStale: cfg.keys.maxStale(), source: source}
		k.restored = false
	}
	return k, nil
}

func (s *keyStore) addSource(cfg issuerKeysConfig, fetch func(context.Context, bool) (fetched, error)) *issuerKeys {
	k := &issuerKeys{name: cfg.name, issuer: cfg.issuer, cfg: cfg.keys, store: s, fetch: fetch, restored: true}
	s.issuers = append(s.issuers, k)
	return k
}

// elapsed is the time that schedules are written in.
func (s *keyStore) elapsed(now time.Time) time.Duration { return now.Sub(s.base) }

// admit runs a flight in a goroutine, unless the store is closed or the flight
// is a background refresh and there are enough of those.
func (s *keyStore) admit(f *flight, fly func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if f.counted {
		if s.background == maxBackground || f.retry && s.retries == maxRetries {
			return false
		}
		s.background++
		if f.retry {
			s.retries++
		}
	}
	s.flights.Go(fly)
	return true
}

// release gives the place of a flight back and has run look again.
func (s *keyStore) release(f *flight) {
	if f.counted {
		s.mu.Lock()
		s.background--
		if f.retry {
			s.retries--
		}
		s.mu.Unlock()
	}
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run keeps the keys of all issuers fresh until ctx or the store ends, and
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
			s.awaitOwn()
			return nil
		case <-timer.C:
		case <-s.wake:
		}
		timer.Reset(s.poll(ctx, s.clock()))
	}
}

// spreadFirst schedules the first fetches.
func (s *keyStore) spreadFirst(now time.Time) {
	for i, k := range s.issuers {
		k.mu.Lock()
		if !k.landed {
			k.setDue(s.elapsed(now) + time.Duration(max(0, i+1-firstAtOnce))*firstSpacing)
		}
		k.mu.Unlock()
	}
}

// dueIssuer is an issuer whose fetch is due, with what decides who goes first.
type dueIssuer struct {
	keys  *issuerKeys
	class int // 0: first fetch, 1: the last one succeeded, 2: it failed
	due   time.Duration
}

// poll starts what is due at now, as far as there is room, and returns how long
// nothing else will be.
func (s *keyStore) poll(ctx context.Context, now time.Time) time.Duration {
	nap := maxNap
	var list []dueIssuer
	for _, k := range s.issuers {
		wait := k.dueAt() - s.elapsed(now)
		if wait > 0 {
			nap = min(nap, wait)
			continue
		}
		list = append(list, k.dueIssuer())
	}
	slices.SortStableFunc(list, func(a, b dueIssuer) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.due, b.due))
	})
	for _, d := range list {
		d.keys.startDue(ctx, now, true)
	}
	return nap
}

func (k *issuerKeys) dueIssuer() dueIssuer {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := dueIssuer{keys: k, class: 1, due: k.dueAt()}
	switch {
	case !k.landed:
		d.class = 0
	case k.failures > 0:
		d.class = 2
	}
	return d
}

// awaitOwn waits for the flights that run started; their context has ended.
func (s *keyStore) awaitOwn() {
	for _, k := range s.issuers {
		k.mu.Lock()
		f := k.flight
		k.mu.Unlock()
		if f != nil && f.byRun {
			<-f.done
		}
	}
}

// close ends all fetches and returns when they have ended. Keys stay usable.
func (s *keyStore) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.flights.Wait()
}
