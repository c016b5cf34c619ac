package oidc_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// withRealms makes an issuer's server one of many tenants: /realms/NAME is an
// issuer for each name, with the same keys.
func withRealms(issuer *oidctest.Issuer, names ...string) {
	issuer.Respond(func(w http.ResponseWriter, r *http.Request) {
		name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/realms/"), "/.well-known/openid-configuration")
		if !ok || !slices.Contains(names, name) {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, realm(issuer, name), issuer.URLOf(oidctest.JWKS))
	}, oidctest.Elsewhere)
}

func realm(issuer *oidctest.Issuer, name string) string { return issuer.URL + "/realms/" + name }

func realmToken(issuer *oidctest.Issuer, name string, opts ...oidctest.TokenOption) string {
	return issuer.Token(map[string]any{"iss": realm(issuer, name)}, opts...)
}

func TestTokensOfManyTenants(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	withRealms(issuer, "acme", "shop", "exact", "other")
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Issuer += "/realms/{tenant}"
		cfg.Issuers[0].Tenants.Allow = []string{"acme", "shop", "exact", "gone"}
		cfg.Issuers = append(cfg.Issuers, oidc.IssuerConfig{Issuer: realm(issuer, "exact"), Name: "exact", AnyAudience: true})
	})
	for range 2 { // from the cache too
		token, err := v.Validate(t.Context(), realmToken(issuer, "acme"), oidc.Requirement{})
		if err != nil {
			t.Fatal(err)
		}
		if token.Tenant != "acme" || token.IssuerName != "shop" || token.Issuer != realm(issuer, "acme") || token.Principal() != realm(issuer, "acme")+"/alice" {
			t.Errorf("token %+v", token)
		}
	}
	wantReason(t, "another tenant", v, realmToken(issuer, "shop"), "")
	asked := issuer.Requests()
	for _, name := range []string{"other", "ACME", "..", "%2e%2e", "acme/", "acme/x", "", strings.Repeat("a", 65), "acmé", "{tenant}", "acme.evil.com"} {
		wantReason(t, "tenant "+name, v, realmToken(issuer, name), oidc.UnknownIssuer)
	}
	wantReason(t, "a forged token", v, realmToken(issuer, "acme", oidctest.Forged()), oidc.BadSignature)
	wantReason(t, "a token that is too old, of a tenant that is new", v,
		issuer.Token(map[string]any{"iss": realm(issuer, "gone"), "exp": 1}), oidc.Expired)
	if got := issuer.Requests(); got != asked {
		t.Errorf("%d requests for tokens that need none", got-asked)
	}
	wantReason(t, "a tenant without an issuer", v, realmToken(issuer, "gone"), oidc.KeysUnavailable)
	token, err := v.Validate(t.Context(), realmToken(issuer, "exact"), oidc.Requirement{})
	if err != nil || token.IssuerName != "exact" || token.Tenant != "" {
		t.Errorf("%+v, %v: an issuer that is configured by itself is no tenant", token, err)
	}
	if s := v.Status(); s[0].Tenants != 2 || s[0].Name != "shop" {
		t.Errorf("status %+v", s)
	}
	v.Warm(t.Context()) // has nothing to wait for among tenants
}

func TestTenantsWithOneKeySet(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Issuer = "urn:example:{tenant}"
		cfg.Issuers[0].JWKSURL = issuer.URLOf(oidctest.JWKS)
		cfg.Issuers[0].Tenants.Pattern = "t[0-9]+"
		other := cfg.Issuers[0]
		other.Issuer, other.Name = "urn:other:{tenant}", "other"
		cfg.Issuers = append(cfg.Issuers, other)
	})
	for i := range 5 {
		token, err := v.Validate(t.Context(), issuer.Token(map[string]any{"iss": fmt.Sprint("urn:example:t", i)}), oidc.Requirement{})
		if err != nil || token.Tenant != fmt.Sprint("t", i) {
			t.Errorf("%+v, %v", token, err)
		}
	}
	wantReason(t, "a tenant that does not match", v, issuer.Token(map[string]any{"iss": "urn:example:x"}), oidc.UnknownIssuer)
	if n := issuer.Requests(); n != 1 {
		t.Errorf("%d requests, want one", n)
	}
	token, err := v.Validate(t.Context(), issuer.Token(map[string]any{"iss": "urn:other:t1"}), oidc.Requirement{})
	if err != nil || token.IssuerName != "other" || token.Tenant != "t1" {
		t.Errorf("%+v, %v: of the second issuer that has tenants", token, err)
	}
	wantReason(t, "a claim that is wrong for every issuer", v, issuer.Token(map[string]any{"iss": "urn:example:t1", "sub": 5}), oidc.InvalidClaim)
}

func TestAKeyOfOneTenantIsForThatTenant(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	key := oidctest.NewKey("ES256", "bound")
	jwk := key.JWK()
	jwk["issuer"] = "urn:example:mine"
	text, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	issuer.PublishRaw(string(text))
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Issuer = "urn:example:{tenant}"
		cfg.Issuers[0].JWKSURL = issuer.URLOf(oidctest.JWKS)
		cfg.Issuers[0].Tenants.Allow = []string{"mine", "theirs"}
	})
	by := func(tenant string) string {
		return issuer.Token(map[string]any{"iss": "urn:example:" + tenant}, oidctest.SignWith(key))
	}
	wantReason(t, "the tenant of the key", v, by("mine"), "")
	wantReason(t, "another tenant", v, by("theirs"), oidc.UnknownKey)
}

func TestTenantsOfOneEntraIssuer(t *testing.T) {
	const id, other, stranger = "72f988bf-86f1-41af-91ab-2d7cd011db47", "11111111-2222-3333-4444-555555555555", "9188040d-6c67-4c5b-b112-36a304b66dad"
	c := newClock()
	issuer := newIssuer(t, c, oidctest.WithPath("/organizations/v2.0"))
	base := strings.TrimSuffix(issuer.URL, "organizations/v2.0")
	issuer.SetMetadata("issuer", base+"{tenantid}/v2.0")
	v := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Preset = oidc.PresetEntra
		cfg.Issuers[0].Tenants.Allow = []string{id, other}
	})
	token := func(inIssuer string, tid any) string {
		return issuer.Token(map[string]any{"iss": base + inIssuer + "/v2.0", "tid": tid})
	}
	for _, tenant := range []string{id, other} {
		got, err := v.Validate(t.Context(), token(tenant, tenant), oidc.Requirement{})
		if err != nil || got.Tenant != tenant || got.Issuer != base+tenant+"/v2.0" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	wantReason(t, "a tenant that is not listed", v, token(stranger, stranger), oidc.UnknownIssuer)
	wantReason(t, "another tid than in iss", v, token(id, other), oidc.InvalidClaim)
	wantReason(t, "tid of a stranger", v, token(id, stranger), oidc.InvalidClaim)
	wantReason(t, "no tid", v, token(id, oidctest.Omit), oidc.InvalidClaim)
	wantReason(t, "the name of all tenants", v, token("organizations", id), oidc.UnknownIssuer)
	wantReason(t, "the placeholder", v, token("{tenantid}", id), oidc.UnknownIssuer)
	if n := issuer.Requests(); n != 2 {
		t.Errorf("%d requests, want two: metadata and keys", n)
	}
	issuer.SetMetadata("issuer", base+id+"/v2.0")
	strict := newValidator(t, issuer, c, func(cfg *oidc.Config) {
		cfg.Issuers[0].Preset = oidc.PresetEntra
		cfg.Issuers[0].Tenants.Allow = []string{id}
	})
	wantReason(t, "metadata of one tenant for all", strict, token(id, id), oidc.KeysUnavailable)
}

// A configuration with other tenants lets go of those at once, cached tokens
// included, and keeps the keys of the others.
func TestNextWithOtherTenants(t *testing.T) { // E4
	c := newClock()
	issuer := newIssuer(t, c)
	withRealms(issuer, "acme", "shop")
	config := func(allow ...string) func(*oidc.Config) {
		return func(cfg *oidc.Config) {
			cfg.Issuers[0].Issuer += "/realms/{tenant}"
			cfg.Issuers[0].Tenants.Allow = allow
		}
	}
	v := newValidator(t, issuer, c, config("acme", "shop"))
	acme, shop := realmToken(issuer, "acme"), realmToken(issuer, "shop")
	wantReason(t, "acme", v, acme, "")
	wantReason(t, "shop", v, shop, "")
	asked := issuer.Requests()
	n := next(t, v, issuer, config("shop"))
	v.Close()
	wantReason(t, "acme, removed", n, acme, oidc.UnknownIssuer)
	wantReason(t, "shop, still there", n, shop, "")
	same := next(t, n, issuer, config("shop"))
	hits := same.CacheStats().Hits
	wantReason(t, "shop, with nothing changed", same, shop, "")
	if same.CacheStats().Hits != hits+1 {
		t.Error("a token of a template that has not changed is verified again")
	}
	if issuer.Requests() != asked {
		t.Error("keys of a tenant that stays are fetched again")
	}
}

func TestTenantsThatAreNotWellConfigured(t *testing.T) {
	const template, orgs = "https://id.example.com/realms/{tenant}", "https://login.microsoftonline.com/organizations/v2.0"
	allow := oidc.TenantsConfig{Allow: []string{"acme"}}
	guid := oidc.TenantsConfig{Allow: []string{"72f988bf-86f1-41af-91ab-2d7cd011db47"}}
	tid, _ := oidc.ParseClaimName("tid")
	for want, ic := range map[string]oidc.IssuerConfig{
		"needs one of Allow and Pattern":       {Issuer: template},
		"needs one of Allow and Pattern ":      {Issuer: template, Tenants: oidc.TenantsConfig{Allow: []string{"a"}, Pattern: "a"}},
		"Issuer has no {tenant}":               {Issuer: "https://id.example.com", Tenants: allow},
		`"a/b" is no tenant`:                   {Issuer: template, Tenants: oidc.TenantsConfig{Allow: []string{"a/b"}}},
		"cannot stand in a host":               {Issuer: "https://{tenant}.id.example.com", Tenants: oidc.TenantsConfig{Allow: []string{"A"}}},
		"is no regular expression":             {Issuer: template, Tenants: oidc.TenantsConfig{Pattern: "("}},
		"Tenants.Max is for":                   {Issuer: template, Tenants: oidc.TenantsConfig{Allow: []string{"a"}, Max: 3}},
		"Tenants.Max is for ":                  {Issuer: template, Tenants: oidc.TenantsConfig{Pattern: "a", Max: 10_001}},
		"more than once":                       {Issuer: template + "/{tenant}", Tenants: allow},
		"JWKSURL has {tenant}":                 {Issuer: "https://id.example.com", JWKSURL: template},
		"JWKSURL has {tenant} in an IP":        {Issuer: template, Tenants: allow, JWKSURL: "https://{tenant}.254.169.254/"},
		"DiscoveryURL has no {tenant}":         {Issuer: template, Tenants: allow, DiscoveryURL: "https://id.example.com/d"},
		"Aliases are not for":                  {Issuer: template, Tenants: allow, Aliases: []string{"x"}},
		"Mappings.Tenant is not for":           {Issuer: template, Tenants: allow, Mappings: oidc.ClaimMappings{Tenant: []oidc.ClaimName{tid}}},
		"SnapshotFile is not for":              {Issuer: template, Tenants: allow, Keys: oidc.KeysConfig{SnapshotFile: "x"}},
		"stands for every tenant":              {Issuer: orgs, Preset: oidc.PresetEntra},
		"stands for every tenant ":             {Issuer: orgs, Preset: oidc.PresetEntra, Tenants: oidc.TenantsConfig{Pattern: ".*"}},
		`"acme" is no tenant ID`:               {Issuer: orgs, Preset: oidc.PresetEntra, Tenants: allow},
		"write organizations in its place":     {Issuer: "https://login.microsoftonline.com/{tenant}/v2.0", Preset: oidc.PresetEntra, Tenants: guid},
		"HTTP.Timeout":                         {Issuer: template, Tenants: allow, HTTP: oidc.HTTPConfig{Timeout: 1}},
		"plain http":                           {Issuer: "http://id.example.com/{tenant}", Tenants: allow},
		"JWKSURL has {tenant}, and Issuer has": {Issuer: orgs, Preset: oidc.PresetEntra, Tenants: guid, JWKSURL: template},
	} {
		ic.Name, ic.AnyAudience = "x", true
		v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{ic}})
		if err == nil {
			v.Close()
		}
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%+v: %v, want %s", ic, err, want)
		}
	}
	_, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{
		{Issuer: template, Name: "a", Tenants: allow, AnyAudience: true},
		{Issuer: "https://id.example.com/realms/t-{tenant}", Name: "b", Tenants: allow, AnyAudience: true},
	}})
	if err == nil || !strings.Contains(err.Error(), `could be one of issuer "a" too`) {
		t.Errorf("two templates that fit one issuer: %v", err)
	}
}
