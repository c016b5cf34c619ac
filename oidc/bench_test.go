package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"

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
// BenchmarkSignature is the signature alone, to compare with.
func BenchmarkValidate(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) { benchmarkValidate(b, alg, oidc.CacheConfig{}) })
	}
	b.Run("cached", func(b *testing.B) { benchmarkValidate(b, "RS256", oidc.CacheConfig{MaxEntries: 10, MaxBytes: 1 << 20}) })
}

func BenchmarkSignature(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			issuer := oidctest.NewIssuer(oidctest.WithAlgorithms(alg))
			b.Cleanup(issuer.Close)
			token := issuer.Token(nil)
			dot := strings.LastIndexByte(token, '.')
			input := []byte(token[:dot])
			signature, err := base64.RawURLEncoding.DecodeString(token[dot+1:])
			if err != nil {
				b.Fatal(err)
			}
			public := issuer.SigningKey().Public()
			b.ReportAllocs()
			for b.Loop() {
				if !verifyBare(public, input, signature) {
					b.Fatal("the signature is bad")
				}
			}
		})
	}
}

// verifyBare is the least that it takes to verify a signature.
func verifyBare(public crypto.PublicKey, input, signature []byte) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		sum := sha256.Sum256(input)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(input)
		half := len(signature) / 2
		return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:]))
	case ed25519.PublicKey:
		return ed25519.Verify(key, input, signature)
	default:
		return false
	}
}

// What a validation allocates: budgets, so that nobody spends them unnoticed. Of a
// token that is not in the cache, up to 21 are the signature's.
func TestAllocationsOfAValidation(t *testing.T) {
	if testing.Short() {
		t.Skip("mutants that only waste something are waived")
	}
	for _, tt := range []struct {
		alg    string
		cached bool
		want   float64
	}{
		{"RS256", true, 0}, {"RS256", false, 26}, {"ES256", false, 38}, {"EdDSA", false, 15},
	} {
		issuer := oidctest.NewIssuer(oidctest.WithAlgorithms(tt.alg), oidctest.WithAudience("api"))
		t.Cleanup(issuer.Close)
		cfg := oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"api"}}}}
		if tt.cached {
			cfg.Cache = oidc.CacheConfig{MaxEntries: 10, MaxBytes: 1 << 20}
		}
		v, err := oidc.NewValidator(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.Close)
		token := issuer.Token(map[string]any{"scope": "orders.read orders.write", "email": "alice@example.com", "roles": []string{"a", "b"}})
		for _, refused := range []bool{false, true} {
			want := tt.want
			req := oidc.Requirement{Deadline: time.Now().Add(time.Hour)}
			if refused {
				req.Audiences = []string{"other"}
				want = min(want, 12) + 3 // no signature is looked at, and there is an error
			}
			got := testing.AllocsPerRun(100, func() {
				if _, err := v.Validate(context.Background(), token, req); (err != nil) != refused {
					t.Fatal(err)
				}
			})
			t.Logf("%s, cached %t, refused %t: %v", tt.alg, tt.cached, refused, got)
			if got > want {
				t.Errorf("%s, cached %t, refused %t: %v allocations, want %v at most", tt.alg, tt.cached, refused, got, want)
			}
		}
	}
}
