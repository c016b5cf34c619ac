package extauthz

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// weakened lists in what a configuration lets more through than the one before,
// as far as that can be told without knowing the requests: where it cannot, a
// change is reported that may be none. Nothing is refused for it: to weaken a
// gate is the operator's right, to do so unseen is not.
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
	weakerPolicies(before, after, say)
	weakerHeaders(before, after, say)
	if before.Server.PathParameters != after.Server.PathParameters && after.Server.PathParameters == PathParametersAllow {
		say("server.pathParameters is allow")
	}
	if b, a := before.Server.TLS, after.Server.TLS; b != nil && a != nil {
		switch {
		case b.ClientCAFile == "":
		case a.ClientCAFile == "":
			say("server.tls demands no client certificate any more")
		case a.ClientCAFile != b.ClientCAFile:
			say("server.tls.clientCAFile is %s, and was %s", a.ClientCAFile, b.ClientCAFile)
		}
		if a.ClientCAFile != "" && len(b.ClientNames) > 0 && (len(a.ClientNames) == 0 || extra(b.ClientNames, a.ClientNames) != nil) {
			say("server.tls.clientNames accepts more clients")
		}
	}
	if after.Admin.Expose && !before.Admin.Expose {
		say("admin.expose: everybody who reaches admin.listen sees the pages for people")
	}
	if after.Admin.PProf && !before.Admin.PProf {
		say("admin.pprof: profiles of the process can be read at admin.listen")
	}
	return list
}

// weakerHeaders looks at the identity headers of the whole file: one that is in
// it no more is not removed any more from what a client sends.
func weakerHeaders(before, after *Config, say func(string, ...any)) {
	if lost := extra(identityHeaders(after), identityHeaders(before)); lost != nil {
		say("headers %q are no identity headers any more: what a client sends in them goes upstream", lost)
	}
	otherValues(before.Headers, after.Headers, say)
}

// identityHeaders returns the names under any headers of the file and those that
// are cleaned in any case.
func identityHeaders(c *Config) []string {
	all := maps.Clone(defaultHeaders)
	maps.Copy(all, c.Headers)
	for i := range c.Policies {
		maps.Copy(all, c.Policies[i].Headers)
	}
	return slices.Sorted(maps.Keys(all))
}

// otherValues names headers that tell upstreams something else than before.
func otherValues(old, now map[string]string, say func(string, ...any)) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if was, ok := old[name]; ok && was != now[name] {
			say("headers: %s is %s, and was %s", name, now[name], was)
		}
	}
}

// another says that a field has another value, whatever that lets through.
func another[T any](say func(string, ...any), field string, old, now T) {
	if !reflect.DeepEqual(old, now) {
		say("%s is another one, or gone", field)
	}
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
