package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"math"
	"math/big"
	"slices"
)

// key is one public key of an issuer, checked once so that nothing about it has
// to be asked again.
type key struct {
	kid    string
	hasKID bool
	pub    crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	algs   algSet           // what it may verify; never empty
	use    string           // "" if it does not say
	issuer string           // the one whose tokens it may verify, perhaps with {tenantid}; "" if it does not say
}

const (
	maxKeySize = 64 << 10
	minRSABits = 2048
	maxRSABits = 8192 // a signature check gets slow with the size: CVE-2023-29409
)

// Why a key is skipped. The texts are fixed: nothing of the key is in them.
var (
	errKeyTooLarge   = errors.New("over 64 KiB")
	errKeyNoObject   = errors.New("not a JSON object")
	errKeyID         = errors.New("kid is not a string")
	errKeyType       = errors.New("unknown kty")
	errKeySymmetric  = errors.New("symmetric (kty oct)")
	errKeyUse        = errors.New("use is not sig")
	errKeyOps        = errors.New("key_ops does not include verify")
	errKeyPrivate    = errors.New("has private members")
	errKeyCurve      = errors.New("unknown crv")
	errKeyCoordinate = errors.New("a coordinate is not base64url of the curve's length")
	errKeyPoint      = errors.New("the point is not on the curve")
	errKeyOrder      = errors.New("the point is of small order, so that anybody can sign")
	errKeyModulus    = errors.New("the RSA modulus is not an odd number of 2048 to 8192 bits in base64url")
	errKeyROCA       = errors.New("the RSA modulus can be factored (ROCA, CVE-2017-15361)")
	errKeyExponent   = errors.New("the RSA exponent is not an odd number from 3 to 2147483647 in base64url")
	errKeyAlg        = errors.New("alg is unknown, not for signatures, or of another key type")
	errKeyCert       = errors.New("x5c certifies another key")
	errKeyIssuer     = errors.New("issuer is not a string that says something")
)

// jwk is a JSON Web Key (RFC 7517 section 4) that is being read.
type jwk struct{ object Value }

// parseKey reads one key of a set. The error is one of the texts above, or says
// how the JSON is wrong; the key ID is returned with it if it could be read.
func parseKey(text string) (key, error) {
	var k key
	if len(text) > maxKeySize {
		return k, errKeyTooLarge
	}
	object, err := parseJSON(text)
	if err != nil {
		return k, err
	}
	if object.Kind() != KindObject {
		return k, errKeyNoObject
	}
	j := jwk{object}
	if kid, ok := j.member("kid"); ok {
		if kid.Kind() != KindString {
			return k, errKeyID
		}
		k.kid, k.hasKID = kid.Text(), true
	}
	if err := j.checkUse(); err != nil {
		return k, err
	}
	k.use = j.text("use")
	if issuer, ok := j.member("issuer"); ok {
		if k.issuer = j.text("issuer"); issuer.Kind() != KindString || k.issuer == "" {
			return k, errKeyIssuer
		}
	}
	if k.pub, k.algs, err = j.publicKey(); err != nil {
		return k, err
	}
	if err := j.pinAlgorithm(&k); err != nil {
		return k, err
	}
	return k, j.checkCertificate(k.pub)
}

// member returns a member of the key; null counts as absent.
func (j jwk) member(name string) (Value, bool) {
	v, ok := j.object.Member(name)
	return v, ok && v.Kind() != KindNull
}

func (j jwk) text(name string) string {
	v, _ := j.member(name)
	if v.Kind() != KindString {
		return ""
	}
	return v.Text()
}

// bytes decodes a base64url member, nil if it is absent or not strict base64url.
func (j jwk) bytes(name string) []byte {
	b, err := decodeSegment(j.text(name))
	if err != nil {
		return nil
	}
	return b
}

// checkUse refuses keys that are not for signatures (RFC 7517 sections 4.2 and
// 4.3). SPIFFE writes jwt-svid for sig.
func (j jwk) checkUse() error {
	if use, ok := j.member("use"); ok {
		if u := j.text("use"); use.Kind() != KindString || u != "sig" && u != "jwt-svid" {
			return errKeyUse
		}
	}
	if ops, ok := j.member("key_ops"); ok {
		if list, ok := ops.Strings(); !ok || !slices.Contains(list, "verify") {
			return errKeyOps
		}
	}
	return nil
}

// publicKey reads the members that belong to the key's type (RFC 7518 section
// 6, RFC 8037 section 2) and no others: issuers publish RSA keys with an empty
// crv.
func (j jwk) publicKey() (crypto.PublicKey, algSet, error) {
	switch j.text("kty") {
	case "RSA":
		if j.hasAny("d", "p", "q", "dp", "dq", "qi", "oth") {
			return nil, 0, errKeyPrivate
		}
		pub, err := j.rsaKey()
		return pub, setRSA, err
	case "EC":
		if j.hasAny("d") {
			return nil, 0, errKeyPrivate
		}
		return j.ecKey()
	case "OKP":
		if j.hasAny("d") {
			return nil, 0, errKeyPrivate
		}
		pub, err := j.edKey()
		return pub, EdDSA.bit(), err
	case "oct":
		return nil, 0, errKeySymmetric
	default:
		return nil, 0, errKeyType
	}
}

func (j jwk) hasAny(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		_, ok := j.member(n)
		return ok
	})
}

func (j jwk) rsaKey() (*rsa.PublicKey, error) {
	// Leading zero bytes are against RFC 7518 section 6.3.1.1 but common; they
	// do not count as size.
	n := new(big.Int).SetBytes(j.bytes("n"))
	if bits := n.BitLen(); bits < minRSABits || bits > maxRSABits || n.Bit(0) == 0 {
		return nil, errKeyModulus
	}
	if madeByROCA(n) {
		return nil, errKeyROCA
	}
	e := new(big.Int).SetBytes(j.bytes("e"))
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > math.MaxInt32 || e.Bit(0) == 0 {
		return nil, errKeyExponent
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// madeByROCA reports whether an RSA modulus is one of those that a library in
// many smart cards and TPMs made (Nemec et al., "The Return of Coppersmith's
// Attack", 2017): its factors, and so the modulus, are powers of 65537 modulo
// each small prime. Another modulus looks so once in 2^27 times.
func madeByROCA(n *big.Int) bool {
	residue := new(big.Int)
	for _, p := range [...]int64{
		3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
		101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
	} {
		want := residue.Mod(n, big.NewInt(p)).Int64()
		power := int64(1)
		for power != want {
			if power = power * 65537 % p; power == 1 { // all powers seen
				return false
			}
		}
	}
	return true
}

func (j jwk) ecKey() (*ecdsa.PublicKey, algSet, error) {
	var curve elliptic.Curve
	var alg Algorithm
	switch j.text("crv") {
	case "P-256":
		curve, alg = elliptic.P256(), ES256
	case "P-384":
		curve, alg = elliptic.P384(), ES384
	case "P-521":
		curve, alg = elliptic.P521(), ES512
	default:
		return nil, 0, errKeyCurve
	}
	size := (curve.Params().BitSize + 7) / 8
	x, y := j.bytes("x"), j.bytes("y")
	if len(x) != size || len(y) != size {
		return nil, 0, errKeyCoordinate
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, 0, errKeyPoint
	}
	return pub, alg.bit(), nil
}

func (j jwk) edKey() (ed25519.PublicKey, error) {
	if j.text("crv") != "Ed25519" {
		return nil, errKeyCurve
	}
	x := j.bytes("x")
	if len(x) != ed25519.PublicKeySize {
		return nil, errKeyCoordinate
	}
	if err := checkEdwards25519(x); err != nil {
		return nil, err
	}
	return ed25519.PublicKey(x), nil
}

// checkEdwards25519 looks whether 32 bytes encode a point (RFC 8032 section
// 5.1.3): x² = (y²−1)/(dy²+1) must have a root. The standard library looks only
// when it verifies, and then tells it from a bad signature by text alone. Points
// of small order are on the curve and still no keys.
func checkEdwards25519(encoded []byte) error {
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)

	littleEndian := slices.Clone(encoded)
	littleEndian[31] &= 0x7f // the top bit is x's sign
	slices.Reverse(littleEndian)
	y := new(big.Int).SetBytes(littleEndian)
	if y.Cmp(p) >= 0 {
		return errKeyPoint
	}
	yy := y.Mul(y, y)
	yy.Mod(yy, p)
	if ofSmallOrder(yy, d, p) {
		return errKeyOrder
	}
	u := new(big.Int).Sub(yy, one)
	v := new(big.Int).Mul(d, yy)
	v.Add(v, one)
	// u/v is a square if and only if u·v is, since v² is one.
	uv := u.Mul(u, v)
	if big.Jacobi(uv.Mod(uv, p), p) == -1 {
		return errKeyPoint
	}
	return nil
}

// ofSmallOrder reports whether eight times the point is the neutral element,
// given y² modulo p. Order 1 and 2 mean y = ±1, order 4 means y = 0, and order 8
// that doubling leads to y = 0, which is x² = −y², so dy⁴ + 2y² = 1 on the curve.
func ofSmallOrder(yy, d, p *big.Int) bool {
	one := big.NewInt(1)
	sum := new(big.Int).Mul(d, yy)
	sum.Add(sum, big.NewInt(2)).Mul(sum, yy).Mod(sum, p)
	return yy.Sign() == 0 || yy.Cmp(one) == 0 || sum.Cmp(one) == 0
}

// pinAlgorithm narrows k to its own alg, if it has one.
func (j jwk) pinAlgorithm(k *key) error {
	if _, ok := j.member("alg"); !ok {
		return nil
	}
	k.algs &= Algorithm(j.text("alg")).bit()
	if k.algs == 0 {
		return errKeyAlg
	}
	return nil
}

// checkCertificate refuses a key whose certificate is of another key (RFC 7517
// section 4.7 wants them equal). A certificate never adds trust, so one that
// cannot be read is none.
func (j jwk) checkCertificate(pub crypto.PublicKey) error {
	x5c, _ := j.member("x5c")
	for first := range x5c.Elements() {
		if first.Kind() != KindString {
			return nil
		}
		der, err := base64.StdEncoding.DecodeString(first.Text())
		if err != nil {
			return nil
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil || cert.PublicKey == nil {
			return nil
		}
		if same, ok := pub.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(cert.PublicKey) {
			return errKeyCert
		}
		return nil
	}
	return nil
}
