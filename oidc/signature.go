package oidc

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // crypto.SHA256
	_ "crypto/sha512" // crypto.SHA384, SHA512
	"errors"

	"github.com/go-jose/go-jose/v4"
)

// signed is a token whose signature is to be checked. It is parsed for go-jose
// once, however many keys are tried.
type signed struct {
	compact *compact
	jws     jose.JSONWebSignature
	payload []byte
}

// errHeaderValue is why go-jose does not take a token that our parser took: it
// decodes all parameters of the header, the unknown ones too.
var errHeaderValue = errors.New("a header parameter is a number out of range, or a nonce that is no string")

// newSigned returns false if go-jose does not take the token.
func newSigned(token string, c *compact) (signed, bool) {
	// Errors of go-jose quote the token: they go nowhere.
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(c.header.alg)})
	if err != nil {
		return signed{}, false
	}
	return signed{compact: c, jws: *jws, payload: jws.UnsafePayloadWithoutVerification()}, true
}

// ecSignatureSize is the only length of an ECDSA signature: two coordinates,
// zero-padded (RFC 7518 section 3.4).
var ecSignatureSize = map[Algorithm]int{ES256: 64, ES384: 96, ES512: 132}

// verifiedBy reports whether the token is signed by pub. The key store has made
// sure that the key's type, curve and alg fit the token's algorithm.
func (s signed) verifiedBy(pub crypto.PublicKey) bool {
	alg := s.compact.header.alg
	if size, ok := ecSignatureSize[alg]; ok && len(s.compact.signature) != size {
		return false
	}
	if alg == Ed25519 { // RFC 9864's name of what go-jose knows as EdDSA
		key, ok := pub.(ed25519.PublicKey)
		return ok && len(key) == ed25519.PublicKeySize &&
			ed25519.Verify(key, []byte(s.compact.signingInput), s.compact.signature)
	}
	if s.jws.DetachedVerify(s.payload, pub) != nil {
		return false
	}
	return s.saltFits(alg, pub)
}

// saltFits closes a gap of go-jose, which takes RSASSA-PSS signatures with any
// salt: RFC 7518 section 3.5 wants it as long as the hash.
func (s signed) saltFits(alg Algorithm, pub crypto.PublicKey) bool {
	var hash crypto.Hash
	switch alg {
	case PS256:
		hash = crypto.SHA256
	case PS384:
		hash = crypto.SHA384
	case PS512:
		hash = crypto.SHA512
	default:
		return true
	}
	h := hash.New()
	h.Write([]byte(s.compact.signingInput)) //nolint:errcheck // a hash never fails
	sum := h.Sum(nil)
	key, ok := pub.(*rsa.PublicKey)
	return ok && rsa.VerifyPSS(key, hash, sum, s.compact.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}
