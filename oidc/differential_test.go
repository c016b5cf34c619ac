package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	golangjwt "github.com/golang-jwt/jwt/v5"
)

// Our verdict about a token is compared with those of two other libraries,
// which read JSON, base64 and keys by code of their own. They are laxer: what
// both refuse, we must not accept.

const (
	differentialIssuer   = "https://id.example.com"
	differentialAudience = "api"
)

var differentialTime = time.Unix(1_800_000_000, 0)

// verdict is what a library says of a token, and whom it takes it for.
type verdict struct {
	accepted bool
	subject  string
}

func ourVerdict(t testing.TB, token, jwks string) (verdict, error) {
	t.Helper()
	v := fixedValidator(t, jwks, differentialTime, IssuerConfig{Issuer: differentialIssuer, Audiences: []string{differentialAudience}})
	defer v.Close()
	got, err := v.Validate(context.Background(), token, Requirement{})
	if err != nil {
		return verdict{}, err
	}
	return verdict{true, got.Subject}, nil
}

// publishedKeys returns the members of a key set one by one, so that the others
// too can do without those that they do not know.
func publishedKeys(jwks string) []json.RawMessage {
	var set map[string]json.RawMessage
	var keys []json.RawMessage
	if json.Unmarshal([]byte(jwks), &set) != nil || json.Unmarshal(set["keys"], &keys) != nil {
		return nil
	}
	return keys
}

// joseVerdict is go-jose's.
func joseVerdict(token, jwks string) verdict {
	var algs []jose.SignatureAlgorithm
	for _, a := range Algorithms() {
		algs = append(algs, jose.SignatureAlgorithm(a))
	}
	parsed, err := josejwt.ParseSigned(token, algs)
	if err != nil {
		return verdict{}
	}
	for _, text := range publishedKeys(jwks) {
		var k jose.JSONWebKey
		var claims josejwt.Claims
		if k.UnmarshalJSON(text) != nil || parsed.Headers[0].KeyID != "" && parsed.Headers[0].KeyID != k.KeyID ||
			parsed.Claims(k.Key, &claims) != nil {
			continue
		}
		expected := josejwt.Expected{Issuer: differentialIssuer, AnyAudience: []string{differentialAudience}, Time: differentialTime}
		return verdict{claims.ValidateWithLeeway(expected, defaultLeeway) == nil, claims.Subject}
	}
	return verdict{}
}

// ed25519Name is EdDSA under the name that RFC 9864 gave it, which neither of
// the others knows.
type ed25519Name struct {
	*golangjwt.SigningMethodEd25519
}

func (ed25519Name) Alg() string { return string(Ed25519) }

// golangVerdict is golang-jwt's. It leaves keys to the caller: see simpleKey.
func golangVerdict(token, jwks string) verdict {
	golangjwt.RegisterSigningMethod(string(Ed25519), func() golangjwt.SigningMethod { return ed25519Name{golangjwt.SigningMethodEdDSA} })
	var algs []string
	for _, a := range Algorithms() {
		algs = append(algs, string(a))
	}
	parser := golangjwt.NewParser(
		golangjwt.WithValidMethods(algs), golangjwt.WithIssuer(differentialIssuer), golangjwt.WithAudience(differentialAudience),
		golangjwt.WithExpirationRequired(), golangjwt.WithIssuedAt(), golangjwt.WithLeeway(defaultLeeway),
		golangjwt.WithTimeFunc(func() time.Time { return differentialTime }),
	)
	parsed, err := parser.Parse(token, func(parsed *golangjwt.Token) (any, error) {
		var set golangjwt.VerificationKeySet
		for _, text := range publishedKeys(jwks) {
			if pub := simpleKey(text, parsed.Header["kid"]); pub != nil {
				set.Keys = append(set.Keys, pub)
			}
		}
		return set, nil
	})
	if err != nil {
		return verdict{}
	}
	subject, err := parsed.Claims.GetSubject()
	return verdict{err == nil, subject}
}

// simpleKey reads a JWK with encoding/json and no care, nil if it has another
// kid than the token or makes no key.
func simpleKey(text json.RawMessage, kid any) crypto.PublicKey {
	var m map[string]any
	if json.Unmarshal(text, &m) != nil || kid != nil && m["kid"] != kid {
		return nil
	}
	number := func(name string) []byte {
		s, _ := m[name].(string)
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			return nil
		}
		return b
	}
	switch m["kty"] {
	case "RSA":
		e := new(big.Int).SetBytes(number("e"))
		if !e.IsInt64() {
			return nil
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(number("n")), E: int(e.Int64())}
	case "EC":
		curve := map[any]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[m["crv"]]
		if curve == nil {
			return nil
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, number("x"), number("y")))
		if err != nil {
			return nil
		}
		return pub
	case "OKP":
		if x := number("x"); m["crv"] == "Ed25519" && len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}

// compareVerdicts is the property: whoever accepts alone is wrong, and those who
// accept take the token for the same subject's.
func compareVerdicts(t *testing.T, token, jwks string) (accepted bool) {
	t.Helper()
	ours, err := ourVerdict(t, token, jwks)
	if ReasonOf(err) == Internal {
		t.Fatal(err)
	}
	if !ours.accepted {
		return false
	}
	others := map[string]verdict{"go-jose": joseVerdict(token, jwks), "golang-jwt": golangVerdict(token, jwks)}
	agree := false
	for name, other := range others {
		agree = agree || other.accepted
		if other.accepted && other.subject != ours.subject {
			t.Fatalf("%s takes the subject for %q, we for %q", name, other.subject, ours.subject)
		}
	}
	if !agree {
		t.Fatalf("only we accept the token %s\nwith the keys %s", token, jwks)
	}
	return true
}

// exampleSet publishes the public halves of the example keys, each under its
// own kid.
func exampleSet(t testing.TB) []string {
	t.Helper()
	keys := []string{withKID(rfc7515A2Key, "rsa"), withKID(rfc7515A3Key, "p256"), withKID(rfc7515A4Key, "p521"), withKID(rfc8037A2, "ed")}
	p384, ok := exampleKey(t, ES384).Public().(*ecdsa.PublicKey)
	if !ok {
		t.Fatal("no EC key")
	}
	point, err := p384.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return append(keys, members{"kty": "EC", "kid": "p384", "crv": "P-384", "x": base64url(point[1:49]), "y": base64url(point[49:])}.String())
}

func withKID(jwk, kid string) string { return strings.TrimSuffix(jwk, "}") + `,"kid":"` + kid + `"}` }

var exampleKIDs = map[Algorithm]string{
	RS256: "rsa", RS384: "rsa", RS512: "rsa", PS256: "rsa", PS384: "rsa", PS512: "rsa",
	ES256: "p256", ES384: "p384", ES512: "p521", EdDSA: "ed", Ed25519: "ed",
}

const (
	goodClaims = `{"iss":"https://id.example.com","sub":"alice","aud":"api","exp":1800000300,"nbf":1799999999,"iat":1799999999}`
	goodHeader = `{"alg":"%s","kid":"%s","typ":"at+jwt"}`
)

// attack is a header, claims and a set with something wrong, or merely unusual:
// the classes of docs/attacks.md, A1 to A19. What is empty is as in a good
// token.
type attack struct{ header, claims, set string }

func attacks(t testing.TB) []attack {
	t.Helper()
	keys := exampleSet(t)
	replaced := func(from, to string) attack {
		if !strings.Contains(goodClaims, from) {
			t.Fatalf("no %s in the good claims", from)
		}
		return attack{claims: strings.Replace(goodClaims, from, to, 1)}
	}
	list := []attack{
		{},
		{header: `{"alg":"none","kid":"p256"}`}, {header: `{"alg":"nOnE"}`}, {header: `{"kid":"p256"}`}, {header: `{"alg":["ES256"]}`}, // A1
		{header: `{"alg":"HS256","kid":"rsa"}`},                                                                                       // A2
		{header: `{"alg":"RS256","kid":"p256"}`}, {header: `{"alg":"ES384","kid":"p256"}`}, {header: `{"alg":"ES256K","kid":"p256"}`}, // A3, A4
		{header: `{"alg":"ES256","jwk":` + rfc7515A3Key + `}`}, {header: `{"alg":"ES256","kid":"p256","jku":"https://evil.example/"}`}, // A5
		{header: `{"alg":"ES256","kid":"p256","x5u":"https://evil.example/"}`}, {header: `{"alg":"ES256","kid":"p256","x5c":["AAAA"]}`},
		{header: `{"alg":"ES256","kid":"../../dev/null"}`}, {header: `{"alg":"ES256","kid":7}`}, {header: `{"alg":"ES256","kid":null}`}, // A6
		{header: `{"alg":"ES256","kid":""}`}, {header: `{"alg":"ES256"}`}, {header: `{"alg":"ES256","kid":"\u0070256"}`},
		{set: setText(withKID(`{"kty":"RSA","n":"`+base64url(rocaModulus(3).Bytes())+`","e":"AQAB"`, "p256"))}, // A9
		{set: setText(strings.Replace(keys[1], `"y":"x`, `"y":"y`, 1))},                                        // A10
		{set: setText(strings.TrimSuffix(keys[1], "}") + `,"use":"enc"}`)},
		{set: setText(strings.TrimSuffix(keys[1], "}") + `,"key_ops":["sign"]}`)},
		{set: setText(strings.TrimSuffix(keys[1], "}") + `,"d":"` + rfc7515A3D + `"}`)},
		{header: `{"alg":"ES256","alg":"none","kid":"p256"}`}, // A11
		replaced(`{`, `{"sub":"mallory",`), replaced(`{`, `{"ISS":"https://evil.example",`), replaced(`{`, `{"\u0073ub":"mallory",`),
		replaced(`alice`, "ali\xffce"), replaced(`alice`, `ali\ud800ce`), replaced(`{`, "\ufeff{"), replaced(`alice`, `ali\u0000ce`), // A12
		replaced(`1800000300`, `"1800000300"`), replaced(`1800000300`, `1e400`), replaced(`1800000300`, `1e18`), replaced(`1800000300`, `null`), // A13
		replaced(`1800000300`, `1800000300.5`), replaced(`1800000300`, `-1`), replaced(`1800000300`, `1799999970`), replaced(`"exp"`, `"Exp"`),
		replaced(`1800000300`, `1799999000`), replaced(`"nbf":1799999999`, `"nbf":1800001000`), replaced(`"iat":1799999999`, `"iat":1800001000`),
		replaced(`"nbf":1799999999`, `"nbf":1800000031`), replaced(`"iat":1799999999`, `"iat":1800000031`),
		{header: `{"alg":"ES256","kid":"p256","crit":["exp"],"exp":1}`}, {header: `{"alg":"ES256","kid":"p256","b64":false}`}, // A14
		{header: `{"alg":"ES256","kid":"p256","crit":[]}`}, {header: `{"alg":"ES256","kid":"p256","crit":["b64"],"b64":true}`},
		{header: `{"alg":"ES256","kid":"p256","zip":"DEF"}`}, {header: `{"alg":"ES256","kid":"p256","enc":"A256GCM"}`}, // A15
		replaced(`"api"`, `"other"`), replaced(`"aud"`, `"Aud"`), replaced(`id.example.com`, `id.example.com/`), replaced(`id.example.com`, `ID.example.com`), // B2, B6
		replaced(`"api"`, `["x","api"]`), replaced(`"api"`, `[["api"]]`), replaced(`"api"`, `7`), replaced(`"alice"`, `7`), // A18
		replaced(`"https://id.example.com"`, `["https://id.example.com"]`), replaced(`"api"`, `[]`), replaced(`"api"`, `["api",null]`),
		replaced(`{`, `{"deep":`+strings.Repeat("[", 31)+strings.Repeat("]", 31)+`,`), replaced(`{`, `{"deep":`+strings.Repeat("[", 32)+strings.Repeat("]", 32)+`,`), // A19
		replaced(`{`, `{"cnf":{"jkt":"x"},`), replaced(`{`, `{"nonce":"n",`), replaced(`{`, `{"number":1e999,`), replaced(`"alice"`, `null`),
		{set: `{}`}, {set: `null`}, {set: `{"keys":null}`}, {set: `{"keys":[null]}`}, {set: `{"keys":[],"keys":[]}`},
	}
	return list
}

func (a attack) filled(t testing.TB, alg Algorithm) attack {
	t.Helper()
	if a.header == "" {
		a.header = fmt.Sprintf(goodHeader, alg, exampleKIDs[alg])
	}
	if a.claims == "" {
		a.claims = goodClaims
	}
	if a.set == "" {
		a.set = setText(exampleSet(t)...)
	}
	return a
}

// FuzzDifferential changes tokens and sets as texts: it looks for other
// spellings of what is signed.
func FuzzDifferential(f *testing.F) {
	set := setText(exampleSet(f)...)
	for _, alg := range Algorithms() {
		good := attack{}.filled(f, alg)
		token := sign(f, alg, good.header, good.claims)
		f.Add(token, set)
		f.Add(token, setText(slices.Concat([]string{`{"kty":"AKP","kid":"p256"}`, `null`}, exampleSet(f))...))
		for _, odd := range []string{token + "=", token + "\n", token + ".", "." + token, token + ".AA", token[:len(token)-1], strings.Replace(token, ".", "..", 1), strings.Replace(token, ".", ".\n", 1)} { // A17
			f.Add(odd, set)
		}
		parts := strings.Split(token, ".")
		f.Add(parts[0]+"."+parts[1]+".", set)
		f.Add(parts[0]+"."+parts[1]+"."+base64url(make([]byte, 64)), set)                              // A7
		f.Add(`{"payload":"`+parts[1]+`","protected":"`+parts[0]+`","signature":"`+parts[2]+`"}`, set) // A16
	}
	for _, a := range attacks(f) {
		a = a.filled(f, ES256)
		f.Add(sign(f, ES256, a.header, a.claims), a.set)
	}
	f.Fuzz(func(t *testing.T, token, jwks string) { compareVerdicts(t, token, jwks) })
}

// FuzzDifferentialSigned changes what is signed and signs it: it looks for
// other readings of headers, claims and sets under good signatures.
func FuzzDifferentialSigned(f *testing.F) {
	for n, a := range attacks(f) {
		// With a header of its own it is made for ES256; else it is tried with one
		// more algorithm, so that each meets some of the attacks.
		es256 := a.filled(f, ES256)
		f.Add(es256.header, es256.claims, es256.set, uint8(slices.Index(Algorithms(), ES256)))
		if i := n % len(Algorithms()); a.header == "" {
			other := a.filled(f, Algorithms()[i])
			f.Add(other.header, other.claims, other.set, uint8(i))
		}
	}
	for i, alg := range Algorithms() {
		good := attack{}.filled(f, alg)
		f.Add(good.header, good.claims, good.set, uint8(i))
	}
	f.Fuzz(func(t *testing.T, header, claims, jwks string, signer uint8) {
		alg := Algorithms()[int(signer)%len(Algorithms())]
		compareVerdicts(t, sign(t, alg, header, claims), jwks)
	})
}

// The seeds are worth what they claim to be only if good tokens pass and the
// others agree that they are good.
func TestTheOthersAcceptGoodTokens(t *testing.T) {
	for _, alg := range Algorithms() {
		good := attack{}.filled(t, alg)
		token := sign(t, alg, good.header, good.claims)
		if !compareVerdicts(t, token, good.set) {
			t.Errorf("%s: the good token is refused", alg)
		}
		if got := joseVerdict(token, good.set); got.accepted != (alg != Ed25519) {
			t.Errorf("%s: go-jose says %+v", alg, got)
		}
		if got := golangVerdict(token, good.set); !got.accepted {
			t.Errorf("%s: golang-jwt says %+v", alg, got)
		}
	}
}
