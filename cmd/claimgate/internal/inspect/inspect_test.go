package inspect_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/inspect"
	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

const es256 = `{"alg":"ES256"}`

// signed is a token of that form, with a signature of the right size.
func signed(header, claims string) string {
	return b64(header) + "." + b64(claims) + "." + b64(strings.Repeat("s", 64))
}

func TestReadSaysWhereATokenIsBrokenAndHow(t *testing.T) {
	good := signed(es256, `{"sub":"alice"}`)
	h := b64(es256)
	for _, tt := range []struct {
		name, token  string
		kind         inspect.Kind
		what, likely string // parts of the fault
	}{
		{"nothing", " \n", inspect.Malformed, "there is nothing", "a variable that is not set"},
		{"a scheme alone", "Bearer ", inspect.Malformed, "no token", "a variable that is not set"},
		{"an opaque token", "mF_9.B5f-4.1JqM"[:4], inspect.Opaque, "", ""},
		{"the header alone", h, inspect.Malformed, "one segment", "only the header"},
		{"no signature", h + "." + b64(`{}`), inspect.Malformed, "there is no signature", "not copied"},
		{"an empty signature", h + "." + b64(`{}`) + ".", inspect.Malformed, "signature: it is empty", "not copied"},
		{"alg none", b64(`{"alg":"none"}`) + "." + b64(`{}`) + ".", inspect.Malformed, "alg is none", "unsigned"},
		{"cut in the claims", good[:len(h)+5], inspect.Malformed, "claims", "cut off"},
		{"cut in the signature", good[:len(good)-22], inspect.Malformed, "ES256 signatures have 64", "end of the token"},
		{"one letter too few", good[:len(good)-1], inspect.Malformed, "signature, byte ", "end of the token"},
		{"a first letter too few", good[1:], inspect.Malformed, "header, byte 1 of the token: it begins in the middle", "first letter"},
		{"shortened", good[:30] + "..." + good[40:], inspect.Malformed, "byte 31: dots in place", "shortened"},
		{"shortened by an ellipsis", good[:30] + "…" + good[40:], inspect.Malformed, "U+2026", "shortened"},
		{"plain base64", h + "." + "eyJhIjoi+iJ9" + ".AAAA", inspect.Malformed, "claims, byte 30 of the token: '+' is not base64url", "plain base64"},
		{"padding", h + "=." + b64(`{}`) + ".AAAA", inspect.Malformed, "header, byte 21 of the token: '=' ", "no padding"},
		{"percent-encoded", h + "%2E" + b64(`{}`), inspect.Malformed, "'%' ", "decode it"},
		{"an SD-JWT", good + "~WyJ4Il0~", inspect.Malformed, "'~'", "SD-JWT"},
		{"two words", good + " and more", inspect.Malformed, "a space", "more than a token"},
		{"an unseen character", good + "\u200b", inspect.Malformed, "U+200B", "copied"},
		{"claims that are a list", signed(es256, `[1]`), inspect.Malformed, "no object", ""},
		{"claims that are no JSON", signed(es256, `{"a":}`), inspect.Malformed, "at byte 6 of 6", ""},
		{"a token answer", `{"access_token":"secret","token_type":"Bearer"}`, inspect.Malformed, "the whole answer", "jq -r .access_token"},
		{"an error answer", `{"error":"invalid_client"}`, inspect.Malformed, `error "invalid_client"`, "request"},
		{"a web page", "<html>", inspect.Malformed, "a web page", "login"},
		{"a PEM file", "-----BEGIN PRIVATE KEY-----\nsecret", inspect.Malformed, "a PEM file", "private keys"},
		{"a password", "Basic c2VjcmV0OnNlY3JldA==", inspect.Malformed, "Basic", "password"},
		{"two tokens", good + "\n" + good, inspect.Malformed, "5 segments", "two tokens"},
		{"a JWE", b64(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + ".a.b.c.d", inspect.Encrypted, "", ""},
		{"a good one", good, inspect.Signed, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := inspect.Read(tt.token)
			if r.Kind != tt.kind {
				t.Errorf("kind %s, want %s", r.Kind, tt.kind)
			}
			if r.Fault == nil {
				if tt.what != "" {
					t.Fatalf("no fault, want %q", tt.what)
				}
				return
			}
			if tt.what == "" || !strings.Contains(r.Fault.String(), tt.what) || !strings.Contains(r.Fault.Likely, tt.likely) {
				t.Errorf("%s (%s), want %q (%q)", r.Fault, r.Fault.Likely, tt.what, tt.likely)
			}
			if strings.Contains(r.Fault.String()+r.Fault.Likely, "secret") {
				t.Errorf("the fault repeats a secret: %s (%s)", r.Fault, r.Fault.Likely)
			}
		})
	}
}

func TestReadTakesOffWhatStoodAroundAToken(t *testing.T) {
	good := signed(es256, `{"sub":"alice"}`)
	for name, text := range map[string]string{
		"a line break":     good + "\n",
		"Bearer":           "Bearer " + good,
		"bearer":           "bearer  " + good,
		"a whole header":   "Authorization: Bearer " + good,
		"quotes":           `"` + good + `"`,
		"quotes inside":    `Bearer '` + good + `'`,
		"wrapped lines":    good[:20] + "\n  " + good[20:40] + "\r\n" + good[40:],
		"byte order mark":  "\ufeff" + good,
		"Bearer in quotes": `"Bearer ` + good + `"`,
	} {
		r := inspect.Read(text)
		if r.Kind != inspect.Signed || r.Token != good {
			t.Errorf("%s: %s, %v", name, r.Kind, r.Fault)
		}
		if noted := len(r.Notes) > 0; noted == (name == "a line break") {
			t.Errorf("%s: notes %q", name, r.Notes)
		}
	}
}

func TestReadKeepsWhatATokenSaysAndDisarmsIt(t *testing.T) {
	claims := `{"n":12345678901234567890.10,"a":1,"a":2,"x":"` + "\u202e\u009b\U000e0001\xff" + `\u001b"}`
	r := inspect.Read(signed(es256, claims))
	want := `{"n":12345678901234567890.10,"a":1,"a":2,"x":"\u202e\u009b\udb40\udc01\ufffd\u001b"}`
	if string(r.Claims) != want || !json.Valid(r.Claims) {
		t.Errorf("claims %s, want %s", r.Claims, want)
	}
	if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "the gate refuses it") {
		t.Errorf("notes %q, want one on what the gate does not take", r.Notes)
	}
}

func TestReadTellsWhatATokenIsFor(t *testing.T) {
	for _, tt := range []struct{ header, claims, want string }{
		{`{"alg":"ES256","typ":"at+jwt"}`, `{}`, "access token (RFC 9068)"},
		{`{"alg":"ES256","typ":"application/at+JWT"}`, `{}`, "access token (RFC 9068)"},
		{es256, `{"nonce":"x","at_hash":"y"}`, "nonce and at_hash"},
		{es256, `{"token_use":"id"}`, "ID token"},
		{es256, `{"typ":"Refresh"}`, "refresh token"},
		{es256, `{"events":{}}`, "security event"},
		{`{"alg":"ES256","typ":"logout+jwt"}`, `{"events":{}}`, "logout token"},
		{`{"alg":"ES256","typ":"dpop+jwt"}`, `{}`, "DPoP proof"},
		{es256, `{"sub":"a"}`, "without a mark"},
	} {
		if got := inspect.Read(signed(tt.header, tt.claims)).Usage; !strings.Contains(got, tt.want) {
			t.Errorf("%s %s: %q, want %q", tt.header, tt.claims, got, tt.want)
		}
	}
}

func TestReadFindsTimesThatAreNone(t *testing.T) {
	for _, tt := range []struct{ claims, want string }{
		{`{"exp":1795683724000}`, "milliseconds"},
		{`{"exp":"1795683724"}`, "seconds since 1970"},
		{`{"iat":-1}`, "seconds since 1970"},
	} {
		notes := strings.Join(inspect.Read(signed(es256, tt.claims)).Notes, "\n")
		if !strings.Contains(notes, tt.want) {
			t.Errorf("%s: notes %q, want %q", tt.claims, notes, tt.want)
		}
	}
	times := inspect.Read(signed(es256, `{"iat":1000,"nbf":1000.5,"exp":4600}`)).Times
	if times.Lifetime() != time.Hour || times.NotBefore.UnixMilli() != 1_000_500 {
		t.Errorf("times %+v", times)
	}
}

func TestWords(t *testing.T) {
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{
		0: "now", -3 * time.Minute: "3 minutes ago", 57 * time.Minute: "in 57 minutes", time.Hour: "in 1 hour",
		90 * time.Minute: "in 90 minutes", 49 * time.Hour: "in 2 days", 24 * time.Hour: "in 1 day", -time.Second: "1 second ago",
		119 * time.Second: "in 119 seconds",
	} {
		if got := inspect.Words(now.Add(d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// gate is a configuration with one issuer.
func gate(t *testing.T, issuer, more string) *extauthz.Config {
	t.Helper()
	cfg, err := extauthz.ParseConfig("gate.yaml", []byte(`
issuers: [{issuer: "`+issuer+`", name: shop, audiences: [api]`+more+`}]
policies:
- {name: orders, match: [{paths: [/orders]}], audiences: [orders]}
- {name: public, match: [{paths: [/public]}], access: public}
- {name: rest}
`))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestJudgeGoesOnAfterARefusal(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	old := map[string]any{"iat": 1000, "exp": 2000, "aud": "other"}
	for _, tt := range []struct {
		name, token, more string
		reason            oidc.Reason
		bad               string // steps that do not hold
		policies          string
	}{
		{"good", issuer.Token(nil), "", oidc.ValidToken, "", "rest"},
		{"another policy's audience", issuer.Token(map[string]any{"aud": []string{"orders"}}), "", oidc.ValidToken, "", "orders"},
		{"expired, for somebody else", issuer.Token(old), "", oidc.Expired, "time audience", ""},
		{"and forged", issuer.Token(old, oidctest.Forged()), "", oidc.Expired, "time audience signature", ""},
		{"not yet", issuer.Token(map[string]any{"nbf": 4e9, "exp": 5e9}), "", oidc.NotYetValid, "time", "rest"},
		{"too long", issuer.Token(nil), ", maxLifetime: 1s", oidc.InvalidClaim, "time", "rest"},
		{"no audience", issuer.Token(map[string]any{"aud": oidctest.Omit}), "", oidc.WrongAudience, "audience", ""},
		{"an audience in another claim", issuer.Token(map[string]any{"aud": oidctest.Omit, "client_id": "orders"}), ", claimMappings: {audience: [client_id]}", oidc.ValidToken, "", "orders"},
		{"an algorithm", issuer.Token(nil), ", algorithms: [RS256]", oidc.UnsupportedAlgorithm, "algorithm", "rest"},
		{"a type", issuer.Token(map[string]any{"nonce": "x"}), ", tokenTypes: [JWT]", oidc.WrongTokenType, "type", "rest"},
		{"a claim", issuer.Token(nil), ", require: {hd: [example.com]}", oidc.InvalidClaim, "claim types", "rest"},
		{"bound", issuer.Token(map[string]any{"cnf": map[string]any{"jkt": "x"}}), "", oidc.ProofMissing, "binding", "rest"},
		{"unknown key", issuer.Token(nil, oidctest.KeyID("x")), "", oidc.UnknownKey, "key", "rest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j, err := inspect.Judge(t.Context(), gate(t, issuer.URL, tt.more), inspect.Read(tt.token), inspect.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var bad []string
			for _, s := range j.Steps {
				if !s.OK {
					bad = append(bad, s.Name)
				}
			}
			if j.Reason != tt.reason || strings.Join(bad, " ") != tt.bad || strings.Join(j.Policies, " ") != tt.policies {
				t.Errorf("%s, not %q, policies %q; want %s, %q, %q", j.Reason, bad, j.Policies, tt.reason, tt.bad, tt.policies)
			}
		})
	}
}

func TestJudgeOfflineFetchesNothing(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	for reason, token := range map[oidc.Reason]string{
		oidc.ValidToken: issuer.Token(nil, oidctest.Forged()),
		oidc.Expired:    issuer.Token(map[string]any{"iat": 1000, "exp": 2000}),
	} {
		j, err := inspect.Judge(t.Context(), gate(t, issuer.URL, ""), inspect.Read(token), inspect.Options{Offline: true})
		if err != nil || j.Reason != reason || !j.Unverified {
			t.Errorf("%+v, %v, want %s, unverified", j, err, reason)
		}
		if last := j.Steps[len(j.Steps)-1].Name; last != "audience" {
			t.Errorf("the last step is %s, want audience", last)
		}
	}
	if n := issuer.Requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestJudgeSaysWhyATokenGoesToNoIssuer(t *testing.T) {
	cfg := gate(t, "https://id.example.com/shop", `, aliases: ["https://old.example.com/"]`)
	for iss, want := range map[string]string{
		"https://id.example.com/shop":  "exactly issuers[0].issuer",
		"https://old.example.com/":     "exactly issuers[0].aliases[0]",
		"https://id.example.com/shop/": "has a / at its end",
		"https://old.example.com":      "the configured one has a / at its end",
		"https://ID.example.com/shop":  "upper and lower case",
		"http://id.example.com/shop":   "the scheme",
		"id.example.com/shop":          "the scheme",
		"https://evil.example.com":     "no configured issuer is exactly",
		"":                             "has no iss",
	} {
		claims, _ := json.Marshal(map[string]any{"iss": iss, "exp": 4e9, "aud": "api"})
		j, err := inspect.Judge(t.Context(), cfg, inspect.Read(signed(es256, string(claims))), inspect.Options{Offline: true})
		if err != nil || !strings.Contains(j.Why, want) {
			t.Errorf("%q: %q, %v, want %q", iss, j.Why, err, want)
		}
		if known := j.Issuer == "shop"; known != strings.Contains(want, "exactly issuers") {
			t.Errorf("%q: issuer %q", iss, j.Issuer)
		}
	}
}
