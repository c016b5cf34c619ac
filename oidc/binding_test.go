package oidc_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// A token is worth something only with all the proofs that its cnf asks for, of
// what it is bound to; and what is not known here cannot be proven.
func TestABoundTokenNeedsItsProofs(t *testing.T) {
	type members = map[string]any
	const jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	cert := sha256.Sum256([]byte("a certificate"))
	other := sha256.Sum256([]byte("another"))
	x5t := base64.RawURLEncoding.EncodeToString(cert[:])

	good := func(context.Context, string, string) error { return nil }
	says := func(err error) func(context.Context, string, string) error {
		return func(context.Context, string, string) error { return err }
	}
	dpop := func(context.Context, string, string) error {
		t.Helper()
		t.Error("the proof is looked at although the token is refused without")
		return nil
	}

	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	for _, tt := range []struct {
		rule  string
		cnf   any // nil for none
		proof oidc.Proof
		want  string // "" for a token that is good
	}{
		{"not bound", nil, oidc.Proof{}, ""},
		{"not bound, with a certificate", nil, oidc.Proof{CertSHA256: cert[:]}, ""},
		{"not bound, under DPoP", nil, oidc.Proof{DPoP: dpop}, "binding_mismatch (cnf): the token came by the scheme DPoP, and is not bound to a key"},
		{"a key", members{"jkt": jkt}, oidc.Proof{DPoP: good}, ""},
		{"a key, as a bearer token", members{"jkt": jkt}, oidc.Proof{}, "proof_missing (cnf): the token is bound to a key, and came without a DPoP proof"},
		{"a key, with a certificate", members{"jkt": jkt}, oidc.Proof{CertSHA256: cert[:]}, "proof_missing (cnf): the token is bound to a key, and came without a DPoP proof"},
		{"a key, with a bad proof", members{"jkt": jkt}, oidc.Proof{DPoP: says(&oidc.Error{Reason: oidc.ProofInvalid, Claim: "htu"})}, "proof_invalid (htu)"},
		{"a key, with a fault of ours", members{"jkt": jkt}, oidc.Proof{DPoP: says(errors.New("x"))}, "internal: checking the DPoP proof: x"},
		{"a key, with an error that is none", members{"jkt": jkt}, oidc.Proof{DPoP: says(&oidc.Error{Reason: oidc.ValidToken})}, "internal"},
		{"a certificate", members{"x5t#S256": x5t}, oidc.Proof{CertSHA256: cert[:]}, ""},
		{"a certificate, none shown", members{"x5t#S256": x5t}, oidc.Proof{}, "proof_missing (cnf): the token is bound to a certificate, and the client showed none here"},
		{"another certificate", members{"x5t#S256": x5t}, oidc.Proof{CertSHA256: other[:]}, "binding_mismatch (cnf): the token is bound to another certificate"},
		{"a part of the certificate's hash", members{"x5t#S256": x5t}, oidc.Proof{CertSHA256: cert[:31]}, "binding_mismatch (cnf): the token is bound to another certificate"},
		{"a hash of nothing", members{"x5t#S256": x5t}, oidc.Proof{CertSHA256: []byte{}}, "binding_mismatch (cnf): the token is bound to another certificate"},
		{"a hash of another length, the same", members{"x5t#S256": "YWJj"}, oidc.Proof{CertSHA256: []byte("abc")}, "binding_mismatch (cnf): the token is bound to another certificate"},
		{"a padded hash", members{"x5t#S256": x5t + "="}, oidc.Proof{CertSHA256: cert[:]}, "binding_mismatch (cnf): the token is bound to another certificate"},
		{"a certificate, under DPoP", members{"x5t#S256": x5t}, oidc.Proof{CertSHA256: cert[:], DPoP: dpop}, "binding_mismatch (cnf): the token came by the scheme DPoP, and is not bound to a key"},
		{"both", members{"jkt": jkt, "x5t#S256": x5t}, oidc.Proof{CertSHA256: cert[:], DPoP: good}, ""},
		{"both, the key alone", members{"jkt": jkt, "x5t#S256": x5t}, oidc.Proof{DPoP: dpop}, "proof_missing (cnf): the token is bound to a certificate, and the client showed none here"},
		{"both, the certificate alone", members{"jkt": jkt, "x5t#S256": x5t}, oidc.Proof{CertSHA256: cert[:]}, "proof_missing (cnf): the token is bound to a key, and came without a DPoP proof"},
		{"both, of another certificate", members{"jkt": jkt, "x5t#S256": x5t}, oidc.Proof{CertSHA256: other[:], DPoP: dpop}, "binding_mismatch (cnf): the token is bound to another certificate"},
		{"null is absent", members{"jkt": nil, "x5t#S256": x5t}, oidc.Proof{CertSHA256: cert[:]}, ""},
		{"to nothing", members{}, oidc.Proof{CertSHA256: cert[:], DPoP: dpop}, "proof_missing (cnf): the token is bound to something, and does not say to what"},
		{"to null", members{"jkt": nil}, oidc.Proof{CertSHA256: cert[:], DPoP: dpop}, "proof_missing (cnf): the token is bound to something, and does not say to what"},
		{"unknown", members{"kid": "x"}, oidc.Proof{CertSHA256: cert[:], DPoP: dpop}, "proof_missing (cnf): the token is bound in a way that cannot be proven here"},
		{"a key and unknown", members{"jkt": jkt, "jwk": members{}}, oidc.Proof{DPoP: dpop}, "proof_missing (cnf): the token is bound in a way that cannot be proven here"},
		{"a number", members{"jkt": 7}, oidc.Proof{DPoP: dpop}, "proof_missing (cnf): the member jkt says nothing that could be proven"},
		{"an empty hash", members{"x5t#S256": ""}, oidc.Proof{CertSHA256: []byte{}}, "proof_missing (cnf): the member x5t#S256 says nothing that could be proven"},
		{"the name's case", members{"JKT": jkt}, oidc.Proof{DPoP: dpop}, "proof_missing (cnf): the token is bound in a way that cannot be proven here"},
	} {
		claims := members{}
		if tt.cnf != nil {
			claims["cnf"] = tt.cnf
		}
		token := issuer.Token(claims)
		for _, when := range []string{"first", "from the cache"} {
			got := ""
			tok, err := v.Validate(t.Context(), token, oidc.Requirement{Proof: tt.proof})
			if err != nil {
				got = err.Error()[len("oidc: "):]
				var e *oidc.Error
				if !errors.As(err, &e) || e.Token == nil || e.IssuerName != "shop" {
					t.Errorf("%s, %s: the error says nothing of the token: %#v", tt.rule, when, err)
				}
			}
			if got != tt.want || (tok == nil) != (err != nil) {
				t.Errorf("%s, %s: got %q, want %q", tt.rule, when, got, tt.want)
			}
		}
	}
}

// The check gets what it needs, and each time: a proof of a minute ago says
// nothing about this request.
func TestAProofIsAskedForEachTime(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	token := issuer.Token(map[string]any{"cnf": map[string]any{"jkt": "thumb"}})
	asked := 0
	req := oidc.Requirement{Proof: oidc.Proof{DPoP: func(_ context.Context, tok, thumbprint string) error {
		if asked++; tok != token || thumbprint != "thumb" {
			t.Errorf("asked for %q, %q", tok, thumbprint)
		}
		return nil
	}}}
	for range 3 {
		if _, err := v.Validate(t.Context(), token, req); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 3 || v.CacheStats().Hits != 2 {
		t.Errorf("asked %d times, %d hits", asked, v.CacheStats().Hits)
	}
	// Nobody asks for a proof for a token that is not good.
	c.add(2 * oidctest.Lifetime)
	if _, err := v.Validate(t.Context(), token, req); oidc.ReasonOf(err) != oidc.Expired || asked != 3 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}

// An operator who asks why sees what the token is bound by.
func TestTheBindingIsExplained(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	cert := sha256.Sum256([]byte("a certificate"))
	x5t := base64.RawURLEncoding.EncodeToString(cert[:])
	good := func(context.Context, string, string) error { return nil }
	type members = map[string]any
	for _, tt := range []struct {
		cnf   members
		proof oidc.Proof
		want  oidc.Step
	}{
		{nil, oidc.Proof{}, oidc.Step{Name: "binding", OK: true, Detail: "the token is not bound to a key (no cnf)"}},
		{members{"jkt": "x"}, oidc.Proof{DPoP: good}, oidc.Step{Name: "binding", OK: true, Detail: "the token is bound by jkt, and that is proven"}},
		{members{"x5t#S256": x5t}, oidc.Proof{CertSHA256: cert[:]}, oidc.Step{Name: "binding", OK: true, Detail: "the token is bound by x5t#S256, and that is proven"}},
		{members{"jkt": "x", "x5t#S256": x5t}, oidc.Proof{DPoP: good, CertSHA256: cert[:]}, oidc.Step{Name: "binding", OK: true, Detail: "the token is bound by jkt and x5t#S256, and that is proven"}},
		{members{"jkt": "x"}, oidc.Proof{}, oidc.Step{Name: "binding", OK: false, Detail: "proof_missing (cnf): the token is bound to a key, and came without a DPoP proof"}},
	} {
		claims := members{}
		if tt.cnf != nil {
			claims["cnf"] = tt.cnf
		}
		var last oidc.Step
		_, err := v.Validate(t.Context(), issuer.Token(claims), oidc.Requirement{Proof: tt.proof, Explain: func(s oidc.Step) { last = s }})
		if last != tt.want || (err == nil) != tt.want.OK {
			t.Errorf("%v: %+v, %v", tt.cnf, last, err)
		}
	}
}
