package oidc

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Limits for the tenants of one templated issuer. Whoever can write a token can
// name a tenant, so these bound what names alone can do.
const (
	maxTenantTrials  = 16   // first fetches at once
	tenantTrialBurst = 50   // first fetches in a row, of tenants that are not listed one by one
	tenantTrialRate  = 10.0 // and a second, after that
	maxUnprovenKeys  = 64   // tenants whose keys came and who never had a valid token
	maxTenantMemory  = 1024 // failures that are remembered
	firstTenantPause = 5 * time.Second
	maxTenantPause   = time.Minute
)

// The obstacles to a tenant's first fetch.
var (
	errTenantTrials = errors.New("too many tenants' keys are being fetched for the first time")
	errTenantRate   = errors.New("too many tenants were new in the last seconds")
)

// tenantKeys is the keys of the tenants of one templated issuer: what the key
// store is for configured issuers, for issuers that are found in tokens. Tenants
// that the configuration does not accept never get here.
//
// A tenant is first on trial, while its keys are fetched for the first time. If
// that fails a short memory is all that stays, so that it is not tried again at
// once. With keys it is unproven: names that only look like tenants can get here,
// if the provider answers for any name, and they drive out each other. A token
// that was verified proves it. Proven tenants are kept fresh, and only another
// one that is proven takes the place of the one whose proof is the oldest.
type tenantKeys struct {
	store *keyStore
	cfg   issuerKeysConfig // with templates for URLs
	users int              // guarded by keyStore.mu

	mu       sync.Mutex // guards what follows; taken before the locks of keys and store
	retired  bool
	max      int  // of proven
	listed   bool // no name can be made up, so the rate of first fetches is not bounded
	trials   map[string]*issuerKeys
	unproven *simplelru.LRU[string, *issuerKeys]
	proven   *simplelru.LRU[string, *issuerKeys]
	failures *simplelru.LRU[string, tenantFailure]
	gate     tokenBucket
	lost     IssuerStatus // counters of tenants that are no longer here
}

// tenantFailure is the memory of a tenant whose first fetch failed.
type tenantFailure struct {
	err   error
	count int
	until time.Time
}

func newTenantKeys(s *keyStore, cfg issuerKeysConfig, most int, listed bool) *tenantKeys {
	t := &tenantKeys{store: s, cfg: cfg, users: 1, max: most, listed: listed, trials: map[string]*issuerKeys{}, gate: tokenBucket{level: tenantTrialBurst, at: s.clock()}}
	// The errors are for sizes that are not positive.
	t.unproven, _ = simplelru.NewLRU[string, *issuerKeys](maxUnprovenKeys, nil)
	t.proven, _ = simplelru.NewLRU[string, *issuerKeys](most, nil)
	t.failures, _ = simplelru.NewLRU[string, tenantFailure](maxTenantMemory, nil)
	return t
}

// of returns the keys of a tenant, or the obstacle to a first fetch of them. It
// starts no fetch: the request that is first to need the keys does, as with any
// issuer, and waits for it.
func (t *tenantKeys) of(tenant string, now time.Time) (*issuerKeys, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.proven.Peek(tenant); ok { // only a proof makes it younger
		return k, nil
	}
	if k, ok := t.unproven.Peek(tenant); ok {
		return k, nil
	}
	if k := t.trials[tenant]; k != nil {
		return k, nil
	}
	failure, failed := t.failures.Peek(tenant)
	switch {
	case t.retired:
		return nil, errRetired
	case failed && now.Before(failure.until):
		return nil, failure.err
	case len(t.trials) >= maxTenantTrials:
		return nil, errTenantTrials
	case !t.listed && !t.gate.take(now):
		return nil, errTenantRate
	}
	k, err := t.store.acquire(t.cfg.forTenant(tenant))
	if err != nil {
		return nil, err
	}
	if !k.putOnTrial(func(err error) { t.tried(tenant, k, err) }) { // fetched under another configuration
		t.drop(evictOldest(t.unproven, maxUnprovenKeys))
		t.unproven.Add(tenant, k)
		return k, nil
	}
	t.trials[tenant] = k
	return k, nil
}

// tried takes over the result of a first fetch; errGivenUp says nothing of the
// tenant.
func (t *tenantKeys) tried(tenant string, k *issuerKeys, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trials[tenant] != k {
		return
	}
	delete(t.trials, tenant)
	if err == nil {
		t.drop(evictOldest(t.unproven, maxUnprovenKeys))
		t.unproven.Add(tenant, k)
		return
	}
	if !errors.Is(err, errGivenUp) {
		failure, _ := t.failures.Peek(tenant)
		failure.count++
		failure.err = err
		failure.until = t.store.clock().Add(tenantPause(failure.count))
		t.failures.Add(tenant, failure)
	}
	t.drop(k)
}

// tenantPause returns how long a tenant is not tried again after a number of
// failures in a row: 5 s, 10 s and so on to a minute.
func tenantPause(failures int) time.Duration {
	if failures > 4 {
		return maxTenantPause
	}
	return min(maxTenantPause, firstTenantPause<<(failures-1))
}

// proved notes that a token of the tenant was verified with its keys.
func (t *tenantKeys) proved(tenant string, k *issuerKeys) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.proven.Get(tenant); ok { // and is the youngest now
		return
	}
	if own, ok := t.unproven.Peek(tenant); !ok || own != k {
		return // driven out meanwhile
	}
	t.unproven.Remove(tenant)
	t.failures.Remove(tenant)
	t.keep(tenant, k)
}

// keep makes a tenant a proven one, with mu held.
func (t *tenantKeys) keep(tenant string, k *issuerKeys) {
	t.drop(evictOldest(t.proven, t.max))
	t.proven.Add(tenant, k)
	t.store.schedule([]*issuerKeys{k})
}

// evictOldest makes room for one more, and returns what had to go, nil for
// nothing.
func evictOldest(lru *simplelru.LRU[string, *issuerKeys], room int) *issuerKeys {
	if lru.Len() < room {
		return nil
	}
	_, k, _ := lru.RemoveOldest()
	return k
}

// drop gives keys up, with mu held; nil for none. Their flight is told to end,
// and the store waits for it when it closes.
func (t *tenantKeys) drop(k *issuerKeys) {
	if k == nil {
		return
	}
	s := k.status()
	t.lost.UnknownKeyFetched += s.UnknownKeyFetched
	t.lost.UnknownKeySuppressed += s.UnknownKeySuppressed
	t.store.remove([]*issuerKeys{k})
}

// setMax changes how many tenants are kept, and whether they are listed.
func (t *tenantKeys) setMax(most int, listed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.proven.Len() > most {
		_, k, _ := t.proven.RemoveOldest()
		t.drop(k)
	}
	t.max, t.listed = most, listed
	t.proven.Resize(most)
}

// inherit takes over the proven tenants of another configuration of the same
// origin, before t is used.
func (t *tenantKeys) inherit(from *tenantKeys) {
	from.mu.Lock()
	names := from.proven.Keys()
	from.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tenant := range names {
		if k, err := t.store.acquire(t.cfg.forTenant(tenant)); err == nil {
			t.keep(tenant, k)
		}
	}
}

// retire gives all keys up and returns when their flights have ended. Tokens can
// still be verified with the keys at hand.
func (t *tenantKeys) retire() {
	t.mu.Lock()
	t.retired = true
	list := slices.Concat(t.proven.Values(), t.unproven.Values(), slices.Collect(maps.Values(t.trials)))
	t.mu.Unlock()
	t.store.release(list)
}

// status sums the proven tenants up. Their names go into no label: there can be
// many. The others are left out, since clients can make them up, but for what
// they cost.
func (t *tenantKeys) status() IssuerStatus {
	t.mu.Lock()
	list, others := t.proven.Values(), t.unproven.Values()
	sum := t.lost
	t.mu.Unlock()
	for _, k := range others {
		s := k.status()
		sum.UnknownKeyFetched += s.UnknownKeyFetched
		sum.UnknownKeySuppressed += s.UnknownKeySuppressed
	}
	sum.Issuer, sum.Name = t.cfg.issuer, t.cfg.name
	sum.FirstFetchEnded = true // nothing is fetched before a token comes
	sum.Tenants = len(list)
	usable := 0
	for _, k := range list {
		s := k.status()
		if s.Usable {
			usable++
		}
		if !s.Usable || s.Stale {
			sum.TenantsInTrouble++
			sum.LastError = cmp.Or(s.LastError, sum.LastError)
		}
		sum.Stale = sum.Stale || s.Stale
		sum.UsableKeys += s.UsableKeys
		sum.SkippedKeys = append(sum.SkippedKeys, s.SkippedKeys[:min(len(s.SkippedKeys), max(0, maxKeys-len(sum.SkippedKeys)))]...)
		sum.UnknownKeyFetched += s.UnknownKeyFetched
		sum.UnknownKeySuppressed += s.UnknownKeySuppressed
		for _, field := range []struct {
			of     time.Time
			latest *time.Time
		}{{s.LastSuccess, &sum.LastSuccess}, {s.LastAttempt, &sum.LastAttempt}} {
			if field.of.After(*field.latest) {
				*field.latest = field.of
			}
		}
	}
	sum.Usable = usable > 0 || len(list) == 0
	return sum
}

// tokenBucket is a rate gate. It is guarded by tenantKeys.mu.
type tokenBucket struct {
	level float64
	at    time.Time
}

func (b *tokenBucket) take(now time.Time) bool {
	if passed := now.Sub(b.at); passed > 0 {
		b.level = min(tenantTrialBurst, b.level+passed.Seconds()*tenantTrialRate)
	}
	b.at = now // also if the clock was set back
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// forTenant is the configuration of one tenant's keys.
func (c issuerKeysConfig) forTenant(tenant string) issuerKeysConfig {
	for _, field := range []*string{&c.issuer, &c.discoveryURL, &c.jwksURL} {
		if t, found, err := ParseTenantTemplate(*field); found && err == nil {
			*field = t.Fill(tenant)
		}
	}
	c.tenant = tenant
	return c
}

// acquireTenants is acquire for the keys of an issuer's tenants.
func (s *keyStore) acquireTenants(cfg issuerKeysConfig, most int, listed bool) (*tenantKeys, error) {
	s.mu.Lock()
	var kin *tenantKeys
	for _, t := range s.tenants[cfg.issuer] {
		if !t.cfg.sameOrigin(cfg) {
			continue
		}
		kin = t
		if t.cfg.same(cfg) {
			t.users++
			s.mu.Unlock()
			t.setMax(most, listed)
			return t, nil
		}
	}
	s.mu.Unlock()
	sample := cfg.forTenant("x") // if one can be fetched from, all can
	if err := errors.Join(sample.http.check(), sample.keys.check()); err != nil {
		return nil, err
	}
	if _, err := s.origin(sample); err != nil {
		return nil, err
	}
	t := newTenantKeys(s, cfg, most, listed)
	if kin != nil {
		t.inherit(kin)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tenants[cfg.issuer] = append(s.tenants[cfg.issuer], t)
	return t, nil
}

// releaseTenants takes one user away, as release does.
func (s *keyStore) releaseTenants(t *tenantKeys) {
	s.mu.Lock()
	t.users--
	last := t.users == 0
	if last {
		s.tenants[t.cfg.issuer] = without(s.tenants[t.cfg.issuer], t)
		if len(s.tenants[t.cfg.issuer]) == 0 {
			delete(s.tenants, t.cfg.issuer)
		}
	}
	s.mu.Unlock()
	if last {
		t.retire()
	}
}

// verify is issuerKeys.verify for a tenant, whose keys may have to be fetched for
// the first time. It returns the keys too.
func (t *tenantKeys) verify(ctx context.Context, tenant string, hint keyHint, try func(crypto.PublicKey) bool, explain func(string)) (*issuerKeys, uint64, Reason, error) {
	k, err := t.of(tenant, t.store.clock())
	if err != nil {
		if explain != nil {
			explain("the tenant's keys are not fetched now: " + errorText(err))
		}
		return nil, 0, KeysUnavailable, fmt.Errorf("%w: %w", errNoKeys, err)
	}
	generation, reason, err := k.verify(ctx, hint, try, explain)
	if reason == "" {
		t.proved(tenant, k)
	}
	return k, generation, reason, err
}
