package oidc

import (
	"fmt"
	"slices"
	"strings"
)

// Preset is a named set of defaults for the tokens of one kind of provider. What
// it sets is data: [Preset.Rules].
type Preset string

// The presets. The zero Preset is [PresetGeneric].
const (
	PresetGeneric    Preset = "generic"
	PresetAuth0      Preset = "auth0"
	PresetOkta       Preset = "okta"
	PresetEntra      Preset = "entra"
	PresetCognito    Preset = "cognito"
	PresetKeycloak   Preset = "keycloak"
	PresetGoogle     Preset = "google"
	PresetGitHub     Preset = "github"
	PresetGitLab     Preset = "gitlab"
	PresetKubernetes Preset = "kubernetes"
	PresetSPIFFE     Preset = "spiffe"
	PresetDuende     Preset = "duende"
	PresetHydra      Preset = "hydra"
	PresetZitadel    Preset = "zitadel"
	PresetDex        Preset = "dex"
	PresetRFC9068    Preset = "rfc9068"
)

// Presets returns the presets that there are, in a fixed order.
func Presets() []Preset {
	var list []Preset
	for _, row := range presetTable() {
		list = append(list, row.preset)
	}
	return list
}

// ClaimMappings says which claims carry what a Token has as fields. Each list
// is tried in order and the first claim that is present wins. A nil list means
// the preset's, an empty one that there is no such claim.
type ClaimMappings struct {
	Subject []ClaimName // a string
	Client  []ClaimName // a string; aud counts if it has exactly one value
	Scopes  []ClaimName // a string of scopes with spaces between them, or a list of scopes
	Roles   []ClaimName // a string or a list of strings
	Tenant  []ClaimName // a string
	// Audience names claims that stand for aud in tokens that have none. An aud
	// that is there always counts (RFC 7519 section 4.1.3).
	Audience []ClaimName
	// RoleObjects says that a roles claim may be an object too, whose member
	// names are the roles. False means the preset's.
	RoleObjects bool
}

// PresetRules is what a preset sets. Where an IssuerConfig has a field of the
// same meaning, that field wins; the other rules hold whatever is configured.
type PresetRules struct {
	// Mappings are the claims that carry the identity.
	Mappings ClaimMappings
	// TokenTypes are the accepted values of typ.
	TokenTypes []string
	// TokenTypesFixed says that no other TokenTypes can be configured.
	TokenTypesFixed bool
	// IDTokens says that ID tokens are accepted: the provider has no other
	// tokens that are JWTs, or makes both alike.
	IDTokens bool
	// KindClaim is a claim that says what kind of token it is; it must be there
	// and have one of KindValues. "" means that there is none.
	KindClaim  string
	KindValues []string
	// Required are claims that must be there, beside iss, exp and an audience.
	Required []string
	// AudRequired refuses tokens without aud even with AnyAudience.
	AudRequired bool
	// KeyUses are the accepted values of the JWK member use, which must be there;
	// nil accepts sig, jwt-svid and its absence (RFC 7517 section 4.2).
	KeyUses []string

	// Spellings are pairs of issuer identifiers that mean one issuer: who
	// configures one has the other as an alias. {tenantid} stands for a GUID.
	Spellings [][2]string
	// TemplateMetadata accepts metadata whose issuer is the configured one with
	// {tenantid} in place of a GUID.
	TemplateMetadata bool
	// SlashAtEnd says that the provider's issuer identifiers end with a slash.
	SlashAtEnd bool
	// TrustDomain says that the issuer is a SPIFFE trust domain: a token without
	// iss belongs to the one of its sub, and every sub must be in it.
	TrustDomain bool
	// OpenToAll says that anybody can get a token of such an issuer for any
	// audience, so that an audience proves nothing.
	OpenToAll bool
	// InCluster says that the issuer is reached as a pod reaches the API server,
	// with the CA and the token that Kubernetes mounts.
	InCluster bool
}

// tokenTypeNone stands for a token without the header parameter typ.
const tokenTypeNone = "none"

// genericRules are what every preset begins with.
func genericRules() PresetRules {
	return PresetRules{
		Mappings: ClaimMappings{
			Subject: claimNames("sub"),
			Client:  claimNames("client_id", "azp"),
			Scopes:  claimNames("scope", "scp"),
			Roles:   claimNames("roles"),
		},
		TokenTypes: []string{"at+jwt", "jwt", tokenTypeNone},
	}
}

// presetRow is what one preset sets beside genericRules.
type presetRow struct {
	preset Preset
	sets   PresetRules
}

// presetTable has a row for each preset. Where the facts are from stands in
// docs/issuers. It is a function, so that nobody can change it for others.
func presetTable() []presetRow {
	return []presetRow{
		{PresetGeneric, PresetRules{}},
		{PresetAuth0, PresetRules{
			Mappings:   ClaimMappings{Scopes: claimNames("scope", "permissions")},
			SlashAtEnd: true,
		}},
		{PresetOkta, PresetRules{
			Mappings: ClaimMappings{Subject: claimNames("uid", "sub"), Client: claimNames("cid"), Scopes: claimNames("scp")},
		}},
		{PresetEntra, PresetRules{
			Mappings: ClaimMappings{Client: claimNames("azp", "appid"), Scopes: claimNames("scp"), Tenant: claimNames("tid")},
			Spellings: [][2]string{
				{"https://login.microsoftonline.com/{tenantid}/v2.0", "https://sts.windows.net/{tenantid}/"},
			},
			TemplateMetadata: true,
		}},
		{PresetCognito, PresetRules{
			Mappings:  ClaimMappings{Roles: claimNames("cognito:groups"), Audience: claimNames("client_id")},
			KindClaim: "token_use", KindValues: []string{"access"},
		}},
		{PresetKeycloak, PresetRules{
			Mappings:  ClaimMappings{Client: claimNames("azp", "client_id"), Roles: claimNames("/realm_access/roles")},
			KindClaim: "typ", KindValues: []string{"Bearer", "DPoP"},
		}},
		{PresetGoogle, PresetRules{
			Mappings:  ClaimMappings{Client: claimNames("azp")},
			Spellings: [][2]string{{"https://accounts.google.com", "accounts.google.com"}},
			IDTokens:  true, OpenToAll: true,
		}},
		{PresetGitHub, PresetRules{Mappings: ClaimMappings{Scopes: claimNames()}, OpenToAll: true}},
		{PresetGitLab, PresetRules{Mappings: ClaimMappings{Scopes: claimNames()}, OpenToAll: true}},
		{PresetKubernetes, PresetRules{
			Mappings:  ClaimMappings{Tenant: claimNames("/kubernetes.io/namespace")},
			InCluster: true,
		}},
		{PresetSPIFFE, PresetRules{
			TokenTypes: []string{"jwt", "jose", tokenTypeNone},
			Required:   []string{"sub"}, AudRequired: true,
			KeyUses:     []string{"jwt-svid"},
			TrustDomain: true,
		}},
		{PresetDuende, PresetRules{TokenTypes: []string{"at+jwt"}}},
		{PresetHydra, PresetRules{
			Mappings: ClaimMappings{Scopes: claimNames("scp", "scope"), Roles: claimNames("/ext/roles", "roles")},
		}},
		{PresetZitadel, PresetRules{
			Mappings: ClaimMappings{Roles: claimNames("urn:zitadel:iam:org:project:roles"), RoleObjects: true},
		}},
		{PresetDex, PresetRules{
			Mappings: ClaimMappings{Client: claimNames("azp", "aud"), Roles: claimNames("groups")},
			IDTokens: true,
		}},
		{PresetRFC9068, PresetRules{
			TokenTypes: []string{"at+jwt"}, TokenTypesFixed: true,
			Required: []string{"sub", "client_id", "iat", "jti"}, AudRequired: true,
		}},
	}
}

// claimNames makes the names of claims that are known to parse; a test says so.
func claimNames(names ...string) []ClaimName {
	list := make([]ClaimName, len(names))
	for i, n := range names {
		list[i], _ = ParseClaimName(n)
	}
	return list
}

// Rules returns what p sets, false if there is no such preset.
func (p Preset) Rules() (PresetRules, bool) {
	if p == "" {
		p = PresetGeneric
	}
	for _, row := range presetTable() {
		if row.preset == p {
			rules, generic := row.sets, genericRules()
			rules.Mappings = rules.Mappings.over(generic.Mappings)
			if rules.TokenTypes == nil {
				rules.TokenTypes = generic.TokenTypes
			}
			return rules, true
		}
	}
	return PresetRules{}, false
}

// Identifiers returns the values of iss that mean the issuer: its own, its
// aliases and those that the preset knows.
func (p Preset) Identifiers(issuer string, aliases []string) []string {
	ids := append([]string{issuer}, aliases...)
	rules, _ := p.Rules()
	for _, id := range rules.otherSpellings(issuer) {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// CheckIssuer reports what is wrong with an issuer's identifier, by what the
// preset knows of the provider; the error says what to write instead.
func (p Preset) CheckIssuer(issuer string, aliases []string) error {
	rules, _ := p.Rules()
	if rules.SlashAtEnd && !strings.HasSuffix(issuer, "/") {
		return fmt.Errorf("preset %s: its issuers end with a slash: write %q", p, issuer+"/")
	}
	for _, pair := range rules.Spellings {
		for _, template := range pair {
			before, _, found := strings.Cut(template, tenantIDPlaceholder)
			_, isOne := tenantIDIn(template, issuer)
			_, _, isAll := cutMultiTenant(issuer)
			isAll = isAll || strings.Contains(issuer, tenantPlaceholder) // see TenantTemplates
			if found && !isOne && !isAll && strings.HasPrefix(issuer, before) {
				return fmt.Errorf("preset %s: tokens name the tenant by its ID: write it as %s with a GUID for %s", p, template, tenantIDPlaceholder)
			}
		}
	}
	if rules.TrustDomain && !slices.ContainsFunc(append([]string{issuer}, aliases...), func(id string) bool { _, ok := TrustDomain(id); return ok }) {
		return fmt.Errorf("preset %s: names no trust domain: write it as in spiffe://example.org, without a path, and other values of iss as aliases", p)
	}
	return nil
}

// over returns m with what it lacks taken from defaults.
func (m ClaimMappings) over(defaults ClaimMappings) ClaimMappings {
	pick := func(own, preset []ClaimName) []ClaimName {
		if own == nil {
			return preset
		}
		return slices.Clone(own)
	}
	return ClaimMappings{
		Subject:     pick(m.Subject, defaults.Subject),
		Client:      pick(m.Client, defaults.Client),
		Scopes:      pick(m.Scopes, defaults.Scopes),
		Roles:       pick(m.Roles, defaults.Roles),
		Tenant:      pick(m.Tenant, defaults.Tenant),
		Audience:    pick(m.Audience, defaults.Audience),
		RoleObjects: m.RoleObjects || defaults.RoleObjects,
	}
}
