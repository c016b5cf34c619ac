package oidc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// CacheConfig bounds the cache of verified tokens. Whichever bound is met first
// evicts a token that was used longest ago: of all if MaxEntries is below 1,024, or
// of about a sixteenth of them. The zero CacheConfig means no
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
	// entryOverhead is what an entry costs beside its packed token: digest, list
	// element, map slot and what is needed to believe it, rounded up.
	entryOverhead = 256
	// tokensAtHand are kept as [Token] too, as the requests want them: half a
	// kilobyte for each, as a rule, which the bounds do not count. A token of more
	// elements in its lists is not kept, so that it cannot be much more.
	tokensAtHand      = 4096
	handSetSize       = 4
	maxElementsAtHand = 64
	// Caches of a few tokens are not divided: which of them was used longest ago
	// is then exact.
	cacheShards   = 16 // a power of two
	undividedSize = 1024
)

type digest = [32]byte

// tokenCache remembers facts, never decisions: a token's verified claims, under
// the SHA-256 of the token. Junk cannot get in, since only verified tokens do.
//
// It is divided into shards by the digest, each with a lock of its own. The bounds
// are those of the whole: whoever adds a token first makes room, beginning with
// the oldest one of the token's shard.
type tokenCache struct {
	*cacheCounters
	bounds  CacheConfig
	began   time.Time    // what cacheEntry.since counts from
	entries atomic.Int64 // in all shards, and those that are about to be
	bytes   atomic.Int64 // of these
	shards  []cacheShard
}

// cacheCounters go on when a cache with other bounds takes over.
type cacheCounters struct{ hits, misses atomic.Uint64 }

// cacheShard is a part of the cache. Its lock is held for a few pointers only.
type cacheShard struct {
	mu     sync.Mutex
	lru    *simplelru.LRU[digest, cacheEntry] // guarded by mu
	atHand []handSet                          // guarded by mu
}

// handSet is where the Tokens of some entries are. A token has its place in one of
// them, by its digest, and takes it from the one that has had a place there longest.
type handSet struct {
	keys   [handSetSize]digest
	tokens [handSetSize]*Token // nil for a free place
	next   uint8               // the place to be taken next
}

// cacheEntry is a verified token. It lies in the list itself: with a hundred
// thousand of them, each object more is work for the collector.
type cacheEntry struct {
	packed packedToken
	by     *verification
	expiry int64         // exp
	at     int64         // when it was verified, in seconds since 1970
	since  time.Duration // the same, since the cache began: no clock that is set moves it
}

// size is about what e takes in memory, but for what is at hand.
func (e cacheEntry) size() int64 { return entryOverhead + int64(len(e.packed)) }

// verification is by what a token was verified. All tokens that were verified by
// the same share it. An issuer's pointer stands for its configuration: any change
// of that is another issuer.
type verification struct {
	issuer     *issuer
	keys       *issuerKeys
	generation uint64 // of keys when the token was verified
	epoch      uint64 // of the validator that verified it
}

// within returns a cache with the given bounds: c itself if it has them.
func (c *tokenCache) within(bounds CacheConfig, counters *cacheCounters, now time.Time) *tokenCache {
	if c != nil && c.bounds == bounds {
		return c
	}
	return newTokenCache(bounds, counters, now)
}

// newTokenCache returns nil, which is a cache that is off, for a zero bound.
func newTokenCache(cfg CacheConfig, counters *cacheCounters, now time.Time) *tokenCache {
	if cfg.MaxEntries < undividedSize {
		return newDividedCache(cfg, counters, now, 1)
	}
	return newDividedCache(cfg, counters, now, cacheShards)
}

// newDividedCache returns a cache of so many shards, a power of two.
func newDividedCache(cfg CacheConfig, counters *cacheCounters, now time.Time, shards int) *tokenCache {
	if cfg.MaxEntries <= 0 || cfg.MaxBytes <= 0 {
		return nil
	}
	c := &tokenCache{cacheCounters: counters, bounds: cfg, began: now, shards: make([]cacheShard, shards)}
	for i := range c.shards {
		s := &c.shards[i]
		s.atHand = make([]handSet, max(1, min(cfg.MaxEntries, tokensAtHand)/shards/handSetSize))
		// The error is for sizes that are not positive. All that leaves the shard
		// comes by the function, since room is made before an entry is added.
		s.lru, _ = simplelru.NewLRU(cfg.MaxEntries, func(key digest, e cacheEntry) { c.left(s, key, e) })
	}
	return c
}

func (c *tokenCache) shard(key digest) int { return int(key[0]) & (len(c.shards) - 1) }

// get returns a token that v may still believe at now: not expired, not older than
// five minutes, verified under the configuration that its issuer has in v and with
// the keys that it has today.
func (c *tokenCache) get(key digest, now time.Time, v *Validator) (*Token, *issuer) {
	if c == nil {
		return nil, nil
	}
	s := &c.shards[c.shard(key)]
	s.mu.Lock()
	e, found := s.lru.Get(key)
	var token *Token
	if found {
		token = s.hand(key)
	}
	s.mu.Unlock()
	if !found || e.by.epoch != v.epoch && !v.has(e.by.issuer) || !e.believable(now, now.Sub(c.began)) {
		c.misses.Add(1)
		return nil, nil
	}
	c.hits.Add(1)
	if token == nil {
		token = s.take(key, &e)
	}
	return token, e.by.issuer
}

// believable reports whether e holds at now, which is so long after the cache began.
func (e *cacheEntry) believable(now time.Time, since time.Duration) bool {
	if !now.Before(time.Unix(e.expiry, 0)) || since-e.since >= maxCacheLife {
		return false
	}
	// A clock that was set back makes nbf and iat questions again.
	if now.Unix() < e.at {
		return false
	}
	generation, usable := e.by.keys.current(now)
	return usable && generation == e.by.generation
}

// setOf returns where the token of that digest may be.
func (s *cacheShard) setOf(key digest) *handSet {
	return &s.atHand[(int(key[1])|int(key[2])<<8)%len(s.atHand)]
}

// hand returns a token that is at hand, nil if it is not. It is called with mu held.
func (s *cacheShard) hand(key digest) *Token {
	set := s.setOf(key)
	for i := range set.keys {
		if set.tokens[i] != nil && set.keys[i] == key {
			return set.tokens[i]
		}
	}
	return nil
}

// take unpacks the token of an entry and has it at hand from now on, if the entry is
// still there.
func (s *cacheShard) take(key digest, e *cacheEntry) *Token {
	token := e.packed.unpack(e.by.issuer, e.expiry)
	if e.packed.elements() > maxElementsAtHand {
		return token
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, found := s.lru.Peek(key)
	if !found || now.by != e.by || now.since != e.since { // gone, or verified anew
		return token
	}
	if own := s.hand(key); own != nil { // meanwhile
		return own
	}
	set := s.setOf(key)
	set.keys[set.next], set.tokens[set.next] = key, token
	set.next = (set.next + 1) % handSetSize
	return token
}

// left is told of each entry that leaves a shard, with its lock held.
func (c *tokenCache) left(s *cacheShard, key digest, e cacheEntry) {
	c.entries.Add(-1)
	c.bytes.Add(-e.size())
	set := s.setOf(key)
	for i := range set.keys {
		if set.keys[i] == key {
			set.tokens[i] = nil
		}
	}
}

// put adds a token that was verified at a time.
func (c *tokenCache) put(key digest, t *Token, by *verification, at time.Time) {
	if c == nil {
		return
	}
	packed, ok := t.pack(by.issuer)
	e := cacheEntry{packed: packed, by: by, expiry: t.Expiry.Unix(), at: at.Unix(), since: at.Sub(c.began)}
	if !ok || e.size() > c.bounds.MaxBytes {
		return
	}
	first := c.shard(key)
	s := &c.shards[first]
	s.remove(key)
	for !c.reserve(e.size()) {
		if !c.evictFrom(first) { // all the room is taken by tokens that are just being added
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Remove(key) // added meanwhile: to replace it would not call left
	s.lru.Add(key, e)
}

func (s *cacheShard) remove(key digest) {
	s.mu.Lock()
	s.lru.Remove(key)
	s.mu.Unlock()
}

// reserve takes room for an entry, if there is some.
func (c *tokenCache) reserve(size int64) bool {
	if !addWithin(&c.entries, 1, int64(c.bounds.MaxEntries)) {
		return false
	}
	if !addWithin(&c.bytes, size, c.bounds.MaxBytes) {
		c.entries.Add(-1)
		return false
	}
	return true
}

// addWithin adds n unless the sum would be over most.
func addWithin(sum *atomic.Int64, n, most int64) bool {
	for {
		old := sum.Load()
		if old+n > most {
			return false
		}
		if sum.CompareAndSwap(old, old+n) {
			return true
		}
	}
}

// evictFrom takes the oldest entry out of a shard, or out of one after it if that
// is empty. It reports whether there was any.
func (c *tokenCache) evictFrom(first int) bool {
	for i := range c.shards {
		s := &c.shards[(first+i)&(len(c.shards)-1)]
		s.mu.Lock()
		_, _, found := s.lru.RemoveOldest()
		s.mu.Unlock()
		if found {
			return true
		}
	}
	return false
}

func (c *tokenCache) stats() CacheStats {
	if c == nil {
		return CacheStats{}
	}
	return CacheStats{c.hits.Load(), c.misses.Load(), int(c.entries.Load()), c.bytes.Load()}
}
