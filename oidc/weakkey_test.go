package oidc

import (
	"crypto/ed25519"
	"errors"
	"math/big"
	"testing"
)

// rocaModulus makes a number of 2048 bits as the primes of CVE-2017-15361 make
// them: a power of 65537 modulo the product of the first primes.
func rocaModulus(exponent int64) *big.Int {
	product := big.NewInt(2)
	for p := int64(3); p <= 167; p += 2 {
		if big.NewInt(p).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(p))
		}
	}
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(exponent), product)
	multiple := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(3), 2046), product)
	return n.Add(n, multiple.Mul(multiple, product))
}

func TestRSAKeysThatCanBeFactoredAreSkipped(t *testing.T) { // A9
	for _, exponent := range []int64{1, 2, 12345, 1 << 40} {
		n := rocaModulus(exponent)
		weak := members{"kty": "RSA", "n": base64url(n.Bytes()), "e": "AQAB"}
		if _, err := parseKey(weak.String()); !errors.Is(err, errKeyROCA) {
			t.Errorf("65537^%d: %v", exponent, err)
		}
		near := weak.with("n", base64url(n.Add(n, big.NewInt(2)).Bytes()))
		if _, err := parseKey(near.String()); err != nil {
			t.Errorf("65537^%d + 2: %v", exponent, err)
		}
	}
}

// Under a key of small order anybody can sign: with the neutral element as key
// and as the point of the signature, and zero as its scalar, the equation of a
// signature holds for every message.
func TestEd25519KeysOfSmallOrderAreSkipped(t *testing.T) { // A10
	neutral := append([]byte{1}, make([]byte, 31)...)
	if forgery := append(neutral[:32:32], make([]byte, 32)...); !ed25519.Verify(neutral, []byte("anything"), forgery) {
		t.Error("the standard library refuses the forgery: is the check still needed?")
	}
	order8, _ := new(big.Int).SetString("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16)
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	for _, y := range []*big.Int{
		big.NewInt(0), big.NewInt(1), new(big.Int).Sub(p, big.NewInt(1)), order8, new(big.Int).Sub(p, order8),
	} {
		for _, sign := range []byte{0, 0x80} {
			x := make([]byte, 32)
			y.FillBytes(x)
			for i := range 16 {
				x[i], x[31-i] = x[31-i], x[i]
			}
			x[31] |= sign
			if _, err := parseKey(members{"kty": "OKP", "crv": "Ed25519", "x": base64url(x)}.String()); !errors.Is(err, errKeyOrder) {
				t.Errorf("the key %x: %v", x, err)
			}
		}
	}
}
