package oidctest

import (
	"crypto/rand"
	"fmt"
	"time"
)

// omit is the type of [Omit], so that no other value can be taken for it.
type omit string

// Omit as a value takes a claim, a header member or a member of discovery
// away. (nil makes it null.)
const Omit omit = "omit"

// Lifetime of a token that does not say otherwise.
const Lifetime = 5 * time.Minute

// TokenOption changes a token from what is good and usual.
type TokenOption func(*draft)

// draft is a token in the making.
type draft struct {
	alg       string
	key       *Key
	forged    bool
	header    map[string]any
	rawHeader []byte
	rawClaims []byte
	sign      func(input []byte) []byte
}

// Header sets a member of the JOSE header. [Omit] takes it away. Setting alg
// changes what the header says, not how the token is signed: see [Alg].
func Header(name string, value any) TokenOption {
	return func(d *draft) { d.header[name] = value }
}

// KeyID names another key in the header, whether it exists or not.
func KeyID(kid string) TokenOption { return Header("kid", kid) }

// NoKeyID leaves kid away.
func NoKeyID() TokenOption { return Header("kid", Omit) }

// Alg signs with the issuer's key for this algorithm. The issuer must have one:
// see [WithAlgorithms].
func Alg(alg string) TokenOption { return func(d *draft) { d.alg = alg } }

// SignWith signs with another key, say another issuer's or one announced by
// [Issuer.Publish], and names it in the header.
func SignWith(key *Key) TokenOption { return func(d *draft) { d.key = key } }

// Forged signs with a key that nobody knows, under the algorithm and the kid of
// the right one.
func Forged() TokenOption { return func(d *draft) { d.forged = true } }

// Unsigned writes alg none and an empty signature (RFC 7519 section 6).
func Unsigned() TokenOption {
	return func(d *draft) {
		d.header["alg"] = "none"
		d.header["kid"] = Omit
		d.sign = func([]byte) []byte { return nil }
	}
}

// SignFunc makes the signature by a function of the signing input, for what no
// honest key does.
func SignFunc(sign func(input []byte) []byte) TokenOption {
	return func(d *draft) { d.sign = sign }
}

// RawHeader puts these bytes in the header's place. They are signed like any.
func RawHeader(header []byte) TokenOption { return func(d *draft) { d.rawHeader = header } }

// RawClaims puts these bytes in the claims' place. They are signed like any.
func RawClaims(claims []byte) TokenOption { return func(d *draft) { d.rawClaims = claims } }

// Token mints an access token as RFC 9068 describes it: typ at+jwt; iss, sub
// "alice", aud, client_id "client", iat now, exp after [Lifetime] and a fresh
// jti, signed with the issuer's first algorithm. The given claims are added and
// win; [Omit] takes a claim away. Values are whatever encoding/json can write,
// json.RawMessage and json.Number included. It panics if JSON cannot write one,
// or on an algorithm that the issuer has no key for.
func (i *Issuer) Token(claims map[string]any, opts ...TokenOption) string {
	d := draft{header: map[string]any{}}
	for _, o := range opts {
		o(&d)
	}
	key := d.key
	if key == nil {
		key = i.keyFor(d.alg)
	}

	header := map[string]any{"alg": key.Algorithm, "typ": "at+jwt"}
	if key.ID != "" {
		header["kid"] = key.ID
	}
	override(header, d.header)
	headerBytes := d.rawHeader
	if headerBytes == nil {
		headerBytes = mustJSON(header)
	}
	claimBytes := d.rawClaims
	if claimBytes == nil {
		all := i.defaultClaims()
		override(all, claims)
		claimBytes = mustJSON(all)
	}

	input := encode(headerBytes) + "." + encode(claimBytes)
	sign := d.sign
	if sign == nil {
		if d.forged {
			key = NewKey(key.Algorithm, key.ID)
		}
		sign = key.sign
	}
	return input + "." + encode(sign([]byte(input)))
}

func (i *Issuer) keyFor(alg string) *Key {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.state.signing {
		if alg == "" || k.Algorithm == alg {
			return k
		}
	}
	panic(fmt.Sprintf("oidctest: the issuer has no key for %q; see WithAlgorithms", alg))
}

func (i *Issuer) defaultClaims() map[string]any {
	now := i.clock()
	claims := map[string]any{
		"iss":       i.URL,
		"sub":       "alice",
		"client_id": "client",
		"iat":       now.Unix(),
		"exp":       now.Add(Lifetime).Unix(),
		"jti":       rand.Text(),
	}
	switch len(i.audiences) {
	case 0:
	case 1:
		claims["aud"] = i.audiences[0]
	default:
		claims["aud"] = i.audiences
	}
	return claims
}

// override lets changes win over what is in m, and removes what they omit.
func override(m, changes map[string]any) {
	for name, value := range changes {
		if _, gone := value.(omit); gone {
			delete(m, name)
		} else {
			m[name] = value
		}
	}
}
