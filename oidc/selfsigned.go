package oidc

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// SelfSigned is a compact JWS whose header carries the public key that verifies
// it (the parameter jwk, RFC 7515 section 4.1.3), such as a DPoP proof (RFC
// 9449). It shows that its sender has the key, and nothing about whose key that
// is: it is worth something only if what is otherwise trusted names the
// thumbprint. It is never an access token, and [Validator.Validate] takes none.
type SelfSigned struct {
	Algorithm  Algorithm // of the signature
	Thumbprint string    // of the key, see Thumbprint
	Claims     Claims    // as they were signed
}

// SelfSignedRules say which self-signed tokens are accepted. The zero value
// accepts none.
type SelfSignedRules struct {
	// Type is the value of the header parameter typ, compared without case and
	// without "application/" (RFC 7515 section 4.1.9).
	Type string
	// Algorithms are those accepted. With the key's type and curve they have to
	// fit, as they have for access tokens.
	Algorithms []Algorithm
	// MaxSize is the largest size in bytes; 16 KiB are the limit whatever it says,
	// as 4 KiB are for the header.
	MaxSize int
	// Check judges the claims and the thumbprint before the signature is looked at,
	// so that junk costs no signature check. An error of it is returned as it is.
	// Nothing is proven while it runs: it must remember nothing. It may be nil.
	Check func(SelfSigned) error
}

// VerifySelfSigned verifies a self-signed token with the key that it carries.
// Base64url and JSON are held to the strictness of access tokens; the key is
// held to that of an issuer's, and private or symmetric ones are refused. The
// error's text repeats nothing of the token.
func VerifySelfSigned(text string, rules SelfSignedRules) (SelfSigned, error) {
	if len(text) > rules.MaxSize {
		return SelfSigned{}, fmt.Errorf("over %d bytes", rules.MaxSize)
	}
	rawHeader, rawClaims, rawSignature, refusal := splitCompact(text)
	if refusal != nil {
		return SelfSigned{}, refusal.Err
	}
	header, err1 := decodeSegment(rawHeader)
	claims, err2 := decodeSegment(rawClaims)
	signature, err3 := decodeSegment(rawSignature)
	if err1 != nil || err2 != nil || err3 != nil {
		return SelfSigned{}, errBase64
	}
	alg, jwk, err := selfSignedHeader(textOf(header), rules)
	if err != nil {
		return SelfSigned{}, err
	}
	k, err := parseKey(jwk.Raw())
	switch {
	case err != nil:
		return SelfSigned{}, fmt.Errorf("the header's jwk: %w", err)
	case k.algs&alg.bit() == 0:
		return SelfSigned{}, errors.New("alg does not fit the header's jwk")
	}
	s := SelfSigned{Algorithm: alg}
	if s.Thumbprint, err = Thumbprint(k.pub); err != nil {
		return SelfSigned{}, err
	}
	if s.Claims, err = parseClaims(textOf(claims)); err != nil {
		return SelfSigned{}, err
	}
	if rules.Check != nil {
		if err := rules.Check(s); err != nil {
			return SelfSigned{}, err
		}
	}
	c := compact{signingInput: text[:len(rawHeader)+1+len(rawClaims)], signature: signature}
	c.header.alg = alg
	if !c.verifiedBy(k.pub) {
		return SelfSigned{}, errors.New("the signature is not one of the header's jwk")
	}
	return s, nil
}

// selfSignedHeader reads the header of a self-signed token. All that would name
// another key, or change what is signed, is refused as it is in access tokens.
func selfSignedHeader(text string, rules SelfSignedRules) (Algorithm, Value, error) {
	object, err := parseClaims(text)
	if err != nil {
		return "", Value{}, err
	}
	typ, _ := object.Top("typ")
	if typ.Kind() != KindString || canonicalType(typ.Text()) != canonicalType(rules.Type) {
		return "", Value{}, fmt.Errorf("typ is not %s", rules.Type)
	}
	algText, _ := object.Top("alg")
	alg := Algorithm(algText.Text())
	accepted := false
	for _, a := range rules.Algorithms { // two names of one algorithm are one
		accepted = accepted || a.bit()&alg.bit() != 0
	}
	if algText.Kind() != KindString || !accepted {
		return "", Value{}, errors.New("alg is not an accepted signature algorithm")
	}
	for name, value := range object.Object().Members() {
		if !usual(name, value) {
			return "", Value{}, errHeaderValue
		}
	}
	for _, refused := range refusedHeaders {
		if _, found := object.Object().Member(refused); found && refused != "jwk" {
			return "", Value{}, fmt.Errorf("the header parameter %s is not accepted", refused)
		}
	}
	jwk, _ := object.Top("jwk")
	if jwk.Kind() != KindObject {
		return "", Value{}, errors.New("the header has no jwk")
	}
	return alg, jwk, nil
}

// Thumbprint returns the SHA-256 thumbprint of a public key in base64url (RFC
// 7638), as cnf.jkt has it. The key is an *rsa.PublicKey, an *ecdsa.PublicKey or
// an ed25519.PublicKey; others are an error.
func Thumbprint(public crypto.PublicKey) (string, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("oidc: no thumbprint of a key of type %T", public)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}
