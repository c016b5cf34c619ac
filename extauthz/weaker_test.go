package extauthz

import (
	"iter"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// weakerCase is a change of one field that lets more through.
type weakerCase struct {
	field    string
	old, now string // what is replaced in a configuration; old "" is a line before issuers
	want     string
}

const (
	weakerIssuer = "issuers: [{issuer: 'https://a.example', name: a, audiences: [x], tokenTypes: [JWT], algorithms: [ES256], maxLifetime: 1h, require: {hd: [one]}}]\n"
	weakerBefore = weakerIssuer + "policies: [{name: all, scopes: [s], anyScope: [t], roles: [r], claims: {c: [v]}, when: 'token.subject == \"a\"', issuers: [a], audiences: [x]}, {name: last, access: deny}]"
	weakerTenant = "issuers: [{issuer: 'https://a.example/{tenant}', name: a, audiences: [x], tenants: {allow: [one]}}]\n" +
		"policies: [{name: all, tenantFrom: {host: '{tenant}.api.example'}}]"
	weakerTLS = "server: {tls: {certFile: c, keyFile: k, clientCAFile: ca, clientNames: [n]}}\npolicies: [{name: all, access: deny}]"
)

// weakerCases has at least one case for each field that can let more through.
var weakerCases = map[string][]weakerCase{
	weakerBefore: {
		{"issuers[].name", "[{issuer", "[{issuer: 'https://b.example', name: b, audiences: [x]}, {issuer", "issuer b is new"},
		{"issuers[].issuer", "https://a.example", "https://b.example", "issuer a: issuer is https://b.example, and was https://a.example"},
		{"issuers[].aliases", "name: a, ", "name: a, aliases: [b], ", `issuer a: aliases has ["b"] more`},
		{"issuers[].preset", "name: a, ", "name: a, preset: keycloak, ", "issuer a: preset is keycloak, and was generic"},
		{"issuers[].audiences", "audiences: [x], tokenTypes", "audiences: [x, y], tokenTypes", `issuer a: audiences has ["y"] more`},
		{"issuers[].anyAudience", "audiences: [x], tokenTypes", "anyAudience: true, tokenTypes", "issuer a: any audience is accepted"},
		{"issuers[].algorithms", "[ES256]", "[ES256, RS256]", `issuer a: algorithms has ["RS256"] more`},
		{"issuers[].algorithms", "algorithms: [ES256], ", "", "issuer a: algorithms is not limited any more"},
		{"issuers[].tokenTypes", "[JWT]", "[JWT, at+jwt]", `issuer a: tokenTypes has ["at+jwt"] more`},
		{"issuers[].tokenTypes", "tokenTypes: [JWT], ", "", `issuer a: tokenTypes has ["at+jwt" "none"] more`},
		{"issuers[].idTokens", "name: a, ", "name: a, idTokens: true, ", "issuer a: ID tokens are accepted"},
		{"issuers[].require", "hd: [one]", "hd: [one, two]", `issuer a: require demands less of ["hd"]`},
		{"issuers[].discoveryURL", "name: a, ", "name: a, discoveryURL: 'https://b.example/d', ",
			"issuer a: discoveryURL is https://b.example/d, and was nothing: keys can come from elsewhere"},
		{"issuers[].jwksURL", "name: a, ", "name: a, jwksURL: 'https://b.example/k', ",
			"issuer a: jwksURL is https://b.example/k, and was nothing: keys can come from elsewhere"},
		{"issuers[].jwksFile", "name: a, ", "name: a, jwksFile: /k, ", "issuer a: jwksFile is /k, and was nothing: keys can come from elsewhere"},
		{"issuers[].leeway", "name: a, ", "name: a, leeway: 60s, ", "issuer a: leeway is 1m, and was 30s"},
		{"issuers[].maxLifetime", "maxLifetime: 1h, ", "", "issuer a: maxLifetime is longer, or gone"},
		{"issuers[].claimMappings.subject", "name: a, ", "name: a, claimMappings: {subject: [email]}, ",
			"issuer a: claimMappings.subject is email, and was the preset's"},
		{"issuers[].claimMappings.client", "name: a, ", "name: a, claimMappings: {client: []}, ",
			"issuer a: claimMappings.client is nothing, and was the preset's"},
		{"issuers[].claimMappings.scopes", "name: a, ", "name: a, claimMappings: {scopes: [x, y]}, ",
			"issuer a: claimMappings.scopes is x, y, and was the preset's"},
		{"issuers[].claimMappings.roles", "name: a, ", "name: a, claimMappings: {roles: [groups]}, ",
			"issuer a: claimMappings.roles is groups, and was the preset's"},
		{"issuers[].claimMappings.tenant", "name: a, ", "name: a, claimMappings: {tenant: [org]}, ",
			"issuer a: claimMappings.tenant is org, and was the preset's"},
		{"issuers[].claimMappings.audience", "name: a, ", "name: a, claimMappings: {audience: [azp]}, ",
			"issuer a: claimMappings.audience is azp, and was the preset's"},
		{"issuers[].claimMappings.roleObjects", "name: a, ", "name: a, claimMappings: {roleObjects: true}, ",
			"issuer a: claimMappings.roleObjects: members of objects are roles"},
		{"issuers[].keys.refresh", "name: a, ", "name: a, keys: {refresh: 2h}, ", "issuer a: keys.refresh is 2h, and was 1h"},
		{"issuers[].keys.maxStale", "name: a, ", "name: a, keys: {maxStale: 48h}, ", "issuer a: keys.maxStale is 48h, and was 24h"},
		{"issuers[].keys.snapshotFile", "name: a, ", "name: a, keys: {snapshotFile: /s}, ",
			"issuer a: keys.snapshotFile is /s: whoever can write that file can make tokens"},
		{"issuers[].http.caFile", "name: a, ", "name: a, http: {caFile: /ca}, ", "issuer a: http.caFile is /ca, and was nothing: keys can come from elsewhere"},
		{"issuers[].http.serverName", "name: a, ", "name: a, http: {serverName: b}, ",
			"issuer a: http.serverName is b, and was nothing: keys can come from elsewhere"},
		{"issuers[].insecure", "name: a, ", "name: a, insecure: true, ", "issuer a: plain http is allowed"},
		{"headers", "", "headers: {x-auth-subject: email}\n", "headers: x-auth-subject is email, and was @subject"},
		{"policies[].name", ", {name: last, access: deny}", "", "policy last is gone: what it matched is decided by the policies after it, or refused"},
		{"policies[].name", "{name: last", "{name: new, match: [{paths: [/p]}], access: public}, {name: last",
			"policy new is new and lets requests without a token through"},
		{"policies[].name", "[{name: all", "[{name: new, match: [{paths: [/p]}]}, {name: all",
			"policy new is new: what it matches was decided by the policies after it, or refused"},
		{"policies[].access", "access: deny", "access: public", "policy last: access is public, and was deny"},
		{"policies[].match[].hosts", "{name: last", "{name: last, match: [{hosts: [h]}]", "policy last: match is another one, or gone"},
		{"policies[].match[].methods", "{name: last", "{name: last, match: [{methods: [GET]}]", "policy last: match is another one, or gone"},
		{"policies[].match[].paths", "{name: last", "{name: last, match: [{paths: [/p]}]", "policy last: match is another one, or gone"},
		{"policies[].issuers", "issuers: [a], ", "", "policy all: tokens of more issuers are accepted"},
		{"policies[].audiences", "audiences: [x]}", "audiences: [x, y]}", `policy all: audiences has ["y"] more for issuer a`},
		{"policies[].scopes", "scopes: [s], ", "", `policy all: scopes ["s"] are not demanded any more`},
		{"policies[].anyScope", "anyScope: [t], ", "anyScope: [t, u], ", "policy all: anyScope demands less"},
		{"policies[].roles", "roles: [r], ", "roles: [r, q], ", "policy all: roles demands less"},
		{"policies[].claims", "claims: {c: [v]}, ", "", `policy all: claims demands less of ["c"]`},
		{"policies[].when", `when: 'token.subject == "a"', `, "", "policy all: when is another condition, or gone"},
		{"policies[].tokenFrom[].header", "{name: all, ", "{name: all, tokenFrom: [{header: x-token, scheme: Bearer}], ", "policy all: tokenFrom is another one, or gone"},
		{"policies[].tokenFrom[].scheme", "{name: all, ", "{name: all, tokenFrom: [{header: authorization, scheme: Token}], ",
			"policy all: tokenFrom is another one, or gone"},
		{"policies[].tokenFrom[].cookie", "{name: all, ", "{name: all, tokenFrom: [{cookie: sid}], ", "policy all: tokenFrom is another one, or gone"},
		{"policies[].tokenFrom[].query", "{name: all, ", "{name: all, tokenFrom: [{query: t}], ", "policy all: tokenFrom is another one, or gone"},
		{"policies[].forwardToken", "{name: all, ", "{name: all, forwardToken: true, ", "policy all: the credential goes upstream in more cases"},
		{"policies[].headers", "{name: all, ", "{name: all, headers: {x-auth-client: azp}, ", "policy all: headers: x-auth-client is azp, and was @client"},
		{"policies[].corsPreflight", "{name: all, ", "{name: all, corsPreflight: true, ", "policy all: CORS preflights are let through"},
		{"server.pathParameters", "", "server: {pathParameters: allow}\n", "server.pathParameters is allow"},
		{"admin.expose", "", "admin: {expose: true}\n", "admin.expose: everybody who reaches admin.listen sees the pages for people"},
		{"admin.pprof", "", "admin: {pprof: true}\n", "admin.pprof: profiles of the process can be read at admin.listen"},
	},
	weakerTenant: {
		{"issuers[].tenants.allow", "[one]", "[one, two]", `issuer a: tenants.allow has ["two"] more`},
		{"issuers[].tenants.pattern", "allow: [one]", "pattern: 'o.*'", "issuer a: tenants.pattern is o.*, and was nothing"},
		{"policies[].tenantFrom.host", "'{tenant}.api.example'", "'{tenant}.example'", "policy all: tenantFrom is another one, or gone"},
		{"policies[].tenantFrom.claim", "host: '{tenant}.api.example'", "claim: org", "policy all: tenantFrom is another one, or gone"},
	},
	weakerTLS: {
		{"server.tls.clientCAFile", "clientCAFile: ca", "clientCAFile: cb", "server.tls.clientCAFile is cb, and was ca"},
		{"server.tls.clientCAFile", ", clientCAFile: ca, clientNames: [n]", "", "server.tls demands no client certificate any more"},
		{"server.tls.clientNames", "clientNames: [n]", "clientNames: [n, m]", "server.tls.clientNames accepts more clients"},
	},
	weakerBefore + "\nheaders: {x-user: '@subject'}": {
		{"headers", "x-user", "x-name", `headers ["x-user"] are no identity headers any more: what a client sends in them goes upstream`},
	},
	strings.Replace(weakerBefore, "name: a, ", "name: a, keys: {refresh: 1h}, ", 1): {
		{"issuers[].keys.refresh", "keys: {refresh: 1h}, ", "", "issuer a: keys.refresh is no upper bound any more"},
	},
	strings.Replace(weakerBefore, "audiences: [x], tokenTypes", "audiences: [x, y], tokenTypes", 1): {
		{"policies[].audiences", ", audiences: [x]}", "}", `policy all: audiences has ["y"] more for issuer a`},
	},
	strings.Replace(weakerBefore, "audiences: [x], tokenTypes", "anyAudience: true, tokenTypes", 1): {
		{"policies[].audiences", ", audiences: [x]}", "}", "policy all: any audience of issuer a is accepted"},
	},
	weakerIssuer + "policies: [{name: a, match: [{paths: [/a]}]}, {name: b, access: deny, match: [{paths: [/b]}]}]": {
		{"policies[].name", "[{name: a, match: [{paths: [/a]}]}, {name: b, access: deny, match: [{paths: [/b]}]}]",
			"[{name: b, access: deny, match: [{paths: [/b]}]}, {name: a, match: [{paths: [/a]}]}]", "policies are in another order"},
	},
}

// notWeaker are the fields whose change lets nothing more through, and why.
var notWeaker = map[string]string{
	"server.listen":                     "only a restart changes it",
	"server.tls.certFile":               "what the gate shows of itself",
	"server.tls.keyFile":                "what the gate shows of itself",
	"server.insecure":                   "it allows a listener, and only a restart changes those",
	"server.checkTimeout":               "past it the answer is 503",
	"server.maxConnectionAge":           "only a restart changes it",
	"server.drainDelay":                 "how the gate ends",
	"server.drainTimeout":               "how the gate ends",
	"server.reloadInterval":             "when the next change is seen",
	"server.maxVerifications":           "past it the answer is 503",
	"tokenCache.maxEntries":             "a cached token is judged anew by each check",
	"tokenCache.maxBytes":               "a cached token is judged anew by each check",
	"admin.listen":                      "only a restart changes it",
	"log.level":                         "what is logged",
	"log.format":                        "what is logged",
	"log.decisions":                     "what is logged",
	"log.subject":                       "what is logged",
	"tracing.endpoint":                  "spans hold no token, claim, subject, host or path",
	"metadata.claims":                   "what other filters of Envoy can read of a token that was let through",
	"issuers[].tenants.max":             "how many tenants keep their keys",
	"issuers[].keys.unknownKeyInterval": "how soon new keys are seen",
	"issuers[].http.certFile":           "what the gate shows the issuer",
	"issuers[].http.keyFile":            "what the gate shows the issuer",
	"issuers[].http.bearerTokenFile":    "what the gate shows the issuer",
	"issuers[].http.timeout":            "how long a fetch may take",
	"issuers[].http.proxyURL":           "TLS with the issuer goes through it; without TLS, insecure is reported",
	"issuers[].required":                "what readiness waits for",
	"policies[].realm":                  "a text in challenges",
	"policies[].resourceMetadata":       "a text in challenges",
}

// eitherWay fits reports of changes of which nobody can tell whether they let
// more through.
var eitherWay = regexp.MustCompile(`, and was|another|is new|is gone|identity headers`)

func TestWeakerIsReported(t *testing.T) {
	for base, cases := range weakerCases {
		before := parseText(t, base)
		if list := weakened(before, parseText(t, base)); list != nil {
			t.Errorf("no change is weaker: %q", list)
		}
		for _, tc := range cases {
			after := parseText(t, strings.Replace(base, tc.old, tc.now, 1))
			if got := weakened(before, after); len(got) != 1 || got[0] != tc.want {
				t.Errorf("%s: %s -> %s: %q, want %q", tc.field, tc.old, tc.now, got, tc.want)
			}
			if got := weakened(after, before); !eitherWay.MatchString(tc.want) && got != nil {
				t.Errorf("%s: %s -> %s demands more, and is reported: %q", tc.field, tc.now, tc.old, got)
			}
			if changed := changedPaths("", reflect.ValueOf(*before), reflect.ValueOf(*after)); !slices.Contains(changed, tc.field) {
				t.Errorf("%s: %s -> %s changes %q", tc.field, tc.old, tc.now, changed)
			}
		}
	}
}

// TestEachFieldIsKnownToBeWeakerOrNot: whoever adds a field to the configuration
// says here whether it can let more through, and then has it reported.
func TestEachFieldIsKnownToBeWeakerOrNot(t *testing.T) {
	tested := map[string]bool{"policies[].match[].routes": true} // as a whole, see TestARouteMoreIsReported
	for _, cases := range weakerCases {
		for _, tc := range cases {
			tested[tc.field] = true
		}
	}
	all := map[string]bool{}
	for _, field := range pathsBelow("", reflect.TypeFor[Config]()) {
		all[field] = true
		if _, harmless := notWeaker[field]; harmless == tested[field] {
			t.Errorf("%s: is in weakerCases: %v, in notWeaker: %v", field, tested[field], harmless)
		}
	}
	for _, known := range []iter.Seq[string]{maps.Keys(tested), maps.Keys(notWeaker)} {
		for field := range known {
			if !all[field] {
				t.Errorf("%s is no field of the configuration", field)
			}
		}
	}
}

func TestARouteMoreIsReported(t *testing.T) {
	before, after := parseText(t, weakerBefore), parseText(t, weakerBefore)
	before.Policies[0].Match = []MatchConfig{{Routes: []string{"HTTPRoute/shop/a"}}}
	after.Policies[0].Match = []MatchConfig{{Routes: []string{"HTTPRoute/shop/b"}}}
	if got := weakened(before, after); len(got) != 1 || got[0] != "policy all: match is another one, or gone" {
		t.Errorf("%q", got)
	}
}

func parseText(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := ParseConfig("gate.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return cfg
}

// isSection reports whether a type of the configuration has fields of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[Config]().PkgPath()
}

// pathsBelow returns the paths of all fields that have a value of their own.
func pathsBelow(path string, t reflect.Type) []string {
	switch {
	case t.Kind() == reflect.Pointer:
		return pathsBelow(path, t.Elem())
	case t.Kind() == reflect.Slice && isSection(t.Elem()):
		return pathsBelow(path+"[]", t.Elem())
	case !isSection(t):
		return []string{path}
	}
	var all []string
	for _, field := range fieldsOf(t) {
		all = append(all, pathsBelow(below(path, field.name), t.Field(field.index).Type)...)
	}
	return all
}

func below(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// changedPaths returns those of the fields that differ.
func changedPaths(path string, a, b reflect.Value) []string {
	t := a.Type()
	switch {
	case reflect.DeepEqual(a.Interface(), b.Interface()):
		return nil
	case t.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		return changedPaths(path, a.Elem(), b.Elem())
	case t.Kind() == reflect.Slice && isSection(t.Elem()) && a.Len() == b.Len():
		var all []string
		for i := range a.Len() {
			all = append(all, changedPaths(path+"[]", a.Index(i), b.Index(i))...)
		}
		return all
	case !isSection(t):
		return pathsBelow(path, t)
	}
	var all []string
	for _, field := range fieldsOf(t) {
		all = append(all, changedPaths(below(path, field.name), a.Field(field.index), b.Field(field.index))...)
	}
	return all
}
