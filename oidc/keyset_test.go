package oidc

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// setOf writes a key set; the keys are JSON texts.
func setOf(keys ...fmt.Stringer) string {
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = k.String()
	}
	return `{"keys":[` + strings.Join(texts, ",") + `]}`
}

type rawKey string

func (k rawKey) String() string { return string(k) }

func TestOneBadKeyIsSkippedAndTheRestUsed(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	for _, tt := range []struct {
		bad  rawKey
		want SkippedKey
	}{
		{`{"kty":"AKP","kid":"pq","alg":"ML-DSA-65"}`, SkippedKey{"pq", "unknown kty"}},
		{`{"kty":"EC","crv":"secp256k1","kid":"k1","x":"AA","y":"AA"}`, SkippedKey{"k1", "unknown crv"}},
		{`{"kid":"a","kid":"b","kty":"RSA"}`, SkippedKey{"", "JSON with a duplicate member"}},
		{"{\"kid\":\"\xff\"}", SkippedKey{"", "JSON with invalid UTF-8 or a lone surrogate"}},
		{`{"kid":"\ud800"}`, SkippedKey{"", "JSON with invalid UTF-8 or a lone surrogate"}},
		{rawKey(`{"kid":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), SkippedKey{"", "JSON nested too deep"}},
		{rawKey(`{"kid":"` + strings.Repeat("a", maxKeySize) + `"}`), SkippedKey{"", "over 64 KiB"}},
		{rawKey(`{"kid":"` + strings.Repeat("a", 300) + `"}`), SkippedKey{strings.Repeat("a", 256), "unknown kty"}},
		{`null`, SkippedKey{"", "not a JSON object"}},
		{`"keys"`, SkippedKey{"", "not a JSON object"}},
	} {
		t.Run(tt.want.Reason, func(t *testing.T) {
			for _, keys := range [][]fmt.Stringer{{tt.bad, good}, {good, tt.bad}} {
				set, err := parseKeySet([]byte(setOf(keys...)))
				if err != nil {
					t.Fatal(err)
				}
				if len(set.keys) != 1 || set.keys[0].kid != "good" {
					t.Errorf("keys %+v, want the good one", set.keys)
				}
				if !slices.Equal(set.skipped, []SkippedKey{tt.want}) {
					t.Errorf("skipped %+v, want %+v", set.skipped, tt.want)
				}
			}
		})
	}
}

func TestWholeSetIsUnusable(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	junk := make([]fmt.Stringer, maxKeys)
	for i := range junk {
		junk[i] = rawKey(`{}`)
	}
	for _, tt := range []struct {
		name, body string
		err        error
	}{
		{"empty body", ``, errSetSyntax},
		{"null", `null`, errSetSyntax},
		{"a list", `[` + good.String() + `]`, errSetSyntax},
		{"a single key", good.String(), errSetSyntax},
		{"no keys member", `{}`, errSetSyntax},
		{"keys null", `{"keys":null}`, errSetSyntax},
		{"keys an object", `{"keys":{}}`, errSetSyntax},
		{"keys in another case", strings.Replace(setOf(good), "keys", "Keys", 1), errSetSyntax},
		{"keys twice", `{"keys":[],` + setOf(good)[1:], errSetSyntax},
		{"keys twice, once escaped", `{"k\u0065ys":[],` + setOf(good)[1:], errSetSyntax},
		{"cut off", setOf(good)[:60], errSetSyntax},
		{"something after it", setOf(good) + `{}`, errSetSyntax},
		{"HTML", `<!doctype html>`, errSetSyntax},
		{"no keys", `{"keys":[]}`, errSetEmpty},
		{"no usable key", `{"keys":[{"kty":"oct","k":"AAAA"}]}`, errSetUnusable},
		{"129 keys", setOf(append(junk, good)...), errSetTooLarge},
		{"nested ten thousand deep", strings.Repeat(`[`, 20000), errSetSyntax},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseKeySet([]byte(tt.body)); !errors.Is(err, tt.err) {
				t.Errorf("parseKeySet: %v, want %v", err, tt.err)
			}
		})
	}
	if set, err := parseKeySet([]byte(setOf(append(junk[1:], good)...))); err != nil || len(set.skipped) != 127 {
		t.Errorf("128 keys, 127 of them bad: %v", err)
	}
	for _, odd := range []string{` {"\ud800":1, "keys" : [` + good.String() + " ] , \"x\":{\"keys\":[]}}\n", `{"k\u0065ys":[` + good.String() + `]}`} {
		if set, err := parseKeySet([]byte(odd)); err != nil || len(set.keys) != 1 {
			t.Errorf("parseKeySet(%.40s): %v, want one key", odd, err)
		}
	}
}

// A hundred thousand keys fit into 1 MiB. Their number must not cost more than their
// text does.
func TestMemoryOfASetIsBoundedByItsSize(t *testing.T) {
	body := []byte(`{"keys":[` + strings.Repeat(`{},`, 100_000) + `{}]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := parseKeySet(body); !errors.Is(err, errSetTooLarge) {
		t.Errorf("parseKeySet: %v, want %v", err, errSetTooLarge)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 3*uint64(len(body)) {
		t.Errorf("%d bytes of memory for a set of %d bytes", got, len(body))
	}
}

func TestDigestFollowsTheKeysOnly(t *testing.T) {
	_, a := ecJWK(t, "a", elliptic.P256())
	_, b := edJWK(t, "b")
	digestOf := func(keys ...fmt.Stringer) digest {
		t.Helper()
		set, err := parseKeySet([]byte(setOf(keys...)))
		if err != nil {
			t.Fatal(err)
		}
		return set.digest
	}
	want := digestOf(a, b)
	for name, same := range map[string]digest{
		"order":              digestOf(b, a),
		"a note":             digestOf(a.with("note", "x"), b),
		"another skipped":    digestOf(a, rawKey(`{}`), b),
		"alg of the one use": digestOf(a.with("alg", "ES256"), b),
	} {
		if same != want {
			t.Errorf("%s changes the digest", name)
		}
	}
	for name, other := range map[string]digest{
		"key gone":      digestOf(a),
		"kid":           digestOf(a.with("kid", "c"), b),
		"no kid":        digestOf(a.with("kid", nil), b),
		"empty kid":     digestOf(a.with("kid", ""), b),
		"key twice":     digestOf(a, a, b),
		"swapped kids":  digestOf(a.with("kid", "b"), b.with("kid", "a")),
		"another point": digestOf(a.with("y", negated(t, a)), b),
	} {
		if other == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
	r := rsaJWK(t, "r", 2048)
	if digestOf(r) == digestOf(r.with("alg", "RS256")) || digestOf(r.with("alg", "RS256")) == digestOf(r.with("alg", "PS256")) {
		t.Error("what a key may verify does not count")
	}
	const frame = "\x00\x00\x00\x00\x00\x00\x00\x00"
	if digestOf(a.with("kid", "a"+frame+frame+"b", "issuer", "c")) == digestOf(a.with("kid", "a", "issuer", "b"+frame+frame+"c")) ||
		digestOf(a.with("kid", "ab", "issuer", "c")) == digestOf(a.with("kid", "a", "issuer", "bc")) ||
		digestOf(a.with("kid", "a", "use", "sig", "issuer", frame+"x")) == digestOf(a.with("kid", "a"+frame+"sig", "issuer", "x")) {
		t.Error("kid and issuer run into each other")
	}
	if digestOf(a.with("kid", nil), b) == digestOf(a.with("kid", ""), b) {
		t.Error("no kid and an empty kid have one digest")
	}
}

// negated returns y of the point that is the key's mirror image.
func negated(t *testing.T, jwk members) string {
	t.Helper()
	k, err := parseKey(jwk.String())
	if err != nil {
		t.Fatal(err)
	}
	pub := k.pub.(*ecdsa.PublicKey)
	point, err := pub.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	y := new(big.Int).SetBytes(point[33:])
	return base64url(y.Sub(elliptic.P256().Params().P, y).FillBytes(make([]byte, 32)))
}

func TestCandidates(t *testing.T) {
	_, e1 := ecJWK(t, "e1", elliptic.P256())
	_, e2 := ecJWK(t, "e2", elliptic.P256())
	_, e3 := ecJWK(t, "e3", elliptic.P384())
	r := rsaJWK(t, "r", 2048)
	ps := rsaJWK(t, "ps", 2048).with("alg", "PS256")
	_, nameless := edJWK(t, "")
	nameless = nameless.with("kid", nil)
	var crowd []fmt.Stringer
	for range 6 {
		_, k := ecJWK(t, "same", elliptic.P256())
		crowd = append(crowd, k)
	}
	mixed := append([]fmt.Stringer{rsaJWK(t, "same", 2048), e3.with("kid", "same")}, crowd[:2]...)

	tests := []struct {
		name   string
		keys   []fmt.Stringer
		kid    string
		hasKID bool
		alg    Algorithm
		want   int
		known  bool
	}{
		{"exact kid", []fmt.Stringer{e1, e2}, "e1", true, ES256, 1, true},
		{"unknown kid", []fmt.Stringer{e1, e2}, "e", true, ES256, 0, false},
		{"kid in another case", []fmt.Stringer{e1}, "E1", true, ES256, 0, false},
		{"kid of a key without one", []fmt.Stringer{nameless}, "", true, EdDSA, 0, false},
		{"kid of another curve", []fmt.Stringer{e1, e3}, "e3", true, ES256, 0, true},
		{"kid of another type", []fmt.Stringer{e1, r}, "r", true, ES256, 0, true},
		{"kid of an RSA key, any RSA algorithm", []fmt.Stringer{r}, "r", true, PS512, 1, true},
		{"kid of a pinned key", []fmt.Stringer{r, ps}, "ps", true, RS256, 0, true},
		{"kid of a pinned key, its algorithm", []fmt.Stringer{r, ps}, "ps", true, PS256, 1, true},
		{"both names of Ed25519", []fmt.Stringer{nameless.with("kid", "o", "alg", "EdDSA")}, "o", true, Ed25519, 1, true},
		{"one kid, several keys: four at most", crowd, "same", true, ES256, 4, true},
		{"one kid, several keys: the compatible ones", mixed, "same", true, ES256, 2, true},

		{"no kid, one key", []fmt.Stringer{e1}, "", false, ES256, 1, true},
		{"no kid, one compatible key", []fmt.Stringer{r, e1, e3}, "", false, ES256, 1, true},
		{"no kid, two compatible keys", []fmt.Stringer{e1, e2}, "", false, ES256, 0, false},
		{"no kid, no compatible key", []fmt.Stringer{r}, "", false, ES256, 0, false},
		{"no kid, key without one", []fmt.Stringer{nameless, r}, "", false, EdDSA, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := parseKeySet([]byte(setOf(tt.keys...)))
			if err != nil {
				t.Fatal(err)
			}
			keys, known := set.candidates(keyHint{alg: tt.alg, kid: tt.kid, hasKID: tt.hasKID})
			if len(keys) != tt.want || known != tt.known {
				t.Errorf("%d candidates, known %t; want %d, %t", len(keys), known, tt.want, tt.known)
			}
			for _, k := range keys {
				if k.algs&tt.alg.bit() == 0 || tt.hasKID && k.kid != tt.kid {
					t.Errorf("candidate %+v does not fit", k)
				}
			}
		})
	}
}

// A key that names an issuer is for that issuer's tokens only, with the token's
// tenant in place of {tenantid}.
func TestAKeyThatIsBoundToAnIssuerIsForThatIssuer(t *testing.T) {
	const tid, other = "0a1b2c3d-0000-4444-8888-00000000000a", "0a1b2c3d-0000-4444-8888-00000000000b"
	issuers := []string{"https://login.example/" + tid + "/v2.0", "https://sts.example/" + tid + "/"}
	for _, tt := range []struct {
		rule   string
		issuer any
		tid    string
		usable bool // at all
		fits   bool
	}{
		{"not bound", nil, "", true, true},
		{"the issuer", "https://login.example/" + tid + "/v2.0", "", true, true},
		{"an alias", "https://sts.example/" + tid + "/", "", true, true},
		{"the template, of the token's tenant", "https://login.example/{tenantid}/v2.0", tid, true, true},
		{"the template, of another tenant", "https://login.example/{tenantid}/v2.0", other, true, false},
		{"the template, without a tenant", "https://login.example/{tenantid}/v2.0", "", true, false},
		{"the template, of what is no tenant", "https://login.example/{tenantid}/v2.0", tid + "/v2.0?", true, false},
		{"another tenant", "https://login.example/" + other + "/v2.0", tid, true, false},
		{"another host", "https://login.example.evil/{tenantid}/v2.0", tid, true, false},
		{"nearly", "https://login.example/" + tid + "/v2.0/", tid, true, false},
		{"empty", "", tid, false, false},
		{"a number", 7, tid, false, false},
	} {
		_, jwk := ecJWK(t, "k", elliptic.P256())
		_, spare := ecJWK(t, "spare", elliptic.P256())
		set, err := parseKeySet([]byte(setOf(jwk.with("issuer", tt.issuer), spare)))
		if err != nil {
			t.Fatal(err)
		}
		keys, known := set.candidates(keyHint{alg: ES256, kid: "k", hasKID: true, issuers: issuers, tenantID: tt.tid})
		if known != tt.usable || len(keys) == 1 != tt.fits {
			t.Errorf("%s: %d candidates, known %t", tt.rule, len(keys), known)
		}
	}
}

func TestAPresetMayWantOneUseOfKeys(t *testing.T) {
	for use, fits := range map[any]bool{"jwt-svid": true, "sig": false, nil: false} {
		_, jwk := ecJWK(t, "k", elliptic.P256())
		set, err := parseKeySet([]byte(setOf(jwk.with("use", use))))
		if err != nil {
			t.Fatal(err)
		}
		for _, hasKID := range []bool{true, false} {
			if keys, _ := set.candidates(keyHint{alg: ES256, kid: "k", hasKID: hasKID, uses: []string{"jwt-svid"}}); len(keys) == 1 != fits {
				t.Errorf("use %v, kid %t: %d candidates", use, hasKID, len(keys))
			}
		}
	}
}

func TestUsualLookupDoesNotAllocate(t *testing.T) {
	_, e1 := ecJWK(t, "e1", elliptic.P256())
	_, e2 := ecJWK(t, "e2", elliptic.P256())
	set, err := parseKeySet([]byte(setOf(e1, e2)))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { set.candidates(keyHint{alg: ES256, kid: "e2", hasKID: true}) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzParseKeySet(f *testing.F) {
	_, ec := ecJWK(f, "e", elliptic.P256())
	_, ed := edJWK(f, "o")
	f.Add([]byte(setOf(ec, ed, rsaJWK(f, "r", 2048))))
	f.Add([]byte(setOf(ec.with("x5c", []string{certificate(f, mustParse(f, ec).pub)}))))
	f.Add([]byte(setOf(ec, rawKey(`{"kty":"oct"}`), rawKey("{\"kid\":\"\xff\"}"))))
	f.Add([]byte(`{"\ud800":0,"keys":[{"kid":"\ud800"},{"kid":"a","kid":"a"},null]}`))
	f.Add([]byte(`{"keys":[]}`))
	junk := rawKey(`{"kty":"junk","kid":"e"}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := parseKeySet(body)
		if err != nil {
			if set != nil {
				t.Fatal("a set beside an error")
			}
			return
		}
		texts, _, err := splitKeySet(body)
		if err != nil {
			t.Fatal(err)
		}
		if len(set.keys) == 0 || len(set.keys)+len(set.skipped) != len(texts) || len(texts) > maxKeys {
			t.Fatalf("%d keys and %d skipped of %d", len(set.keys), len(set.skipped), len(texts))
		}
		for _, k := range set.keys {
			checkKept(t, k)
		}
		if len(texts) == maxKeys {
			return
		}
		// Another key, however odd, does not touch the others.
		more, err := parseKeySet([]byte(`{"keys":[` + strings.Join(append(texts, junk.String()), ",") + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		if more.digest != set.digest || len(more.skipped) != len(set.skipped)+1 {
			t.Fatal("a junk entry changes the other keys")
		}
	})
}

func mustParse(t testing.TB, jwk members) key {
	t.Helper()
	k, err := parseKey(jwk.String())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func checkKept(t *testing.T, k key) {
	t.Helper()
	if k.algs == 0 {
		t.Fatal("a key that verifies nothing")
	}
	switch pub := k.pub.(type) {
	case *rsa.PublicKey:
		if n := pub.N.BitLen(); n < 2048 || n > 8192 || pub.N.Bit(0) == 0 || pub.E < 3 || pub.E > 1<<31-1 || pub.E%2 == 0 || k.algs&^setRSA != 0 {
			t.Fatalf("RSA key of %d bits, exponent %d, for %b", n, pub.E, k.algs)
		}
	case *ecdsa.PublicKey:
		alg := map[elliptic.Curve]Algorithm{elliptic.P256(): ES256, elliptic.P384(): ES384, elliptic.P521(): ES512}[pub.Curve]
		if _, err := pub.ECDH(); err != nil || k.algs != alg.bit() {
			t.Fatalf("EC key for %b: %v", k.algs, err)
		}
	case ed25519.PublicKey:
		if len(pub) != ed25519.PublicKeySize || k.algs != EdDSA.bit() {
			t.Fatalf("Ed25519 key of %d bytes for %b", len(pub), k.algs)
		}
	default:
		t.Fatalf("a key of type %T", pub)
	}
}

func TestASetsOwnWordOnItsLife(t *testing.T) {
	_, good := ecJWK(t, "good", elliptic.P256())
	for hint, want := range map[string]time.Duration{
		"60": time.Minute, "1": time.Second, "86400": 24 * time.Hour, "86401": 24 * time.Hour, "9223372036854775807": 24 * time.Hour,
		"0": 0, "-5": 0, "1.5": 0, `"60"`: 0, "null": 0, "99999999999999999999": 0,
	} {
		set, err := parseKeySet([]byte(`{"spiffe_refresh_hint":` + hint + `,` + setOf(good)[1:]))
		if err != nil || set.life != want {
			t.Errorf("%s: %+v, %v; want %s", hint, set, err, want)
		}
	}
}

func TestKeysOfAnotherPurposeAreToldFromBadOnes(t *testing.T) {
	for err, want := range map[error]bool{errKeyUse: true, errKeyOps: true, errKeyType: false, errKeyPrivate: false} {
		if got := (SkippedKey{Reason: err.Error()}).OtherPurpose(); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}
