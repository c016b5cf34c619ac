package client

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // crypto.SHA256
	_ "crypto/sha512" // crypto.SHA384, SHA512
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/claimgate/claimgate/oidc"
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

// Format implements fmt.Formatter, for all verbs.
func (k SigningKey) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{%s %s %q}", redacted, string(k.Algorithm), k.KeyID) // fmt has nobody to tell either
}

// LogValue implements slog.LogValuer.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// MarshalText implements encoding.TextMarshaler, which encoding/json uses too.
func (k SigningKey) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(k)), nil }

const minRSABits = 2048 // RFC 7518 section 3.3

// check reports whether the key can sign as it says.
func (k SigningKey) check() error {
	if k.Signer == nil {
		return errors.New("Key.Signer is nil")
	}
	var fits bool
	switch pub := k.Signer.Public().(type) {
	case *rsa.PublicKey:
		if pub.N.BitLen() < minRSABits {
			return fmt.Errorf("Key.Signer is an RSA key of less than %d bits", minRSABits)
		}
		switch k.Algorithm { //nolint:exhaustive // those of RSA
		case oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512:
			fits = true
		}
	case *ecdsa.PublicKey:
		fits = k.Algorithm == oidc.ES256 && pub.Curve == elliptic.P256() ||
			k.Algorithm == oidc.ES384 && pub.Curve == elliptic.P384() ||
			k.Algorithm == oidc.ES512 && pub.Curve == elliptic.P521()
	case ed25519.PublicKey:
		fits = k.Algorithm == oidc.EdDSA
		if k.Algorithm == oidc.Ed25519 {
			return errors.New("Key.Algorithm is Ed25519, which most providers do not know by this name: use EdDSA")
		}
	}
	if !fits {
		return fmt.Errorf("Key.Algorithm %q does not fit the key", k.Algorithm)
	}
	return nil
}

// signJWT returns claims as a JWT that is signed with a key that was checked.
func (k SigningKey) signJWT(typ string, claims map[string]any) (string, error) {
	return signJWT(jose.SigningKey{
		Algorithm: jose.SignatureAlgorithm(k.Algorithm),
		Key:       opaqueSigner{cryptosigner.Opaque(k.Signer), k.Signer},
	}, typ, k.KeyID, claims)
}

// opaqueSigner closes a gap of go-jose, whose signer makes RSASSA-PSS signatures
// with the longest salt that fits: RFC 7518 section 3.5 wants it as long as the hash,
// and strict verifiers insist.
type opaqueSigner struct {
	jose.OpaqueSigner
	signer crypto.Signer
}

func (s opaqueSigner) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	var hash crypto.Hash
	switch alg { //nolint:exhaustive // those of RSASSA-PSS
	case jose.PS256:
		hash = crypto.SHA256
	case jose.PS384:
		hash = crypto.SHA384
	case jose.PS512:
		hash = crypto.SHA512
	default:
		return s.OpaqueSigner.SignPayload(payload, alg)
	}
	h := hash.New()
	h.Write(payload) //nolint:errcheck // a hash never fails
	return s.signer.Sign(rand.Reader, h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
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
