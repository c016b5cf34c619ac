package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// What no other library can read has no bad signature: nothing is known about the
// signature. It is the token that is malformed, under each name of an algorithm
// and whether its key is known or not.
func TestHeadersThatCannotBeReadAreMalformed(t *testing.T) {
	v := fixedValidator(t, setText(exampleSet(t)...), differentialTime, IssuerConfig{Issuer: differentialIssuer, AnyAudience: true})
	for _, alg := range []Algorithm{RS256, PS256, ES256, EdDSA, Ed25519} {
		for _, odd := range []string{`"x":1e999`, `"x":[{"y":-1e999}]`, `"nonce":7`, `"nonce":["n"]`, `"nonce":null`} {
			for _, kid := range []string{exampleKIDs[alg], "unknown"} {
				header := fmt.Sprintf(`{"alg":"%s","kid":"%s",%s}`, alg, kid, odd)
				_, err := v.Validate(t.Context(), sign(t, alg, header, goodClaims), Requirement{})
				var e *Error
				if !errors.As(err, &e) || e.Reason != MalformedToken {
					t.Errorf("%s: %v", header, err)
				}
			}
		}
	}
}

// Under each name of an algorithm, a signature is good for one text and in one
// length.
func TestOnlyTheSignedTextIsGoodUnderEachName(t *testing.T) {
	set := setText(exampleSet(t)...)
	for _, alg := range Algorithms() {
		header := fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, alg, exampleKIDs[alg])
		good := sign(t, alg, header, "x")
		if _, reason := verifyJWS(good, set); reason != "" {
			t.Errorf("%s: the good one: %s", alg, reason)
		}
		parts := strings.Split(good, ".")
		sig := mustDecode(t, parts[2])
		for name, bad := range map[string]string{
			"another text":     parts[0] + "." + segment("y") + "." + parts[2],
			"a byte more":      parts[0] + "." + parts[1] + "." + base64url(append(sig[:len(sig):len(sig)], 0)),
			"a byte before":    parts[0] + "." + parts[1] + "." + base64url(append([]byte{0}, sig...)),
			"a byte less":      parts[0] + "." + parts[1] + "." + base64url(sig[:len(sig)-1]),
			"another's of it":  parts[0] + "." + parts[1] + "." + base64url(make([]byte, len(sig))),
			"a changed header": segment(header+" ") + "." + parts[1] + "." + parts[2],
		} {
			if _, reason := verifyJWS(bad, set); reason != BadSignature {
				t.Errorf("%s, %s: %q", alg, name, reason)
			}
		}
	}
}

func TestSaltOfEachPSS(t *testing.T) { // A8
	private, ok := exampleKey(t, PS256).(*rsa.PrivateKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	set := setText(exampleSet(t)...)
	for alg, hash := range map[Algorithm]crypto.Hash{PS256: crypto.SHA256, PS384: crypto.SHA384, PS512: crypto.SHA512} {
		input := segment(fmt.Sprintf(`{"alg":"%s","kid":"rsa"}`, alg)) + "." + segment("x")
		h := hash.New()
		h.Write([]byte(input))
		for salt, want := range map[int]Reason{hash.Size(): "", hash.Size() - 1: BadSignature, 20: BadSignature} {
			sig, err := rsa.SignPSS(rand.Reader, private, hash, h.Sum(nil), &rsa.PSSOptions{SaltLength: salt})
			if err != nil {
				t.Fatal(err)
			}
			if _, reason := verifyJWS(input+"."+base64url(sig), set); reason != want {
				t.Errorf("%s with a salt of %d bytes: %q, want %q", alg, salt, reason, want)
			}
		}
	}
}

// The choice of the key rules this out; a mistake there must not become a panic
// or worse here.
func TestKeysOfAnotherKindVerifyNothing(t *testing.T) {
	for alg, keys := range map[Algorithm][]crypto.PublicKey{
		Ed25519: {exampleKey(t, RS256).Public(), ed25519.PublicKey{1}, ed25519.PublicKey(nil), nil},
		EdDSA:   {exampleKey(t, RS256).Public(), exampleKey(t, ES256).Public(), ed25519.PublicKey{1}, nil},
		RS256:   {exampleKey(t, ES256).Public(), exampleKey(t, EdDSA).Public(), nil},
		PS256:   {exampleKey(t, ES256).Public(), exampleKey(t, EdDSA).Public(), nil},
		ES256:   {exampleKey(t, ES384).Public(), exampleKey(t, RS256).Public(), exampleKey(t, EdDSA).Public(), nil},
	} {
		token := sign(t, alg, fmt.Sprintf(`{"alg":"%s"}`, alg), "{}")
		c, refused := parseCompact(token, &jsonRoom{}, nil)
		if refused != nil {
			t.Fatal(refused)
		}
		for _, key := range keys {
			if c.verifiedBy(key) {
				t.Errorf("%s verified by a %T", alg, key)
			}
		}
	}
}

// joseVerifies is go-jose's verdict on a signature.
func joseVerifies(t *testing.T, token string, alg Algorithm, pub crypto.PublicKey) bool {
	t.Helper()
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatalf("go-jose does not take %s: %v", token, err)
	}
	_, err = jws.Verify(pub)
	return err == nil
}

// The standard library verifies for us what it verifies for go-jose: whatever the
// algorithm, the key and the signature, both say the same.
func TestSignaturesAreJudgedAsByGoJose(t *testing.T) {
	for _, alg := range Algorithms() {
		if alg == Ed25519 { // a name that go-jose does not know; the rest is EdDSA's
			continue
		}
		good := sign(t, alg, fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, alg, exampleKIDs[alg]), goodClaims)
		parts := strings.Split(good, ".")
		sig := mustDecode(t, parts[2])
		half := len(sig) / 2
		signatures := map[string][]byte{
			"good": sig, "short": sig[:len(sig)-1], "long": append(slices.Clone(sig), 0), "padded": append([]byte{0}, sig...),
			"the other way round": slices.Concat(sig[half:], sig[:half]), "zeros": make([]byte, len(sig)), "one byte": {1},
			"ones": slices.Repeat([]byte{0xff}, len(sig)),
		}
		for i := range sig {
			changed := slices.Clone(sig)
			changed[i] ^= 1 << (i % 8)
			signatures[fmt.Sprintf("byte %d changed", i)] = changed
		}
		accepted := 0
		for name, signature := range signatures {
			for _, of := range Algorithms() {
				if of != alg && name != "good" { // another key
					continue
				}
				token := parts[0] + "." + parts[1] + "." + base64url(signature)
				c, refused := parseCompact(token, &jsonRoom{}, nil)
				if refused != nil {
					t.Fatal(refused)
				}
				pub := exampleKey(t, of).Public()
				ours, theirs := c.verifiedBy(pub), joseVerifies(t, token, alg, pub)
				if ours != theirs {
					t.Errorf("%s, signature %s, key of %s: we say %t, go-jose %t", alg, name, of, ours, theirs)
				}
				if ours && name != "good" {
					t.Errorf("%s: good with the signature %s", alg, name)
				}
				if ours {
					accepted++
				}
			}
		}
		if accepted == 0 {
			t.Errorf("%s: nothing is good", alg)
		}
	}
}

// A signature that the key has made is none under an algorithm that is not the
// key's: of another curve, or of another kind.
func TestAnotherAlgorithmOfTheKeyVerifiesNothing(t *testing.T) {
	const text = "header.claims"
	for _, of := range []Algorithm{ES256, ES384, ES512, EdDSA} {
		private := exampleKey(t, of)
		for _, alg := range Algorithms() {
			c := compact{header: header{alg: alg}, signingInput: text}
			fits := alg == of || of == EdDSA && alg == Ed25519
			if key, ok := private.(*ecdsa.PrivateKey); ok {
				_, digest := alg.digest(text)
				r, s, err := ecdsa.Sign(rand.Reader, key, digest)
				if err != nil {
					t.Fatal(err)
				}
				size := (key.Params().BitSize + 7) / 8
				c.signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
			} else if key, ok := private.(ed25519.PrivateKey); ok {
				c.signature = ed25519.Sign(key, []byte(text))
			}
			if got := c.verifiedBy(private.Public()); got != fits {
				t.Errorf("%s signed by the key of %s: %t, want %t", alg, of, got, fits)
			}
		}
	}
}
