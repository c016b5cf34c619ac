package oidc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Claims is the claims set of a token: one JSON object. It is immutable and
// safe to share.
type Claims struct {
	object Value
	// index holds the members while a token is being verified, which looks at
	// two dozen of them. A token that is kept does without: see unindexed.
	index []member
}

type member struct {
	name  string
	value Value
}

// unindexed returns c in as little memory as it can have.
func (c Claims) unindexed() Claims { return Claims{object: c.object} }

// member returns the top-level member of exactly that name.
func (c Claims) member(name string) (Value, bool) {
	if c.index == nil {
		return c.object.Member(name)
	}
	for i := range c.index {
		if c.index[i].name == name {
			return c.index[i].value, true
		}
	}
	return Value{}, false
}

// parseClaims reads the JSON object in s with [Value]'s strictness.
func parseClaims(s string) (Claims, error) {
	var room jsonRoom
	c, err := room.parseClaims(s)
	return c.unindexed(), err
}

// parseClaims is the same, with an index that is good until room is used again.
func (room *jsonRoom) parseClaims(s string) (Claims, error) {
	v, err := room.parse(s)
	if err != nil {
		return Claims{}, err
	}
	if v.Kind() != KindObject {
		return Claims{}, errNoObject
	}
	return Claims{v, room.members}, nil
}

var errNoObject = errors.New("not a JSON object")

// Object returns the whole claims set.
func (c Claims) Object() Value { return c.object }

// Top returns the top-level claim of exactly that name; false if it is absent
// or null.
func (c Claims) Top(name string) (Value, bool) {
	v, ok := c.member(name)
	return v, ok && v.Kind() != KindNull
}

// Get returns the claim that n names; false if it is absent or null.
func (c Claims) Get(n ClaimName) (Value, bool) {
	if n.pointer == nil {
		return c.Top(n.text)
	}
	v, ok := c.member(n.pointer[0])
	if !ok {
		return Value{}, false
	}
	for _, token := range n.pointer[1:] {
		if v.Kind() == KindArray {
			v, ok = element(v, token)
		} else {
			v, ok = v.Member(token)
		}
		if !ok {
			return Value{}, false
		}
	}
	return v, v.Kind() != KindNull
}

// element returns the array element that a JSON Pointer's token names.
func element(v Value, token string) (Value, bool) {
	i, err := strconv.Atoi(token)
	if err != nil || strconv.Itoa(i) != token { // RFC 6901 section 4: no sign, no leading zero
		return Value{}, false
	}
	for e := range v.Elements() {
		if i == 0 {
			return e, true
		}
		i--
	}
	return Value{}, false
}

// ClaimName names a claim. A plain name is the top-level claim of exactly that
// name, whatever characters it has; one that begins with a slash is a JSON
// Pointer (RFC 6901), as in /realm_access/roles. Dots mean nothing. The zero
// ClaimName names no claim.
type ClaimName struct {
	text    string
	pointer []string // nil for a plain name
}

// ParseClaimName reads a claim's name as it stands in a configuration.
func ParseClaimName(s string) (ClaimName, error) {
	if s == "" {
		return ClaimName{}, errors.New("the name of a claim is empty")
	}
	if s[0] != '/' {
		return ClaimName{text: s}, nil
	}
	tokens := strings.Split(s[1:], "/")
	for i, t := range tokens {
		for j := 0; j < len(t); j++ {
			if t[j] == '~' && (j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1') {
				return ClaimName{}, fmt.Errorf("%q is no JSON Pointer: ~ must be followed by 0 or 1", s)
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return ClaimName{text: s, pointer: tokens}, nil
}

// String returns the name as it was written.
func (n ClaimName) String() string { return n.text }

// Scalar is a string, a number or a boolean that a claim is compared with. The
// zero Scalar matches nothing.
type Scalar struct {
	kind Kind
	text string // a number's is canonical
}

// StringScalar returns a Scalar that fits JSON strings equal to s.
func StringScalar(s string) Scalar { return Scalar{KindString, s} }

// BoolScalar returns a Scalar that fits the JSON boolean b.
func BoolScalar(b bool) Scalar { return Scalar{KindBool, strconv.FormatBool(b)} }

// NumberScalar returns a Scalar that fits JSON numbers of the same value as
// text, which is written as in JSON.
func NumberScalar(text string) (Scalar, error) {
	v, err := parseJSON(text)
	if err != nil || v.Kind() != KindNumber {
		return Scalar{}, fmt.Errorf("%q is not a number", text)
	}
	canonical, ok := canonicalNumber(text)
	if !ok {
		return Scalar{}, fmt.Errorf("%q has too large an exponent", text)
	}
	return Scalar{KindNumber, canonical}, nil
}

// String returns the text of s.
func (s Scalar) String() string { return s.text }

// Matches reports whether v is s, or a list that contains s. Types never mix:
// the string "1" is not the number 1. Numbers are compared by value.
func (s Scalar) Matches(v Value) bool {
	if v.Kind() == KindArray {
		for e := range v.Elements() {
			if e.Kind() != KindArray && s.Matches(e) {
				return true
			}
		}
		return false
	}
	if s.kind == KindNull || s.kind != v.Kind() {
		return false
	}
	if s.kind == KindNumber {
		n, ok := canonicalNumber(v.raw)
		return ok && n == s.text
	}
	return s.text == v.Text()
}

// canonicalNumber writes a JSON number as digits and a power of ten, so that
// equal values have equal texts (1, 1.0 and 10e-1 do). No arithmetic on the
// value: 1e999999999 must cost nothing.
func canonicalNumber(s string) (string, bool) {
	s, negative := strings.CutPrefix(s, "-")
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(strings.TrimPrefix(s[i+1:], "+"))
		if err != nil || e > 1<<30 || e < -1<<30 {
			return "", false
		}
		s, exponent = s[:i], e
	}
	whole, fraction, _ := strings.Cut(s, ".")
	exponent -= len(fraction)
	digits := strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(digits, "0")
	if trimmed == "" {
		return "0", true
	}
	exponent += len(digits) - len(trimmed)
	if negative {
		trimmed = "-" + trimmed
	}
	return trimmed + "e" + strconv.Itoa(exponent), true
}
