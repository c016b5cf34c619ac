package oidc_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func benchmarkValidate(b *testing.B, alg string, cache oidc.CacheConfig) {
	issuer := oidctest.NewIssuer(oidctest.WithAlgorithms(alg), oidctest.WithAudience("api"))
	b.Cleanup(issuer.Close)
	v, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"api"}}}, Cache: cache,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(v.Close)
	token := issuer.Token(map[string]any{"scope": "orders.read orders.write", "email": "alice@example.com", "roles": []string{"a", "b"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Validate(b.Context(), token, oidc.Requirement{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkValidate measures a validation without the token cache, and with it.
// BenchmarkRSA is the signature alone, to compare with.
func BenchmarkValidate(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) { benchmarkValidate(b, alg, oidc.CacheConfig{}) })
	}
	b.Run("cached", func(b *testing.B) { benchmarkValidate(b, "RS256", oidc.CacheConfig{MaxEntries: 10, MaxBytes: 1 << 20}) })
}

func BenchmarkRSA(b *testing.B) {
	issuer := oidctest.NewIssuer(oidctest.WithAlgorithms("RS256"))
	b.Cleanup(issuer.Close)
	token := issuer.Token(nil)
	dot := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
	if err != nil {
		b.Fatal(err)
	}
	key := issuer.SigningKey().Public().(*rsa.PublicKey)
	for b.Loop() {
		sum := sha256.Sum256([]byte(token[:dot]))
		if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature); err != nil {
			b.Fatal(err)
		}
	}
}
