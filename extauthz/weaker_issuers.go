package extauthz

import (
	"reflect"
	"slices"
	"strings"
)

// weaker says in what an issuer's tokens are accepted that were not before.
func (c *IssuerConfig) weaker(old *IssuerConfig, say func(string, ...any)) {
	if c.Issuer != old.Issuer {
		say("issuer is %s, and was %s", c.Issuer, old.Issuer)
	}
	if more := extra(old.Aliases, c.Aliases); more != nil {
		say("aliases has %q more", more)
	}
	if c.Preset != old.Preset {
		say("preset is %s, and was %s", c.Preset, old.Preset)
	}
	c.Tenants.weaker(old.Tenants, say)
	switch {
	case c.AnyAudience && !old.AnyAudience:
		say("any audience is accepted")
	case len(old.Audiences) > 0 && extra(old.Audiences, c.Audiences) != nil:
		say("audiences has %q more", extra(old.Audiences, c.Audiences))
	}
	switch was, is := texts(old.Algorithms), texts(c.Algorithms); {
	case was == nil:
	case is == nil:
		say("algorithms is not limited any more")
	case extra(was, is) != nil:
		say("algorithms has %q more", extra(was, is))
	}
	if more := extra(old.tokenTypes(), c.tokenTypes()); more != nil {
		say("tokenTypes has %q more", more)
	}
	if c.IDTokens && !old.IDTokens {
		say("ID tokens are accepted")
	}
	if c.leeway() > old.leeway() {
		say("leeway is %s, and was %s", Duration(c.leeway()), Duration(old.leeway()))
	}
	if old.MaxLifetime > 0 && (c.MaxLifetime == 0 || c.MaxLifetime > old.MaxLifetime) {
		say("maxLifetime is longer, or gone")
	}
	if more := lostRules(old.Require, c.Require); more != nil {
		say("require demands less of %q", more)
	}
	c.ClaimMappings.weaker(&old.ClaimMappings, say)
	c.weakerKeys(old, say)
}

// weakerKeys says in what other keys are accepted, or the same ones for longer.
func (c *IssuerConfig) weakerKeys(old *IssuerConfig, say func(string, ...any)) {
	for _, field := range []struct{ name, was, is string }{
		{"discoveryURL", old.DiscoveryURL, c.DiscoveryURL},
		{"jwksURL", old.JWKSURL, c.JWKSURL},
		{"jwksFile", old.JWKSFile, c.JWKSFile},
		{"http.caFile", old.HTTP.CAFile, c.HTTP.CAFile},
		{"http.serverName", old.HTTP.ServerName, c.HTTP.ServerName},
	} {
		if field.was != field.is {
			say("%s is %s, and was %s: keys can come from elsewhere", field.name, orNothing(field.is), orNothing(field.was))
		}
	}
	if c.Keys.SnapshotFile != "" && c.Keys.SnapshotFile != old.Keys.SnapshotFile {
		say("keys.snapshotFile is %s: whoever can write that file can make tokens", c.Keys.SnapshotFile)
	}
	if c.Insecure && !old.Insecure {
		say("plain http is allowed")
	}
	was, wasBound := old.Keys.refresh()
	is, isBound := c.Keys.refresh()
	switch {
	case is > was:
		say("keys.refresh is %s, and was %s", Duration(is), Duration(was))
	case wasBound && !isBound:
		say("keys.refresh is no upper bound any more")
	}
	if c.Keys.maxStale() > old.Keys.maxStale() {
		say("keys.maxStale is %s, and was %s", Duration(c.Keys.maxStale()), Duration(old.Keys.maxStale()))
	}
}

func orNothing(value string) string {
	if value == "" {
		return "nothing"
	}
	return value
}

// tokenTypes returns the accepted types, the preset's if there are none, as they
// are compared.
func (c *IssuerConfig) tokenTypes() []string {
	list := c.TokenTypes
	if list == nil {
		rules, _ := c.Preset.Rules()
		list = rules.TokenTypes
	}
	list = slices.Clone(list)
	for i := range list {
		list[i] = strings.TrimPrefix(strings.ToLower(list[i]), "application/")
	}
	return list
}

// weaker says in what more tenants are accepted. How many keep their keys is
// another matter.
func (c *TenantsConfig) weaker(old *TenantsConfig, say func(string, ...any)) {
	var was, is TenantsConfig
	if old != nil {
		was = *old
	}
	if c != nil {
		is = *c
	}
	if more := extra(was.Allow, is.Allow); more != nil {
		say("tenants.allow has %q more", more)
	}
	if is.Pattern != "" && is.Pattern != was.Pattern {
		say("tenants.pattern is %s, and was %s", is.Pattern, orNothing(was.Pattern))
	}
}

// weaker says in what another claim decides: nobody can tell which tokens have
// it.
func (c *ClaimMappingsConfig) weaker(old *ClaimMappingsConfig, say func(string, ...any)) {
	for _, list := range []struct {
		name    string
		was, is []string
	}{
		{"subject", old.Subject, c.Subject}, {"client", old.Client, c.Client}, {"scopes", old.Scopes, c.Scopes},
		{"roles", old.Roles, c.Roles}, {"tenant", old.Tenant, c.Tenant}, {"audience", old.Audience, c.Audience},
	} {
		if !reflect.DeepEqual(list.was, list.is) {
			say("claimMappings.%s is %s, and was %s", list.name, claimList(list.is), claimList(list.was))
		}
	}
	if c.RoleObjects && !old.RoleObjects {
		say("claimMappings.roleObjects: members of objects are roles")
	}
}

func claimList(names []string) string {
	switch {
	case names == nil:
		return "the preset's"
	case len(names) == 0:
		return "nothing"
	}
	return strings.Join(names, ", ")
}
