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

type keyStoreConfig struct {
	clock   func() time.Time
	logger  *slog.Logger
	onFetch func(FetchEvent)
	jitter  func() float64                            // from -1 to 1; nil means random
	origin  func(issuerKeysConfig) (keyOrigin, error) // nil means what the configuration names
}

// keyOrigin is where an issuer's keys come from.
type keyOrigin struct {
	// fetch gets the keys. With fresh, no cache may answer. It is called by one
	// flight at a time.
	fetch func(ctx context.Context, fresh bool) (fetched, error)
	local bool          // fetch looks at a file
	kept  *snapshotFile // used by one flight at a time; nil for none
}

// keyStore owns the keys of all issuers and every goroutine that fetches them.
//
// Issuers come and go while it runs. Whoever uses an issuer's keys acquires
// them, and releases them later; who asks for what another user has already
// shares it. The keys of an issuer without users are no longer refreshed, and
// their fetch ends; what was fetched can still be looked at by those who hold it.
//
// Locks are taken in this order: issuerKeys.mu, keyStore.mu.
type keyStore struct {
	clock   func() time.Time
	base    time.Time // what elapsed counts from
	logger  *slog.Logger
	onFetch func(FetchEvent)
	jitter  func() float64
	origin  func(issuerKeysConfig) (keyOrigin, error)
	turns   *turns
	matches sharedMatches
	rooms   sync.Pool // of *jsonRoom

	generation atomic.Uint64  // the last one given to a set of keys
	running    atomic.Bool    // run is active
	wake       chan struct{}  // a place in the background got free, or a new time is due
	own        sync.WaitGroup // flights of run, which alone adds and waits

	// ctx is the life of the store: fetches end with it, with the last user of
	// their issuer, or with run.
	ctx    context.Context
	cancel context.CancelFunc

	mu         sync.Mutex // guards what follows
	flights    sync.WaitGroup
	closed     bool // then flights does not grow
	background int  // flights that are counted
	retries    int  // of these, retries
	users      int  // validators that have joined
	added      uint64
	issuers    map[string][]*issuerKeys // in use, by issuer identifier
	tenants    map[string][]*tenantKeys // in use, by template
	timetable  timetable
}

func newKeyStore(cfg keyStoreConfig) *keyStore {
	s := &keyStore{
		clock: cfg.clock, base: cfg.clock(), logger: cfg.logger, onFetch: cfg.onFetch, jitter: cfg.jitter, origin: cfg.origin,
		turns: newTurns(), wake: make(chan struct{}, 1), issuers: map[string][]*issuerKeys{}, tenants: map[string][]*tenantKeys{},
	}
	if s.jitter == nil {
		s.jitter = func() float64 { return 2*rand.Float64() - 1 } //nolint:gosec // spreads load, hides nothing
	}
	if s.origin == nil {
		s.origin = s.configuredOrigin
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// configuredOrigin is where keys come from outside tests.
func (s *keyStore) configuredOrigin(cfg issuerKeysConfig) (keyOrigin, error) {
	if cfg.jwksFile != "" {
		source, err := newFileSource(cfg, s.clock, s.onFetch)
		if err != nil {
			return keyOrigin{}, err
		}
		return keyOrigin{fetch: source.fetch, local: true}, nil
	}
	source, err := newKeySource(cfg, newFetcher(cfg, s.clock, s.onFetch), s.clock)
	if err != nil {
		return keyOrigin{}, err
	}
	o := keyOrigin{fetch: source.fetch}
	if path := cfg.keys.SnapshotFile; path != "" {
		o.kept = &snapshotFile{path: path, maxStale: cfg.keys.maxStale(), source: source}
	}
	return o, nil
}

// elapsed is the time that schedules are written in.
func (s *keyStore) elapsed(now time.Time) time.Duration { return now.Sub(s.base) }

// join adds a user of the store, unless it is closed.
func (s *keyStore) join() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.users++
	return true
}

// depart takes a user away, and closes the store after the last one.
func (s *keyStore) depart() {
	s.mu.Lock()
	s.users--
	last := s.users == 0
	s.mu.Unlock()
	if last {
		s.close()
	}
}

// acquire returns an issuer's keys for one more user: those that are in use
// under the same configuration, or else new ones, which begin with what is known
// under the same origin. Nothing is fetched before the keys are scheduled.
func (s *keyStore) acquire(cfg issuerKeysConfig) (*issuerKeys, error) {
	s.mu.Lock()
	shared, kin := s.find(cfg)
	if shared != nil {
		shared.users++
	}
	s.mu.Unlock()
	if shared != nil {
		return shared, nil
	}
	if err := errors.Join(cfg.http.check(), cfg.keys.check()); err != nil {
		return nil, err
	}
	origin, err := s.origin(cfg)
	if err != nil {
		return nil, err
	}
	k := &issuerKeys{cfg: cfg, store: s, keyOrigin: origin, restored: origin.kept == nil}
	if kin != nil {
		k.inherit(kin)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if shared, _ := s.find(cfg); shared != nil { // acquired meanwhile
		shared.users++
		return shared, nil
	}
	k.users = 1
	s.added++
	k.number = s.added
	s.issuers[cfg.issuer] = append(s.issuers[cfg.issuer], k)
	return k, nil
}

// find returns the keys of exactly this configuration, and the latest ones of
// the same origin; nil if there are none. It is called with mu held.
func (s *keyStore) find(cfg issuerKeysConfig) (same, kin *issuerKeys) {
	for _, k := range s.issuers[cfg.issuer] {
		if k.cfg.sameOrigin(cfg) {
			kin = k
			if k.cfg.same(cfg) {
				return k, k
			}
		}
	}
	return nil, kin
}

// schedule has new ones among the keys fetched and kept fresh. The first fetches
// of many are spread out.
func (s *keyStore) schedule(list []*issuerKeys) {
	now := s.clock()
	first := 0
	for _, k := range list {
		k.mu.Lock()
		if !k.scheduled {
			k.scheduled = true
			if !k.landed {
				if s.running.Load() {
					k.setDue(s.elapsed(now) + firstDelay(first))
				}
				first++
			}
			k.reschedule()
		}
		k.mu.Unlock()
	}
	s.rouse()
}

// release takes one user of each of the keys away. Those without users are gone
// from the store, and their flights have ended, when it returns.
func (s *keyStore) release(list []*issuerKeys) {
	for _, k := range s.remove(list) {
		k.flights.Wait()
	}
}

// remove is release that does not wait. It returns those that are gone.
func (s *keyStore) remove(list []*issuerKeys) (gone []*issuerKeys) {
	s.mu.Lock()
	for _, k := range list {
		k.users--
		if k.users > 0 {
			continue
		}
		s.issuers[k.cfg.issuer] = without(s.issuers[k.cfg.issuer], k)
		if len(s.issuers[k.cfg.issuer]) == 0 {
			delete(s.issuers, k.cfg.issuer)
		}
		s.timetable.remove(k)
		gone = append(gone, k)
	}
	s.mu.Unlock()
	for _, k := range gone {
		k.retire()
	}
	return gone
}

func without[T comparable](list []T, one T) []T {
	return slices.DeleteFunc(list, func(other T) bool { return other == one })
}

// admit runs a flight in a goroutine, unless the store is closed or the flight
// is a background refresh and there are enough of those.
func (s *keyStore) admit(k *issuerKeys, f *flight, fly func()) bool {
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
	s.timetable.remove(k)
	s.flights.Go(fly)
	return true
}

// vacate gives the place of a flight back and has run look again.
func (s *keyStore) vacate(f *flight) {
	if f.counted {
		s.mu.Lock()
		s.background--
		if f.retry {
			s.retries--
		}
		s.mu.Unlock()
	}
	s.rouse()
}

// rouse has run look again.
func (s *keyStore) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// inOrder returns the keys in use, those that were added first first.
func (s *keyStore) inOrder() []*issuerKeys {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*issuerKeys, 0, len(s.issuers))
	for _, keys := range s.issuers {
		list = append(list, keys...)
	}
	slices.SortFunc(list, func(a, b *issuerKeys) int { return cmp.Compare(a.number, b.number) })
	return list
}

// close ends all fetches and returns when they have ended. Keys stay usable.
func (s *keyStore) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.flights.Wait()
}

// newRoom returns room for a token's JSON, to be given back.
func (s *keyStore) newRoom() *jsonRoom {
	if room, ok := s.rooms.Get().(*jsonRoom); ok {
		return room
	}
	return newJSONRoom()
}

func (s *keyStore) giveBack(room *jsonRoom) {
	if room.empty() {
		s.rooms.Put(room)
	}
}
