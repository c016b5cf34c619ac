package oidc

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tokenOf makes a token whose claims are so many bytes of JSON.
func tokenOf(t testing.TB, claims int) *Token {
	t.Helper()
	const frame = `{"x":""}`
	c, err := parseClaims(`{"x":"` + strings.Repeat("x", claims-len(frame)) + `"}`)
	if err != nil {
		t.Fatal(err)
	}
	return &Token{Claims: c, Expiry: time.Unix(2_000_000_000, 0)}
}

// verifiedBy is by what the tokens of these tests were verified.
func verifiedBy(issuer string) *verification { return &verification{issuer: newTestIssuer(issuer)} }

func newTestIssuer(id string) *issuer { return &issuer{id: id, name: "test"} }

// usualToken is as large as many are: 419 bytes of claims.
func usualToken(t testing.TB, i int) *Token {
	t.Helper()
	c, err := parseClaims(fmt.Sprintf(`{"iss":"https://id.example.com/realms/shop","sub":"%08d-6f1c-4f5e-9a55-0242ac120002","aud":"api","exp":2000000000,"iat":1999999000,"jti":"%032d",`+
		`"azp":"web","scope":"orders.read orders.write","roles":["customer","reviewer"],"email":"user-%08d@example.com","name":"User Number %08d","x":"%s"}`,
		i, i, i, i, strings.Repeat("x", 90)))
	if err != nil {
		t.Fatal(err)
	}
	rules, _ := PresetGeneric.Rules()
	tok := &Token{Issuer: "https://id.example.com/realms/shop", IssuerName: "test", Claims: c}
	if _, refused := (&issuer{mappings: rules.Mappings}).readClaims(c, tok); refused != nil {
		t.Fatal(refused)
	}
	return tok
}

func sameToken(a, b *Token) bool {
	return a.Issuer == b.Issuer && a.IssuerName == b.IssuerName && a.Subject == b.Subject && a.ClientID == b.ClientID &&
		a.Tenant == b.Tenant && a.ID == b.ID && a.Type == b.Type && a.Expiry.Equal(b.Expiry) &&
		a.IssuedAt.IsZero() == b.IssuedAt.IsZero() && a.IssuedAt.Equal(b.IssuedAt) && a.bound == b.bound &&
		sameList(a.Scopes, b.Scopes) && sameList(a.Roles, b.Roles) && sameList(a.Audience, b.Audience) &&
		a.Claims.object == b.Claims.object && a.Claims.index == nil && b.Claims.index == nil
}

// sameList tells nil and an empty list apart, as programs may.
func sameList(a, b []string) bool { return slices.Equal(a, b) && (a == nil) == (b == nil) }

func TestAPackedTokenIsTheSame(t *testing.T) {
	claims := func(text string) Claims {
		c, err := parseClaims(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	exp := time.Unix(2_000_000_000, 0)
	long := strings.Repeat("n", 60_000)
	for name, tok := range map[string]*Token{
		"nothing":              {Expiry: exp},
		"a usual one":          usualToken(t, 1),
		"bound":                {Expiry: exp, bound: true},
		"issued in 1970":       {Expiry: exp, IssuedAt: time.Unix(0, 0)},
		"of the last second":   {Expiry: time.Unix(endOfTime-1, 0), IssuedAt: time.Unix(endOfTime-1, 0)},
		"of a tenant":          {Expiry: exp, Issuer: "https://id.example.com/t1", Tenant: "t1"},
		"texts that are apart": {Expiry: exp, Claims: claims(`{"sub":"a\u0062c"}`), Subject: "abc", ClientID: "c", ID: "i", Type: "at+jwt"},
		"the same text twice":  {Expiry: exp, Claims: claims(`{"sub":"abc"}`), Subject: strings.Clone("abc"), ClientID: strings.Clone("abc")},
		"lists":                {Expiry: exp, Scopes: []string{"a", ""}, Roles: []string{"", "b", "c"}, Audience: []string{"d"}},
		"one list":             {Expiry: exp, Roles: []string{"b"}},
		"many elements":        {Expiry: exp, Scopes: make([]string, 5000)},
		"a long text":          {Expiry: exp, Subject: long, ClientID: "after it"},
		"the longest text":     {Expiry: exp, Subject: strings.Repeat("x", 1<<16-1)},
		"all the text that there can be": {
			Expiry: exp, Subject: strings.Repeat("x", 1<<16-1-len(long)), Type: long,
		},
	} {
		of := newTestIssuer("https://id.example.com/realms/shop")
		if tok.Issuer == "" {
			tok.Issuer = of.id
		}
		tok.IssuerName = of.name
		packed, ok := tok.pack(of)
		if !ok {
			t.Errorf("%s: too large", name)
			continue
		}
		if got := packed.unpack(of, tok.Expiry.Unix()); !sameToken(got, tok) {
			t.Errorf("%s: %+v, want %+v", name, got, tok)
		}
	}
	for name, tok := range map[string]*Token{
		"a text":          {Subject: strings.Repeat("x", 1<<16)},
		"texts":           {Subject: long, ClientID: long, ID: "x"},
		"many elements":   {Roles: make([]string, 1<<16)},
		"too many claims": tokenOf(t, 1<<16),
	} {
		if _, ok := tok.pack(newTestIssuer("")); ok {
			t.Errorf("%s over the limit: packed", name)
		}
	}
}

// Only what lies in the claims from end to end is found there.
func TestATextThatEndsBehindTheClaimsIsApart(t *testing.T) {
	whole := strings.Clone("0123456789")
	for _, tt := range []struct {
		text string
		at   int
		ok   bool
	}{
		{whole[2:5], 0, true}, {whole[3:4], 1, true}, {whole[2:8], 0, true}, {whole[5:8], 3, true}, {whole[7:8], 5, true},
		{whole[5:9], 0, false}, {whole[1:3], 0, false}, {whole[0:2], 0, false}, {whole[8:10], 0, false}, {whole, 0, false}, {"234", 0, false},
	} {
		if at, ok := within(whole[2:8], tt.text); at != tt.at || ok != tt.ok {
			t.Errorf("%q: %d, %t", tt.text, at, ok)
		}
	}
}

// Nothing that is in a request's token can be too large to be packed, and what is
// packed takes little more than the claims.
func TestPackedTokensAreSmall(t *testing.T) {
	tok := usualToken(t, 1)
	packed, _ := tok.pack(newTestIssuer(tok.Issuer))
	if more := len(packed) - len(tok.Claims.object.raw); more > 64 {
		t.Errorf("%d bytes besides %d of claims", more, len(tok.Claims.object.raw))
	}
	apart := *tok
	apart.Subject = strings.Clone(tok.Subject)
	if other, _ := apart.pack(newTestIssuer(tok.Issuer)); len(other) != len(packed)+len(tok.Subject) {
		t.Errorf("%d bytes with a text that is apart, %d without", len(other), len(packed))
	}
}

func FuzzPackedToken(f *testing.F) {
	f.Add(`{"iss":"a","sub":"b","exp":1700000000,"aud":["c","d"],"scope":"x y","roles":["r"]}`, "at+jwt", "a", "")
	f.Add(`{"exp":1,"sub":"\u0061","cnf":{},"scope":" ","iat":0}`, "", "b", "t")
	rules, _ := PresetGeneric.Rules()
	f.Fuzz(func(t *testing.T, text, typ, id, tenant string) {
		claims, err := parseClaims(text)
		if err != nil {
			return
		}
		iss := &issuer{id: "a", name: "test", mappings: rules.Mappings}
		tok := &Token{Issuer: id, IssuerName: iss.name, Type: typ, Claims: claims}
		if _, refused := iss.readClaims(claims, tok); refused != nil {
			return
		}
		if tenant != "" {
			tok.Tenant = tenant
		}
		packed, ok := tok.pack(iss)
		if !ok {
			if len(text)+len(typ)+len(id)+len(tenant) < MaxTokenSize {
				t.Fatal("too large")
			}
			return
		}
		if got := packed.unpack(iss, tok.Expiry.Unix()); !sameToken(got, tok) {
			t.Fatalf("%+v, want %+v", got, tok)
		}
	})
}

func TestSizeOfAnEntry(t *testing.T) {
	size := func(tok *Token) int64 {
		packed, _ := tok.pack(newTestIssuer(""))
		return cacheEntry{packed: packed}.size()
	}
	empty := size(&Token{})
	if want := int64(256 + 17 + 6*4); empty != want {
		t.Errorf("an entry without claims counts %d bytes, want %d", empty, want)
	}
	for what, tt := range map[string]struct {
		token *Token
		want  int64
	}{
		"claims":    {tokenOf(t, 100), 100},
		"type":      {&Token{Type: "at+jwt"}, 6},
		"scopes":    {&Token{Scopes: make([]string, 3)}, 3 * 4},
		"audiences": {&Token{Audience: []string{"abc"}}, 4 + 3},
	} {
		if got := size(tt.token) - empty; got != tt.want {
			t.Errorf("%s: %d bytes, want %d", what, got, tt.want)
		}
	}
}

// sizeOfEmpty is what an entry without claims counts.
const sizeOfEmpty = entryOverhead + packedParts + 4*packedTexts

func newEpoch() time.Time { return time.Unix(1_900_000_000, 0) }

// inShard makes a digest that falls into a shard.
func inShard(shard byte, i int) (d digest) {
	d[0] = shard
	binary.BigEndian.PutUint64(d[1:], uint64(i)) //nolint:gosec // not negative
	return d
}

// fill puts tokens of a size into a cache.
func fill(t *testing.T, c *tokenCache, sizes ...int) {
	t.Helper()
	for i, size := range sizes {
		c.put(inShard(0, i), tokenOf(t, size-sizeOfEmpty), verifiedBy(""), newEpoch())
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
		c := newTokenCache(tt.bounds, &cacheCounters{}, newEpoch())
		for _, when := range []string{"once", "twice"} { // what is replaced does not count twice
			fill(t, c, tt.sizes...)
			if s := c.stats(); s.Entries != tt.entries || s.Bytes != tt.bytes {
				t.Errorf("%s, %s: %d entries of %d bytes, want %d of %d", tt.name, when, s.Entries, s.Bytes, tt.entries, tt.bytes)
			}
			if err := c.check(); err != nil {
				t.Errorf("%s, %s: %v", tt.name, when, err)
			}
		}
	}
	if c := newTokenCache(CacheConfig{MaxEntries: 1, MaxBytes: 1}, &cacheCounters{}, newEpoch()); c == nil {
		t.Error("a cache of one entry and one byte is off: it would count no misses")
	}
	for entries, want := range map[int]struct{ shards, sets int }{1: {1, 1}, 10: {1, 2}, 1023: {1, 255}, 1024: {16, 16}, 100_000: {16, 64}} {
		c := newTokenCache(CacheConfig{entries, 1}, &cacheCounters{}, newEpoch())
		if sets := len(c.shards[0].atHand); len(c.shards) != want.shards || sets != want.sets {
			t.Errorf("a cache of %d entries has %d shards with %d sets each, want %+v", entries, len(c.shards), sets, want)
		}
	}
}

func TestWhatIsPutInAgainTakesNoOthersPlace(t *testing.T) {
	c := newDividedCache(CacheConfig{MaxEntries: 2, MaxBytes: 1 << 20}, &cacheCounters{}, newEpoch(), 1)
	fill(t, c, 600, 600)
	c.put(inShard(0, 1), tokenOf(t, 100), verifiedBy(""), newEpoch())
	if !c.shards[0].lru.Contains(inShard(0, 0)) || c.stats().Entries != 2 {
		t.Errorf("%+v, and the other one had to go", c.stats())
	}
}

func TestTokensThatCannotBePackedAreNotCached(t *testing.T) {
	c := newTokenCache(CacheConfig{MaxEntries: 2, MaxBytes: 1 << 30}, &cacheCounters{}, newEpoch())
	c.put(inShard(0, 0), &Token{Roles: make([]string, 1<<16)}, verifiedBy(""), newEpoch())
	if s := c.stats(); s != (CacheStats{}) {
		t.Errorf("%+v", s)
	}
}

// All the room may be taken by tokens that other requests are just adding.
func TestWithoutRoomNothingIsCached(t *testing.T) {
	c := newDividedCache(CacheConfig{MaxEntries: 1, MaxBytes: 1 << 20}, &cacheCounters{}, newEpoch(), 2)
	if !c.reserve(600) {
		t.Fatal("no room in an empty cache")
	}
	fill(t, c, 600)
	if s := c.stats(); c.shards[0].lru.Len() != 0 || s.Entries != 1 || s.Bytes != 600 {
		t.Errorf("%+v: something was put in where there was no room", s)
	}
}

// A token is believed for five minutes after it was verified, however long the cache
// was there before.
func TestTheLifeOfAnEntryIsItsOwn(t *testing.T) {
	store := newKeyStore(keyStoreConfig{clock: newEpoch})
	defer store.close()
	keys := &issuerKeys{store: store}
	keys.snap.Store(&keySnapshot{generation: 1, fetchedAt: newEpoch()})
	v := &Validator{epoch: 1}
	c := newTokenCache(CacheConfig{MaxEntries: 2, MaxBytes: 1 << 20}, &cacheCounters{}, newEpoch())
	verified := newEpoch().Add(4 * time.Minute)
	c.put(inShard(0, 0), tokenOf(t, 10), &verification{newTestIssuer(""), keys, 1, 1}, verified)
	for after, want := range map[time.Duration]bool{0: true, 2 * time.Minute: true, maxCacheLife - 1: true, maxCacheLife: false} {
		if got, _ := c.get(inShard(0, 0), verified.Add(after), v); (got != nil) != want {
			t.Errorf("%s after it was verified: believed %t", after, !want)
		}
	}
}

// The bounds are those of the whole cache, however the tokens fall.
func TestAnyShardCanUseAllTheRoom(t *testing.T) {
	c := newDividedCache(CacheConfig{MaxEntries: 10, MaxBytes: 1 << 20}, &cacheCounters{}, newEpoch(), 4)
	add := func(shard byte, i int) {
		t.Helper()
		c.put(inShard(shard, i), tokenOf(t, 100), verifiedBy(""), newEpoch())
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
	}
	has := func(shard byte, i int) bool { return c.shards[shard].lru.Contains(inShard(shard, i)) }
	for i := range 10 {
		add(1, i)
	}
	if s := c.stats(); s.Entries != 10 || !has(1, 0) {
		t.Fatalf("%d entries, want all 10 in one shard", s.Entries)
	}
	add(1, 10) // the oldest of its own shard goes
	add(2, 0)  // a shard without any takes one of another
	if has(1, 0) || has(1, 1) || !has(1, 2) || !has(2, 0) {
		t.Error("not the oldest ones had to go")
	}
	add(2, 1) // the one that came last is the oldest of its shard, and the only one
	if has(2, 0) || !has(2, 1) || !has(1, 2) {
		t.Error("room was made in another shard, although the token's own has an entry")
	}
}

// cacheModel is what a cache must be like: what was put in last and used last is
// the last to go.
func TestTheCacheAgainstAModel(t *testing.T) {
	store := newKeyStore(keyStoreConfig{clock: newEpoch})
	defer store.close()
	keys := &issuerKeys{store: store}
	keys.snap.Store(&keySnapshot{generation: 1, fetchedAt: newEpoch()})
	iss := newTestIssuer("a")
	v := &Validator{epoch: 1, byName: map[string]*issuer{}}
	tb := t
	rapid.Check(t, func(t *rapid.T) {
		shards := rapid.SampledFrom([]int{1, 4}).Draw(t, "shards")
		bounds := CacheConfig{MaxEntries: rapid.IntRange(1, 12).Draw(t, "entries"), MaxBytes: rapid.Int64Range(300, 6000).Draw(t, "bytes")}
		c := newDividedCache(bounds, &cacheCounters{}, newEpoch(), shards)
		var order []digest // by use, the oldest first
		held := map[digest]*Token{}
		forget := func(k digest) {
			delete(held, k)
			order = slices.DeleteFunc(order, func(o digest) bool { return o == k })
		}
		used := func(k digest, tok *Token) {
			forget(k)
			order, held[k] = append(order, k), tok
		}
		anyKey := func() digest {
			return inShard(byte(rapid.IntRange(0, 7).Draw(t, "shard")), rapid.IntRange(0, 3).Draw(t, "key"))
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if err := c.check(); err != nil {
					t.Fatal(err)
				}
			},
			"put": func(t *rapid.T) {
				k := anyKey()
				tok := tokenOf(tb, rapid.IntRange(8, 2000).Draw(t, "claims"))
				tok.Issuer, tok.IssuerName = iss.id, iss.name
				c.put(k, tok, &verification{iss, keys, 1, 1}, newEpoch())
				s := &c.shards[c.shard(k)]
				if int64(sizeOfEmpty+len(tok.Claims.object.raw)) > bounds.MaxBytes {
					return // as if it had not been
				}
				used(k, tok)
				if !s.lru.Contains(k) {
					t.Fatal("what was just put in is not there")
				}
				for _, old := range slices.Clone(order) { // in each shard the oldest went, and no more than had to
					if c.shards[c.shard(old)].lru.Contains(old) {
						continue
					}
					for _, o := range order {
						if o == old {
							break
						}
						if c.shard(o) == c.shard(old) {
							t.Fatal("an older one of the same shard stayed")
						}
					}
					forget(old)
				}
			},
			"get": func(t *rapid.T) {
				k := anyKey()
				got, _ := c.get(k, newEpoch(), v)
				want := held[k]
				if (got == nil) != (want == nil) || got != nil && !sameToken(got, want) {
					t.Fatalf("%+v, want %+v", got, want)
				}
				if want != nil {
					used(k, want)
					if again, _ := c.get(k, newEpoch(), v); again != got {
						t.Fatal("the same token is another one")
					}
				}
			},
			"rotate": func(*rapid.T) {
				keys.snap.Store(&keySnapshot{generation: 2, fetchedAt: newEpoch()})
				for k := range held {
					if got, _ := c.get(k, newEpoch(), v); got != nil {
						t.Fatal("a token of other keys")
					}
				}
				keys.snap.Store(&keySnapshot{generation: 1, fetchedAt: newEpoch()})
				for _, k := range slices.Clone(order) { // they were looked for in any order
					if got, _ := c.get(k, newEpoch(), v); got == nil {
						t.Fatal("a token is lost")
					}
				}
			},
		})
	})
}

// What is kept with a token is there as long as the token is at hand, and goes
// with it.
func TestWhatIsKeptWithATokenGoesWithIt(t *testing.T) {
	fresh := tokenOf(t, 10)
	fresh.Keep("x")
	if fresh.Kept() != nil {
		t.Error("something is kept with a token that is in no cache")
	}
	const more = handSetSize + 1
	c := newDividedCache(CacheConfig{MaxEntries: more + 1, MaxBytes: 1 << 20}, &cacheCounters{}, newEpoch(), 1)
	s := &c.shards[0]
	s.atHand = s.atHand[:1]
	take := func(i int) *Token {
		e, _ := s.lru.Peek(inShard(0, i))
		return s.take(inShard(0, i), &e)
	}
	atHand := func(i int) *Token { return s.hand(inShard(0, i)) }
	by := verifiedBy("")
	for i := range more {
		c.put(inShard(0, i), tokenOf(t, 10), by, newEpoch())
	}
	first := take(0)
	first.Keep(1)
	first.Keep("one")
	if take(0) != first || atHand(0) != first || first.Kept() != "one" {
		t.Error("the token at hand is another one, or what was kept with it is")
	}
	for i := 1; i < more; i++ { // the last one takes the place of the first
		if atHand(0) != first {
			t.Errorf("the first token had to go for number %d", i)
		}
		if tok := take(i); tok.Kept() != nil || atHand(i) != tok {
			t.Errorf("token %d: %v is kept with it", i, tok.Kept())
		}
	}
	if atHand(0) != nil || first.Kept() != "one" {
		t.Error("the first token is still at hand, or what was kept with it is lost for who has it")
	}
	e, _ := s.lru.Peek(inShard(0, 1))
	c.put(inShard(0, 1), tokenOf(t, 20), by, newEpoch().Add(time.Second))
	if err := c.check(); err != nil || atHand(1) != nil || atHand(2) == nil {
		t.Errorf("%v; or the token of an entry that was replaced is still at hand, or another one is not", err)
	}
	if s.take(inShard(0, 1), &e); atHand(1) != nil {
		t.Error("the token of an entry that was replaced is at hand again")
	}
	c.put(inShard(0, 1), tokenOf(t, 20), verifiedBy(""), newEpoch())
	if s.take(inShard(0, 1), &e); atHand(1) != nil {
		t.Error("the token of an entry that was replaced, with others' keys, is at hand again")
	}
	s.lru.Remove(inShard(0, 1))
	if s.take(inShard(0, 1), &e); atHand(1) != nil {
		t.Error("the token of an entry that is gone is at hand")
	}
	for elements, want := range map[int]bool{maxElementsAtHand: true, maxElementsAtHand + 1: false} {
		many := tokenOf(t, 10)
		many.Scopes, many.Roles = make([]string, elements-1), make([]string, 1)
		c.put(inShard(0, 1), many, verifiedBy(""), newEpoch())
		if take(1); (atHand(1) != nil) != want {
			t.Errorf("a token with %d elements is at hand: %t", elements, !want)
		}
	}
}

func TestTheCacheIsSafeForManyAtOnce(t *testing.T) {
	bounds := CacheConfig{MaxEntries: 20, MaxBytes: 9000}
	c := newDividedCache(bounds, &cacheCounters{}, newEpoch(), 4)
	store := newKeyStore(keyStoreConfig{clock: newEpoch})
	defer store.close()
	keys := &issuerKeys{store: store}
	keys.snap.Store(&keySnapshot{generation: 1, fetchedAt: newEpoch()})
	by := &verification{newTestIssuer(""), keys, 1, 1}
	v := &Validator{epoch: 1}
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			for i := range 300 {
				k := inShard(byte(i%8), (i+w)%5)
				if got, _ := c.get(k, newEpoch(), v); got == nil {
					c.put(k, tokenOf(t, 10+i%200), by, newEpoch())
				} else {
					got.Keep(i)
				}
				if s := c.stats(); s.Entries > bounds.MaxEntries || s.Bytes > bounds.MaxBytes {
					t.Errorf("%+v is over the bounds", s)
				}
			}
		})
	}
	workers.Wait()
	if err := c.check(); err != nil {
		t.Error(err)
	}
}

// A cached token takes less than half a kilobyte besides its claims, and about what
// the cache counts for it.
func TestWhatACachedTokenTakes(t *testing.T) {
	if testing.Short() {
		t.Skip("collects garbage")
	}
	const tokens = 20_000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what the first one finds to be finalized
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc) //nolint:gosec // less than the machine has
	}
	c := newTokenCache(CacheConfig{MaxEntries: tokens, MaxBytes: 1 << 30}, &cacheCounters{}, newEpoch())
	before := heap()
	by := &verification{issuer: newTestIssuer("https://id.example.com/realms/shop")}
	claims := int64(0)
	for i := range tokens {
		tok := usualToken(t, i)
		claims += int64(len(tok.Claims.object.raw))
		c.put(sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i))), tok, by, newEpoch()) //nolint:gosec // small
	}
	took := heap() - before
	counted := c.stats().Bytes
	runtime.KeepAlive(c)
	t.Logf("a token takes %d bytes, %d of them claims; %d are counted", took/tokens, claims/tokens, counted/tokens)
	if beside := (took - claims) / tokens; beside > 512 {
		t.Errorf("a token takes %d bytes besides its claims", beside)
	}
	if took > counted*5/4 || took < counted*3/5 {
		t.Errorf("tokens take %d bytes, and the cache counts %d", took, counted)
	}
}
