package oidc

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func segment(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestCompactTokensAreStrict(t *testing.T) {
	const okHeader, okClaims = `{"alg":"RS256","typ":"JWT"}`, `{"iss":"a"}`
	token := func(header, claims, signature string) string {
		return segment(header) + "." + segment(claims) + "." + signature
	}
	good := token(okHeader, okClaims, "c2ln")
	header := func(h string) string { return token(h, okClaims, "c2ln") }
	tests := map[string]struct {
		token string
		want  Reason
	}{
		"a good one":                       {good, ""},
		"over 16 KiB":                      {good + strings.Repeat("A", 16<<10), TokenTooLarge},
		"a header over 4 KiB":              {header(`{"alg":"RS256","x":"` + strings.Repeat("x", 4<<10) + `"}`), TokenTooLarge},
		"nothing":                          {"", MalformedToken},
		"no dot":                           {"abc", MalformedToken},
		"two segments":                     {segment(okHeader) + "." + segment(okClaims), MalformedToken},
		"four segments":                    {good + ".c2ln", MalformedToken},
		"A15: five segments, a JWE":        {good + ".c2ln.c2ln", MalformedToken},
		"A17: many dots":                   {strings.Repeat(".", 10_000), MalformedToken},
		"A17: a leading dot":               {"." + good, MalformedToken},
		"A17: a trailing dot":              {good + ".", MalformedToken},
		"A17: an empty header":             {"." + segment(okClaims) + ".c2ln", MalformedToken},
		"A17: empty claims":                {segment(okHeader) + "..c2ln", MalformedToken},
		"A17: an empty signature":          {segment(okHeader) + "." + segment(okClaims) + ".", MalformedToken},
		"A17: padding":                     {good + "==", MalformedToken},
		"A17: the other alphabet":          {strings.Replace(good, "c2ln", "c2+/", 1), MalformedToken},
		"A17: a line feed inside":          {strings.Replace(good, ".", ".\n", 1), MalformedToken},
		"A17: a carriage return inside":    {strings.Replace(good, ".", ".\r", 1), MalformedToken},
		"A17: line ends amid a segment":    {good[:5] + "\r\n" + good[5:], MalformedToken},
		"A17: a carriage return amid one":  {good[:5] + "\r" + good[5:], MalformedToken},
		"A17: a space inside":              {strings.Replace(good, ".", ". ", 1), MalformedToken},
		"A17: unused bits that are set":    {token(okHeader, okClaims, "c2lnAB"), MalformedToken},
		"A17: one character left over":     {token(okHeader, okClaims, "c2lnA"), MalformedToken},
		"A16: JSON serialization":          {`{"protected":"` + segment(okHeader) + `","payload":"x","signature":"x"}`, MalformedToken},
		"a header that is no object":       {header(`["RS256"]`), MalformedToken},
		"A11: a duplicate in the header":   {header(`{"alg":"RS256","alg":"none"}`), MalformedToken},
		"A12: invalid UTF-8 in the header": {header("{\"alg\":\"RS256\",\"kid\":\"\xff\"}"), MalformedToken},
		"A1: alg none":                     {header(`{"alg":"none"}`), UnsupportedAlgorithm},
		"A1: alg none, no signature":       {token(`{"alg":"none"}`, okClaims, ""), UnsupportedAlgorithm},
		"A1: alg nOnE":                     {header(`{"alg":"nOnE"}`), UnsupportedAlgorithm},
		"A1: no alg":                       {header(`{"typ":"JWT"}`), UnsupportedAlgorithm},
		"A1: an empty alg":                 {header(`{"alg":""}`), UnsupportedAlgorithm},
		"A1: alg with a space":             {header(`{"alg":"RS256 "}`), UnsupportedAlgorithm},
		"A1: alg is a list":                {header(`{"alg":["RS256"]}`), UnsupportedAlgorithm},
		"A1: alg is null":                  {header(`{"alg":null}`), UnsupportedAlgorithm},
		"A1: alg by another case of alg":   {header(`{"ALG":"RS256"}`), UnsupportedAlgorithm},
		"A2: HS256":                        {header(`{"alg":"HS256"}`), UnsupportedAlgorithm},
		"A4: ES256K":                       {header(`{"alg":"ES256K"}`), UnsupportedAlgorithm},
		"A15: RSA-OAEP":                    {header(`{"alg":"RSA-OAEP","enc":"A256GCM"}`), UnsupportedAlgorithm},
		"A5: jwk":                          {header(`{"alg":"RS256","jwk":{}}`), MalformedToken},
		"A5: jku":                          {header(`{"alg":"RS256","jku":"https://evil.example"}`), MalformedToken},
		"A5: x5u":                          {header(`{"alg":"RS256","x5u":"https://evil.example"}`), MalformedToken},
		"A5: x5c":                          {header(`{"alg":"RS256","x5c":[]}`), MalformedToken},
		"A14: crit":                        {header(`{"alg":"RS256","crit":["exp"]}`), MalformedToken},
		"A14: an empty crit":               {header(`{"alg":"RS256","crit":[]}`), MalformedToken},
		"A14: b64":                         {header(`{"alg":"RS256","b64":false}`), MalformedToken},
		"A14: b64 is null":                 {header(`{"alg":"RS256","b64":null}`), MalformedToken},
		"A15: enc":                         {header(`{"alg":"RS256","enc":"A256GCM"}`), MalformedToken},
		"A15: zip":                         {header(`{"alg":"RS256","zip":"DEF"}`), MalformedToken},
		"A6: a kid of 256 bytes":           {header(`{"alg":"RS256","kid":"` + strings.Repeat("k", 256) + `"}`), ""},
		"A6: a kid of 257 bytes":           {header(`{"alg":"RS256","kid":"` + strings.Repeat("k", 257) + `"}`), MalformedToken},
		"A6: kid is a number":              {header(`{"alg":"RS256","kid":1}`), MalformedToken},
		"A6: kid is null":                  {header(`{"alg":"RS256","kid":null}`), MalformedToken},
		"A6: kid is an object":             {header(`{"alg":"RS256","kid":{}}`), MalformedToken},
		"A6: kid is a path":                {header(`{"alg":"RS256","kid":"../../dev/null\u0000\r\n"}`), ""},
		"typ is a list":                    {header(`{"alg":"RS256","typ":[]}`), MalformedToken},
		"claims that are no object":        {token(okHeader, `"x"`, "c2ln"), MalformedToken},
		"A11: a duplicate in the claims":   {token(okHeader, `{"iss":"a","iss":"b"}`, "c2ln"), MalformedToken},
		"A19: claims nested too deep":      {token(okHeader, `{"a":`+strings.Repeat("[", 32)+strings.Repeat("]", 32)+`}`, "c2ln"), MalformedToken},
		"A19: claims with many members":    {token(okHeader, manyMembers(257, "}"), "c2ln"), MalformedToken},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseCompact(test.token, &jsonRoom{}, nil)
			var got Reason
			if err != nil {
				got = err.Reason
			}
			if got != test.want {
				t.Errorf("reason %q, want %q (%v)", got, test.want, err)
			}
			if err != nil && len(err.Error()) > 150 {
				t.Errorf("the error is so long that it may repeat the token: %s", err)
			}
		})
	}
}

// FuzzCompactStrict: what is accepted has one spelling only, and go-jose accepts
// it too.
func FuzzCompactStrict(f *testing.F) {
	f.Add(segment(`{"alg":"RS256"}`) + "." + segment(`{}`) + ".c2ln")
	f.Add(segment(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`) + "." + segment(`{"iss":"a","exp":1}`) + ".AA")
	f.Add(segment(`{"alg":"none"}`) + "." + segment(`{}`) + ".")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := parseCompact(token, &jsonRoom{}, nil)
		if err != nil {
			return
		}
		parts := strings.Split(token, ".")
		for i, part := range parts {
			raw, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil || base64.RawURLEncoding.EncodeToString(raw) != part {
				t.Fatalf("segment %d of %q has another spelling", i, token)
			}
		}
		if c.signingInput != parts[0]+"."+parts[1] {
			t.Fatalf("the signing input of %q is %q", token, c.signingInput)
		}
		alg := jose.SignatureAlgorithm(c.header.alg)
		if _, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{alg}); err != nil {
			t.Skip("go-jose is stricter here, and asked as well before a token is believed")
		}
	})
}

// FuzzClaims: whatever is accepted has a finite life, and members with names of
// another case never matter (A11).
func FuzzClaims(f *testing.F) {
	f.Add(`{"iss":"a","sub":"b","exp":1700000000,"aud":"c"}`)
	f.Add(`{"exp":1e18}`)
	f.Add(`{"exp":1,"nbf":-1,"iat":1.5,"scope":"a b","roles":["r"],"cnf":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := parseClaims(text)
		if err != nil {
			return
		}
		rules, _ := PresetGeneric.Rules()
		iss := &issuer{id: "a", name: "a", mappings: rules.Mappings}
		tok := &Token{}
		times, refused := iss.readClaims(claims, tok)
		if refused != nil {
			return
		}
		if times.exp < 0 || times.exp >= endOfTime {
			t.Fatalf("exp %d of %s is accepted", times.exp, text)
		}
		if _, ok := claims.Top("exp"); !ok {
			t.Fatalf("%s has no exp and is accepted", text)
		}
		for _, s := range tok.Scopes {
			if !ValidScope(s) {
				t.Fatalf("scope %q of %s is accepted", s, text)
			}
		}
	})
}

func TestLimitsOfATokenAreExact(t *testing.T) {
	for _, tt := range []struct {
		header, total int
		want          Reason
	}{
		{4096, 5000, ""}, {4097, 5000, TokenTooLarge}, {100, 16384, ""}, {100, 16385, TokenTooLarge},
	} {
		token := strings.Repeat("A", tt.header) + ".AA."
		token += strings.Repeat("A", tt.total-len(token))
		_, _, _, err := splitCompact(token)
		if err == nil && tt.want != "" || err != nil && err.Reason != tt.want {
			t.Errorf("a header of %d bytes in a token of %d: %v, want %q", tt.header, tt.total, err, tt.want)
		}
	}
	for _, token := range []string{"a", "a.b", "a.b..", "a.b.c.d", "a.b.c.d.e"} {
		if _, _, _, err := splitCompact(token); err == nil || !strings.Contains(err.Error(), "not three segments") {
			t.Errorf("%s: %v", token, err)
		}
	}
	for _, token := range []string{".b.c", "a..c", "..c", ".."} {
		if _, _, _, err := splitCompact(token); err == nil || !strings.Contains(err.Error(), "an empty segment") {
			t.Errorf("%s: %v", token, err)
		}
	}
}
