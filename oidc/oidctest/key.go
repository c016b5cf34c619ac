package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strconv"
)

// Key is a signing key. It is not changed once made.
type Key struct {
	ID        string // "" gives tokens and JWK no kid
	Algorithm string
	private   crypto.Signer
	secret    []byte // of HS256, which no issuer signs with
}

// NewKey makes a key for one of RS256, RS384, RS512, PS256, PS384, PS512,
// ES256, ES384, ES512, EdDSA and Ed25519. It panics on another algorithm. The
// key is in no key set until [Issuer.Publish].
func NewKey(algorithm, id string) *Key {
	private, err := generate(algorithm)
	if err != nil {
		panic("oidctest: " + err.Error())
	}
	return &Key{ID: id, Algorithm: algorithm, private: private}
}

func generate(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	default:
		return nil, fmt.Errorf("no key for algorithm %q", algorithm)
	}
}

// Public is the key that verifies.
func (k *Key) Public() crypto.PublicKey { return k.private.Public() }

// JWK is the public key as RFC 7517 writes it, in a map of the caller's own.
func (k *Key) JWK() map[string]any {
	jwk := map[string]any{"use": "sig", "alg": k.Algorithm}
	if k.ID != "" {
		jwk["kid"] = k.ID
	}
	switch pub := k.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"] = "RSA"
		jwk["n"] = encode(pub.N.Bytes())
		jwk["e"] = encode(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4, then both coordinates at full length
		if err != nil {
			panic("oidctest: " + err.Error())
		}
		size := (len(point) - 1) / 2
		jwk["kty"] = "EC"
		jwk["crv"] = pub.Curve.Params().Name
		jwk["x"] = encode(point[1 : 1+size])
		jwk["y"] = encode(point[1+size:])
	case ed25519.PublicKey:
		jwk["kty"] = "OKP"
		jwk["crv"] = "Ed25519"
		jwk["x"] = encode(pub)
	}
	return jwk
}

// sign makes the signature that RFC 7518 section 3 and RFC 8037 want.
func (k *Key) sign(input []byte) []byte {
	sig, err := k.trySign(input)
	if err != nil {
		panic("oidctest: signing: " + err.Error())
	}
	return sig
}

// hash is the hash of the key's algorithm; EdDSA has one of its own.
func (k *Key) hash() crypto.Hash {
	switch k.Algorithm {
	case "RS384", "PS384", "ES384":
		return crypto.SHA384
	case "RS512", "PS512", "ES512":
		return crypto.SHA512
	default:
		return crypto.SHA256
	}
}

func (k *Key) trySign(input []byte) ([]byte, error) {
	hash := k.hash()
	h := hash.New()
	h.Write(input)
	digest := h.Sum(nil)

	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		if k.Algorithm[0] == 'P' {
			return rsa.SignPSS(rand.Reader, private, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		return rsa.SignPKCS1v15(rand.Reader, private, hash, digest)
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			return nil, err
		}
		size := (private.Curve.Params().BitSize + 7) / 8
		sig := make([]byte, 2*size)
		r.FillBytes(sig[:size])
		s.FillBytes(sig[size:])
		return sig, nil
	default:
		return k.private.Sign(rand.Reader, input, crypto.Hash(0))
	}
}

// addSigningKey makes a key, publishes it and lets it sign from now on.
func (s *state) addSigningKey(alg string) {
	s.made++
	k := NewKey(alg, "key-"+strconv.Itoa(s.made))
	s.published = append(s.published, k)
	for n, old := range s.signing {
		if old.Algorithm == alg {
			s.signing[n] = k
			return
		}
	}
	s.signing = append(s.signing, k)
}

// SigningKey is the key that signs tokens of the issuer's first algorithm.
func (i *Issuer) SigningKey() *Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state.signing[0]
}

// Rotate makes a new key for each algorithm, adds it to the key set and signs
// with it from now on. The old keys stay in the set until
// [Issuer.RemoveOldKeys].
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range slices.Clone(i.state.signing) {
		i.state.addSigningKey(k.Algorithm)
	}
}

// RemoveOldKeys takes every key out of the set that does not sign any more,
// those of [Issuer.Publish] and [Issuer.PublishRaw] too.
func (i *Issuer) RemoveOldKeys() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.published = slices.Clone(i.state.signing)
	i.state.raw = nil
}

// Publish adds keys to the key set. They sign only tokens that name them, see
// [SignWith]: so an issuer announces a key before it uses it.
func (i *Issuer) Publish(keys ...*Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.published = append(i.state.published, keys...)
}

// PublishRaw adds members to the list of keys as they stand: keys of unknown
// types, broken ones, anything.
func (i *Issuer) PublishRaw(members ...string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.raw = append(i.state.raw, members...)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
