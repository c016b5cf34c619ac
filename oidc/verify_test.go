package oidc_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// verdict is a rule and a token that is as the rule says: refused with this
// error, or accepted. What is not said is as in a usual token of a usual issuer.
type verdict struct {
	rule    string
	config  func(*oidc.IssuerConfig)
	claims  claims
	header  []oidctest.TokenOption
	require oidc.Requirement
	want    string // the error; "" is none
}

type claims map[string]any

// hold compares verdicts with a validator's. Texts of errors are compared too:
// an operator who is told of the wrong claim looks in the wrong place.
func hold(t *testing.T, verdicts []verdict) {
	t.Helper()
	c := newClock()
	issuer := newIssuer(t, c)
	for _, tt := range verdicts {
		v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
			if tt.config != nil {
				cfg.Issuers[0].JWKSURL = issuer.URLOf(oidctest.JWKS)
				tt.config(&cfg.Issuers[0])
			}
		})
		got := ""
		if _, err := v.Validate(t.Context(), issuer.Token(tt.claims, tt.header...), tt.require); err != nil {
			got = strings.TrimPrefix(err.Error(), "oidc: ")
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.rule, got, tt.want)
		}
	}
}

func claimName(s string) []oidc.ClaimName {
	name, err := oidc.ParseClaimName(s)
	if err != nil {
		panic(err)
	}
	return []oidc.ClaimName{name}
}

func TestOnlyItsIssClaimSaysWhoseATokenIs(t *testing.T) {
	const missing = "unknown_issuer (iss): missing, or not a string"
	aliases := func(aliases ...string) func(*oidc.IssuerConfig) {
		return func(cfg *oidc.IssuerConfig) { cfg.Aliases = aliases }
	}
	domain := func(cfg *oidc.IssuerConfig) { cfg.Issuer, cfg.Preset = "spiffe://example.org", oidc.PresetSPIFFE }
	hold(t, []verdict{
		{rule: "an alias", config: aliases("5"), claims: claims{"iss": "5"}},
		{rule: "a number is no alias", config: aliases("5"), claims: claims{"iss": 5}, want: missing},
		{rule: "a short alias", config: aliases("?"), claims: claims{"iss": "?"}},
		{
			rule: "nobody is the empty issuer", config: aliases(""), claims: claims{"iss": ""},
			want: "unknown_issuer (iss): no configured issuer has exactly this identifier",
		},
		{rule: "no iss", claims: claims{"iss": oidctest.Omit}, want: missing},
		{rule: "null", claims: claims{"iss": nil}, want: missing},
		{
			rule: "no iss, and a sub of a stranger's trust domain", config: domain,
			claims: claims{"iss": oidctest.Omit, "sub": "spiffe://example.com/web"},
			want:   "unknown_issuer (iss): missing, and no configured issuer is the trust domain of sub",
		},
		{rule: "no iss, and a sub that is a number", config: domain, claims: claims{"iss": oidctest.Omit, "sub": 5}, want: missing},
		{
			rule: "an issuer that the request does not accept", require: oidc.Requirement{Issuers: []string{"other"}},
			want: "issuer_not_accepted: the policy does not accept tokens of this issuer",
		},
		{rule: "an issuer that the request accepts", require: oidc.Requirement{Issuers: []string{"other", "shop"}}},
	})
}

func TestOnlyAccessTokensAreAccepted(t *testing.T) {
	const otherKind = "the mark of a token of another kind"
	typ := func(typ any) []oidctest.TokenOption { return []oidctest.TokenOption{oidctest.Header("typ", typ)} }
	idTokens := func(cfg *oidc.IssuerConfig) { cfg.IDTokens = true }
	keycloak := func(cfg *oidc.IssuerConfig) { cfg.Preset = oidc.PresetKeycloak }
	verdicts := []verdict{
		{rule: "no typ", header: typ(oidctest.Omit)},
		{rule: "typ in full", header: typ("application/AT+JWT")},
		{rule: "another typ", header: typ("dpop+jwt"), want: "wrong_token_type (typ): not an accepted token type"},
		{rule: "our word for no typ", header: typ("none"), want: "wrong_token_type (typ): not an accepted token type"},
		{rule: "a logout token", claims: claims{"events": claims{}}, want: "wrong_token_type (events): " + otherKind},
		{rule: "a proof of possession", claims: claims{"htm": "GET"}, want: "wrong_token_type (htm): " + otherKind},
		{rule: "an ID token by typ", claims: claims{"typ": "ID"}, want: "wrong_token_type (typ): the mark of an ID token, in the claims"},
		{rule: "an ID token by token_use", claims: claims{"token_use": "id"}, want: "wrong_token_type (token_use): the mark of an ID token"},
		{rule: "an ID token where these are accepted", config: idTokens, claims: claims{"typ": "ID", "nonce": "x", "token_use": "id"}},
		{
			rule: "a logout token where ID tokens are accepted", config: idTokens,
			claims: claims{"events": claims{}}, want: "wrong_token_type (events): " + otherKind,
		},
		{rule: "the kind that a preset wants", config: keycloak, claims: claims{"typ": "Bearer"}},
		{rule: "no kind", config: keycloak, want: "wrong_token_type (typ): the claim typ is not Bearer or DPoP"},
		{rule: "another kind", config: keycloak, claims: claims{"typ": "bearer"}, want: "wrong_token_type (typ): the claim typ is not Bearer or DPoP"},
	}
	for _, kind := range []string{"Refresh", "Offline", "Logout"} {
		for _, config := range []func(*oidc.IssuerConfig){nil, idTokens} {
			verdicts = append(verdicts, verdict{
				rule: "of kind " + kind, config: config, claims: claims{"typ": kind},
				want: "wrong_token_type (typ): " + otherKind + ", in the claims",
			})
		}
	}
	for _, mark := range []string{"nonce", "at_hash", "c_hash"} {
		verdicts = append(verdicts, verdict{
			rule: "an ID token by " + mark, claims: claims{mark: "x"}, want: "wrong_token_type (" + mark + "): the mark of an ID token",
		})
	}
	hold(t, verdicts)
}

func TestClaimsOfAnotherTypeAreRefused(t *testing.T) {
	const noScopes = "neither a string nor a list of strings, or not in the alphabet of scopes"
	number := func(name string) verdict {
		return verdict{rule: name + " is a number", claims: claims{name: 5}, want: "invalid_claim (" + name + "): not a string"}
	}
	hold(t, []verdict{
		number("sub"), number("client_id"), number("azp"), number("jti"), // azp is looked at beside a good client_id too
		{
			rule: "a mapped claim is a number", claims: claims{"uid": 5}, want: "invalid_claim (uid): not a string",
			config: func(cfg *oidc.IssuerConfig) { cfg.Mappings.Subject = claimName("uid") },
		},
		{rule: "scope is a number", claims: claims{"scope": 5}, want: "invalid_claim (scope): " + noScopes},
		{rule: "scope is a list of numbers", claims: claims{"scope": []int{5}}, want: "invalid_claim (scope): " + noScopes},
		{rule: "scope has a quote", claims: claims{"scope": `a b"`}, want: "invalid_claim (scope): " + noScopes},
		{rule: "a scope has a space", claims: claims{"scp": []string{"a b"}}, want: "invalid_claim (scp): " + noScopes},
		{rule: "roles are numbers", claims: claims{"roles": []int{5}}, want: "invalid_claim (roles): neither a string nor a list of strings"},
		{rule: "roles are an object", claims: claims{"roles": claims{"admin": 1}}, want: "invalid_claim (roles): neither a string nor a list of strings"},
		{
			rule: "roles are an object, which is how this issuer writes them", claims: claims{"roles": claims{"admin": 1}},
			config: func(cfg *oidc.IssuerConfig) { cfg.Mappings.RoleObjects = true },
		},
		{
			rule: "sub is no SPIFFE ID", claims: claims{"iss": "spiffe://example.org"}, header: []oidctest.TokenOption{oidctest.Header("typ", "JWT")},
			config: func(cfg *oidc.IssuerConfig) { cfg.Issuer, cfg.Preset = "spiffe://example.org", oidc.PresetSPIFFE },
			want:   "invalid_claim (sub): not a SPIFFE ID: spiffe://, a trust domain of a-z, 0-9, dot, - and _, and a path of plain segments",
		},
		{rule: "cnf is a string", claims: claims{"cnf": "x"}, want: "invalid_claim (cnf): not an object"},
	})
}

func TestTimesOfATokenAreExact(t *testing.T) {
	const noTime = "not a number from 0 to the year 9999"
	now := newClock().Now().Unix()
	bounded := func(most time.Duration) func(*oidc.IssuerConfig) {
		return func(cfg *oidc.IssuerConfig) { cfg.MaxLifetime = most }
	}
	verdicts := []verdict{
		{rule: "no exp", claims: claims{"exp": oidctest.Omit}, want: "invalid_claim (exp): missing or zero"},
		{rule: "exp is zero", claims: claims{"exp": 0}, want: "invalid_claim (exp): missing or zero"},
		{rule: "the last second within the leeway", claims: claims{"exp": now - 29}},
		{rule: "after the leeway", claims: claims{"exp": now - 30}, want: "expired (exp): expired at 2027-01-15T07:59:30Z"},
		{rule: "a fraction of exp does not count", claims: claims{"exp": float64(now) - 29.5}, want: "expired (exp): expired at 2027-01-15T07:59:30Z"},
		{rule: "the last second that there is", claims: claims{"exp": 253402300799}},
		{rule: "nbf is zero", claims: claims{"nbf": 0}},
		{rule: "nbf within the leeway", claims: claims{"nbf": now + 30}},
		{rule: "nbf after the leeway", claims: claims{"nbf": now + 31}, want: "not_yet_valid (nbf)"},
		{rule: "a fraction of nbf counts", claims: claims{"nbf": float64(now) + 30.5}, want: "not_yet_valid (nbf)"},
		{rule: "iat is zero", claims: claims{"iat": 0}},
		{rule: "iat within the leeway", claims: claims{"iat": now + 30}},
		{rule: "iat after the leeway", claims: claims{"iat": now + 31}, want: "not_yet_valid (iat)"},
		{rule: "no iat", claims: claims{"iat": oidctest.Omit}},
		{rule: "the longest life", config: bounded(5 * time.Minute), claims: claims{"iat": now, "exp": now + 300}},
		{
			rule: "too long a life by a fraction", config: bounded(5 * time.Minute), claims: claims{"iat": now, "exp": float64(now) + 300.5},
			want: "invalid_claim (exp): the token lives longer than this issuer's configuration allows",
		},
		{
			rule: "the smallest bound is a bound", config: bounded(1),
			want: "invalid_claim (exp): the token lives longer than this issuer's configuration allows",
		},
		{
			rule: "a life without a beginning", config: bounded(5 * time.Minute), claims: claims{"iat": oidctest.Omit},
			want: "invalid_claim (iat): missing, and this issuer's configuration bounds the lifetime",
		},
	}
	for _, name := range []string{"exp", "nbf", "iat"} {
		for _, value := range []any{"1", true, -1, json.Number("-0.5"), 253402300800, json.Number("1e400")} {
			verdicts = append(verdicts, verdict{rule: name + " is no time", claims: claims{name: value}, want: "invalid_claim (" + name + "): " + noTime})
		}
	}
	hold(t, verdicts)
}

func TestATokenIsForItsAudienceOnly(t *testing.T) {
	const (
		other   = "wrong_audience (aud): no accepted audience"
		nobody  = "wrong_audience (aud): missing: the token says nowhere whom it is for"
		strange = "neither a string nor a list of strings"
	)
	none := claims{"aud": oidctest.Omit}
	anybody := func(cfg *oidc.IssuerConfig) { cfg.Audiences, cfg.AnyAudience = nil, true }
	resource := func(cfg *oidc.IssuerConfig) { cfg.Mappings.Audience = claimName("resource") }
	strict := func(cfg *oidc.IssuerConfig) { cfg.Preset = oidc.PresetRFC9068; resource(cfg) }
	orders := oidc.Requirement{Audiences: []string{"orders"}}
	hold(t, []verdict{
		{rule: "one of several", claims: claims{"aud": []string{"x", "api"}}},
		{rule: "another", claims: claims{"aud": "API"}, want: other},
		{rule: "none", claims: none, want: nobody},
		{rule: "an empty list", claims: claims{"aud": []string{}}, want: nobody},
		{rule: "a number", claims: claims{"aud": 5}, want: "invalid_claim (aud): " + strange},

		{rule: "the request's in place of the issuer's", claims: claims{"aud": "orders"}, require: orders},
		{rule: "the issuer's, where the request has its own", require: orders, want: other},
		{rule: "a request that accepts none", require: oidc.Requirement{Audiences: []string{}}, want: other},

		{rule: "anybody's", config: anybody, claims: claims{"aud": "x"}},
		{rule: "anybody's, and none", config: anybody, claims: none},
		{rule: "anybody's, and a number", config: anybody, claims: claims{"aud": 5}, want: "invalid_claim (aud): " + strange},
		{rule: "anybody's, where the request has its own", config: anybody, require: orders, want: other},
		{rule: "anybody's, none, where the request has its own", config: anybody, claims: none, require: orders, want: nobody},

		{rule: "a claim in its place", config: resource, claims: claims{"aud": oidctest.Omit, "resource": "api"}},
		{
			rule: "a claim in its place, another", config: resource, claims: claims{"aud": oidctest.Omit, "resource": "x"},
			want: "wrong_audience (resource): no accepted audience",
		},
		{
			rule: "a claim in its place, a number", config: resource, claims: claims{"aud": oidctest.Omit, "resource": 5},
			want: "invalid_claim (resource): " + strange,
		},
		{rule: "a claim beside aud does not count", config: resource, claims: claims{"aud": "x", "resource": "api"}, want: other},
		{rule: "neither", config: resource, claims: none, want: nobody},
		{rule: "a claim in its place where aud must be there", config: strict, claims: claims{"aud": oidctest.Omit, "resource": "api"}, want: nobody},
		{
			rule: "anybody's where aud must be there", claims: none, want: nobody,
			config: func(cfg *oidc.IssuerConfig) { strict(cfg); anybody(cfg) },
		},
	})
}

func TestAlphabetOfScopes(t *testing.T) { // RFC 6749 section 3.3
	for _, good := range []string{"!", "#", "?", "[", "]", "~", "orders.read", "https://id.example/scope"} {
		if !oidc.ValidScope(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", " ", "\x1f", `"`, `\`, "\x7f", "é", `"a`, `a"`, "a b", `a\`} {
		if oidc.ValidScope(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}
