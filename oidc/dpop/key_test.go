package dpop_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

func signer[K crypto.Signer](t *testing.T) func(K, error) crypto.Signer {
	return func(k K, err error) crypto.Signer {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}

// Whatever kind of key signs, our verifier takes the proof, for the key's own
// thumbprint.
func TestKeysOfAllKindsMakeProofs(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p256 := signer[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := signer[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	p521 := signer[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	rsaKey := signer[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	for _, tt := range []struct {
		signer    crypto.Signer
		algorithm oidc.Algorithm
		want      oidc.Algorithm
	}{
		{p256, "", oidc.ES256}, {p384, "", oidc.ES384}, {p521, "", oidc.ES512}, {ed, "", oidc.EdDSA},
		{rsaKey, "", oidc.PS256}, {rsaKey, oidc.RS256, oidc.RS256}, {rsaKey, oidc.PS256, oidc.PS256},
	} {
		key, err := dpop.NewKey(tt.signer, tt.algorithm)
		if err != nil || key.Algorithm() != tt.want {
			t.Errorf("%T: %v, %v", tt.signer, key, err)
			continue
		}
		v := verifier(t, dpop.Config{})
		proof, err := key.Proof("POST", apiURL+"?page=2#top", dpop.Options{AccessToken: token})
		if err != nil {
			t.Fatal(err)
		}
		check := v.Check(dpop.Request{Proofs: []string{proof}, Method: "POST", URL: apiURL})
		if err := check(t.Context(), token, key.Thumbprint()); err != nil {
			t.Errorf("%s: %v", tt.want, err)
		}
	}
}

func TestNewKeyRefusesWhatMakesNoGoodProofs(t *testing.T) {
	p256 := signer[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p224 := signer[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		signer    crypto.Signer
		algorithm oidc.Algorithm
		want      string
	}{
		{nil, "", "dpop: there is no signer"},
		{p256, oidc.ES384, `dpop: algorithm "ES384" is not one of a key of type *ecdsa.PublicKey`},
		{p256, "HS256", `dpop: algorithm "HS256" is not one of a key of type *ecdsa.PublicKey`},
		{p256, "none", `dpop: algorithm "none" is not one of a key of type *ecdsa.PublicKey`},
		{ed, oidc.Ed25519, "dpop: name the algorithm EdDSA, by which servers know Ed25519"},
		{p224, "", "dpop: no signatures can be made with a key of type *ecdsa.PublicKey"},
		{shortRSA{}, "", "dpop: an RSA key must have 2048 bits"},
	} {
		if key, err := dpop.NewKey(tt.signer, tt.algorithm); err == nil || err.Error() != tt.want {
			t.Errorf("got %v, %v, want %q", key, err, tt.want)
		}
	}
}

// shortRSA is a signer with a public key that nobody should accept.
type shortRSA struct{ crypto.Signer }

func (shortRSA) Public() crypto.PublicKey {
	return &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
}

func TestAProofSaysWhatItWasAskedToSay(t *testing.T) {
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	decode := func(proof string) (header, claims map[string]any) {
		for i, into := range []*map[string]any{&header, &claims} {
			text, err := base64.RawURLEncoding.DecodeString(strings.Split(proof, ".")[i])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, into); err != nil {
				t.Fatal(err)
			}
		}
		return header, claims
	}
	proof, err := key.Proof("POST", "https://id.example.com/token", dpop.Options{Nonce: "n", Time: time.Unix(now, 0)})
	if err != nil {
		t.Fatal(err)
	}
	header, claims := decode(proof)
	if header["typ"] != "dpop+jwt" || header["alg"] != "ES256" || header["kid"] != nil || header["jwk"] == nil {
		t.Errorf("header %v", header)
	}
	jwk, _ := header["jwk"].(map[string]any)
	if len(jwk) != 4 || jwk["kty"] != "EC" || jwk["crv"] != "P-256" {
		t.Errorf("jwk %v", jwk)
	}
	_, hasHash := claims["ath"]
	if len(claims) != 5 || claims["htm"] != "POST" || claims["htu"] != "https://id.example.com/token" ||
		claims["iat"] != float64(now) || claims["nonce"] != "n" || hasHash {
		t.Errorf("claims %v", claims)
	}
	again, err := key.Proof("POST", "https://id.example.com/token", dpop.Options{Time: time.Unix(now, 0), AccessToken: token})
	if err != nil {
		t.Fatal(err)
	}
	_, more := decode(again)
	if more["jti"] == claims["jti"] || more["ath"] != hash(token) || more["nonce"] != nil {
		t.Errorf("claims %v and %v", claims, more)
	}
}

func TestNoProofIsMadeForWhatIsNoRequest(t *testing.T) {
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range [][2]string{{"", apiURL}, {"GET", ""}, {"GET", "/orders"}, {"GET", "api.example.com/orders"}, {"GET", "https://u:p@api.example.com/"}} {
		if proof, err := key.Proof(tt[0], tt[1], dpop.Options{}); err == nil {
			t.Errorf("%q: %s", tt, proof)
		}
	}
	if _, err := (&dpop.Key{}).Proof("GET", apiURL, dpop.Options{}); err == nil {
		t.Error("the zero Key makes a proof")
	}
	broken, err := dpop.NewKey(brokenSigner{signer[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := broken.Proof("GET", apiURL, dpop.Options{}); err == nil || !strings.Contains(err.Error(), "dpop: signing a proof: ") {
		t.Errorf("a signer that fails: %v", err)
	}
}

type brokenSigner struct{ crypto.Signer }

func (brokenSigner) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("the token was pulled out")
}

// An Ed25519 key is bytes, which any %v would print.
func TestAKeyPrintsNothingOfItself(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := dpop.NewKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := oidc.Thumbprint(public)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", key)
	inJSON, err := json.Marshal(map[string]any{"key": key})
	if err != nil {
		t.Fatal(err)
	}
	want := "dpop.Key(" + thumbprint + ")"
	for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%+v", key), fmt.Sprintf("%#v", key), key.String()} {
		if text != want {
			t.Errorf("got %s, want %s", text, want)
		}
	}
	if !strings.Contains(log.String(), want) || string(inJSON) != `{"key":{}}` {
		t.Errorf("%s %s", log.String(), inJSON)
	}
}
