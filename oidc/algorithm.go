package oidc

// Algorithm is a JWS signature algorithm by its registered name (RFC 7518
// section 3.1, RFC 8037, RFC 9864). There is no constant for none and for the
// HMAC family: a resource server that verifies with published keys must never
// meet them (RFC 8725 section 3.1).
type Algorithm string

// The algorithms that can be verified. EdDSA and Ed25519 are two names of one.
const (
	RS256   Algorithm = "RS256"
	RS384   Algorithm = "RS384"
	RS512   Algorithm = "RS512"
	PS256   Algorithm = "PS256"
	PS384   Algorithm = "PS384"
	PS512   Algorithm = "PS512"
	ES256   Algorithm = "ES256"
	ES384   Algorithm = "ES384"
	ES512   Algorithm = "ES512"
	EdDSA   Algorithm = "EdDSA"
	Ed25519 Algorithm = "Ed25519"
)

// algSet is a set of algorithms. EdDSA and Ed25519 are one member.
type algSet uint16

const (
	setRSA algSet = 1<<6 - 1 // RS256 to PS512
	setAll algSet = 1<<10 - 1
)

// bit returns the set that holds only a, 0 for an algorithm that cannot be
// verified.
func (a Algorithm) bit() algSet {
	switch a {
	case RS256:
		return 1 << 0
	case RS384:
		return 1 << 1
	case RS512:
		return 1 << 2
	case PS256:
		return 1 << 3
	case PS384:
		return 1 << 4
	case PS512:
		return 1 << 5
	case ES256:
		return 1 << 6
	case ES384:
		return 1 << 7
	case ES512:
		return 1 << 8
	case EdDSA, Ed25519:
		return 1 << 9
	default:
		return 0
	}
}

// Known reports whether a can be verified.
func (a Algorithm) Known() bool { return a.bit() != 0 }

// Algorithms returns the algorithms that can be verified, in a fixed order.
func Algorithms() []Algorithm {
	return []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519}
}
