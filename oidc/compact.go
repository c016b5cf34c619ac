package oidc

import (
	"encoding/base64"
	"errors"
	"strings"
	"unsafe"
)

// Limits of a token, in bytes as it stands in the request.
const (
	MaxTokenSize  = 16 << 10
	maxHeaderSize = 4 << 10
	maxKeyIDSize  = 256
)

// header is the JOSE header of an access token: what of it may steer us.
type header struct {
	alg    Algorithm
	kid    string
	hasKID bool
	typ    string
	hasTyp bool

	hasNonce bool // of use for a message only
}

// compact is a token taken apart. Nothing in it is verified.
type compact struct {
	header       header
	claims       Claims // indexed
	signingInput string // header and claims as they were signed
	signature    []byte
}

// strictBase64 refuses unused trailing bits that are not zero, so that one
// token has one text (RFC 4648 section 3.5).
var strictBase64 = base64.RawURLEncoding.Strict()

// refusedHeaders are the header parameters that an access token has no business
// to carry. Most of them offer a key, or change what is signed.
var refusedHeaders = [...]string{"crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip"}

// parseCompact takes a token apart: size, shape, header, claims, in that order.
// The index of the claims is in room.
func parseCompact(token string, room *jsonRoom, ex explainer) (compact, *Error) {
	var c compact
	rawHeader, rawClaims, rawSignature, err := splitCompact(token)
	if err != nil {
		return c, ex.fail("shape", err)
	}
	header, err1 := decodeSegment(rawHeader)
	claims, err2 := decodeSegment(rawClaims)
	signature, err3 := decodeSegment(rawSignature)
	if joined := errors.Join(err1, err2, err3); joined != nil {
		return c, ex.fail("shape", &Error{Reason: MalformedToken, Err: errBase64})
	}
	if ex != nil {
		ex.ok("shape", "three base64url segments, %d bytes", len(token))
	}

	if c.header, err = parseHeader(textOf(header), room); err != nil {
		return c, ex.fail("header", err)
	}
	if len(signature) == 0 {
		return c, ex.fail("shape", &Error{Reason: MalformedToken, Err: errors.New("the signature is empty")})
	}
	if ex != nil {
		ex.ok("header", "alg %q, kid %s, typ %s", c.header.alg, optional(c.header.kid, c.header.hasKID), optional(c.header.typ, c.header.hasTyp))
	}

	var cause error
	if c.claims, cause = room.parseClaims(textOf(claims)); cause != nil {
		return c, ex.fail("claims", &Error{Reason: MalformedToken, Err: cause})
	}
	if ex != nil {
		ex.ok("claims", "a JSON object, %d bytes", len(claims))
	}
	c.signingInput = token[:len(rawHeader)+1+len(rawClaims)]
	c.signature = signature
	return c, nil
}

// textOf makes a string of bytes that nobody else has, without copying them.
func textOf(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // nobody changes them any more
}

var errBase64 = errors.New("a segment is not strict base64url")

func splitCompact(token string) (header, claims, signature string, _ *Error) {
	if len(token) > MaxTokenSize {
		return "", "", "", &Error{Reason: TokenTooLarge, Err: errors.New("over 16 KiB")}
	}
	header, rest, found := strings.Cut(token, ".")
	if len(header) > maxHeaderSize {
		return "", "", "", &Error{Reason: TokenTooLarge, Err: errors.New("header over 4 KiB")}
	}
	claims, signature, found2 := strings.Cut(rest, ".")
	if !found || !found2 || strings.IndexByte(signature, '.') >= 0 {
		return "", "", "", &Error{Reason: MalformedToken, Err: errors.New("not three segments")}
	}
	if header == "" || claims == "" {
		return "", "", "", &Error{Reason: MalformedToken, Err: errors.New("an empty segment")}
	}
	return header, claims, signature, nil
}

// decodeSegment decodes base64url without padding. The standard decoder skips CR
// and LF, and refuses what else is not in the alphabet.
func decodeSegment(s string) ([]byte, error) {
	if strings.IndexByte(s, '\n') >= 0 || strings.IndexByte(s, '\r') >= 0 {
		return nil, errBase64
	}
	return strictBase64.DecodeString(s)
}

// errHeaderValue is why a header is refused that we could read: no other library
// would (RFC 8259 section 6 on numbers), and what only we accept is not accepted.
var errHeaderValue = errors.New("a header parameter is a number out of range, or a nonce that is no string")

// usual reports whether all numbers in a header parameter have a float64, and a
// nonce is a string.
func usual(name string, v Value) bool {
	if name == "nonce" {
		return v.Kind() == KindString
	}
	return inRange(v)
}

// inRange reports whether all numbers in v have a float64.
func inRange(v Value) bool {
	switch v.Kind() {
	case KindNumber:
		_, ok := v.Float64()
		return ok
	case KindArray:
		for e := range v.Elements() {
			if !inRange(e) {
				return false
			}
		}
	case KindObject:
		for _, m := range v.Members() {
			if !inRange(m) {
				return false
			}
		}
	default:
	}
	return true
}

func parseHeader(s string, room *jsonRoom) (header, *Error) {
	var h header
	object, err := room.parseClaims(s)
	if err != nil {
		return h, &Error{Reason: MalformedToken, Err: err}
	}
	alg, _ := object.member("alg")
	h.alg = Algorithm(alg.Text())
	if alg.Kind() != KindString || !h.alg.Known() {
		return h, &Error{Reason: UnsupportedAlgorithm, Claim: "alg"}
	}
	for _, m := range object.index {
		name, value := m.name, m.value
		for _, refused := range refusedHeaders {
			if name == refused {
				return h, &Error{Reason: MalformedToken, Claim: refused, Err: errors.New("this header parameter is not accepted in an access token")}
			}
		}
		if !usual(name, value) {
			return h, &Error{Reason: MalformedToken, Err: errHeaderValue}
		}
		switch name {
		case "kid":
			h.kid, h.hasKID = value.Text(), true
			if value.Kind() != KindString || len(h.kid) > maxKeyIDSize {
				return h, &Error{Reason: MalformedToken, Claim: "kid", Err: errors.New("not a string of 256 bytes at most")}
			}
		case "nonce":
			h.hasNonce = true
		case "typ":
			h.typ, h.hasTyp = value.Text(), true
			if value.Kind() != KindString {
				return h, &Error{Reason: MalformedToken, Claim: "typ", Err: errors.New("not a string")}
			}
		}
	}
	return h, nil
}
