package dpop_test

import (
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

// The examples of RFC 9449: the proof for a token request in section 4.1, the
// protected request in section 7.1, and the thumbprint in section 6.1.
const (
	rfcTokenRequest = `eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg`
	rfcRequest      = `eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA`
	rfcToken        = `Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU`
	rfcURL          = `https://resource.example.org/protectedresource`
	rfcThumbprint   = `0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I`
	rfcIssuedAt     = 1562262618
)

func verifier(t *testing.T, cfg dpop.Config) *dpop.Verifier {
	t.Helper()
	v, err := dpop.NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func at(unix int64) func() time.Time { return func() time.Time { return time.Unix(unix, 0) } }

func TestTheExamplesOfTheRFC(t *testing.T) {
	v := verifier(t, dpop.Config{Clock: at(rfcIssuedAt)})
	if err := v.Verify(t.Context(), dpop.Request{Proofs: []string{rfcRequest}, Method: "GET", URL: rfcURL}, rfcToken, rfcThumbprint); err != nil {
		t.Error(err)
	}
	// The other one is for a token endpoint and so names no token; its signature is
	// good too.
	proof, err := oidc.VerifySelfSigned(rfcTokenRequest, oidc.SelfSignedRules{Type: "dpop+jwt", Algorithms: []oidc.Algorithm{oidc.ES256}, MaxSize: dpop.MaxProofSize})
	if err != nil || proof.Thumbprint != rfcThumbprint {
		t.Errorf("%v, %v", proof.Thumbprint, err)
	}
	if iat, _ := proof.Claims.Top("iat"); iat.Text() != "1562262616" {
		t.Errorf("iat %s", iat.Text())
	}
	err = v.Verify(t.Context(), dpop.Request{Proofs: []string{rfcTokenRequest}, Method: "POST", URL: "https://server.example.com/token"}, rfcToken, rfcThumbprint)
	if oidc.ReasonOf(err) != oidc.ProofInvalid {
		t.Errorf("a proof for the token endpoint is taken for a token: %v", err)
	}
}
