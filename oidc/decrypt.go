package oidc

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// KeyAlgorithm is a JWE key management algorithm by its registered name (RFC 7518
// section 4.1). There is no constant for dir and the symmetric ones, since the
// recipient of a message has published a key; none for RSA1_5, which leaks; and
// none for PBES2, whose cost the sender chooses.
type KeyAlgorithm string

// The algorithms with which a message's key can be encrypted.
const (
	RSAOAEP256   KeyAlgorithm = "RSA-OAEP-256"
	ECDHES       KeyAlgorithm = "ECDH-ES"
	ECDHESA128KW KeyAlgorithm = "ECDH-ES+A128KW"
	ECDHESA256KW KeyAlgorithm = "ECDH-ES+A256KW"
)

// contentEncryptions are the accepted values of enc: all of RFC 7518 section
// 5.1, which authenticate what they encrypt.
var contentEncryptions = []jose.ContentEncryption{
	jose.A128GCM, jose.A192GCM, jose.A256GCM, jose.A128CBC_HS256, jose.A192CBC_HS384, jose.A256CBC_HS512,
}

// maxEncryptedSize is room for a token of MaxTokenSize, which base64url makes a
// third longer, and for a header.
const maxEncryptedSize = 28 << 10

// DecryptionKey is a private key whose public half the issuer has. It prints as
// its ID and algorithm.
type DecryptionKey struct {
	// ID is compared with a message's kid, exactly; "" fits any.
	ID string
	// Algorithm is the one that the key is used for: RFC 7518 section 4.
	Algorithm KeyAlgorithm
	// Private is an *rsa.PrivateKey of 2048 bits or more, or an *ecdsa.PrivateKey of
	// P-256, P-384 or P-521.
	Private crypto.PrivateKey `json:"-"`
}

// Format prints a key without its secret, whatever the verb.
func (k DecryptionKey) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, k.text()) // fmt's own writer does not fail
}

// LogValue is what slog shows of a key.
func (k DecryptionKey) LogValue() slog.Value { return slog.StringValue(k.text()) }

func (k DecryptionKey) text() string {
	return fmt.Sprintf("decryption key %q (%s)", k.ID, string(k.Algorithm))
}

// Decrypter opens messages that are encrypted to a client (RFC 7516). It is
// immutable and safe for concurrent use; the zero Decrypter opens nothing.
//
// What comes out must be a signed JWT (RFC 7519 section 5.2), which is then
// verified like one that was never encrypted. Only the algorithms of the keys are
// accepted; compression is not.
type Decrypter struct{ keys []DecryptionKey }

// Format prints the keys without their secrets.
func (d *Decrypter) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, "oidc.Decrypter") // fmt's own writer does not fail
}

// NewDecrypter checks the keys and returns a Decrypter that has them.
func NewDecrypter(keys ...DecryptionKey) (*Decrypter, error) {
	var faults []error
	for i, k := range keys {
		if err := k.check(); err != nil {
			faults = append(faults, fmt.Errorf("oidc: decryption key %d (%q): %w", i+1, k.ID, err))
		}
	}
	if len(keys) == 0 {
		faults = append(faults, errors.New("oidc: a Decrypter without keys opens nothing: use nil"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &Decrypter{slices.Clone(keys)}, nil
}

func (k DecryptionKey) check() error {
	switch k.Algorithm {
	case RSAOAEP256:
		private, _ := k.Private.(*rsa.PrivateKey)
		if private == nil {
			return fmt.Errorf("%s needs an *rsa.PrivateKey", k.Algorithm)
		}
		if bits := private.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("the modulus has %d bits, not %d to %d", bits, minRSABits, maxRSABits)
		}
		if err := private.Validate(); err != nil {
			return errors.New("the key is not a valid RSA key")
		}
		return nil
	case ECDHES, ECDHESA128KW, ECDHESA256KW:
		private, _ := k.Private.(*ecdsa.PrivateKey)
		if private == nil {
			return fmt.Errorf("%s needs an *ecdsa.PrivateKey", k.Algorithm)
		}
		if private.Curve != elliptic.P256() && private.Curve != elliptic.P384() && private.Curve != elliptic.P521() {
			return errors.New("the curve is none of P-256, P-384 and P-521")
		}
		if _, err := private.ECDH(); err != nil {
			return errors.New("the key is not a valid key of its curve")
		}
		return nil
	default:
		return fmt.Errorf("there is no key algorithm %q: use RSA-OAEP-256, ECDH-ES, ECDH-ES+A128KW or ECDH-ES+A256KW", string(k.Algorithm))
	}
}

// decrypted returns the signed token within raw: raw itself unless it is
// encrypted. Opening one takes a turn, as checking a signature does.
func (v *Validator) decrypted(ctx context.Context, raw string, d *Decrypter) (string, *Error) {
	if len(raw) > maxEncryptedSize {
		return "", &Error{Reason: TokenTooLarge, Err: errors.New("over 28 KiB")}
	}
	if strings.Count(raw, ".") != 4 {
		return raw, nil
	}
	if d == nil || len(d.keys) == 0 {
		return "", &Error{Reason: MalformedToken, Err: errors.New("encrypted, and there is no Decrypter")}
	}
	h, err := parseEncrypted(raw)
	if err != nil {
		return "", err
	}
	keys := d.candidates(h)
	if len(keys) == 0 {
		return "", &Error{Reason: UnknownKey, Claim: "kid", Err: errors.New("encrypted with an algorithm or to a key that is none of ours")}
	}
	began, ok := v.store.turns.take(ctx)
	if !ok {
		return "", &Error{Reason: Overloaded, Err: errCrowdedOut}
	}
	defer v.store.turns.give(began)
	// Errors of go-jose say at which step it failed, and quote the token: one text
	// for all of them.
	if jwe, err := jose.ParseEncryptedCompact(raw, []jose.KeyAlgorithm{jose.KeyAlgorithm(h.alg)}, contentEncryptions); err == nil {
		for _, k := range keys {
			if plain, err := jwe.Decrypt(k.Private); err == nil {
				return string(plain), nil
			}
		}
	}
	return "", &Error{Reason: MalformedToken, Err: errors.New("encrypted, and not to be decrypted with the keys at hand")}
}

// candidates returns the keys that a message can be encrypted to, a few at most.
func (d *Decrypter) candidates(h encryptedHeader) []DecryptionKey {
	var fit []DecryptionKey
	for _, k := range d.keys {
		if k.Algorithm == h.alg && (k.ID == "" || !h.hasKID || k.ID == h.kid) {
			fit = append(fit, k)
		}
	}
	return fit[:min(len(fit), maxCandidates)]
}

// encryptedHeader is the JOSE header of an encrypted message: what of it may
// steer us.
type encryptedHeader struct {
	alg    KeyAlgorithm
	kid    string
	hasKID bool
}

// refusedEncryptedHeaders are refusedHeaders, but for enc, and the parameters of
// password-based encryption.
var refusedEncryptedHeaders = [...]string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "p2s", "p2c"}

// parseEncrypted reads the header of a message of five segments, and makes sure
// that each is strict base64url.
func parseEncrypted(raw string) (encryptedHeader, *Error) {
	var h encryptedHeader
	malformed := func(claim, why string) *Error {
		return &Error{Reason: MalformedToken, Claim: claim, Err: errors.New(why)}
	}
	segments := strings.Split(raw, ".") // five, as was counted
	if len(segments[0]) > maxHeaderSize {
		return h, &Error{Reason: TokenTooLarge, Err: errors.New("header over 4 KiB")}
	}
	var head []byte
	for i, s := range segments {
		b, err := decodeSegment(s)
		if err != nil {
			return h, &Error{Reason: MalformedToken, Err: errBase64}
		}
		if i == 0 {
			head = b
		}
	}
	object, err := parseClaims(string(head))
	if err != nil {
		return h, &Error{Reason: MalformedToken, Err: err}
	}
	for name := range object.object.Members() {
		if slices.Contains(refusedEncryptedHeaders[:], name) {
			return h, malformed(name, "this header parameter is not accepted in an encrypted message")
		}
	}
	alg, _ := object.Top("alg")
	enc, _ := object.Top("enc")
	kid, hasKID := object.Top("kid")
	cty, hasCTY := object.Top("cty")
	switch {
	case alg.Kind() != KindString:
		return h, &Error{Reason: UnsupportedAlgorithm, Claim: "alg"}
	case !slices.Contains(contentEncryptions, jose.ContentEncryption(enc.Text())):
		return h, &Error{Reason: UnsupportedAlgorithm, Claim: "enc"}
	case hasKID && (kid.Kind() != KindString || len(kid.Text()) > maxKeyIDSize):
		return h, malformed("kid", "not a string of 256 bytes at most")
	case hasCTY && canonicalType(cty.Text()) != "jwt": // RFC 7519 section 5.2
		return h, malformed("cty", "what is encrypted is no JWT")
	}
	return encryptedHeader{alg: KeyAlgorithm(alg.Text()), kid: kid.Text(), hasKID: hasKID}, nil
}
