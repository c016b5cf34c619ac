package oidc

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"
)

// members is a JWK to be written, without the reader's help.
type members map[string]any

// with returns m with other members set; nil removes one.
func (m members) with(pairs ...any) members {
	out := maps.Clone(m)
	for i := 0; i < len(pairs); i += 2 {
		name := pairs[i].(string)
		if pairs[i+1] == nil {
			delete(out, name)
			continue
		}
		out[name] = pairs[i+1]
	}
	return out
}

func (m members) String() string {
	b, err := json.Marshal(map[string]any(m))
	if err != nil {
		panic(err)
	}
	return string(b)
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func ecJWK(t testing.TB, kid string, curve elliptic.Curve) (*ecdsa.PrivateKey, members) {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	size := (len(point) - 1) / 2
	return private, members{"kty": "EC", "kid": kid, "crv": curve.Params().Name, "x": base64url(point[1 : 1+size]), "y": base64url(point[1+size:])}
}

func edJWK(t testing.TB, kid string) (ed25519.PrivateKey, members) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return private, members{"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": base64url(public)}
}

// rsaJWK makes a key of any size at once: the modulus is odd, which is all that
// a reader can see of it.
func rsaJWK(t testing.TB, kid string, bits int) members {
	t.Helper()
	n := oddNumber(t, bits)
	return members{"kty": "RSA", "kid": kid, "n": base64url(n.Bytes()), "e": "AQAB"}
}

func oddNumber(t testing.TB, bits int) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-1)))
	if err != nil {
		t.Fatal(err)
	}
	return n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
}

func certificate(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, ca)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

func TestKeyIsUsedOrSkipped(t *testing.T) {
	rsaKey := rsaJWK(t, "r", 2048)
	p256, p256JWK := ecJWK(t, "e", elliptic.P256())
	_, p384JWK := ecJWK(t, "e", elliptic.P384())
	_, p521JWK := ecJWK(t, "e", elliptic.P521())
	_, p224JWK := ecJWK(t, "e", elliptic.P224())
	_, edKey := edJWK(t, "o")
	other, _ := ecJWK(t, "", elliptic.P256())

	n, _ := base64.RawURLEncoding.DecodeString(rsaKey["n"].(string))
	x, _ := base64.RawURLEncoding.DecodeString(p256JWK["x"].(string))
	e := func(v int64) string { return base64url(big.NewInt(v).Bytes()) }
	es256 := ES256.bit()

	tests := []struct {
		name string
		jwk  string
		algs algSet
		err  error
	}{
		{"RSA", rsaKey.String(), setRSA, nil},
		{"RSA of 2047 bits", rsaJWK(t, "", 2047).String(), 0, errKeyModulus},
		{"RSA of 1024 bits", rsaJWK(t, "", 1024).String(), 0, errKeyModulus},
		{"RSA of 8192 bits", rsaJWK(t, "", 8192).String(), setRSA, nil},
		{"RSA of 8193 bits", rsaJWK(t, "", 8193).String(), 0, errKeyModulus},
		{"RSA of 2047 bits padded with a zero byte", rsaKey.with("n", base64url(append([]byte{0}, oddNumber(t, 2047).Bytes()...))).String(), 0, errKeyModulus},
		{"RSA modulus with a leading zero byte", rsaKey.with("n", base64url(append([]byte{0}, n...))).String(), setRSA, nil},
		{"RSA modulus even", rsaKey.with("n", base64url(append(n[:len(n)-1:len(n)-1], 2))).String(), 0, errKeyModulus},
		{"RSA modulus absent", rsaKey.with("n", nil).String(), 0, errKeyModulus},
		{"RSA modulus no string", rsaKey.with("n", 65537).String(), 0, errKeyModulus},
		{"RSA modulus in padded base64", rsaKey.with("n", base64.URLEncoding.EncodeToString(n)).String(), 0, errKeyModulus},
		{"RSA modulus in plain base64", rsaKey.with("n", "++//"+base64url(n)[4:]).String(), 0, errKeyModulus},
		{"RSA modulus with a line break", rsaKey.with("n", base64url(n)[:8]+"\n"+base64url(n)[8:]).String(), 0, errKeyModulus},
		{"RSA exponent 3", rsaKey.with("e", "Aw").String(), setRSA, nil},
		{"RSA exponent with leading zeros", rsaKey.with("e", "AAEAAQ").String(), setRSA, nil},
		{"RSA exponent 2^31-1", rsaKey.with("e", e(1<<31-1)).String(), setRSA, nil},
		{"RSA exponent 2^31+1", rsaKey.with("e", e(1<<31+1)).String(), 0, errKeyExponent},
		{"RSA exponent of 200 bits", rsaKey.with("e", base64url(n[:25])).String(), 0, errKeyExponent},
		{"RSA exponent 1", rsaKey.with("e", "AQ").String(), 0, errKeyExponent},
		{"RSA exponent 0", rsaKey.with("e", "AA").String(), 0, errKeyExponent},
		{"RSA exponent even", rsaKey.with("e", e(65536)).String(), 0, errKeyExponent},
		{"RSA exponent absent", rsaKey.with("e", nil).String(), 0, errKeyExponent},
		{"RSA exponent with unused bits set", rsaKey.with("e", "Ax").String(), 0, errKeyExponent},
		{"RSA with members of other types", rsaKey.with("crv", "", "x", 1, "x5c", []string{""}).String(), setRSA, nil},

		{"P-256", p256JWK.String(), es256, nil},
		{"P-384", p384JWK.String(), ES384.bit(), nil},
		{"P-521", p521JWK.String(), ES512.bit(), nil},
		{"P-224", p224JWK.String(), 0, errKeyCurve},
		{"secp256k1", p256JWK.with("crv", "secp256k1").String(), 0, errKeyCurve},
		{"no curve", p256JWK.with("crv", nil).String(), 0, errKeyCurve},
		{"curve in another case", p256JWK.with("crv", "p-256").String(), 0, errKeyCurve},
		{"point off the curve", p256JWK.with("y", p256JWK["x"]).String(), 0, errKeyPoint},
		{"point at zero", p256JWK.with("x", base64url(make([]byte, 32)), "y", base64url(make([]byte, 32))).String(), 0, errKeyPoint},
		{"point of another curve", p384JWK.with("crv", "P-256").String(), 0, errKeyCoordinate},
		{"short coordinate", p256JWK.with("x", base64url(x[1:])).String(), 0, errKeyCoordinate},
		{"long coordinate", p256JWK.with("x", base64url(append([]byte{0}, x...))).String(), 0, errKeyCoordinate},
		{"no coordinate", p256JWK.with("y", nil).String(), 0, errKeyCoordinate},

		{"Ed25519", edKey.String(), EdDSA.bit(), nil},
		{"Ed25519 short", edKey.with("x", base64url(make([]byte, 31))).String(), 0, errKeyCoordinate},
		{"Ed25519 off the curve", edKey.with("x", base64url(append([]byte{2}, make([]byte, 31)...))).String(), 0, errKeyPoint},
		{"Ed25519 not reduced", edKey.with("x", base64url([]byte(strings.Repeat("\xff", 32)))).String(), 0, errKeyPoint},
		{"Ed448", edKey.with("crv", "Ed448").String(), 0, errKeyCurve},
		{"X25519", edKey.with("crv", "X25519").String(), 0, errKeyCurve},

		{"oct", members{"kty": "oct", "k": "AAAA"}.String(), 0, errKeySymmetric},
		{"post-quantum", members{"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA"}.String(), 0, errKeyType},
		{"no kty", rsaKey.with("kty", nil).String(), 0, errKeyType},
		{"kty in another case", rsaKey.with("kty", "rsa").String(), 0, errKeyType},
		{"member names in another case", strings.Replace(rsaKey.String(), `"kty"`, `"KTY"`, 1), 0, errKeyType},

		{"use sig", rsaKey.with("use", "sig").String(), setRSA, nil},
		{"use jwt-svid", p256JWK.with("use", "jwt-svid").String(), es256, nil},
		{"use enc", rsaKey.with("use", "enc").String(), 0, errKeyUse},
		{"use empty", rsaKey.with("use", "").String(), 0, errKeyUse},
		{"use a list", rsaKey.with("use", []string{"sig"}).String(), 0, errKeyUse},
		{"use null", `{"use":null,` + rsaKey.String()[1:], setRSA, nil},
		{"key_ops verify", rsaKey.with("key_ops", []string{"sign", "verify"}).String(), setRSA, nil},
		{"key_ops without verify", rsaKey.with("key_ops", []string{"encrypt"}).String(), 0, errKeyOps},
		{"key_ops empty", rsaKey.with("key_ops", []string{}).String(), 0, errKeyOps},
		{"key_ops a string", rsaKey.with("key_ops", "verify").String(), 0, errKeyOps},

		{"private RSA", rsaKey.with("d", "AAAA").String(), 0, errKeyPrivate},
		{"RSA with a factor", rsaKey.with("p", "AAAA").String(), 0, errKeyPrivate},
		{"private EC", p256JWK.with("d", "AAAA").String(), 0, errKeyPrivate},
		{"private Ed25519", edKey.with("d", "AAAA").String(), 0, errKeyPrivate},

		{"alg pins", rsaKey.with("alg", "PS384").String(), PS384.bit(), nil},
		{"alg of the curve", p256JWK.with("alg", "ES256").String(), es256, nil},
		{"alg of another curve", p256JWK.with("alg", "ES384").String(), 0, errKeyAlg},
		{"alg of another type", rsaKey.with("alg", "ES256").String(), 0, errKeyAlg},
		{"alg EdDSA", edKey.with("alg", "EdDSA").String(), EdDSA.bit(), nil},
		{"alg Ed25519", edKey.with("alg", "Ed25519").String(), EdDSA.bit(), nil},
		{"alg for encryption", rsaKey.with("alg", "RSA-OAEP").String(), 0, errKeyAlg},
		{"alg HS256", rsaKey.with("alg", "HS256").String(), 0, errKeyAlg},
		{"alg none", rsaKey.with("alg", "none").String(), 0, errKeyAlg},
		{"alg a number", rsaKey.with("alg", 1).String(), 0, errKeyAlg},

		{"x5c of the key", p256JWK.with("x5c", []string{certificate(t, p256.Public())}).String(), es256, nil},
		{"x5c of another key", p256JWK.with("x5c", []string{certificate(t, other.Public())}).String(), 0, errKeyCert},
		{"x5c of another type", rsaKey.with("x5c", []string{certificate(t, other.Public())}).String(), 0, errKeyCert},
		{"x5c empty", p256JWK.with("x5c", []string{}).String(), es256, nil},
		{"x5c with an empty string", p256JWK.with("x5c", []string{""}).String(), es256, nil},
		{"x5c no certificate", p256JWK.with("x5c", []string{"AAAA"}).String(), es256, nil},
		{"x5c no list", p256JWK.with("x5c", certificate(t, other.Public())).String(), es256, nil},
		{"x5c of numbers", p256JWK.with("x5c", []int{1}).String(), es256, nil},

		{"no kid", p256JWK.with("kid", nil).String(), es256, nil},
		{"kid a number", p256JWK.with("kid", 7).String(), 0, errKeyID},
		{"unknown members", p256JWK.with("ext", true, "nbf", 1).String(), es256, nil},
		{"duplicate member", `{"kid":"a",` + p256JWK.String()[1:], 0, errJSONDuplicate},
		{"invalid UTF-8", "{\"note\":\"\xff\"," + p256JWK.String()[1:], 0, errJSONUTF8},
		{"lone surrogate", `{"note":"\ud800",` + p256JWK.String()[1:], 0, errJSONUTF8},
		{"null", `null`, 0, errKeyNoObject},
		{"a number", `17`, 0, errKeyNoObject},
		{"a list", `[]`, 0, errKeyNoObject},
		{"empty object", `{}`, 0, errKeyType},
		{"64 KiB", p256JWK.with("pad", strings.Repeat("a", maxKeySize-len(p256JWK.with("pad", "").String()))).String(), es256, nil},
		{"over 64 KiB", p256JWK.with("pad", strings.Repeat("a", maxKeySize)).String(), 0, errKeyTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := parseKey(tt.jwk)
			if err != tt.err {
				t.Fatalf("parseKey: %v, want %v", err, tt.err)
			}
			if err == nil && k.algs != tt.algs {
				t.Errorf("the key may verify %b, want %b", k.algs, tt.algs)
			}
		})
	}
}

func TestKeyIsTheOnePublished(t *testing.T) {
	p256, p256JWK := ecJWK(t, "e", elliptic.P256())
	ed, edKey := edJWK(t, "o")
	n := oddNumber(t, 2048)
	for _, tt := range []struct {
		jwk  members
		want interface{ Equal(crypto.PublicKey) bool }
	}{
		{p256JWK, p256.Public().(*ecdsa.PublicKey)},
		{edKey, ed.Public().(ed25519.PublicKey)},
		{members{"kty": "RSA", "kid": "r", "n": base64url(n.Bytes()), "e": "AQAB"}, &rsa.PublicKey{N: n, E: 65537}},
	} {
		k, err := parseKey(tt.jwk.String())
		if err != nil {
			t.Fatal(err)
		}
		if !tt.want.Equal(k.pub) || k.kid != tt.jwk["kid"] || !k.hasKID {
			t.Errorf("parseKey(%s) is another key: %+v", tt.jwk, k)
		}
	}
}

func TestEdwardsPointAgreesWithGeneratedKeys(t *testing.T) {
	for range 50 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkEdwards25519(public); err != nil {
			t.Fatalf("%x: %v", public, err)
		}
	}
}

func TestEachPrivateMemberIsRefused(t *testing.T) { // A10
	for name, kinds := range map[string][]string{
		"RSA": {"d", "p", "q", "dp", "dq", "qi", "oth"}, "EC": {"d"}, "OKP": {"d"},
	} {
		jwk := map[string]string{"RSA": rfc7515A2Key, "EC": rfc7515A3Key, "OKP": rfc8037A2}[name]
		for _, member := range kinds {
			for _, value := range []string{`"AQAB"`, `""`, `[]`, `7`} {
				if _, err := parseKey(strings.TrimSuffix(jwk, "}") + `,"` + member + `":` + value + `}`); !errors.Is(err, errKeyPrivate) {
					t.Errorf("%s with %s: %v", name, member, err)
				}
			}
		}
	}
}

func TestMembersOfAKeyAreExact(t *testing.T) {
	ones := strings.Repeat("_", 682) // 511 and a half bytes of ones
	for name, tt := range map[string]struct {
		key string
		err error
	}{
		"a modulus with unused bits that are set":    {`{"kty":"RSA","e":"AQAB","n":"` + ones + `_"}`, errKeyModulus},
		"that modulus without them":                  {`{"kty":"RSA","e":"AQAB","n":"` + ones + `8"}`, nil},
		"an exponent of which 64 bits are a good":    {strings.Replace(rfc7515A2Key, `"AQAB"`, `"`+base64url([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})+`"`, 1), errKeyExponent},
		"an exponent of 2^31+1":                      {strings.Replace(rfc7515A2Key, `"AQAB"`, `"gAAAAQ"`, 1), errKeyExponent},
		"an exponent of 2^31-1":                      {strings.Replace(rfc7515A2Key, `"AQAB"`, `"f____w"`, 1), nil},
		"a key of 64 KiB":                            {strings.TrimSuffix(rfc7515A3Key, "}") + strings.Repeat(" ", maxKeySize-len(rfc7515A3Key)) + "}", nil},
		"a key of 64 KiB and a byte":                 {strings.TrimSuffix(rfc7515A3Key, "}") + strings.Repeat(" ", maxKeySize-len(rfc7515A3Key)+1) + "}", errKeyTooLarge},
		"a coordinate with unused bits that are set": {strings.Replace(rfc7515A3Key, `VEU"`, `VEV"`, 1), errKeyCoordinate},
	} {
		if _, err := parseKey(tt.key); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
}

// A number is no text, even if its digits are good base64url.
func TestMembersOfAKeyAreStrings(t *testing.T) {
	for n := range 1000 {
		x := fmt.Sprintf("1%038d", n) + "0000" // 43 characters
		if _, err := parseKey(`{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}`); err != nil {
			continue // not on the curve
		}
		if _, err := parseKey(`{"kty":"OKP","crv":"Ed25519","x":` + x + `}`); !errors.Is(err, errKeyCoordinate) {
			t.Errorf("a number: %v", err)
		}
		return
	}
	t.Error("no such key found")
}

// A certificate never adds trust, so one whose key is of a kind that nobody knows
// is none.
func TestCertificateOfAnUnknownKindOfKey(t *testing.T) {
	signer, jwk := ecJWK(t, "e", elliptic.P256())
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	der = bytes.Replace(der, []byte{0x06, 3, 0x2b, 0x65, 0x70}, []byte{0x06, 3, 0x2b, 0x65, 0x63}, 1) // not Ed25519 any more
	if cert, err := x509.ParseCertificate(der); err != nil || cert.PublicKey != nil {
		t.Fatalf("the certificate's key is known: %v", err)
	}
	if _, err := parseKey(jwk.with("x5c", []string{base64.StdEncoding.EncodeToString(der)}).String()); err != nil {
		t.Error(err)
	}
}
