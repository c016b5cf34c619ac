package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// encrypt makes a compact JWE as an issuer does.
func encrypt(t *testing.T, plain string, alg jose.KeyAlgorithm, enc jose.ContentEncryption, key any, kid string, opts *jose.EncrypterOptions) string {
	t.Helper()
	if opts == nil {
		opts = (&jose.EncrypterOptions{}).WithContentType("JWT")
	}
	e, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: key, KeyID: kid, PBES2Count: 1000}, opts)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := e.Encrypt([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	text, err := sealed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sealedHeader is a message with this header and nothing to decrypt.
func sealedHeader(header string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + ".AA.AA.AA.AA"
}

func newECKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newDecrypter(t *testing.T, keys ...oidc.DecryptionKey) *oidc.Decrypter {
	t.Helper()
	d, err := oidc.NewDecrypter(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEncryptedIDTokensAreOpenedAndVerified(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p256, p521, other := newECKey(t, elliptic.P256()), newECKey(t, elliptic.P521()), newECKey(t, elliptic.P256())
	nameless := newECKey(t, elliptic.P384())
	d := newDecrypter(t,
		oidc.DecryptionKey{ID: "rsa", Algorithm: oidc.RSAOAEP256, Private: rsaKey},
		oidc.DecryptionKey{ID: "direct", Algorithm: oidc.ECDHES, Private: p256},
		oidc.DecryptionKey{ID: "128", Algorithm: oidc.ECDHESA128KW, Private: p256},
		oidc.DecryptionKey{Algorithm: oidc.ECDHESA128KW, Private: nameless},
		oidc.DecryptionKey{ID: "256-old", Algorithm: oidc.ECDHESA256KW, Private: newECKey(t, elliptic.P521())},
		oidc.DecryptionKey{ID: "256", Algorithm: oidc.ECDHESA256KW, Private: p521},
	)
	good := issuer.Token(idClaims(nil), jwt())
	cty := func(s jose.ContentType) *jose.EncrypterOptions { return (&jose.EncrypterOptions{}).WithContentType(s) }
	const undecryptable = "malformed_token: encrypted, and not to be decrypted with the keys at hand"
	const noKey = "unknown_key (kid): encrypted with an algorithm or to a key that is none of ours"
	for _, tt := range []struct{ rule, token, want string }{
		{"RSA-OAEP-256", encrypt(t, good, jose.RSA_OAEP_256, jose.A256GCM, &rsaKey.PublicKey, "rsa", nil), ""},
		{"ECDH-ES", encrypt(t, good, jose.ECDH_ES, jose.A128CBC_HS256, &p256.PublicKey, "direct", nil), ""},
		{"ECDH-ES+A128KW", encrypt(t, good, jose.ECDH_ES_A128KW, jose.A128GCM, &p256.PublicKey, "128", nil), ""},
		{"ECDH-ES+A256KW", encrypt(t, good, jose.ECDH_ES_A256KW, jose.A256CBC_HS512, &p521.PublicKey, "256", nil), ""},
		{"without kid, to the second of two keys", encrypt(t, good, jose.ECDH_ES_A256KW, jose.A192GCM, &p521.PublicKey, "", nil), ""},
		{"without cty", encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", &jose.EncrypterOptions{}), ""},
		{"not encrypted at all", good, ""},

		{"another cty", encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", cty("json")), "malformed_token (cty): what is encrypted is no JWT"},
		{"an unknown kid", encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "new", nil), noKey},
		{"to another key", encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &other.PublicKey, "direct", nil), undecryptable},
		{"to a key of another curve", encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &p521.PublicKey, "direct", nil), undecryptable},
		{"by an algorithm that no key is for", encrypt(t, good, jose.RSA_OAEP, jose.A128GCM, &rsaKey.PublicKey, "rsa", nil), noKey},
		{"with RSA1_5", encrypt(t, good, jose.RSA1_5, jose.A128GCM, &rsaKey.PublicKey, "rsa", nil), noKey},
		{"with a shared key", encrypt(t, good, jose.DIRECT, jose.A128GCM, make([]byte, 16), "direct", nil), noKey},
		{"with a password", encrypt(t, good, jose.PBES2_HS256_A128KW, jose.A128GCM, []byte("password"), "direct", nil), "malformed_token (p2"},
		{"compressed", encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", &jose.EncrypterOptions{Compression: jose.DEFLATE}), "malformed_token (zip): this header parameter is not accepted in an encrypted message"},
		{"of what is not signed", encrypt(t, `{"iss":"`+issuer.URL+`"}`, jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", nil), "malformed_token: not three segments"},
		{"of a token with alg none", encrypt(t, issuer.Token(idClaims(nil), oidctest.Unsigned()), jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", nil), "unsupported_algorithm (alg)"},
		{"of a forged token", encrypt(t, issuer.Token(idClaims(nil), jwt(), oidctest.Forged()), jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", nil), "bad_signature: the signature does not fit the issuer's key"},
		{"twice", encrypt(t, encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", nil), jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", nil), "malformed_token: not three segments"},
		{"to a key without an ID", encrypt(t, good, jose.ECDH_ES_A128KW, jose.A128GCM, &nameless.PublicKey, "any", nil), ""},
		{"an unknown enc", sealedHeader(`{"alg":"ECDH-ES","enc":"A128CBC"}`), "unsupported_algorithm (enc)"},
		{"no enc", sealedHeader(`{"alg":"ECDH-ES"}`), "unsupported_algorithm (enc)"},
		{"an enc that is no string", sealedHeader(`{"alg":"ECDH-ES","enc":5}`), "unsupported_algorithm (enc)"},
		{"an alg that is no string", sealedHeader(`{"alg":["ECDH-ES"],"enc":"A128GCM"}`), "unsupported_algorithm (alg)"},
		{"a kid that is no string", sealedHeader(`{"alg":"ECDH-ES","enc":"A128GCM","kid":5}`), "malformed_token (kid): not a string of 256 bytes at most"},
		{"a long kid", sealedHeader(`{"alg":"ECDH-ES","enc":"A128GCM","kid":"` + strings.Repeat("k", 257) + `"}`), "malformed_token (kid): not a string of 256 bytes at most"},
		{"a kid that is just not too long", sealedHeader(`{"alg":"ECDH-ES","enc":"A128GCM","kid":"` + strings.Repeat("k", 256) + `"}`), noKey},
		{"a header that is no JSON", sealedHeader(`{"alg"`), "malformed_token: not valid JSON"},
		{"a header that go-jose does not take", sealedHeader(`{"alg":"ECDH-ES","enc":"A128GCM","kid":"direct","x5t":1e999}`), undecryptable},
		{"without a key", sealedHeader(`{"alg":"ECDH-ES","enc":"A128GCM","kid":"direct"}`), undecryptable},
		{"a huge one", strings.Repeat("A", 28<<10-3) + "....", "token_too_large: over 28 KiB"},
		{"one that is just not too large", strings.Repeat("A", 28<<10-8) + ".AA.AA..", "token_too_large: header over 4 KiB"},
		{"a huge header", strings.Repeat("A", 4<<10+1) + ".AA.AA.AA.AA", "token_too_large: header over 4 KiB"},
		{"a header that is just not too large", strings.Repeat("A", 4<<10) + ".AA.AA.AA.AA", "malformed_token: not valid JSON"},
		{"line breaks", strings.Replace(encrypt(t, good, jose.ECDH_ES, jose.A128GCM, &p256.PublicKey, "direct", nil), ".", "\n.", 1), "malformed_token: a segment is not strict base64url"},
	} {
		got := ""
		if _, err := v.ValidateIDToken(t.Context(), tt.token, oidc.IDTokenRequirement{
			Recipient: oidc.Recipient{Issuer: issuer.URL, ClientID: "app", Decrypter: d}, Nonce: "n-0",
		}); err != nil {
			got = strings.TrimPrefix(err.Error(), "oidc: ")
		}
		if got != tt.want && (tt.want != "malformed_token (p2" || !strings.HasPrefix(got, tt.want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.rule, got, tt.want)
		}
	}
}

func TestEncryptedMessagesNeedADecrypter(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	key := newECKey(t, elliptic.P256())
	token := encrypt(t, issuer.Token(idClaims(nil), jwt()), jose.ECDH_ES, jose.A128GCM, &key.PublicKey, "", nil)
	for _, d := range []*oidc.Decrypter{nil, {}} {
		_, err := v.ValidateIDToken(t.Context(), token, oidc.IDTokenRequirement{Recipient: oidc.Recipient{Issuer: issuer.URL, ClientID: "app", Decrypter: d}})
		want(t, "error", fmt.Sprint(err), "oidc: malformed_token: encrypted, and there is no Decrypter")
	}
}

// A message without kid is tried with four keys, and no more.
func TestFewKeysAreTriedForAnEncryptedMessage(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	var keys []oidc.DecryptionKey
	for range 5 {
		keys = append(keys, oidc.DecryptionKey{Algorithm: oidc.ECDHESA128KW, Private: newECKey(t, elliptic.P256())})
	}
	to := app(issuer)
	to.Decrypter = newDecrypter(t, keys...)
	for i, k := range keys {
		private, _ := k.Private.(*ecdsa.PrivateKey)
		token := encrypt(t, issuer.Token(idClaims(nil), jwt()), jose.ECDH_ES_A128KW, jose.A128GCM, &private.PublicKey, "", nil)
		_, err := v.ValidateIDToken(t.Context(), token, oidc.IDTokenRequirement{Recipient: to, Nonce: "n-0"})
		want(t, fmt.Sprint("opened by key ", i+1), err == nil, i < 4)
	}
}

// One bit changed anywhere makes a message that is refused, with no word about
// which step found out.
func TestAChangedEncryptedMessageIsRefused(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	key := newECKey(t, elliptic.P256())
	d := newDecrypter(t, oidc.DecryptionKey{Algorithm: oidc.ECDHESA128KW, Private: key})
	token := encrypt(t, issuer.Token(idClaims(nil), jwt()), jose.ECDH_ES_A128KW, jose.A128CBC_HS256, &key.PublicKey, "", nil)
	segments := strings.Split(token, ".")
	for i := 1; i < len(segments); i++ {
		changed := strings.Split(token, ".")
		b, err := base64.RawURLEncoding.DecodeString(segments[i])
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		changed[i] = base64.RawURLEncoding.EncodeToString(b)
		_, err = v.ValidateIDToken(t.Context(), strings.Join(changed, "."), oidc.IDTokenRequirement{Recipient: oidc.Recipient{Issuer: issuer.URL, ClientID: "app", Decrypter: d}})
		want(t, fmt.Sprint("segment ", i), fmt.Sprint(err), "oidc: malformed_token: encrypted, and not to be decrypted with the keys at hand")
	}
}

func TestOnlyKeysThatCanDecryptMakeADecrypter(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("no RSA keys of 1024 bits can be made here:", err)
	}
	p256 := newECKey(t, elliptic.P256())
	otherCurve := *p256
	otherCurve.Curve = elliptic.P384()
	for _, tt := range []struct {
		alg  oidc.KeyAlgorithm
		key  crypto.PrivateKey
		want string
	}{
		{oidc.RSAOAEP256, small, "the modulus has 1024 bits, not 2048 to 8192"},
		{oidc.RSAOAEP256, (*rsa.PrivateKey)(nil), "RSA-OAEP-256 needs an *rsa.PrivateKey"},
		{oidc.RSAOAEP256, &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8192), E: 65537}}, "the modulus has 8193 bits, not 2048 to 8192"},
		{oidc.RSAOAEP256, &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 8191), E: 65537}}, "the key is not a valid RSA key"},
		{oidc.ECDHES, &otherCurve, "the key is not a valid key of its curve"},
		{oidc.RSAOAEP256, p256, "RSA-OAEP-256 needs an *rsa.PrivateKey"},
		{oidc.ECDHES, small, "ECDH-ES needs an *ecdsa.PrivateKey"},
		{oidc.ECDHES, (*ecdsa.PrivateKey)(nil), "ECDH-ES needs an *ecdsa.PrivateKey"},
		{oidc.ECDHES, newECKey(t, elliptic.P224()), "the curve is none of P-256, P-384 and P-521"},
		{"dir", []byte("secret"), `there is no key algorithm "dir": use RSA-OAEP-256, ECDH-ES, ECDH-ES+A128KW or ECDH-ES+A256KW`},
		{"", p256, `there is no key algorithm "": use RSA-OAEP-256, ECDH-ES, ECDH-ES+A128KW or ECDH-ES+A256KW`},
	} {
		_, err := oidc.NewDecrypter(oidc.DecryptionKey{ID: "k", Algorithm: tt.alg, Private: tt.key})
		want(t, string(tt.alg), fmt.Sprint(err), `oidc: decryption key 1 ("k"): `+tt.want)
	}
	_, err = oidc.NewDecrypter()
	want(t, "no keys", fmt.Sprint(err), "oidc: a Decrypter without keys opens nothing: use nil")
}

func TestDecryptionKeysPrintNoSecret(t *testing.T) {
	private := newECKey(t, elliptic.P256())
	secret, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	k := oidc.DecryptionKey{ID: "k-1", Algorithm: oidc.ECDHES, Private: private}
	d := newDecrypter(t, k)
	asJSON, err := json.Marshal(struct {
		Key       oidc.DecryptionKey
		Decrypter *oidc.Decrypter
	}{k, d})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("keys", "key", k, "decrypter", d)
	number := fmt.Sprint(secret)
	for _, text := range []string{
		string(asJSON), log.String(), fmt.Sprintf("%v %+v %#v %s %x", k, k, k, k, k), fmt.Sprintf("%v %+v %#v %s %x", d, d, d, d, d), fmt.Sprintf("%v", []oidc.DecryptionKey{k}),
	} {
		if strings.Contains(text, fmt.Sprintf("%x", secret)) || strings.Contains(text, number) || strings.Contains(text, new(big.Int).SetBytes(secret).String()) {
			t.Errorf("a secret is in %s", text)
		}
	}
	want(t, "a key", fmt.Sprint(k), `decryption key "k-1" (ECDH-ES)`)
	want(t, "a decrypter", fmt.Sprint(d), "oidc.Decrypter")
}

// What is no message encrypted by the issuer is refused, and nothing panics.
func FuzzEncrypted(f *testing.F) {
	c := newClock()
	issuer := newIssuer(f, c)
	v := newValidator(f, issuer, c, nil)
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 7)) // the same in each process
	if err != nil {
		f.Fatal(err)
	}
	var keys []oidc.DecryptionKey
	for _, alg := range []oidc.KeyAlgorithm{oidc.ECDHES, oidc.ECDHESA128KW, oidc.ECDHESA256KW} {
		keys = append(keys, oidc.DecryptionKey{Algorithm: alg, Private: private})
	}
	d, err := oidc.NewDecrypter(keys...)
	if err != nil {
		f.Fatal(err)
	}
	for _, alg := range []jose.KeyAlgorithm{jose.ECDH_ES, jose.ECDH_ES_A128KW, jose.ECDH_ES_A256KW} {
		for _, enc := range []jose.ContentEncryption{jose.A256GCM, jose.A128CBC_HS256} {
			e, err := jose.NewEncrypter(enc, jose.Recipient{Algorithm: alg, Key: &private.PublicKey}, nil)
			if err != nil {
				f.Fatal(err)
			}
			sealed, err := e.Encrypt([]byte("a.b.c"))
			if err != nil {
				f.Fatal(err)
			}
			text, err := sealed.CompactSerialize()
			if err != nil {
				f.Fatal(err)
			}
			var parts [5][]byte
			for i, s := range strings.Split(text, ".") {
				if parts[i], err = base64.RawURLEncoding.DecodeString(s); err != nil {
					f.Fatal(err)
				}
			}
			f.Add(parts[0], parts[1], parts[2], parts[3], parts[4])
		}
	}
	f.Add([]byte(`{"alg":"ECDH-ES","enc":"A128CBC-HS256","epk":{"kty":"EC","crv":"P-256","x":"","y":""},"apu":5}`), []byte{}, []byte{1}, []byte{2}, []byte{3})
	f.Fuzz(func(t *testing.T, header, key, iv, ciphertext, tag []byte) {
		var segments []string
		for _, b := range [][]byte{header, key, iv, ciphertext, tag} {
			segments = append(segments, base64.RawURLEncoding.EncodeToString(b))
		}
		if id, err := v.ValidateIDToken(t.Context(), strings.Join(segments, "."), oidc.IDTokenRequirement{
			Recipient: oidc.Recipient{Issuer: issuer.URL, ClientID: "app", Decrypter: d},
		}); err == nil {
			t.Errorf("accepted: %+v", id)
		}
	})
}
