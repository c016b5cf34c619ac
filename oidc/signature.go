package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
)

// verifiedBy reports whether the token is signed by pub, by the rules of RFC 7518
// section 3 and RFC 8037 section 3.1. The standard library has all of the
// cryptography; go-jose would ask it for the same, but reads the header anew for
// each signature, which costs more than all of our own parsing. Tests compare the
// two. The key store has made sure that the key fits the token's algorithm; a
// mistake there verifies nothing here.
func (c *compact) verifiedBy(pub crypto.PublicKey) bool {
	alg := c.header.alg
	switch key := pub.(type) {
	case *rsa.PublicKey:
		hash, digest := alg.digest(c.signingInput)
		switch alg {
		case RS256, RS384, RS512:
			return rsa.VerifyPKCS1v15(key, hash, digest, c.signature) == nil
		case PS256, PS384, PS512: // section 3.5 wants the salt as long as the hash
			return rsa.VerifyPSS(key, hash, digest, c.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		default:
			return false
		}
	case *ecdsa.PublicKey:
		size := ecSignatureSize(alg, key.Curve)
		if size == 0 || len(c.signature) != size {
			return false
		}
		_, digest := alg.digest(c.signingInput)
		r, s := c.signature[:size/2], c.signature[size/2:]
		return ecdsa.Verify(key, digest, new(big.Int).SetBytes(r), new(big.Int).SetBytes(s))
	case ed25519.PublicKey:
		return (alg == EdDSA || alg == Ed25519) && len(key) == ed25519.PublicKeySize && // or it panics
			ed25519.Verify(key, []byte(c.signingInput), c.signature)
	}
	return false
}

// ecSignatureSize is the only length of an ECDSA signature: two coordinates,
// zero-padded (RFC 7518 section 3.4). It is 0 if the curve is not the algorithm's.
func ecSignatureSize(alg Algorithm, curve elliptic.Curve) int {
	switch {
	case alg == ES256 && curve == elliptic.P256():
		return 64
	case alg == ES384 && curve == elliptic.P384():
		return 96
	case alg == ES512 && curve == elliptic.P521():
		return 132
	default:
		return 0
	}
}

// digest is what an algorithm that hashes first signs instead of the text.
func (a Algorithm) digest(text string) (crypto.Hash, []byte) {
	switch a {
	case RS256, PS256, ES256:
		sum := sha256.Sum256([]byte(text))
		return crypto.SHA256, sum[:]
	case RS384, PS384, ES384:
		sum := sha512.Sum384([]byte(text))
		return crypto.SHA384, sum[:]
	default:
		sum := sha512.Sum512([]byte(text))
		return crypto.SHA512, sum[:]
	}
}
