package oidc

import (
	"errors"
	"fmt"
	"testing"
)

// What go-jose cannot read has no bad signature: nothing is known about the
// signature. It is the token that is malformed, under each name of an algorithm
// and whether its key is known or not.
func TestHeadersThatCannotBeReadAreMalformed(t *testing.T) {
	v := fixedValidator(t, setText(exampleSet(t)...), differentialTime, IssuerConfig{Issuer: differentialIssuer, AnyAudience: true})
	for _, alg := range []Algorithm{RS256, PS256, ES256, EdDSA, Ed25519} {
		for _, odd := range []string{`"x":1e999`, `"x":[{"y":-1e999}]`, `"nonce":7`} {
			for _, kid := range []string{exampleKIDs[alg], "unknown"} {
				header := fmt.Sprintf(`{"alg":"%s","kid":"%s",%s}`, alg, kid, odd)
				_, err := v.Validate(t.Context(), sign(t, alg, header, goodClaims), Requirement{})
				var e *Error
				if !errors.As(err, &e) || e.Reason != MalformedToken || e.IssuerName != "test" {
					t.Errorf("%s: %v", header, err)
				}
			}
		}
	}
}
