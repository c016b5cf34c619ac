package extauthz

import (
	"maps"
	"slices"
)

// weakerPolicies says which policies let more through, also by where they stand:
// the first one that matches decides.
func weakerPolicies(before, after *Config, say func(string, ...any)) {
	for i := range after.Policies {
		pc := &after.Policies[i]
		old := policyNamed(before, pc.Name)
		switch {
		case old != nil:
			of := func(format string, args ...any) { say("policy %s: "+format, append([]any{pc.Name}, args...)...) }
			pc.weaker(old, of)
			pc.weakerAudiences(old, before, after, of)
			if !maps.Equal(old.Headers, pc.Headers) {
				otherValues(old.allHeaders(before), pc.allHeaders(after), of)
			}
		case pc.Access == AccessPublic || pc.Access == AccessOptional:
			say("policy %s is new and lets requests without a token through", pc.Name)
		case pc.Access != AccessDeny:
			say("policy %s is new: what it matches was decided by the policies after it, or refused", pc.Name)
		}
	}
	for i := range before.Policies {
		pc := &before.Policies[i]
		if policyNamed(after, pc.Name) == nil {
			say("policy %s is gone: what it matched is decided by the policies after it, or refused", pc.Name)
		}
	}
	if !slices.Equal(order(before, after), order(after, before)) {
		say("policies are in another order")
	}
}

// order returns the names of c's policies that other has too.
func order(c, other *Config) []string {
	var names []string
	for i := range c.Policies {
		if policyNamed(other, c.Policies[i].Name) != nil {
			names = append(names, c.Policies[i].Name)
		}
	}
	return names
}

func (c *PolicyConfig) weaker(old *PolicyConfig, say func(string, ...any)) {
	if openness(c.Access) > openness(old.Access) {
		say("access is %s, and was %s", c.Access, old.Access)
	}
	if old.Issuers != nil && (c.Issuers == nil || extra(old.Issuers, c.Issuers) != nil) {
		say("tokens of more issuers are accepted")
	}
	if less := extra(c.Scopes, old.Scopes); less != nil {
		say("scopes %q are not demanded any more", less)
	}
	for _, list := range []struct {
		field    string
		old, now []string
	}{{"anyScope", old.AnyScope, c.AnyScope}, {"roles", old.Roles, c.Roles}} {
		if list.old != nil && (list.now == nil || extra(list.old, list.now) != nil) {
			say("%s demands less", list.field)
		}
	}
	if less := lostRules(old.Claims, c.Claims); less != nil {
		say("claims demands less of %q", less)
	}
	if old.When != "" && old.When != c.When {
		say("when is another condition, or gone")
	}
	if old.TenantFrom != nil {
		another(say, "tenantFrom", old.TenantFrom, c.TenantFrom)
	}
	if c.CORSPreflight && !old.CORSPreflight {
		say("CORS preflights are let through")
	}
	another(say, "match", old.Match, c.Match)
	another(say, "tokenFrom", old.TokenFrom, c.TokenFrom)
	if forwards(c.ForwardToken) > forwards(old.ForwardToken) {
		say("the credential goes upstream in more cases")
	}
}

// weakerAudiences says of whose tokens more audiences are accepted, if the
// policy's own list has changed: it stands in place of the issuer's.
func (c *PolicyConfig) weakerAudiences(old *PolicyConfig, before, after *Config, say func(string, ...any)) {
	if slices.Equal(old.Audiences, c.Audiences) {
		return
	}
	for i := range after.Issuers {
		ic := &after.Issuers[i]
		was := issuerNamed(before, ic.Name)
		if was == nil || !c.accepts(ic.Name) || !old.accepts(ic.Name) {
			continue // reported otherwise
		}
		oldList, oldAny := old.acceptedAudiences(was)
		list, anyOne := c.acceptedAudiences(ic)
		switch more := extra(oldList, list); {
		case oldAny:
		case anyOne:
			say("any audience of issuer %s is accepted", ic.Name)
		case more != nil:
			say("audiences has %q more for issuer %s", more, ic.Name)
		}
	}
}

// acceptedAudiences returns the audiences of which a token of the issuer must
// have one here, and whether any will do.
func (c *PolicyConfig) acceptedAudiences(ic *IssuerConfig) (list []string, anyOne bool) {
	if c.Audiences != nil {
		return c.Audiences, false
	}
	return ic.Audiences, ic.AnyAudience
}

// allHeaders returns the headers that cfg and its policy c set; the policy's win.
func (c *PolicyConfig) allHeaders(cfg *Config) map[string]string {
	all := map[string]string{}
	maps.Copy(all, cfg.Headers)
	maps.Copy(all, c.Headers)
	return all
}

// openness orders what a policy lets through.
func openness(a Access) int {
	return slices.Index([]Access{AccessDeny, AccessToken, AccessOptional, AccessPublic}, a)
}

// forwards orders in how many cases the credential goes upstream: never, if it
// was verified, always.
func forwards(setting *bool) int {
	switch {
	case setting == nil:
		return 1
	case *setting:
		return 2
	}
	return 0
}
