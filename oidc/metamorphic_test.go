package oidc

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// respell writes a JSON object in another way that means the same: its members
// in another order, unknown ones among them, white space, escaped names. It
// returns false for what is no object by our rules.
func respell(random *rand.Rand, object string, unknown []string, value func(*rand.Rand) string) (string, bool) {
	c, err := parseClaims(object)
	if err != nil {
		return "", false
	}
	var list []string
	for name, value := range c.Object().Members() {
		list = append(list, respellName(random, name)+respellSpace(random)+":"+respellSpace(random)+value.Raw())
	}
	for _, name := range unknown {
		if _, known := c.Object().Member(name); known || random.IntN(3) > 0 {
			continue
		}
		list = append(list, respellName(random, name)+":"+value(random))
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	space := respellSpace(random)
	return space + "{" + space + strings.Join(list, space+","+space) + space + "}" + space, true
}

// anyValue returns the value of a member that means nothing.
func anyValue(random *rand.Rand) string {
	return []string{`null`, `true`, `-0`, `"x"`, `"\u0000"`, `[]`, `["api",{"iss":"y"}]`, `{"exp":1,"EXP":2}`}[random.IntN(8)]
}

// anyClaim is anyValue and numbers beyond float64, which are fine in claims.
// In a header they are not: see TestHeadersThatCannotBeReadAreMalformed.
func anyClaim(random *rand.Rand) string {
	if random.IntN(8) == 0 {
		return "1e999"
	}
	return anyValue(random)
}

func respellSpace(random *rand.Rand) string {
	return []string{"", "", "", " ", "\t", "\r\n", "\n  "}[random.IntN(7)]
}

func respellName(random *rand.Rand, name string) string {
	quoted, err := json.Marshal(name)
	if err != nil || name == "" || name[0] >= 0x80 || random.IntN(4) > 0 {
		return string(quoted)
	}
	return fmt.Sprintf(`"\u%04x%s`, name[0], quoted[2:]) // none of the names begins with what is escaped already
}

// Names that differ from those that mean something, some of them by little.
var (
	unknownClaims = []string{"x", "", "ISS", "Sub", "AUD", "Exp", "iss ", "\u017fub", "exp\x00", "/aud", "nonces", "Cnf", "Events", "TYP", "\u0440oles", "__proto__", "https://example.com/x"}
	unknownParams = []string{"x", "", "ALG", "Kid", "TYP", "Crit", "JWK", "cty", "x5t", "alg ", "\u212aid", "iss"}
)

// respellSet puts the keys of a set in another order, with keys between them
// that nobody can use, and gives them members that mean nothing.
func respellSet(random *rand.Rand, keys []string) string {
	list := slices.Clone(keys)
	for i, k := range list {
		if random.IntN(2) == 0 {
			list[i], _ = respell(random, k, []string{"x", "KTY", "ext", "Use", "iat"}, anyClaim)
		}
	}
	for _, junk := range []string{`null`, `{}`, `{"kty":"AKP","kid":"p256","alg":"ML-DSA-65"}`, `{"kty":"oct","kid":"p256","k":"AAAA"}`, `{"kid":"p256","kid":"p256"}`} {
		if random.IntN(2) == 0 {
			list = append(list, junk)
		}
	}
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return `{"Keys":[],` + respellSpace(random) + `"keys":[` + strings.Join(list, respellSpace(random)+",") + `]}`
}

// What means the same gets the same verdict, the good as the bad.
func TestSpellingDoesNotMatter(t *testing.T) {
	const seed, variants = 7515, 12
	random := rand.New(rand.NewPCG(seed, 7519))
	judge := func(token, jwks string) string {
		v := fixedValidator(t, jwks, differentialTime, IssuerConfig{Issuer: differentialIssuer, Audiences: []string{differentialAudience}})
		defer v.Close()
		got, err := v.Validate(t.Context(), token, Requirement{})
		if err != nil {
			return string(ReasonOf(err))
		}
		return fmt.Sprintf("%q %q %q %q %q %q %s %s", got.Subject, got.ClientID, got.ID, got.Type, got.Scopes, got.Audience, got.Roles, got.Expiry)
	}
	verdicts := map[string]int{}
	list := append(attacks(t),
		attack{claims: strings.TrimSuffix(goodClaims, "}") + `,"scope":"a b","roles":["r"],"client_id":"c","azp":"d","jti":"j"}`},
		attack{claims: strings.TrimSuffix(goodClaims, "}") + `,"scp":["a"],"roles":"r","azp":"d"}`},
	)
	for _, a := range list {
		custom := a.set != ""
		a = a.filled(t, ES256)
		want := judge(sign(t, ES256, a.header, a.claims), a.set)
		verdicts[want]++
		for range variants {
			header, ok1 := respell(random, a.header, unknownParams, anyValue)
			claims, ok2 := respell(random, a.claims, unknownClaims, anyClaim)
			if !ok1 || !ok2 { // malformed: there is no other spelling
				if want != string(MalformedToken) {
					t.Errorf("%s %s: %s", a.header, a.claims, want)
				}
				break
			}
			set := a.set
			if !custom {
				set = respellSet(random, exampleSet(t))
			}
			if got := judge(sign(t, ES256, header, claims), set); got != want {
				t.Fatalf("seed %d:\n%s\n%s\nwith %s\n%s, but as\n%s\n%s\nwith %s\n%s", seed, a.header, a.claims, a.set, want, header, claims, set, got)
			}
		}
	}
	if len(verdicts) < 10 {
		t.Errorf("the tokens get %d verdicts only, so that little is tried: %v", len(verdicts), verdicts)
	}
}
