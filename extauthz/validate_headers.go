package extauthz

import (
	"maps"
	"slices"
	"strings"
)

// reservedHeaders carry credentials or the framing of the request, or say where
// it came from. As identity headers they would be removed or replaced.
var reservedHeaders = []string{
	"authorization", "host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "cookie",
	"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
	"x-forwarded-client-cert", "x-forwarded-uri", "x-forwarded-method",
}

const envoyHeaderPrefix = "x-envoy-"

// headerNames collects the identity headers of the whole file, so that no two
// of them can be taken for each other by an upstream.
type headerNames struct {
	byAlias     map[string]string    // alias to the one name that has it
	credentials map[string]fieldPath // alias of a tokenFrom header to where it is
}

// validateHeaders judges every headers of the file, and lower-cases the names.
func (c *Config) validateHeaders(f *faults) {
	n := headerNames{byAlias: map[string]string{}, credentials: map[string]fieldPath{}}
	for name := range defaultHeaders {
		n.byAlias[headerAlias(name)] = name
	}
	for i := range c.Policies {
		sources := fieldPath("policies").index(i).field("tokenFrom")
		for j, s := range c.Policies[i].TokenFrom {
			if alias := headerAlias(s.Header); s.Header != "" && n.credentials[alias] == "" {
				n.credentials[alias] = sources.index(j)
			}
		}
	}
	c.Headers = n.validate(f, "headers", c.Headers)
	for i := range c.Policies {
		c.Policies[i].Headers = n.validate(f, fieldPath("policies").index(i).field("headers"), c.Policies[i].Headers)
	}
}

func (n *headerNames) validate(f *faults, p fieldPath, headers map[string]string) map[string]string {
	if headers == nil {
		return nil
	}
	lowered := make(map[string]string, len(headers))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := p.key(name)
		lower := strings.ToLower(name)
		if _, twice := lowered[lower]; twice {
			f.add(at, "is given twice: header names have no case")
			continue
		}
		lowered[lower] = headers[name]
		if fault := n.fault(lower); fault != "" {
			f.add(at, "%s", fault)
		}
		if f.broken(at) {
			continue
		}
		if headers[name] == "" {
			f.add(at, "is empty: write a claim or an @attribute, or leave it out")
			continue
		}
		if _, err := parseHeaderSource(headers[name]); err != nil {
			f.add(at, "%v", err)
		}
	}
	return lowered
}

// fault says why a lower-case name cannot carry the identity. An alias of a
// reserved name is one too: on every request it would be removed as an alias.
func (n *headerNames) fault(name string) string {
	alias := headerAlias(name)
	switch {
	case strings.HasPrefix(name, ":"):
		return "a pseudo header cannot carry the identity"
	case !isHeaderName(name):
		return "is no name for a header: letters, digits and hyphens make one"
	case slices.Contains(reservedHeaders, alias):
		return "the header " + alias + " has a meaning of its own and cannot carry the identity" + spelled(name, alias)
	case strings.HasPrefix(alias, envoyHeaderPrefix):
		return "headers that begin with " + envoyHeaderPrefix + " are Envoy's own and cannot carry the identity" + spelled(name, alias)
	case n.credentials[alias] != "":
		return "carries the credential (" + string(n.credentials[alias]) + ") and cannot carry the identity too"
	}
	if other, taken := n.byAlias[alias]; taken && other != name {
		return "could be taken for " + other + ", from which it differs in punctuation only: keep one of them"
	}
	n.byAlias[alias] = name
	return ""
}

func spelled(name, alias string) string {
	if name == alias {
		return ""
	}
	return ", nor can a name that differs in punctuation only"
}
