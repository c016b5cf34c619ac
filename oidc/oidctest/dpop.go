package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"math/big"
	"net/http"
	"strings"
)

// RequireDPoPNonce wants this nonce in proofs (RFC 9449 section 8) from now on, and
// sends it with every answer of the token endpoint and the PAR endpoint; "" wants
// none.
func (i *Issuer) RequireDPoPNonce(nonce string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state.dpopNonce = nonce
}

// checkProof returns the thumbprint of the key that a request proves, "" if it has
// no proof. One that it has must be good (RFC 9449 section 4.3).
func (i *Issuer) checkProof(w http.ResponseWriter, r *http.Request) (string, *Refusal) {
	refuse := func(why string) (string, *Refusal) {
		return "", &Refusal{Code: "invalid_dpop_proof", Description: why}
	}
	i.mu.Lock()
	nonce := i.state.dpopNonce
	i.mu.Unlock()
	if nonce != "" {
		w.Header().Set("DPoP-Nonce", nonce)
	}
	proofs := r.Header.Values("DPoP")
	if len(proofs) == 0 {
		return "", nil
	}
	if len(proofs) > 1 {
		return refuse("two proofs")
	}
	header, claims, input, signature, err := parseJWT(proofs[0])
	if err != nil {
		return refuse(err.Error())
	}
	alg, _ := header["alg"].(string)
	jwk, _ := header["jwk"].(map[string]any)
	public := publicKey(jwk)
	switch {
	case header["typ"] != "dpop+jwt":
		return refuse("typ")
	case public == nil || jwk["d"] != nil:
		return refuse("jwk")
	case !(&Key{Algorithm: alg}).verifyBy(public, input, signature):
		return refuse("bad signature")
	case claims["htm"] != r.Method:
		return refuse("htm")
	case claims["htu"] != i.origin+r.URL.Path:
		return refuse("htu")
	}
	iat, _ := claims["iat"].(float64)
	jti, _ := claims["jti"].(string)
	if age := float64(i.clock().Unix()) - iat; age > 60 || age < -10 {
		return refuse("iat")
	}
	if nonce != "" && claims["nonce"] != nonce {
		return "", &Refusal{Code: "use_dpop_nonce", Description: "the proof lacks the nonce"}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if jti == "" || i.state.jtis["dpop "+jti] {
		return refuse("jti")
	}
	if i.state.jtis == nil {
		i.state.jtis = map[string]bool{}
	}
	i.state.jtis["dpop "+jti] = true
	return thumbprint(jwk), nil
}

// thumbprint is that of RFC 7638: the members that make the key, in order.
func thumbprint(jwk map[string]any) string {
	key := map[string]any{}
	for _, name := range map[string][]string{"EC": {"crv", "kty", "x", "y"}, "RSA": {"e", "kty", "n"}, "OKP": {"crv", "kty", "x"}}[text(jwk, "kty")] {
		key[name] = jwk[name]
	}
	sum := sha256.Sum256(mustJSON(key)) // which sorts
	return encode(sum[:])
}

func text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

// publicKey reads a JWK, nil if it is none that signs.
func publicKey(jwk map[string]any) crypto.PublicKey {
	number := func(name string) []byte {
		b, _ := base64.RawURLEncoding.DecodeString(text(jwk, name))
		return b
	}
	switch text(jwk, "kty") {
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[text(jwk, "crv")]
		if curve == nil {
			return nil
		}
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, number("x")...), number("y")...))
		if err != nil {
			return nil
		}
		return pub
	case "RSA":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(number("n")), E: int(new(big.Int).SetBytes(number("e")).Int64())}
	case "OKP":
		if x := number("x"); len(x) == ed25519.PublicKeySize {
			return ed25519.PublicKey(x)
		}
	}
	return nil
}

// browserTransport trusts the issuer's certificate.
func (i *Issuer) browserTransport() http.RoundTripper {
	t := &http.Transport{}
	if strings.HasPrefix(i.origin, "https:") {
		t.TLSClientConfig = &tls.Config{RootCAs: i.CertPool(), MinVersion: tls.VersionTLS12}
	}
	return t
}
