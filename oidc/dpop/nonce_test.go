package dpop_test

import (
	"bytes"
	"crypto/rand"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

func nonces(t *testing.T, key []byte) *dpop.Nonces {
	t.Helper()
	n, err := dpop.NewNonces(key)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func secret(t *testing.T) []byte {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	return key
}

// A nonce is accepted in its minute and the next, and 10 s before, at every
// replica that has the key; and no clock of a client matters then.
func TestANonceIsGoodForItsMinuteAndTheNext(t *testing.T) {
	const minute = int64(now - now%60)
	f := newForger(t)
	key := secret(t)
	one := nonces(t, key)
	nonce := one.Current(time.Unix(minute+59, 0))
	for _, tt := range []struct {
		after int64 // the minute's begin, in seconds
		want  oidc.Reason
	}{
		{-11, oidc.NonceRequired}, {-10, ""}, {0, ""}, {59, ""}, {60, ""}, {119, ""}, {120, oidc.NonceRequired},
	} {
		other := verifier(t, dpop.Config{Clock: at(minute + tt.after), Nonces: nonces(t, key), Replay: dpop.NewMemory(0, time.Unix(0, 0))})
		r := dpop.Request{Proofs: []string{f.proof(nil, members{"nonce": nonce, "iat": 1})}, Method: "GET", URL: apiURL}
		if err := other.Verify(t.Context(), r, token, f.thumbprint); oidc.ReasonOf(err) != tt.want {
			t.Errorf("%d s after its minute began: %v", tt.after, err)
		}
		if err := other.Verify(t.Context(), r, token, f.thumbprint); tt.want == "" && oidc.ReasonOf(err) != oidc.ProofReplayed {
			t.Errorf("%d s after its minute began, again: %v", tt.after, err)
		}
	}
}

// A proof must be remembered for as long as its nonce is good, however old its
// iat is.
func TestAProofWithANonceIsGoodOnceForAsLongAsTheNonce(t *testing.T) {
	clock := int64(now - now%60)
	f := newForger(t)
	n := nonces(t, secret(t))
	v := verifier(t, dpop.Config{Clock: func() time.Time { return time.Unix(clock, 0) }, Nonces: n})
	r := dpop.Request{Proofs: []string{f.proof(nil, members{"nonce": v.Nonce(), "iat": 1})}, Method: "GET", URL: apiURL}
	if err := v.Verify(t.Context(), r, token, f.thumbprint); err != nil {
		t.Fatal(err)
	}
	for range 119 {
		clock++
		if err := v.Verify(t.Context(), r, token, f.thumbprint); oidc.ReasonOf(err) != oidc.ProofReplayed {
			t.Fatalf("%d s after: %v", clock%60, err)
		}
	}
	clock++
	if err := v.Verify(t.Context(), r, token, f.thumbprint); oidc.ReasonOf(err) != oidc.NonceRequired {
		t.Errorf("after the nonce's end: %v", err)
	}
}

func TestNoncesOfNobodyAreRefused(t *testing.T) {
	f := newForger(t)
	v := verifier(t, dpop.Config{Clock: at(now), Nonces: nonces(t, secret(t))})
	for name, tt := range map[string]struct {
		nonce any
		want  oidc.Reason
	}{
		"missing":       {gone, oidc.NonceRequired},
		"empty":         {"", oidc.NonceRequired},
		"of another":    {nonces(t, secret(t)).Current(time.Unix(now, 0)), oidc.NonceRequired},
		"longer":        {v.Nonce() + "A", oidc.NonceRequired},
		"not a string":  {7, oidc.ProofInvalid},
		"our own nonce": {v.Nonce(), ""},
	} {
		r := dpop.Request{Proofs: []string{f.proof(nil, members{"nonce": tt.nonce})}, Method: "GET", URL: apiURL}
		if err := v.Verify(t.Context(), r, token, f.thumbprint); oidc.ReasonOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAShortKeyMakesNoNonces(t *testing.T) {
	if _, err := dpop.NewNonces(bytes.Repeat([]byte{1}, 31)); err == nil {
		t.Error("31 bytes are enough")
	}
	if (&dpop.Verifier{}).Nonce() != "" {
		t.Error("a nonce without nonces")
	}
	key := secret(t)
	n := nonces(t, key)
	before := n.Current(time.Unix(now, 0))
	clear(key)
	if n.Current(time.Unix(now, 0)) != before {
		t.Error("the key is the caller's to change")
	}
}
