package oidc

import "slices"

// Preset is a named set of defaults for the tokens of one kind of provider.
// Every effect of a preset can also be configured by itself.
type Preset string

// The presets. The zero Preset is [PresetGeneric].
const (
	PresetGeneric  Preset = "generic"
	PresetKeycloak Preset = "keycloak"
)

// Presets returns the presets that there are, in a fixed order.
func Presets() []Preset { return []Preset{PresetGeneric, PresetKeycloak} }

// ClaimMappings says which claims carry what a Token has as fields. Each list
// is tried in order and the first claim that is present wins. A nil list means
// the preset's.
type ClaimMappings struct {
	Subject []ClaimName // a string
	Client  []ClaimName // a string
	Scopes  []ClaimName // a string of scopes with spaces between them, or a list of scopes
	Roles   []ClaimName // a string or a list of strings
	Tenant  []ClaimName // a string
}

// preset is what a Preset sets.
type preset struct {
	mappings     ClaimMappings
	tokenTypes   []string // typ values, lower case; tokenTypeNone for none
	payloadTypes []string // values of which the claim typ must be one; nil = not looked at
}

// tokenTypeNone stands for a token without the header parameter typ.
const tokenTypeNone = "none"

var defaultTokenTypes = []string{"at+jwt", "jwt", tokenTypeNone}

func claimNames(names ...string) []ClaimName {
	list := make([]ClaimName, len(names))
	for i, n := range names {
		list[i], _ = ParseClaimName(n) // the names below parse; a test says so
	}
	return list
}

// rules returns what p sets, false if there is no such preset.
func (p Preset) rules() (preset, bool) {
	generic := preset{
		mappings: ClaimMappings{
			Subject: claimNames("sub"),
			Client:  claimNames("client_id", "azp"),
			Scopes:  claimNames("scope", "scp"),
			Roles:   claimNames("roles"),
		},
		tokenTypes: defaultTokenTypes,
	}
	switch p {
	case "", PresetGeneric:
		return generic, true
	case PresetKeycloak:
		k := generic
		k.mappings.Client = claimNames("azp", "client_id")
		k.mappings.Roles = claimNames("/realm_access/roles")
		k.payloadTypes = []string{"Bearer", "DPoP"}
		return k, true
	default:
		return preset{}, false
	}
}

// over returns m with the lists that it lacks taken from defaults.
func (m ClaimMappings) over(defaults ClaimMappings) ClaimMappings {
	pick := func(own, preset []ClaimName) []ClaimName {
		if own == nil {
			return preset
		}
		return slices.Clone(own)
	}
	return ClaimMappings{
		Subject: pick(m.Subject, defaults.Subject),
		Client:  pick(m.Client, defaults.Client),
		Scopes:  pick(m.Scopes, defaults.Scopes),
		Roles:   pick(m.Roles, defaults.Roles),
		Tenant:  pick(m.Tenant, defaults.Tenant),
	}
}
