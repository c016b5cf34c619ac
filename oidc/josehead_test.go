package oidc

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// A header that is remembered changes no verdict: whatever the token, go-jose says
// of it what it says when it reads the header anew.
func TestARememberedHeaderChangesNoVerdict(t *testing.T) {
	for _, alg := range Algorithms() {
		header := fmt.Sprintf(`{"alg":"%s","kid":"%s","x":[1,{"y":null}]}`, alg, exampleKIDs[alg])
		other := fmt.Sprintf(`{"alg":"%s","kid":"%s"}`, alg, exampleKIDs[alg])
		good := sign(t, alg, header, goodClaims)
		h := newJoseHeaders()
		pub := exampleKey(t, alg).Public()
		verdict := func(token string) (fresh, remembered, known bool) {
			c, refused := parseCompact(token, &jsonRoom{}, nil)
			if refused != nil {
				t.Fatal(refused)
			}
			plain, ok := newSigned(token, &c)
			fast, known, ok2 := h.signed(token, &c)
			if !ok || !ok2 {
				t.Fatalf("go-jose does not take %s", token)
			}
			return plain.verifiedBy(pub), fast.verifiedBy(pub), known
		}
		if fresh, first, known := verdict(good); !fresh || !first || known {
			t.Fatalf("%s: %t and %t, and remembered %t, before anything is remembered", alg, fresh, first, known)
		}
		c, _ := parseCompact(good, &jsonRoom{}, nil)
		s, _, _ := h.signed(good, &c)
		h.remember(good, s)
		parts := strings.Split(good, ".")
		sig := mustDecode(t, parts[2])
		for name, tt := range map[string]struct {
			token       string
			good, known bool
		}{
			"the same":                 {good, true, true},
			"other claims":             {sign(t, alg, header, `{"iss":"b"}`), true, true},
			"claims that nobody wrote": {parts[0] + "." + segment(`{"iss":"b"}`) + "." + parts[2], false, true},
			"a changed signature":      {parts[0] + "." + parts[1] + "." + base64url(append([]byte{sig[0] ^ 1}, sig[1:]...)), false, true},
			"a short signature":        {parts[0] + "." + parts[1] + "." + base64url(sig[:len(sig)-1]), false, true},
			"another header":           {sign(t, alg, other, goodClaims), true, false},
			"another's signature":      {segment(other) + "." + parts[1] + "." + parts[2], false, false},
		} {
			fresh, remembered, known := verdict(tt.token)
			if fresh != tt.good || remembered != tt.good || known != tt.known {
				t.Errorf("%s, %s: %t anew, %t from memory, remembered %t; want %t and %t", alg, name, fresh, remembered, known, tt.good, tt.known)
			}
		}
	}
}

// Only the validator decides what is remembered: headers under which a signature
// was good, and not too many or too long ones.
func TestOnlyHeadersOfVerifiedTokensAreRemembered(t *testing.T) {
	v := fixedValidator(t, setText(exampleSet(t)...), differentialTime, IssuerConfig{Issuer: differentialIssuer, AnyAudience: true})
	remembered := func() int { return v.store.headers.lru.Len() }
	header := func(more string) string { return fmt.Sprintf(`{"alg":"RS256","kid":"%s"%s}`, exampleKIDs[RS256], more) }
	good := sign(t, RS256, header(""), goodClaims)
	forged := good[:len(good)-8] + "AAAAAAAA"
	for range 2 {
		if _, err := v.Validate(t.Context(), forged, Requirement{}); ReasonOf(err) != BadSignature {
			t.Fatal(err)
		}
		if remembered() != 0 {
			t.Fatal("the header of a forged token is remembered")
		}
	}
	for range 2 {
		if _, err := v.Validate(t.Context(), good, Requirement{}); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Validate(t.Context(), forged, Requirement{}); ReasonOf(err) != BadSignature {
			t.Fatal(err)
		}
		if remembered() != 1 {
			t.Fatalf("%d headers are remembered", remembered())
		}
	}
	// Of 512 bytes in the token, and of one more or two.
	room := maxJoseHeaderSize/4*3 - len(header(`,"x":""`))
	for more, want := range map[int]int{0: 2, 1: 1} {
		v.store.headers.lru.Purge()
		if _, err := v.Validate(t.Context(), good, Requirement{}); err != nil {
			t.Fatal(err)
		}
		long := sign(t, RS256, header(`,"x":"`+strings.Repeat("x", room+more)+`"`), goodClaims)
		if _, err := v.Validate(t.Context(), long, Requirement{}); err != nil {
			t.Fatal(err)
		}
		if remembered() != want {
			t.Errorf("%d bytes over: %d headers are remembered, want %d", more, remembered(), want)
		}
	}
	h := newJoseHeaders()
	for i := range maxJoseHeaders + 1 {
		h.lru.Add(fmt.Sprint(i), jose.Signature{})
	}
	if h.lru.Len() != maxJoseHeaders {
		t.Errorf("%d headers are remembered", h.lru.Len())
	}
}

// Tokens that are verified at the same time share what is remembered.
func TestRememberedHeadersAreShared(t *testing.T) {
	v := fixedValidator(t, setText(exampleSet(t)...), differentialTime, IssuerConfig{Issuer: differentialIssuer, AnyAudience: true})
	good := sign(t, ES256, fmt.Sprintf(`{"alg":"ES256","kid":"%s"}`, exampleKIDs[ES256]), goodClaims)
	done := make(chan error, 8)
	for range cap(done) {
		go func() {
			for range 20 {
				if _, err := v.Validate(t.Context(), good, Requirement{}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
