package oidc_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// The example of RFC 9449 section 4.1, and the thumbprint of its key (section 6.1).
const (
	rfc9449s41    = `eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg`
	rfc9449s61jkt = `0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I`
)

func proofRules() oidc.SelfSignedRules {
	return oidc.SelfSignedRules{Type: "dpop+jwt", Algorithms: []oidc.Algorithm{oidc.ES256, oidc.EdDSA}, MaxSize: 8 << 10}
}

func TestExampleOfASelfSignedToken(t *testing.T) {
	s, err := oidc.VerifySelfSigned(rfc9449s41, proofRules())
	if err != nil || s.Thumbprint != rfc9449s61jkt || s.Algorithm != oidc.ES256 {
		t.Fatalf("%+v, %v", s, err)
	}
	if htm, _ := s.Claims.Top("htm"); htm.Text() != "POST" {
		t.Errorf("htm is %q", htm.Text())
	}
}

// Everything that can be refused without a signature check is, in the order in
// which it is cheap.
func TestSelfSignedTokensAreHeldToTheirRules(t *testing.T) {
	issuer := newIssuer(t, newClock())
	key := issuer.SigningKey()
	jwk := key.JWK()
	delete(jwk, "kid")
	sign := func(changes map[string]any, opts ...oidctest.TokenOption) string {
		header := map[string]any{"typ": "dpop+jwt", "jwk": jwk, "kid": oidctest.Omit}
		for name, value := range changes {
			header[name] = value
		}
		for name, value := range header {
			opts = append(opts, oidctest.Header(name, value))
		}
		return issuer.Token(nil, opts...)
	}
	with := func(changes map[string]any) map[string]any {
		text, err := json.Marshal(jwk)
		if err != nil {
			t.Fatal(err)
		}
		changed := map[string]any{}
		if err := json.Unmarshal(text, &changed); err != nil {
			t.Fatal(err)
		}
		for name, value := range changes {
			changed[name] = value
		}
		return map[string]any{"jwk": changed}
	}
	good := sign(nil)
	ed := oidctest.NewKey("Ed25519", "")
	short := proofRules()
	short.MaxSize = len(good) - 1
	checked := proofRules()
	checked.Check = func(s oidc.SelfSigned) error {
		if s.Thumbprint == "" || s.Claims.Object().Kind() != oidc.KindObject {
			t.Errorf("nothing to check: %+v", s)
		}
		return errors.New("checked")
	}
	passing := proofRules()
	passing.Check = func(oidc.SelfSigned) error { return nil }
	for _, tt := range []struct {
		rule  string
		text  string
		rules oidc.SelfSignedRules
		want  string
	}{
		{"good", good, proofRules(), ""},
		{"two names of one algorithm", sign(map[string]any{"jwk": ed.JWK()}, oidctest.SignWith(ed)), proofRules(), ""},
		{"the zero rules", good, oidc.SelfSignedRules{}, "over 0 bytes"},
		{"the zero rules, on nothing", "", oidc.SelfSignedRules{}, "not three segments"},
		{"a byte too large", good, short, "over " + strconv.Itoa(short.MaxSize) + " bytes"},
		{"an access token", issuer.Token(nil), proofRules(), "typ is not dpop+jwt"},
		{"no typ", sign(map[string]any{"typ": oidctest.Omit}), proofRules(), "typ is not dpop+jwt"},
		{"an algorithm that is not accepted", sign(map[string]any{"alg": "PS256"}), proofRules(), "alg is not an accepted signature algorithm"},
		{"an algorithm that nobody knows", sign(map[string]any{"alg": "none"}), oidc.SelfSignedRules{Type: "dpop+jwt", Algorithms: []oidc.Algorithm{"none"}, MaxSize: 1 << 12}, "alg is not an accepted signature algorithm"},
		{"an algorithm of another key", sign(map[string]any{"alg": "EdDSA"}), proofRules(), "alg does not fit the header's jwk"},
		{"a key from elsewhere", sign(map[string]any{"x5u": nil}), proofRules(), "the header parameter x5u is not accepted"},
		{"no key", sign(map[string]any{"jwk": oidctest.Omit}), proofRules(), "the header has no jwk"},
		{"a key that is a list", sign(map[string]any{"jwk": []any{jwk}}), proofRules(), "the header has no jwk"},
		{"a private key", sign(with(map[string]any{"d": "AA"})), proofRules(), "the header's jwk: has private members"},
		{"a key for encryption", sign(with(map[string]any{"use": "enc"})), proofRules(), "the header's jwk: use is not sig"},
		{"claims that are refused, though the signature is bad too", sign(nil, oidctest.Forged()), checked, "checked"},
		{"claims that pass", good, passing, ""},
		{"claims that pass, and a bad signature", sign(nil, oidctest.Forged()), passing, "the signature is not one of the header's jwk"},
		{"a bad signature", sign(nil, oidctest.Forged()), proofRules(), "the signature is not one of the header's jwk"},
		{"no signature", good[:strings.LastIndex(good, ".")+1], proofRules(), "the signature is not one of the header's jwk"},
		{"another spelling", good + "=", proofRules(), "a segment is not strict base64url"},
		{"a header that is no base64url", "!" + good, proofRules(), "a segment is not strict base64url"},
		{"claims that are no base64url", strings.Replace(good, ".", ".!", 1), proofRules(), "a segment is not strict base64url"},
		{"claims that are no object", sign(nil, oidctest.RawClaims([]byte("[]"))), proofRules(), "not a JSON object"},
		{"a header that is no object", sign(nil, oidctest.RawHeader([]byte("[]"))), proofRules(), "not a JSON object"},
		{"a number that nobody else can read", sign(nil, oidctest.RawHeader([]byte(`{"typ":"dpop+jwt","alg":"ES256","x":1e999,"jwk":`+mustText(t, jwk)+`}`))), proofRules(), "a header parameter is a number out of range, or a nonce that is no string"},
	} {
		got := ""
		s, err := oidc.VerifySelfSigned(tt.text, tt.rules)
		if err != nil {
			got = err.Error()
		}
		if (s.Thumbprint == "") != (err != nil) {
			t.Errorf("%s: the thumbprint is %q", tt.rule, s.Thumbprint)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.rule, got, tt.want)
		}
	}
}

func mustText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOnlyPublicKeysHaveThumbprints(t *testing.T) {
	for _, key := range []any{nil, "x", []byte("secret"), struct{}{}} {
		if text, err := oidc.Thumbprint(key); err == nil {
			t.Errorf("%T: %s", key, text)
		}
	}
}
