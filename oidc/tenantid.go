package oidc

import "strings"

// Microsoft Entra ID writes one text for all tenants where others write one for
// each: the issuer in the metadata of common and organizations, and the member
// issuer of its keys, have this in place of the tenant's ID. To know the issuer
// of one token, the token's claim tid is put there.
const tenantIDPlaceholder = "{tenantid}"

// fillTenantID puts a tenant's ID where template has the placeholder. It says
// false if template needs an ID and tid is none: other texts could change what
// the result means.
func fillTenantID(template, tid string) (string, bool) {
	if !strings.Contains(template, tenantIDPlaceholder) {
		return template, true
	}
	if !isGUID(tid) {
		return "", false
	}
	return strings.ReplaceAll(template, tenantIDPlaceholder, tid), true
}

// tenantIDIn is the reverse of fillTenantID: it returns what stands in issuer
// where template has the placeholder. It says false if issuer is not made by the
// template. Without a placeholder the two must be equal, and the ID is "".
func tenantIDIn(template, issuer string) (tid string, ok bool) {
	before, _, found := strings.Cut(template, tenantIDPlaceholder)
	if !found {
		return "", template == issuer
	}
	rest, ok := strings.CutPrefix(issuer, before)
	if !ok || len(rest) < guidSize {
		return "", false
	}
	tid = rest[:guidSize]
	made, ok := fillTenantID(template, tid)
	if !ok || made != issuer {
		return "", false
	}
	return tid, true
}

const guidSize = 36

// isGUID reports whether s is a tenant's ID: 32 hexadecimal digits in groups of
// 8, 4, 4, 4 and 12.
func isGUID(s string) bool {
	if len(s) != guidSize {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F'):
			return false
		}
	}
	return true
}

// otherSpellings returns the identifiers that mean the same issuer as id.
func (r PresetRules) otherSpellings(id string) []string {
	var others []string
	for _, pair := range r.Spellings {
		for i, template := range pair {
			if tid, ok := tenantIDIn(template, id); ok {
				if other, ok := fillTenantID(pair[1-i], tid); ok {
					others = append(others, other)
				}
			}
		}
	}
	return others
}
