package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// clock is a time that tests move by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newValidator makes a validator for one issuer named shop, with changes.
func newValidator(t testing.TB, issuer *oidctest.Issuer, c *clock, change func(*oidc.Config)) *oidc.Validator {
	t.Helper()
	cfg := oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"api"}}},
		Cache:   oidc.CacheConfig{MaxEntries: 100, MaxBytes: 1 << 20},
		Clock:   c.Now,
	}
	if change != nil {
		change(&cfg)
	}
	v, err := oidc.NewValidator(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func newIssuer(t testing.TB, c *clock, opts ...oidctest.Option) *oidctest.Issuer {
	t.Helper()
	issuer := oidctest.NewIssuer(append([]oidctest.Option{oidctest.WithClock(c.Now)}, opts...)...)
	t.Cleanup(issuer.Close)
	return issuer
}

func reasonOf(t testing.TB, v *oidc.Validator, token string) oidc.Reason {
	t.Helper()
	_, err := v.Validate(t.Context(), token, oidc.Requirement{})
	return oidc.ReasonOf(err)
}

func TestATokenIsReadIntoFields(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	token, err := v.Validate(t.Context(), issuer.Token(map[string]any{
		"scope": "a b", "roles": "admin", "jti": "id-1", "aud": []string{"x", "api"},
	}), oidc.Requirement{})
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %s %s %q %q %q %s %s %s", token.IssuerName, token.Subject, token.ClientID, token.Scopes, token.Roles, token.Audience,
		token.ID, token.Type, token.Expiry.Sub(token.IssuedAt))
	if want := `shop alice client ["a" "b"] ["admin"] ["x" "api"] id-1 at+jwt 5m0s`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if token.Principal() != issuer.URL+"/alice" || (&oidc.Token{Issuer: "x"}).Principal() != "" {
		t.Errorf("principal %s", token.Principal())
	}
	bare, err := v.Validate(t.Context(), issuer.Token(map[string]any{"iat": oidctest.Omit, "jti": oidctest.Omit}), oidc.Requirement{})
	if err != nil || !bare.IssuedAt.IsZero() || bare.ID != "" {
		t.Errorf("%+v, %v: without iat and jti", bare, err)
	}
	name, _ := oidc.ParseClaimName("/aud/1")
	if claim, ok := token.Claims.Get(name); !ok || claim.Text() != "api" {
		t.Errorf("claim /aud/1 is %q", claim.Text())
	}
}

// Any change of a signed byte, of the signature or of what they are encoded in
// makes the token bad (FuzzVerify looks further).
func TestEveryByteOfATokenCounts(t *testing.T) {
	c := newClock()
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		issuer := newIssuer(t, c, oidctest.WithAlgorithms(alg))
		v := newValidator(t, issuer, c, nil)
		good := issuer.Token(nil)
		if reason := reasonOf(t, v, good); reason != "" {
			t.Fatalf("%s: the good token: %s", alg, reason)
		}
		for i := range good {
			for _, b := range []byte{'A', 'B', '_', '.', '=', '\n', 0} {
				if good[i] == b {
					continue
				}
				bad := good[:i] + string(b) + good[i+1:]
				if reason := reasonOf(t, v, bad); reason.Class() != oidc.ClassInvalidToken {
					t.Fatalf("%s: byte %d made %q: %s", alg, i, b, reason)
				}
			}
		}
		if n := issuer.Requests(oidctest.JWKS); n != 2 {
			t.Errorf("%s: %d fetches, want the first and one for unknown keys", alg, n)
		}
	}
}

func signed(t *testing.T, issuer *oidctest.Issuer, alg string, sign func(input []byte) []byte) string {
	t.Helper()
	return issuer.Token(nil, oidctest.Alg(alg), oidctest.SignFunc(sign))
}

func TestDegenerateSignaturesAreBad(t *testing.T) { // A7
	c := newClock()
	issuer := newIssuer(t, c, oidctest.WithAlgorithms("ES256", "ES384", "ES512", "RS256", "EdDSA"))
	v := newValidator(t, issuer, c, nil)
	n := elliptic.P256().Params().N
	pad := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	one, zero := big.NewInt(1), new(big.Int)
	signatures := map[string][]byte{
		"zero": pad(zero, zero), "one": pad(one, one), "r zero": pad(zero, one), "s zero": pad(one, zero),
		"N": pad(n, n), "N-1": pad(new(big.Int).Sub(n, one), new(big.Int).Sub(n, one)),
		"too short": make([]byte, 63), "too long": make([]byte, 65), "DER": {0x30, 6, 2, 1, 1, 2, 1, 1}, "one byte": {0},
	}
	for name, sig := range signatures {
		for _, alg := range []string{"ES256", "ES384", "ES512", "RS256", "EdDSA"} {
			if reason := reasonOf(t, v, signed(t, issuer, alg, func([]byte) []byte { return sig })); reason != oidc.BadSignature {
				t.Errorf("%s, %s: %s", alg, name, reason)
			}
		}
	}
}

func TestPSSSaltIsAsLongAsTheHash(t *testing.T) { // A8
	c := newClock()
	issuer := newIssuer(t, c, oidctest.WithAlgorithms("RS256"))
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwk, _ := json.Marshal(map[string]any{
		"kty": "RSA", "kid": "pss", "n": base64.RawURLEncoding.EncodeToString(private.N.Bytes()), "e": "AQAB",
	})
	issuer.PublishRaw(string(jwk))
	v := newValidator(t, issuer, c, nil)
	for salt, want := range map[int]oidc.Reason{rsa.PSSSaltLengthEqualsHash: "", 0: oidc.BadSignature, 20: oidc.BadSignature, 64: oidc.BadSignature} {
		token := issuer.Token(nil, oidctest.Header("alg", "PS256"), oidctest.Header("kid", "pss"), oidctest.SignFunc(func(input []byte) []byte {
			sum := sha256.Sum256(input)
			sig, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}))
		if reason := reasonOf(t, v, token); reason != want {
			t.Errorf("salt of %d bytes: %q, want %q", salt, reason, want)
		}
	}
}

func TestTheKeyDecidesTheAlgorithm(t *testing.T) { // A3, A4
	c := newClock()
	issuer := newIssuer(t, c, oidctest.WithAlgorithms("ES256", "ES384", "RS256", "EdDSA"))
	v := newValidator(t, issuer, c, nil)
	for _, alg := range []string{"ES256", "ES384", "RS256", "EdDSA"} {
		good := issuer.Token(nil, oidctest.Alg(alg))
		if reason := reasonOf(t, v, good); reason != "" {
			t.Errorf("%s: %s", alg, reason)
		}
		for _, claimed := range []string{"ES256", "ES384", "ES512", "RS256", "RS512", "PS256", "EdDSA"} {
			if claimed == alg {
				continue
			}
			reason := reasonOf(t, v, issuer.Token(nil, oidctest.Alg(alg), oidctest.Header("alg", claimed)))
			if reason != oidc.UnknownKey && reason != oidc.BadSignature {
				t.Errorf("signed with %s, said to be %s: %q", alg, claimed, reason)
			}
		}
	}
}

func TestTheCacheRemembersFactsAndForgetsThemInTime(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	token := issuer.Token(map[string]any{"exp": c.Now().Add(time.Hour).Unix()})
	check := func(what string, wantHits, wantMisses uint64, want oidc.Reason) {
		t.Helper()
		reason := reasonOf(t, v, token)
		if s := v.CacheStats(); reason != want || s.Hits != wantHits || s.Misses != wantMisses {
			t.Errorf("%s: %q, %d hits, %d misses; want %q, %d, %d", what, reason, s.Hits, s.Misses, want, wantHits, wantMisses)
		}
	}
	check("first seen", 0, 1, "")
	check("seen again", 1, 1, "")
	c.add(5*time.Minute - time.Second)
	check("within five minutes", 2, 1, "")
	c.add(time.Second)
	check("after five minutes", 2, 2, "") // verified anew
	c.add(-time.Minute)
	check("after the clock was set back", 2, 3, "") // E4: verified anew
	c.add(time.Hour)
	check("expired", 2, 4, oidc.Expired)
}

func TestARemovedKeyTakesItsCachedTokensAlong(t *testing.T) { // E4
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	token := issuer.Token(map[string]any{"exp": c.Now().Add(time.Hour).Unix()})
	if reason := reasonOf(t, v, token); reason != "" {
		t.Fatal(reason)
	}
	issuer.Rotate()
	issuer.RemoveOldKeys()
	if reason := reasonOf(t, v, issuer.Token(nil)); reason != "" { // fetches the new set
		t.Fatal(reason)
	}
	c.add(time.Minute) // the gate for unknown keys is open again
	if reason := reasonOf(t, v, token); reason != oidc.UnknownKey {
		t.Errorf("a cached token of a removed key: %q", reason)
	}
}

func TestCachedTokensNeedUsableKeysToo(t *testing.T) { // E4
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Keys = oidc.KeysConfig{Refresh: time.Second, MaxStale: 2 * time.Second}
	})
	token := issuer.Token(map[string]any{"exp": c.Now().Add(time.Hour).Unix()})
	if reason := reasonOf(t, v, token); reason != "" {
		t.Fatal(reason)
	}
	issuer.Down()
	c.add(2 * time.Second)
	if reason := reasonOf(t, v, token); reason != oidc.KeysUnavailable {
		t.Errorf("a cached token whose issuer's keys are too stale: %q", reason)
	}
}

func TestTheCacheKeepsItsBounds(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	for name, bound := range map[string]oidc.CacheConfig{
		"entries": {MaxEntries: 10, MaxBytes: 1 << 30},
		"bytes":   {MaxEntries: 1000, MaxBytes: 10_000},
	} {
		v := newValidator(t, issuer, c, func(cfg *oidc.Config) { cfg.Cache = bound })
		hot := issuer.Token(nil)
		for i := range 50 {
			for _, token := range []string{hot, issuer.Token(map[string]any{"sub": fmt.Sprint(i)})} {
				if reason := reasonOf(t, v, token); reason != "" {
					t.Fatal(reason)
				}
			}
		}
		s := v.CacheStats()
		if s.Entries > bound.MaxEntries || s.Bytes > bound.MaxBytes || s.Entries < 5 {
			t.Errorf("%s: %d entries and %d bytes in a cache of %d and %d", name, s.Entries, s.Bytes, bound.MaxEntries, bound.MaxBytes)
		}
		if s.Hits != 49 {
			t.Errorf("%s: %d hits for a token in steady use, want 49", name, s.Hits)
		}
	}
	for name, off := range map[string]oidc.CacheConfig{"no entries": {MaxBytes: 1 << 20}, "no bytes": {MaxEntries: 10}} {
		v := newValidator(t, issuer, c, func(cfg *oidc.Config) { cfg.Cache = off })
		token := issuer.Token(nil)
		for range 2 {
			if reason := reasonOf(t, v, token); reason != "" {
				t.Fatal(reason)
			}
		}
		if s := v.CacheStats(); s != (oidc.CacheStats{}) {
			t.Errorf("%s: a cache that is off did %+v", name, s)
		}
	}
}

// What a token's fields take beside the text of its claims counts too: a few
// kilobytes of text can be thousands of scopes.
func TestTheCacheCountsWhatAnEntryTakes(t *testing.T) {
	c := newClock()
	issuer := oidctest.NewIssuer(oidctest.WithClock(c.Now), oidctest.WithAudience("api"))
	defer issuer.Close()
	v := newValidator(t, issuer, c, nil)
	token := issuer.Token(map[string]any{"scope": strings.Repeat("a ", 4000)})
	if _, err := v.Validate(t.Context(), token, oidc.Requirement{}); err != nil {
		t.Fatal(err)
	}
	if s := v.CacheStats(); s.Entries != 1 || s.Bytes < 4000*(2+4) {
		t.Errorf("%d entries of %d bytes, want one of %d at least", s.Entries, s.Bytes, 4000*(2+4))
	}
}

func TestAConfigIsReadOnce(t *testing.T) {
	c := newClock()
	issuer := oidctest.NewIssuer(oidctest.WithClock(c.Now), oidctest.WithAudience("api"))
	defer issuer.Close()
	name, err := oidc.ParseClaimName("sub")
	if err != nil {
		t.Fatal(err)
	}
	values := []oidc.Scalar{oidc.StringScalar("bob")}
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Require = []oidc.ClaimRule{{Name: name, Values: values}}
	})
	values[0] = oidc.StringScalar("alice")
	if _, err := v.Validate(t.Context(), issuer.Token(nil), oidc.Requirement{}); oidc.ReasonOf(err) != oidc.InvalidClaim {
		t.Errorf("after a change of the configuration that it was made from: %v", err)
	}
}

func TestJunkEvictsNothing(t *testing.T) { // E5, E6
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) { cfg.Cache.MaxEntries = 2 })
	good := []string{issuer.Token(nil), issuer.Token(nil)}
	for _, token := range good {
		reasonOf(t, v, token)
	}
	for i := range 100 {
		for _, junk := range []string{
			issuer.Token(map[string]any{"sub": fmt.Sprint(i)}, oidctest.Forged()),
			issuer.Token(map[string]any{"aud": fmt.Sprint(i)}), issuer.Token(map[string]any{"exp": i}), fmt.Sprint(i),
		} {
			if reason := reasonOf(t, v, junk); reason == "" {
				t.Fatal("junk is accepted")
			}
		}
	}
	before := v.CacheStats().Hits
	for _, token := range good {
		reasonOf(t, v, token)
	}
	if s := v.CacheStats(); s.Hits != before+2 || s.Entries != 2 {
		t.Errorf("after junk: %+v", s)
	}
}

func TestValidateIsForManyGoroutines(t *testing.T) { // E9, with the race detector
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) { cfg.Cache.MaxEntries = 3 })
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = issuer.Token(map[string]any{"sub": fmt.Sprint(i), "scope": "a b"})
	}
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				want := (g + i) % len(tokens)
				token, err := v.Validate(context.Background(), tokens[want], oidc.Requirement{})
				if err != nil || token.Subject != fmt.Sprint(want) {
					t.Errorf("token %d: %v, %v", want, token, err)
				}
			}
		})
	}
	all.Wait()
}

func TestTheDeadlineBoundsTheWaitForKeys(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	hang := issuer.Hang()
	defer hang.Release()
	v := newValidator(t, issuer, c, nil)
	_, err := v.Validate(t.Context(), issuer.Token(nil), oidc.Requirement{Deadline: time.Now().Add(10 * time.Millisecond)})
	if oidc.ReasonOf(err) != oidc.KeysUnavailable || !errors.Is(err, oidc.ErrCannotKnow) {
		t.Errorf("an issuer that hangs: %v", err)
	}
}

func TestABoundTokenIsRefusedWithItsFacts(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	token, err := v.Validate(t.Context(), issuer.Token(map[string]any{"cnf": map[string]any{"x5t#S256": "x"}}), oidc.Requirement{})
	var e *oidc.Error
	if token != nil || !errors.As(err, &e) || e.Reason != oidc.ProofMissing || e.Token == nil || e.Token.Subject != "alice" || e.IssuerName != "shop" {
		t.Errorf("%v, %v", token, err)
	}
}

func TestErrorsNameTheIssuerAndRepeatNothing(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	for _, token := range []string{
		issuer.Token(map[string]any{"aud": "canary"}), issuer.Token(map[string]any{"sub": 1, "x": "canary"}),
		issuer.Token(nil, oidctest.KeyID("canary")), issuer.Token(map[string]any{"scope": `canary"`}),
		issuer.Token(nil, oidctest.Header("typ", "canary")), issuer.Token(nil, oidctest.Forged(), oidctest.Header("x", "canary")),
	} {
		_, err := v.Validate(t.Context(), token, oidc.Requirement{})
		var e *oidc.Error
		if !errors.As(err, &e) || e.IssuerName != "shop" {
			t.Errorf("%v does not name the issuer", err)
		}
		if text := err.Error(); strings.Contains(text, "canary") || strings.Contains(text, "\n") {
			t.Errorf("the error repeats the token: %s", text)
		}
	}
}

func TestExplainTellsEachStep(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	explain := func(token string) string {
		var steps []string
		v.Validate(t.Context(), token, oidc.Requirement{Explain: func(s oidc.Step) { //nolint:errcheck // the steps say it
			steps = append(steps, fmt.Sprintf("%s %t", s.Name, s.OK))
		}})
		return strings.Join(steps, ", ")
	}
	good := issuer.Token(nil)
	reasonOf(t, v, good) // fetches the keys
	for range 2 {        // the cache must not hide a step
		if got, want := explain(good), "shape true, header true, claims true, issuer true, algorithm true, type true, claim types true, time true, audience true, key true, signature true, binding true"; got != want {
			t.Errorf("a good token: %s", got)
		}
	}
	if got, want := explain(issuer.Token(map[string]any{"aud": "x"})), "shape true, header true, claims true, issuer true, algorithm true, type true, claim types true, time true, audience false"; got != want {
		t.Errorf("a wrong audience: %s", got)
	}
	for step, token := range map[string]string{"signature": issuer.Token(nil, oidctest.Forged()), "key": issuer.Token(nil, oidctest.KeyID("other"))} {
		if got := explain(token); !strings.HasSuffix(got, ", "+step+" false") {
			t.Errorf("the last step must be %s: %s", step, got)
		}
	}
}

func TestExplainTellsWhoseATokenIs(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers = append(cfg.Issuers, oidc.IssuerConfig{
			Issuer: "urn:example:{tenant}", Name: "many", JWKSURL: issuer.URLOf(oidctest.JWKS), AnyAudience: true,
			Tenants: oidc.TenantsConfig{Allow: []string{"acme"}},
		})
	})
	for iss, want := range map[string]string{
		issuer.URL:         fmt.Sprintf("iss is %q, configured as shop", issuer.URL),
		"urn:example:acme": `iss is "urn:example:acme", tenant "acme" of the issuer configured as many`,
	} {
		var got string
		_, err := v.Validate(t.Context(), issuer.Token(map[string]any{"iss": iss}), oidc.Requirement{Explain: func(s oidc.Step) {
			if s.Name == "issuer" {
				got = s.Detail
			}
		}})
		if err != nil || got != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

func TestNewValidatorReportsAllFaultsAtOnce(t *testing.T) {
	_, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{
		{Issuer: "", Name: "a"},
		{Issuer: "https://a.example", Name: "Not a name"},
		{Issuer: "https://b.example", Name: "b", Preset: "nope", Leeway: time.Hour, MaxLifetime: -1, AnyAudience: true, Audiences: []string{"x"}, Algorithms: []oidc.Algorithm{"HS256"}},
		{Issuer: "https://c.example", Name: "c"},
		{Issuer: "https://c.example", Name: "c"},
		{Issuer: "http://insecure.example", Name: "d"},
		{Issuer: "no url", Name: "e"},
	}})
	for _, want := range []string{
		"Issuer is empty", "Name must be", `no preset "nope"`, "Leeway is over", "MaxLifetime is negative", "contradict", `"HS256" cannot be verified`,
		"another issuer has this name", `another issuer has the identifier "https://c.example"`, `issuer "d"`, `issuer "e"`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no fault %q in %v", want, err)
		}
	}
}

// FuzzVerify changes good tokens: what is accepted is exactly what was signed, or
// the twin n-s of an ECDSA signature. The input is the change rather than the
// token, since each process that fuzzes makes its own keys.
func FuzzVerify(f *testing.F) {
	c := newClock()
	issuer := newIssuer(f, c, oidctest.WithAlgorithms("ES256", "EdDSA"))
	v := newValidator(f, issuer, c, nil)
	tokens := []string{issuer.Token(nil), issuer.Token(nil, oidctest.Alg("EdDSA"))}
	f.Add(false, uint(0), uint(0), "")
	f.Add(true, uint(5), uint(1), "x")
	f.Add(false, uint(400), uint(100), ".")
	f.Fuzz(func(t *testing.T, eddsa bool, at, cut uint, insert string) {
		good := tokens[0]
		if eddsa {
			good = tokens[1]
		}
		from := min(at, uint(len(good)))
		to := from + min(cut, uint(len(good))-from)
		token := good[:from] + insert + good[to:]
		_, err := v.Validate(context.Background(), token, oidc.Requirement{})
		switch {
		case token == good && err != nil:
			t.Fatalf("the good token is refused: %v", err)
		case token == good, err != nil && oidc.ReasonOf(err) != oidc.Internal:
			return
		case err != nil:
			t.Fatal(err)
		}
		signed, signature, _ := cutLast(token, '.')
		if goodSigned, _, _ := cutLast(good, '.'); eddsa || signed != goodSigned {
			t.Fatalf("accepted %s", token)
		}
		sig, _ := base64.RawURLEncoding.DecodeString(signature)
		sum := sha256.Sum256([]byte(signed))
		key := issuer.SigningKey().Public().(*ecdsa.PublicKey)
		if len(sig) != 64 || !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
			t.Fatalf("accepted a signature that the standard library refuses: %s", token)
		}
	})
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
