package oidc

import (
	"strings"
	"testing"
	"time"
)

// tokenOf makes a token whose claims are so many bytes of JSON.
func tokenOf(t *testing.T, claims int) *Token {
	t.Helper()
	const frame = `{"x":""}`
	c, err := parseClaims(`{"x":"` + strings.Repeat("x", claims-len(frame)) + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	return &Token{Claims: c}
}

func TestSizeOfAToken(t *testing.T) {
	empty := (&Token{}).size()
	if empty != 512 {
		t.Errorf("an entry without claims counts %d bytes, want 512", empty)
	}
	const element = 24
	for what, tt := range map[string]struct {
		token *Token
		want  int64
	}{
		"claims":    {tokenOf(t, 100), 100},
		"type":      {&Token{Type: "at+jwt"}, 6},
		"scopes":    {&Token{Scopes: make([]string, 3)}, 3 * element},
		"roles":     {&Token{Roles: make([]string, 2, 5)}, 5 * element},
		"audiences": {&Token{Audience: make([]string, 1)}, element},
		"all": {
			&Token{Type: "JWT", Scopes: make([]string, 1), Roles: make([]string, 2), Audience: make([]string, 3), Claims: tokenOf(t, 50).Claims},
			3 + 50 + 6*element,
		},
	} {
		if got := tt.token.size() - empty; got != tt.want {
			t.Errorf("%s: %d bytes, want %d", what, got, tt.want)
		}
	}
}

// fill puts tokens of a size into a cache.
func fill(t *testing.T, c *tokenCache, sizes ...int) {
	t.Helper()
	for i, size := range sizes {
		c.put(digest{byte(i + 1)}, &cacheEntry{token: tokenOf(t, size-512), verifiedAt: time.Unix(0, 0)})
	}
}

func TestCacheBoundsAreExact(t *testing.T) {
	for _, tt := range []struct {
		name    string
		bounds  CacheConfig
		sizes   []int
		entries int
		bytes   int64
	}{
		{"one entry", CacheConfig{1, 1 << 20}, []int{600}, 1, 600},
		{"one of two entries", CacheConfig{1, 1 << 20}, []int{600, 700}, 1, 700},
		{"exactly the bytes", CacheConfig{10, 1300}, []int{600, 700}, 2, 1300},
		{"a byte too many", CacheConfig{10, 1299}, []int{600, 700}, 1, 700},
		{"one as large as the cache", CacheConfig{10, 600}, []int{600}, 1, 600},
		{"one larger than the cache evicts nothing", CacheConfig{10, 1000}, []int{600, 1001}, 1, 600},
		{"a cache of one byte", CacheConfig{10, 1}, []int{600}, 0, 0},
	} {
		c := newTokenCache(tt.bounds, &cacheCounters{})
		fill(t, c, tt.sizes...)
		if s := c.stats(); s.Entries != tt.entries || s.Bytes != tt.bytes {
			t.Errorf("%s: %d entries of %d bytes, want %d of %d", tt.name, s.Entries, s.Bytes, tt.entries, tt.bytes)
		}
		fill(t, c, tt.sizes...) // again: what is replaced does not count twice
		if s := c.stats(); s.Entries != tt.entries || s.Bytes != tt.bytes {
			t.Errorf("%s, twice: %d entries of %d bytes, want %d of %d", tt.name, s.Entries, s.Bytes, tt.entries, tt.bytes)
		}
	}
	if c := newTokenCache(CacheConfig{MaxEntries: 1, MaxBytes: 1}, &cacheCounters{}); c == nil {
		t.Error("a cache of one entry and one byte is off: it would count no misses")
	}
}
