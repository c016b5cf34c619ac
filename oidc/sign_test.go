package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"math/big"
	"testing"
)

// The private halves of the RFCs' examples. Keys that never change let a fuzz
// target sign the same way in each of its processes.
const (
	rfc7515A2D = `Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ`
	rfc7515A2P = `4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc`
	rfc7515A2Q = `uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc`
	rfc7515A3D = `jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI`
	rfc7515A4D = `AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C`
	rfc8037A1D = `nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A`
)

func mustDecode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := decodeSegment(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exampleKey returns the private key that signs an algorithm: that of RFC 7515
// A.2, A.3 or A.4 or of RFC 8037 A.1. The RFCs have none of P-384.
func exampleKey(t testing.TB, alg Algorithm) crypto.Signer {
	t.Helper()
	var err error
	var private crypto.Signer
	switch alg {
	case ES256:
		private, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), mustDecode(t, rfc7515A3D))
	case ES384:
		private, err = ecdsa.ParseRawPrivateKey(elliptic.P384(), append(make([]byte, 47), 7))
	case ES512:
		private, err = ecdsa.ParseRawPrivateKey(elliptic.P521(), mustDecode(t, rfc7515A4D))
	case EdDSA, Ed25519:
		private = ed25519.NewKeyFromSeed(mustDecode(t, rfc8037A1D))
	default:
		number := func(s string) *big.Int { return new(big.Int).SetBytes(mustDecode(t, s)) }
		pub, _ := mustParseKey(t, rfc7515A2Key).pub.(*rsa.PublicKey)
		private = &rsa.PrivateKey{PublicKey: *pub, D: number(rfc7515A2D), Primes: []*big.Int{number(rfc7515A2P), number(rfc7515A2Q)}}
	}
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func mustParseKey(t testing.TB, text string) key {
	t.Helper()
	k, err := parseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign makes a compact JWS of any header and payload, signed as alg whatever
// the header says.
func sign(t testing.TB, alg Algorithm, header, payload string) string {
	t.Helper()
	return signWith(t, exampleKey(t, alg), alg, header, payload)
}

// signWith is sign with a key of one's own.
func signWith(t testing.TB, private crypto.Signer, alg Algorithm, header, payload string) string {
	t.Helper()
	input := segment(header) + "." + segment(payload)
	return input + "." + base64url(signature(t, private, alg, input))
}

func signature(t testing.TB, private crypto.Signer, alg Algorithm, input string) []byte {
	t.Helper()
	hash := map[byte]crypto.Hash{'2': crypto.SHA256, '3': crypto.SHA384, '5': crypto.SHA512}[alg[2]]
	var sum []byte
	if hash != 0 {
		h := hash.New()
		h.Write([]byte(input))
		sum = h.Sum(nil)
	}
	var sig []byte
	var err error
	switch private := private.(type) {
	case *rsa.PrivateKey:
		if alg[0] == 'P' {
			sig, err = rsa.SignPSS(rand.Reader, private, hash, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(nil, private, hash, sum)
		}
	case *ecdsa.PrivateKey:
		var der []byte
		var point struct{ R, S *big.Int }
		if der, err = private.Sign(nil, sum, hash); err == nil { // without random numbers: RFC 6979
			_, err = asn1.Unmarshal(der, &point)
		}
		if err != nil {
			t.Fatal(err)
		}
		size := ecSignatureSize(alg, private.Curve) / 2
		sig = append(point.R.FillBytes(make([]byte, size)), point.S.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(private, []byte(input))
	}
	if err != nil {
		t.Fatal(err)
	}
	return sig
}
