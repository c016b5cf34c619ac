package extauthz

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// weakened lists in what a configuration lets more through than the one before,
// as far as that can be told without knowing the requests. Nothing is refused
// for it: to weaken a gate is the operator's right, to do so unseen is not.
func weakened(before, after *Config) []string {
	var list []string
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }

	for i := range after.Issuers {
		ic := &after.Issuers[i]
		old := issuerNamed(before, ic.Name)
		if old == nil {
			say("issuer %s is new", ic.Name)
			continue
		}
		ic.weaker(old, func(format string, args ...any) { say("issuer %s: "+format, append([]any{ic.Name}, args...)...) })
	}
	for i := range after.Policies {
		pc := &after.Policies[i]
		old := policyNamed(before, pc.Name)
		if old == nil {
			if pc.Access == AccessPublic || pc.Access == AccessOptional {
				say("policy %s is new and lets requests without a token through", pc.Name)
			}
			continue
		}
		pc.weaker(old, func(format string, args ...any) { say("policy %s: "+format, append([]any{pc.Name}, args...)...) })
	}
	for i := range before.Policies {
		pc := &before.Policies[i]
		if policyNamed(after, pc.Name) == nil {
			say("policy %s is gone: what it matched is decided by the policies after it, or refused", pc.Name)
		}
	}
	if before.Server.PathParameters != after.Server.PathParameters && after.Server.PathParameters == PathParametersAllow {
		say("server.pathParameters is allow")
	}
	if b, a := before.Server.TLS, after.Server.TLS; b != nil && a != nil {
		if b.ClientCAFile != "" && a.ClientCAFile == "" {
			say("server.tls demands no client certificate any more")
		}
		if len(b.ClientNames) > 0 && (len(a.ClientNames) == 0 || extra(b.ClientNames, a.ClientNames) != nil) {
			say("server.tls.clientNames accepts more clients")
		}
	}
	return list
}

func (c *IssuerConfig) weaker(old *IssuerConfig, say func(string, ...any)) {
	if c.Issuer != old.Issuer {
		say("issuer is %s, and was %s", c.Issuer, old.Issuer)
	}
	if more := extra(old.Aliases, c.Aliases); more != nil {
		say("aliases has %q more", more)
	}
	switch {
	case c.AnyAudience && !old.AnyAudience:
		say("any audience is accepted")
	case len(old.Audiences) > 0 && extra(old.Audiences, c.Audiences) != nil:
		say("audiences has %q more", extra(old.Audiences, c.Audiences))
	}
	for _, list := range []struct {
		field    string
		old, now []string
	}{
		{"algorithms", texts(old.Algorithms), texts(c.Algorithms)},
		{"tokenTypes", old.TokenTypes, c.TokenTypes},
	} {
		switch {
		case list.old == nil:
		case list.now == nil:
			say("%s is not limited any more", list.field)
		case extra(list.old, list.now) != nil:
			say("%s has %q more", list.field, extra(list.old, list.now))
		}
	}
	if c.IDTokens && !old.IDTokens {
		say("ID tokens are accepted")
	}
	if c.Insecure && !old.Insecure {
		say("plain http is allowed")
	}
	if c.leeway() > old.leeway() {
		say("leeway is %s, and was %s", Duration(c.leeway()), Duration(old.leeway()))
	}
	if old.MaxLifetime > 0 && (c.MaxLifetime == 0 || c.MaxLifetime > old.MaxLifetime) {
		say("maxLifetime is longer, or gone")
	}
	if c.Keys.maxStale() > old.Keys.maxStale() {
		say("keys.maxStale is %s, and was %s", Duration(c.Keys.maxStale()), Duration(old.Keys.maxStale()))
	}
	if more := lostRules(old.Require, c.Require); more != nil {
		say("require demands less of %q", more)
	}
}

func (c *PolicyConfig) weaker(old *PolicyConfig, say func(string, ...any)) {
	if openness(c.Access) > openness(old.Access) {
		say("access is %s, and was %s", c.Access, old.Access)
	}
	if old.Issuers != nil && (c.Issuers == nil || extra(old.Issuers, c.Issuers) != nil) {
		say("tokens of more issuers are accepted")
	}
	if old.Audiences != nil && c.Audiences != nil && extra(old.Audiences, c.Audiences) != nil {
		say("audiences has %q more", extra(old.Audiences, c.Audiences))
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
	if c.CORSPreflight && !old.CORSPreflight {
		say("CORS preflights are let through")
	}
	if !reflect.DeepEqual(old.Match, c.Match) {
		say("match is another one")
	}
}

// openness orders what a policy lets through.
func openness(a Access) int {
	return slices.Index([]Access{AccessDeny, AccessToken, AccessOptional, AccessPublic}, a)
}

// extra returns what now has and old has not, nil if nothing.
func extra(old, now []string) []string {
	var more []string
	for _, s := range now {
		if !slices.Contains(old, s) {
			more = append(more, s)
		}
	}
	return more
}

// lostRules names the claims of which now demands less than old.
func lostRules(old, now map[string]ClaimValues) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(old)) {
		values, ok := now[name]
		if !ok || slices.ContainsFunc(values, func(v any) bool { return !slices.Contains(old[name], v) }) {
			names = append(names, name)
		}
	}
	return names
}

func texts[T ~string](list []T) []string {
	if list == nil {
		return nil
	}
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

func issuerNamed(c *Config, name string) *IssuerConfig {
	i := slices.IndexFunc(c.Issuers, func(ic IssuerConfig) bool { return ic.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Issuers[i]
}

func policyNamed(c *Config, name string) *PolicyConfig {
	i := slices.IndexFunc(c.Policies, func(pc PolicyConfig) bool { return pc.Name == name })
	if i < 0 {
		return nil
	}
	return &c.Policies[i]
}
