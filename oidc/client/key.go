package client

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/internal/signing"
)

// SigningKey is a private key that signs for this client: client assertions
// ([PrivateKeyJWT]) and request objects. Nothing prints it.
type SigningKey struct {
	// Signer is the private key: of crypto/rsa, crypto/ecdsa, crypto/ed25519, or a
	// key that does not leave its module. It must be safe for concurrent use.
	// Required.
	Signer crypto.Signer
	// Algorithm is how it signs, such as PS256 or ES256; it must fit the key.
	// Required.
	Algorithm oidc.Algorithm
	// KeyID is the kid of the public key in the client's key set, as the provider
	// knows it; "" sends none.
	KeyID string
}

// UsualAlgorithm is the algorithm for a key where nothing else is agreed: PS256,
// ES256, ES384, ES512 or EdDSA, by its kind.
func UsualAlgorithm(public crypto.PublicKey) (oidc.Algorithm, error) {
	return signing.Usual(public)
}

// Format implements fmt.Formatter, for all verbs.
func (k SigningKey) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s %s %q}", redacted, string(k.Algorithm), k.KeyID) // fmt has nobody to tell either
}

// LogValue implements slog.LogValuer.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// MarshalText implements encoding.TextMarshaler, which encoding/json uses too.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(k)), nil }

// check reports whether the key can sign as it says.
func (k SigningKey) check() error {
	if k.Algorithm == "" {
		return errors.New("the algorithm is empty")
	}
	_, err := signing.Key(k.Signer, k.Algorithm)
	return err
}

// signJWT returns claims as a signed JWT.
func (k SigningKey) signJWT(typ string, claims map[string]any) (string, error) {
	key, err := signing.Key(k.Signer, k.Algorithm)
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return signJWT(key, typ, k.KeyID, claims)
}

func signJWT(key jose.SigningKey, typ, kid string, claims map[string]any) (string, error) {
	options := (&jose.SignerOptions{}).WithType(jose.ContentType(typ))
	if kid != "" {
		options = options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(key, options)
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("signing a JWT: %w", err)
	}
	return signed.CompactSerialize()
}

// timeClaims returns what each JWT that a client signs has: when it was made, when
// it ends, and an identifier that none other has (RFC 7519 section 4.1).
func timeClaims(now time.Time, life time.Duration) map[string]any {
	return map[string]any{"iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text()}
}
