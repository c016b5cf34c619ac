package oidc

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// TenantsConfig says which tenants of an issuer are accepted: exactly one of
// Allow and Pattern is set. The zero TenantsConfig is for an issuer without
// tenants.
type TenantsConfig struct {
	// Allow lists the tenants, compared byte for byte.
	Allow []string
	// Pattern is a regular expression (RE2) that the whole tenant must match. Who
	// can make tenants up that match can have the issuer's server asked for them:
	// see [IssuerConfig.Tenants] for how often.
	Pattern string
	// Max bounds the tenants whose keys are kept, if there is a Pattern: 1000 if
	// zero, 10 000 at most. One more takes the place of the one that had a valid
	// token the longest ago.
	Max int
}

const (
	tenantPlaceholder = "{tenant}"
	maxTenantSize     = 64
	maxTenantLabel    = 63 // of a host (RFC 1035 section 2.3.4)
	maxTenantPattern  = 1024
	defaultMaxTenants = 1000
	limitMaxTenants   = 10_000
)

// ValidTenant reports whether s can be a tenant: 1 to 64 of A-Z, a-z, 0-9, "_"
// and "-".
func ValidTenant(s string) bool {
	for i := range len(s) {
		if !isTenantByte(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= maxTenantSize
}

func isTenantByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// TenantTemplate is a text such as https://id.example.com/realms/{tenant}, in
// which {tenant} stands for a tenant. The zero TenantTemplate matches nothing.
type TenantTemplate struct {
	prefix, suffix string
	form           tenantForm
}

// tenantForm says which tenants can stand in a template's place.
type tenantForm uint8

const (
	noTenant    tenantForm = iota
	tenantText             // what ValidTenant says
	tenantLabel            // in a host: what is a label then, in lower case
	tenantGUID             // Microsoft Entra ID: a GUID in lower case
)

// ParseTenantTemplate reads a template. found is false if there is no {tenant}
// in s.
//
// {tenant} stands there once, in a path, in a query or in a text that is no URL,
// and since it has neither slash nor dot nor percent sign it is always a part of
// one segment. In a URL's host it is (a part of) a label with two labels or more
// after it, the last of which is no number: a tenant chooses neither the domain
// nor an address.
func ParseTenantTemplate(s string) (t TenantTemplate, found bool, err error) {
	prefix, suffix, found := strings.Cut(s, tenantPlaceholder)
	if !found {
		return TenantTemplate{}, false, nil
	}
	if strings.Contains(suffix, tenantPlaceholder) {
		return TenantTemplate{}, true, errors.New("has {tenant} more than once")
	}
	t = TenantTemplate{prefix, suffix, tenantText}
	if strings.Contains(suffix, "://") {
		return TenantTemplate{}, true, errors.New("has {tenant} before its ://: a tenant must not choose how keys are fetched")
	}
	_, authority, isURL := strings.Cut(prefix, "://")
	if !isURL || strings.ContainsAny(authority, `/?#\`) {
		return t, true, nil
	}
	t.form = tenantLabel
	if end := strings.IndexAny(suffix, `/?#\`); end >= 0 {
		suffix = suffix[:end]
	}
	if strings.ContainsAny(authority, ":[@") || strings.Contains(suffix, "@") {
		return TenantTemplate{}, true, errors.New("has {tenant} in the port, an address or a user of its URL")
	}
	_, domain, dotted := strings.Cut(suffix, ".")
	domain, _, _ = strings.Cut(domain, ":")
	labels := strings.Split(strings.TrimSuffix(domain, "."), ".")
	if !dotted || len(labels) < 2 || slices.Contains(labels, "") {
		return TenantTemplate{}, true, errors.New("has {tenant} too near to the end of its host: write a domain of at least two labels after it, as in {tenant}.id.example.com")
	}
	if c := labels[len(labels)-1][0]; c >= '0' && c <= '9' {
		return TenantTemplate{}, true, errors.New("has {tenant} in an IP address")
	}
	return t, true, nil
}

// Tenant returns the tenant for which the template is s, byte for byte. It says
// false if there is none.
func (t TenantTemplate) Tenant(s string) (string, bool) {
	if t.form == noTenant || len(s) <= len(t.prefix)+len(t.suffix) || !strings.HasPrefix(s, t.prefix) || !strings.HasSuffix(s, t.suffix) {
		return "", false
	}
	tenant := s[len(t.prefix) : len(s)-len(t.suffix)]
	return tenant, t.takes(tenant)
}

// takes reports whether a tenant can stand in the template's place.
func (t TenantTemplate) takes(tenant string) bool {
	switch t.form {
	case tenantText:
		return ValidTenant(tenant)
	case tenantGUID:
		return isGUID(tenant) && strings.ToLower(tenant) == tenant
	case tenantLabel:
		before := t.prefix[strings.LastIndexAny(t.prefix, "./")+1:]
		after := t.suffix[:strings.IndexByte(t.suffix, '.')]
		return ValidTenant(tenant) && isHostLabel(before+tenant+after) && strings.ToLower(tenant) == tenant
	case noTenant:
	}
	return false
}

// isHostLabel holds a label of a host to RFC 1123 section 2.1: other spellings
// of a name would be other tenants at the same place.
func isHostLabel(s string) bool {
	return len(s) <= maxTenantLabel && s[0] != '-' && s[len(s)-1] != '-' && !strings.Contains(s, "_")
}

// Fill returns the template with a tenant in its place. The tenant must be one
// that Tenant could return.
func (t TenantTemplate) Fill(tenant string) string { return t.prefix + tenant + t.suffix }

// String returns the template as it was written.
func (t TenantTemplate) String() string {
	if t.form == tenantGUID {
		return t.Fill(tenantIDPlaceholder)
	}
	return t.Fill(tenantPlaceholder)
}

// Overlaps reports whether a text could be of both templates. It may say so of
// two that only texts with a tenant over 64 bytes have in common.
func (t TenantTemplate) Overlaps(other TenantTemplate) bool {
	between := func(a, b string, cut func(s, affix string) (string, bool)) bool {
		if len(a) > len(b) {
			a, b = b, a
		}
		rest, ok := cut(b, a)
		for i := range len(rest) {
			ok = ok && isTenantByte(rest[i])
		}
		return ok
	}
	return between(t.prefix, other.prefix, strings.CutPrefix) && between(t.suffix, other.suffix, strings.CutSuffix)
}

// tenantRule says which tenants are accepted.
type tenantRule struct {
	allow   []string // sorted; nil if there is a pattern
	pattern *regexp.Regexp
}

func (r tenantRule) accepts(tenant string) bool {
	if r.pattern != nil {
		return r.pattern.MatchString(tenant)
	}
	_, found := slices.BinarySearch(r.allow, tenant)
	return found
}

// given reports whether c says anything.
func (c TenantsConfig) given() bool { return c.Allow != nil || c.Pattern != "" || c.Max != 0 }

// max returns how many tenants are kept.
func (c TenantsConfig) max() int {
	switch {
	case c.Pattern == "":
		return len(c.Allow)
	case c.Max == 0:
		return defaultMaxTenants
	default:
		return c.Max
	}
}

// rule returns what c says, or all that is wrong with it.
func (c TenantsConfig) rule(t TenantTemplate) (tenantRule, error) {
	var errs []error
	if (len(c.Allow) > 0) == (c.Pattern != "") {
		errs = append(errs, errors.New("Tenants needs one of Allow and Pattern"))
	}
	for _, tenant := range c.Allow {
		if err := t.CheckTenant(tenant); err != nil {
			errs = append(errs, fmt.Errorf("Tenants.Allow: %q %w", tenant, err))
		}
	}
	rule := tenantRule{allow: slices.Sorted(slices.Values(c.Allow))}
	if c.Pattern != "" {
		var err error
		if rule.pattern, err = ParseTenantPattern(c.Pattern); err != nil {
			errs = append(errs, fmt.Errorf("Tenants.Pattern %w", err))
		}
	}
	if c.Max != 0 && (c.Pattern == "" || c.Max < 1 || c.Max > limitMaxTenants) {
		errs = append(errs, fmt.Errorf("Tenants.Max is for a Pattern, and from 1 to %d", limitMaxTenants))
	}
	return rule, errors.Join(errs...)
}

// CheckTenant says why a tenant cannot stand in the template's place.
func (t TenantTemplate) CheckTenant(tenant string) error {
	switch {
	case t.takes(tenant):
		return nil
	case t.form == tenantGUID:
		return errors.New("is no tenant ID: write a GUID in lower case, as the claim tid has it")
	case !ValidTenant(tenant):
		return errors.New("is no tenant: 1 to 64 of letters, digits, _ and - make one")
	default:
		return errors.New("cannot stand in a host: 1 to 63 of a-z, 0-9 and hyphens inside make a label")
	}
}

// ParseTenantPattern compiles a pattern so that it must match the whole tenant.
func ParseTenantPattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxTenantPattern {
		return nil, fmt.Errorf("has over %d bytes", maxTenantPattern)
	}
	if _, err := regexp.Compile(pattern); err != nil { // by itself: ")|(" is none
		return nil, fmt.Errorf("is no regular expression: %w", err)
	}
	re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("is no regular expression: %w", err)
	}
	return re, nil
}

// TenantTemplates returns how the tokens of an issuer name their tenant, nil for
// an issuer without tenants: the template that the identifier is, or what the
// preset knows of an identifier that stands for all tenants of a provider.
func (p Preset) TenantTemplates(issuer string) ([]TenantTemplate, error) {
	t, found, err := ParseTenantTemplate(issuer)
	if err != nil {
		return nil, err
	}
	rules, _ := p.Rules()
	if found {
		if rules.TemplateMetadata {
			return nil, fmt.Errorf("has {tenant}: with preset %s write organizations in its place, and the tenants' IDs in the list of tenants", p)
		}
		return []TenantTemplate{t}, nil
	}
	before, after, ok := cutMultiTenant(issuer)
	if !ok || !rules.TemplateMetadata {
		return nil, nil
	}
	list := []TenantTemplate{{before, after, tenantGUID}}
	for _, pair := range rules.Spellings { // tokens of v1 and v2 are signed alike
		for i, text := range pair {
			if text == list[0].String() {
				before, after, _ := strings.Cut(pair[1-i], tenantIDPlaceholder)
				list = append(list, TenantTemplate{before, after, tenantGUID})
			}
		}
	}
	return list, nil
}

// cutMultiTenant splits an identifier of Microsoft Entra ID that stands for
// tenants of all organizations around the name that it has in place of an ID.
func cutMultiTenant(issuer string) (before, after string, ok bool) {
	for _, all := range []string{"organizations", "common"} {
		if before, ok := strings.CutSuffix(issuer, "/"+all+"/v2.0"); ok && strings.Count(before, "/") == 2 {
			return before + "/", "/v2.0", true
		}
	}
	return "", "", false
}

// fetchesByTenant reports whether each tenant has keys of its own.
func (c IssuerConfig) fetchesByTenant(templates []TenantTemplate) bool {
	return templates != nil && templates[0].form != tenantGUID && c.JWKSFile == "" &&
		(c.JWKSURL == "" || strings.Contains(c.JWKSURL, tenantPlaceholder))
}

// setTenants reads what ic says about tenants, and returns all that is wrong with
// it.
func (iss *issuer) setTenants(ic IssuerConfig) (errs []error) {
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	templates, err := ic.Preset.TenantTemplates(ic.Issuer)
	if err != nil {
		return []error{fmt.Errorf("Issuer %w", err)}
	}
	for _, url := range []struct{ name, text string }{{"DiscoveryURL", ic.DiscoveryURL}, {"JWKSURL", ic.JWKSURL}} {
		_, found, err := ParseTenantTemplate(url.text)
		switch {
		case err != nil:
			fault("%s %w", url.name, err)
		case found && (templates == nil || templates[0].form == tenantGUID):
			fault("%s has {tenant}, and Issuer has none", url.name)
		case !found && url.name == "DiscoveryURL" && url.text != "" && ic.fetchesByTenant(templates):
			fault("DiscoveryURL has no {tenant}, and Issuer has: one document cannot be the metadata of all tenants")
		}
	}
	if templates == nil {
		if ic.Tenants.given() {
			fault("Tenants are set, and Issuer has no {tenant}")
		}
		return errs
	}
	rule, err := ic.Tenants.rule(templates[0])
	switch {
	case templates[0].form == tenantGUID && len(ic.Tenants.Allow) == 0:
		fault("Issuer stands for every tenant there is, and anybody can have one: list the IDs of those that are accepted in Tenants.Allow")
	case err != nil:
		errs = append(errs, err)
	}
	if len(ic.Aliases) > 0 {
		fault("Aliases are not for an issuer with tenants")
	}
	if ic.Mappings.Tenant != nil {
		fault("Mappings.Tenant is not for an issuer with tenants: its issuer says which one")
	}
	if iss.rules.TrustDomain {
		fault("preset %s has no tenants", ic.Preset)
	}
	if ic.Keys.SnapshotFile != "" && ic.fetchesByTenant(templates) {
		fault("Keys.SnapshotFile is not for an issuer whose tenants have keys of their own")
	}
	iss.ids, iss.templates, iss.tenantRule = nil, templates, rule
	return errs
}
