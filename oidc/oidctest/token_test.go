package oidctest_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

var algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

func segment(t *testing.T, token string, n int) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[n])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func headerOf(t *testing.T, token string) map[string]any { t.Helper(); return segment(t, token, 0) }
func claimsOf(t *testing.T, token string) map[string]any { t.Helper(); return segment(t, token, 1) }

// verify judges a token with go-jose, which this package does not sign with.
func verify(t *testing.T, token string, alg string, key crypto.PublicKey) error {
	t.Helper()
	sig, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		return err
	}
	_, err = sig.Verify(key)
	return err
}

func TestEveryAlgorithmVerifiesWithItsJWK(t *testing.T) {
	issuer := start(t, oidctest.WithAlgorithms(algorithms...))
	_, body := get(t, client(t, issuer), issuer.URLOf(oidctest.JWKS))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(body), &set); err != nil {
		t.Fatal(err)
	}
	for _, alg := range algorithms {
		token := issuer.Token(nil, oidctest.Alg(alg))
		header := headerOf(t, token)
		keys := set.Key(header["kid"].(string))
		if len(keys) != 1 {
			t.Fatalf("%s: %d keys with kid %v", alg, len(keys), header["kid"])
		}
		if header["alg"] != alg || keys[0].Algorithm != alg {
			t.Errorf("%s: header says %v, key says %v", alg, header["alg"], keys[0].Algorithm)
		}
		if err := verify(t, token, alg, keys[0].Key); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if err := verify(t, issuer.Token(nil, oidctest.Alg(alg), oidctest.Forged()), alg, keys[0].Key); err == nil {
			t.Errorf("%s: a forged token verifies", alg)
		}
	}
}

func TestTokenDefaultsFollowTheClock(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	issuer := start(t, oidctest.WithClock(func() time.Time { return now }), oidctest.WithAudience("a", "b"))
	claims := claimsOf(t, issuer.Token(nil))
	if claims["iat"] != 1e6 || claims["exp"] != 1e6+oidctest.Lifetime.Seconds() {
		t.Errorf("iat %v, exp %v", claims["iat"], claims["exp"])
	}
	if claims["iss"] != issuer.URL || claims["sub"] != "alice" || claims["client_id"] != "client" {
		t.Errorf("iss %v, sub %v, client_id %v", claims["iss"], claims["sub"], claims["client_id"])
	}
	if aud, _ := claims["aud"].([]any); len(aud) != 2 {
		t.Errorf("aud %v, want a list of two", claims["aud"])
	}
	if one, two := claims["jti"], claimsOf(t, issuer.Token(nil))["jti"]; one == two {
		t.Error("two tokens have one jti")
	}
}

func TestTokenOptions(t *testing.T) {
	issuer := start(t)
	other := oidctest.NewKey("ES384", "other")

	token := issuer.Token(map[string]any{"sub": oidctest.Omit, "jti": nil, "n": json.Number("12345678901234567890")},
		oidctest.Header("typ", "JWT"), oidctest.NoKeyID())
	if _, there := headerOf(t, token)["kid"]; there {
		t.Error("NoKeyID left kid")
	}
	if got := headerOf(t, token)["typ"]; got != "JWT" {
		t.Errorf("typ %v", got)
	}
	claims := claimsOf(t, token)
	if _, there := claims["sub"]; there {
		t.Error("Omit left sub")
	}
	if v, there := claims["jti"]; !there || v != nil {
		t.Errorf("jti %v, want null", v)
	}

	token = issuer.Token(nil, oidctest.SignWith(other))
	if got := headerOf(t, token)["kid"]; got != "other" {
		t.Errorf("SignWith: kid %v", got)
	}
	if err := verify(t, token, "ES384", other.Public()); err != nil {
		t.Errorf("SignWith: %v", err)
	}

	token = issuer.Token(nil, oidctest.Unsigned())
	if headerOf(t, token)["alg"] != "none" || !strings.HasSuffix(token, ".") {
		t.Errorf("Unsigned: %s", token)
	}

	token = issuer.Token(nil, oidctest.RawHeader([]byte("{")), oidctest.RawClaims([]byte("[]")),
		oidctest.SignFunc(func(input []byte) []byte { return input[:3] }))
	if want := "ew.W10.ZXcu"; token != want {
		t.Errorf("raw token %s, want %s", token, want)
	}

	if got := headerOf(t, issuer.Token(nil, oidctest.KeyID("nobody")))["kid"]; got != "nobody" {
		t.Errorf("KeyID: %v", got)
	}
}

func TestTokenPanicsOnAnAlgorithmWithoutKey(t *testing.T) {
	issuer := start(t)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	issuer.Token(nil, oidctest.Alg("RS256"))
}
