package extauthz

import (
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

// withoutTenant returns an issuer's text with a tenant in the place of {tenant},
// to be judged as a URL.
func withoutTenant(s string) string { return strings.ReplaceAll(s, tenantPlaceholder, "tenant") }

// validateTenants judges what is said about an issuer's tenants.
func (c *IssuerConfig) validateTenants(f *faults, p fieldPath) {
	at := p.field("issuer")
	templates, err := c.Preset.TenantTemplates(c.Issuer)
	if err != nil {
		f.add(at, "%v", err)
		return
	}
	_, ofIssuer, _ := oidc.ParseTenantTemplate(c.Issuer)
	ownKeys := ofIssuer && c.JWKSFile == "" && (c.JWKSURL == "" || strings.Contains(c.JWKSURL, tenantPlaceholder))
	for _, u := range []struct{ name, text string }{{"discoveryURL", c.DiscoveryURL}, {"jwksURL", c.JWKSURL}} {
		_, found, err := oidc.ParseTenantTemplate(u.text)
		switch at := p.field(u.name); {
		case u.text == "" || f.broken(at):
		case err != nil:
			f.add(at, "%v", err)
		case found && !ofIssuer:
			f.add(at, "has {tenant}, and issuer has none")
		case !found && ownKeys && u.name == "discoveryURL":
			f.add(at, "has no {tenant}, and issuer has: one document cannot be the metadata of all tenants")
		}
	}
	t := p.field("tenants")
	if templates == nil {
		if c.Tenants != nil {
			f.add(t, "is for an issuer with {tenant} in it, as in https://id.example.com/realms/{tenant}")
		}
		return
	}
	switch {
	case f.broken(t):
	case !ofIssuer && (c.Tenants == nil || len(c.Tenants.Allow) == 0):
		f.missing(t.field("allow"), "%s stands for every tenant there is, and anybody can have one: list the IDs of those that are accepted", c.Issuer)
	case c.Tenants == nil:
		f.missing(t, "issuer has {tenant}: say which are accepted, as in tenants: {allow: [acme]}")
	default:
		c.Tenants.validate(f, t, templates[0])
	}
	if len(c.Aliases) > 0 {
		f.add(p.field("aliases"), "is not for an issuer with tenants: write an issuer of its own")
	}
	if c.ClaimMappings.Tenant != nil {
		f.add(p.field("claimMappings").field("tenant"), "is not for an issuer with tenants: the issuer of each token says which one")
	}
	if c.Preset == oidc.PresetSPIFFE {
		f.add(p.field("preset"), "spiffe has no tenants: write an issuer for each trust domain")
	}
	if ownKeys && c.Keys.SnapshotFile != "" {
		f.add(p.field("keys").field("snapshotFile"), "is not for an issuer whose tenants have keys of their own")
	}
	if ownKeys && c.Required {
		f.add(p.field("required"), "is not for an issuer whose tenants have keys of their own: they are fetched when a token comes")
	}
}

func (c *TenantsConfig) validate(f *faults, p fieldPath, t oidc.TenantTemplate) {
	switch {
	case len(c.Allow) > 0 && c.Pattern != "":
		f.add(p, "has allow and pattern: leave one of them out")
	case len(c.Allow) == 0 && c.Pattern == "" && !f.broken(p.field("allow")) && !f.broken(p.field("pattern")):
		f.add(p, "accepts no tenant: write allow, a list of tenants, or pattern, a regular expression")
	}
	seen := map[string]fieldPath{}
	for i, tenant := range c.Allow {
		at := p.field("allow").index(i)
		first, twice := seen[tenant]
		switch err := t.CheckTenant(tenant); {
		case f.broken(at) || tenant == "":
		case err != nil:
			f.add(at, "%s %v", quote(tenant), err)
		case twice:
			f.add(at, "is %s already", first)
		}
		seen[tenant] = at
	}
	if c.Pattern != "" {
		if _, err := oidc.ParseTenantPattern(c.Pattern); err != nil {
			f.add(p.field("pattern"), "%v", err)
		}
	}
	switch at := p.field("max"); {
	case f.broken(at) || c.Max == 0 && !f.given(at):
	case c.Pattern == "":
		f.add(at, "is for a pattern: all tenants of a list keep their keys")
	case c.Max < 1 || c.Max > 10_000:
		f.add(at, "must be 1 to 10000, not %d", c.Max)
	}
}

// validateTemplates refuses two issuers of which one token could be.
func validateTemplates(issuers []IssuerConfig, f *faults) {
	templates := make([][]oidc.TenantTemplate, len(issuers))
	for i := range issuers {
		templates[i], _ = issuers[i].Preset.TenantTemplates(issuers[i].Issuer)
		at := fieldPath("issuers").index(i).field("issuer")
		for j := range i {
			if issuers[i].Issuer != issuers[j].Issuer && anyOverlap(templates[i], templates[j]) && !f.broken(at) {
				f.add(at, "and %s fit the same tokens: an issuer of one must not be one of the other", fieldPath("issuers").index(j).field("issuer"))
				break
			}
		}
	}
}

func anyOverlap(a, b []oidc.TenantTemplate) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) {
				return true
			}
		}
	}
	return false
}

func (c *TenantFromConfig) validate(f *faults, p fieldPath) {
	switch {
	case c == nil || f.broken(p):
	case (c.Host == "") == (c.Claim == "") && !f.broken(p.field("host")) && !f.broken(p.field("claim")):
		f.add(p, "must have one of host and claim")
	case c.Host != "":
		if _, err := parseTenantHost(c.Host); err != nil {
			f.add(p.field("host"), "%v", err)
		}
	case c.Claim != "":
		if _, err := oidc.ParseClaimName(c.Claim); err != nil {
			f.add(p.field("claim"), "%v", err)
		}
	}
}
