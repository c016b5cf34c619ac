package dpop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/internal/signing"
)

// Key signs a client's proofs. It is immutable and safe for concurrent use if its
// signer is. It prints as its thumbprint, never as the key. The zero Key makes no
// proofs.
type Key struct {
	signer     jose.Signer
	algorithm  oidc.Algorithm
	thumbprint string
}

// proofType is the typ of a proof (RFC 9449 section 4.2).
const proofType = "dpop+jwt"

// GenerateKey makes a new key for ES256, which every server that knows DPoP
// accepts. It lives in memory; the tokens that are bound to it are lost with it.
func GenerateKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("dpop: making a key: %w", err)
	}
	return NewKey(private, oidc.ES256)
}

// NewKey makes a key of a signer, which may keep its private key in hardware or
// with a service. The algorithm must fit the signer's public key; "" means ES256,
// ES384 or ES512 by the curve, EdDSA for Ed25519, and PS256 for RSA.
func NewKey(signer crypto.Signer, algorithm oidc.Algorithm) (*Key, error) {
	key, err := signing.Key(signer, algorithm)
	if err != nil {
		return nil, fmt.Errorf("dpop: %w", err)
	}
	k := &Key{algorithm: oidc.Algorithm(key.Algorithm)}
	if k.thumbprint, err = oidc.Thumbprint(signer.Public()); err != nil {
		return nil, err
	}
	if k.signer, err = jose.NewSigner(key, (&jose.SignerOptions{EmbedJWK: true}).WithType(proofType)); err != nil {
		return nil, fmt.Errorf("dpop: %w", err)
	}
	return k, nil
}

// Options are what a proof says beside method and URL.
type Options struct {
	// AccessToken is the token that goes with the request, which the proof names by
	// its hash (ath). It is empty in requests to the token endpoint.
	AccessToken string
	// Nonce is the latest that this server has sent in the header DPoP-Nonce, empty
	// if it has sent none. Nonces are kept by origin: one server's are nothing to
	// another.
	Nonce string
	// Time is when the proof is made; zero means now.
	Time time.Time
}

// proofClaims are the claims of a proof (RFC 9449 section 4.2).
type proofClaims struct {
	ID              string `json:"jti"`
	Method          string `json:"htm"`
	URL             string `json:"htu"`
	IssuedAt        int64  `json:"iat"`
	AccessTokenHash string `json:"ath,omitempty"`
	Nonce           string `json:"nonce,omitempty"`
}

// Proof makes the value of the header DPoP for one request: the method as it is
// sent, and the absolute URL, whose query and fragment are left out as RFC 9449
// section 4.2 wants. A proof is good once: make another for each attempt. Proof
// waits if the signer does.
func (k *Key) Proof(method, url string, o Options) (string, error) {
	if k == nil || k.signer == nil {
		return "", errors.New("dpop: there is no key")
	}
	if method == "" {
		return "", errors.New("dpop: a proof needs the request's method")
	}
	if _, err := NormalizeURL(url); err != nil {
		return "", fmt.Errorf("dpop: the request's URL: %w", err)
	}
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		url = url[:i]
	}
	issuedAt := o.Time
	if issuedAt.IsZero() {
		issuedAt = time.Now()
	}
	claims := proofClaims{ID: rand.Text(), Method: method, URL: url, IssuedAt: issuedAt.Unix(), Nonce: o.Nonce}
	if o.AccessToken != "" {
		claims.AccessTokenHash = tokenHash(o.AccessToken)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("dpop: writing a proof: %w", err)
	}
	jws, err := k.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("dpop: signing a proof: %w", err)
	}
	proof, err := jws.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("dpop: writing a proof: %w", err)
	}
	return proof, nil
}

// tokenHash returns a token's hash as ath has it (RFC 9449 section 4.2).
func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Thumbprint returns the SHA-256 thumbprint of the public key (RFC 7638): what a
// bound token has in cnf.jkt, and an authorization request in dpop_jkt (RFC 9449
// section 10). It is "" for the zero Key.
func (k *Key) Thumbprint() string { return k.thumbprint }

// Algorithm returns the algorithm by which k signs, "" for the zero Key.
func (k *Key) Algorithm() oidc.Algorithm { return k.algorithm }

// String returns the thumbprint, and nothing else of the key.
func (k *Key) String() string { return "dpop.Key(" + k.thumbprint + ")" }

// GoString is String: the key must not get into a log by %#v either.
func (k *Key) GoString() string { return k.String() }

// LogValue is String too.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }
