// Package signing lets go-jose sign with a crypto.Signer by the rules of RFC 7518.
package signing

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/cryptosigner"

	"github.com/claimgate/claimgate/oidc"
)

const minRSABits = 2048 // RFC 7518 section 3.3

// Key returns what go-jose signs with, if the algorithm fits the signer's public key
// and that is good enough. "" means [Usual].
func Key(signer crypto.Signer, algorithm oidc.Algorithm) (jose.SigningKey, error) {
	if signer == nil {
		return jose.SigningKey{}, errors.New("there is no signer")
	}
	usual, err := Usual(signer.Public())
	switch {
	case err != nil:
		return jose.SigningKey{}, err
	case algorithm == "":
		algorithm = usual
	case algorithm == oidc.Ed25519: // go-jose has the older of the two names
		return jose.SigningKey{}, fmt.Errorf("name the algorithm %s, by which servers know %s", oidc.EdDSA, algorithm)
	}
	if !fits(algorithm, usual) {
		return jose.SigningKey{}, fmt.Errorf("algorithm %q is not one of a key of type %T", algorithm, signer.Public())
	}
	return jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: cryptosigner.Opaque(saltedSigner{signer})}, nil
}

// fits reports whether a key whose usual algorithm is the one signs by the other.
func fits(algorithm, usual oidc.Algorithm) bool {
	if usual != oidc.PS256 {
		return algorithm == usual
	}
	switch algorithm { //nolint:exhaustive // those of RSA
	case oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512:
		return true
	default:
		return false
	}
}

// Usual returns the algorithm for a public key: ES256, ES384 or ES512 by the curve,
// EdDSA for Ed25519, and PS256 for RSA.
func Usual(public crypto.PublicKey) (oidc.Algorithm, error) {
	switch pub := public.(type) {
	case *ecdsa.PublicKey:
		switch pub.Curve {
		case elliptic.P256():
			return oidc.ES256, nil
		case elliptic.P384():
			return oidc.ES384, nil
		case elliptic.P521():
			return oidc.ES512, nil
		}
	case ed25519.PublicKey:
		return oidc.EdDSA, nil
	case *rsa.PublicKey:
		if pub.N.BitLen() < minRSABits {
			return "", fmt.Errorf("an RSA key must have %d bits", minRSABits)
		}
		return oidc.PS256, nil
	}
	return "", fmt.Errorf("no signatures can be made with a key of type %T", public)
}

// saltedSigner makes RSASSA-PSS signatures with a salt as long as the hash (RFC
// 7518 section 3.5); go-jose asks for the longest that fits.
type saltedSigner struct{ crypto.Signer }

func (s saltedSigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if pss, ok := opts.(*rsa.PSSOptions); ok {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: pss.Hash}
	}
	return s.Signer.Sign(random, digest, opts)
}
