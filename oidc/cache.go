package oidc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// CacheConfig bounds the cache of verified tokens. Whichever bound is met first
// evicts the token that was used longest ago. The zero CacheConfig means no
// cache: each token is then verified each time. The cache never decides: a
// cached token is held to its expiry, to the keys that its issuer has now and to
// the Requirement as another is, and is verified anew after five minutes.
type CacheConfig struct {
	MaxEntries int   // 0 turns the cache off
	MaxBytes   int64 // 0 turns the cache off
}

// CacheStats is what the cache of verified tokens did since it was made, and
// what it holds. All of it is zero while the cache is off.
type CacheStats struct {
	Hits    uint64 // validations that a cached token answered
	Misses  uint64 // those that it did not, junk among them
	Entries int    // tokens held now
	Bytes   int64  // about what the entries take in memory
}

const (
	maxCacheLife = 5 * time.Minute
	// entryOverhead is what an entry costs beside its claims: digest, list
	// element, map slot and the Token itself, rounded up.
	entryOverhead = 512
	// elementOverhead is what an element of a list costs: its string header, and
	// a little for text that had escapes and so is not the claims' own.
	elementOverhead = 24
)

// size is about what t takes in memory. Most texts in it are parts of the claims.
func (t *Token) size() int64 {
	elements := cap(t.Scopes) + cap(t.Roles) + cap(t.Audience)
	return entryOverhead + int64(len(t.Type)+len(t.Claims.object.raw)+elementOverhead*elements)
}

type digest = [32]byte

// tokenCache remembers facts, never decisions: a token's verified claims, under
// the SHA-256 of the token. Junk cannot get in, since only verified tokens do.
type tokenCache struct {
	*cacheCounters
	bounds CacheConfig

	mu    sync.Mutex
	lru   *simplelru.LRU[digest, *cacheEntry] // guarded by mu
	bytes int64                               // guarded by mu
}

// cacheCounters go on when a cache with other bounds takes over.
type cacheCounters struct{ hits, misses atomic.Uint64 }

// cacheEntry is a verified token. An issuer's pointer stands for its
// configuration: any change of that is another issuer.
type cacheEntry struct {
	token      *Token
	issuer     *issuer
	keys       *issuerKeys
	generation uint64 // of keys when the token was verified
	epoch      uint64 // of the validator that verified it
	verifiedAt time.Time
	size       int64
}

// within returns a cache with the given bounds: c itself if it has them.
func (c *tokenCache) within(bounds CacheConfig, counters *cacheCounters) *tokenCache {
	if c != nil && c.bounds == bounds {
		return c
	}
	return newTokenCache(bounds, counters)
}

// newTokenCache returns nil, which is a cache that is off, for a zero bound.
func newTokenCache(cfg CacheConfig, counters *cacheCounters) *tokenCache {
	if cfg.MaxEntries <= 0 || cfg.MaxBytes <= 0 {
		return nil
	}
	c := &tokenCache{cacheCounters: counters, bounds: cfg}
	// The error is for sizes that are not positive.
	c.lru, _ = simplelru.NewLRU(cfg.MaxEntries, func(_ digest, e *cacheEntry) { c.bytes -= e.size })
	return c
}

// get returns the entry for a token that v may still believe at now: not
// expired, not older than five minutes, verified under the configuration that
// its issuer has in v and with the keys that it has today.
func (c *tokenCache) get(key digest, now time.Time, v *Validator) (*cacheEntry, bool) {
	if c == nil {
		return nil, false
	}
	c.mu.Lock()
	e, found := c.lru.Get(key)
	c.mu.Unlock()
	if found && (e.epoch == v.epoch || v.has(e.issuer)) && e.believable(now) {
		c.hits.Add(1)
		return e, true
	}
	c.misses.Add(1)
	return nil, false
}

func (e *cacheEntry) believable(now time.Time) bool {
	if !now.Before(e.token.Expiry) || now.Sub(e.verifiedAt) >= maxCacheLife {
		return false
	}
	// A clock that was set back makes nbf and iat questions again.
	if now.Unix() < e.verifiedAt.Unix() {
		return false
	}
	generation, usable := e.keys.current()
	return usable && generation == e.generation
}

func (c *tokenCache) put(key digest, e *cacheEntry) {
	if c == nil {
		return
	}
	e.size = e.token.size()
	if e.size > c.bounds.MaxBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.lru.Peek(key); ok { // Add replaces without calling the eviction callback
		c.bytes -= old.size
	}
	c.lru.Add(key, e)
	c.bytes += e.size
	for c.bytes > c.bounds.MaxBytes {
		c.lru.RemoveOldest()
	}
}

func (c *tokenCache) stats() CacheStats {
	if c == nil {
		return CacheStats{}
	}
	c.mu.Lock()
	entries, bytes := c.lru.Len(), c.bytes
	c.mu.Unlock()
	return CacheStats{c.hits.Load(), c.misses.Load(), entries, bytes}
}
