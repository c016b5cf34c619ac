package extauthz

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/claimgate/claimgate/internal/authheader"
)

// maxPolicyName keeps a name whole in a decision record.
const maxPolicyName = 256

func (c *Config) validatePolicies(f *faults) {
	if len(c.Policies) == 0 && !f.broken("policies") {
		f.add("policies", "%s: without a policy every request would be refused; write one with a name at least", absence(f, "policies"))
	}
	issuers := map[string]bool{}
	issuersKnown := true // all their names can be told
	for i := range c.Issuers {
		issuers[cmp.Or(c.Issuers[i].Name, issuerName(c.Issuers[i].Issuer))] = true
		p := fieldPath("issuers").index(i)
		issuersKnown = issuersKnown && !f.broken(p.field("name")) && !f.broken(p.field("issuer"))
	}
	issuersKnown = issuersKnown && (len(c.Issuers) > 0 || !f.broken("issuers"))
	names := map[string]fieldPath{}
	for i := range c.Policies {
		p := fieldPath("policies").index(i)
		pc := &c.Policies[i]
		pc.validateName(f, p, names)
		pc.validateAccess(f, p)
		pc.validateMatch(f, p.field("match"), c.Server.PathParameters == PathParametersAllow)
		pc.validateDemands(f, p)
		pc.validateChallenge(f, p)
		validateTokenFrom(f, p.field("tokenFrom"), pc.TokenFrom)
		pc.TenantFrom.validate(f, p.field("tenantFrom"))
		if issuersKnown {
			pc.validateIssuers(f, p.field("issuers"), issuers, c.Issuers)
		}
	}
	c.validateNeedOfIssuers(f)
}

func (c *Config) validateNeedOfIssuers(f *faults) {
	if len(c.Issuers) > 0 || f.broken("issuers") {
		return
	}
	for i := range c.Policies {
		if p := fieldPath("policies").index(i); c.Policies[i].looksAtTokens() && !f.broken(p.field("access")) {
			f.add("issuers", "%s: %s looks at tokens, and needs an issuer", absence(f, "issuers"), policyLabel(i, c.Policies[i].Name))
			return
		}
	}
}

func absence(f *faults, p fieldPath) string {
	if f.given(p) {
		return "is empty"
	}
	return "is missing"
}

func (c *PolicyConfig) validateName(f *faults, p fieldPath, names map[string]fieldPath) {
	at := p.field("name")
	if c.Name == "" {
		f.missing(at, "give the policy a name for logs, metrics and context_extensions")
		return
	}
	first, taken := names[c.Name]
	switch {
	case taken:
		f.add(at, "is the name of %s already: give each a name of its own", first)
	case len(c.Name) > maxPolicyName:
		f.add(at, "has %d bytes: %d are the most", len(c.Name), maxPolicyName)
	case !utf8.ValidString(c.Name) || strings.ContainsFunc(c.Name, unicode.IsControl):
		f.add(at, "has a control character")
	default:
		names[c.Name] = p
	}
}

// validateAccess refuses the fields that the policy's access would ignore.
func (c *PolicyConfig) validateAccess(f *faults, p fieldPath) {
	var names []string
	var why string
	switch c.Access {
	case AccessToken:
	case AccessPublic, AccessDeny:
		names = []string{"issuers", "audiences", "tenantFrom", "scopes", "anyScope", "roles", "claims", "when"}
		why = "which looks at no token"
	case AccessOptional:
		names = []string{"scopes", "anyScope", "roles", "claims"}
		why = "which lets requests without a token through; write it as when"
	}
	present := map[string]bool{
		"issuers": c.Issuers != nil, "audiences": c.Audiences != nil, "tenantFrom": c.TenantFrom != nil, "scopes": c.Scopes != nil, "anyScope": c.AnyScope != nil,
		"roles": c.Roles != nil, "claims": c.Claims != nil, "when": c.When != "",
	}
	for _, name := range names {
		if at := p.field(name); present[name] || f.given(at) && !f.broken(at) {
			f.add(at, "is not allowed with access: %s, %s", c.Access, why)
		}
	}
}

func (c *PolicyConfig) validateIssuers(f *faults, p fieldPath, known map[string]bool, issuers []IssuerConfig) {
	for i, name := range c.Issuers {
		if name == "" || known[name] {
			continue
		}
		at := p.index(i)
		// Who writes the URL here means its short name.
		if j := slices.IndexFunc(issuers, func(ic IssuerConfig) bool { return ic.Issuer == name }); j >= 0 {
			f.add(at, "must be the issuer's short name: write %q", cmp.Or(issuers[j].Name, issuerName(issuers[j].Issuer)))
			continue
		}
		var names []string
		for j := range issuers {
			names = append(names, cmp.Or(issuers[j].Name, issuerName(issuers[j].Issuer)))
		}
		if near := nearest(name, names); near != "" {
			f.add(at, "no issuer has the name %s, did you mean %q?", quote(name), near)
			continue
		}
		f.add(at, "no issuer has the name %s: there %s", quote(name), areThese(names))
	}
}

func (c *PolicyConfig) validateMatch(f *faults, p fieldPath, allowParams bool) {
	for i := range c.Match {
		at := p.index(i)
		m := &c.Match[i]
		for j, s := range m.Hosts {
			if _, err := parseHostPattern(s); s != "" && err != nil {
				f.add(at.field("hosts").index(j), "%v", err)
			}
		}
		for j, s := range m.Methods {
			if s != "" && !validMethod(s) {
				f.add(at.field("methods").index(j), "%s", methodFault(s))
			}
		}
		for j, s := range m.Paths {
			if _, err := parsePathPattern(s, allowParams); s != "" && err != nil {
				f.add(at.field("paths").index(j), "%v", err)
			}
		}
		for j, s := range m.Routes {
			if _, err := ParseRoute(s); s != "" && err != nil {
				f.add(at.field("routes").index(j), "%v", err)
			}
		}
	}
}

func methodFault(s string) string {
	if upper := strings.ToUpper(s); validMethod(upper) {
		return "methods are compared exactly: write " + upper
	}
	return quote(s) + " is no method: A-Z, digits and hyphens make one; leave methods out for any"
}

func (c *PolicyConfig) validateDemands(f *faults, p fieldPath) {
	for _, list := range []struct {
		name   string
		scopes []string
	}{{"scopes", c.Scopes}, {"anyScope", c.AnyScope}} {
		for i, s := range list.scopes {
			if s != "" && !isScope(s) {
				f.add(p.field(list.name).index(i), "%s is no scope: write each by itself, in ASCII and without spaces, quotes and backslashes", quote(s))
			}
		}
	}
	if c.When != "" {
		if _, err := compileCondition(c.When); err != nil {
			f.add(p.field("when"), "%v", err)
		}
	}
}

// isScope reports whether s is a scope-token (RFC 6749 section 3.3).
func isScope(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return s != ""
}

// validateChallenge judges what is sent in quotes, as in realm="…".
func (c *PolicyConfig) validateChallenge(f *faults, p fieldPath) {
	for i := 0; i < len(c.Realm); i++ {
		if b := c.Realm[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
			f.add(p.field("realm"), `must be printable ASCII without " and \, not %s`, quote(c.Realm))
			break
		}
	}
	if at := p.field("resourceMetadata"); c.ResourceMetadata != "" {
		fault := urlFault(c.ResourceMetadata, false)
		if fault == "" && strings.ContainsFunc(c.ResourceMetadata, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			fault = "has characters that no URL has: percent-encode them"
		}
		if fault != "" {
			f.add(at, "%s", strings.TrimSuffix(fault, ", or insecure: true for this issuer"))
		}
	}
}

// notForCredentials are headers that cannot be a credential's place: the gate
// may have to remove it.
var notForCredentials = []string{"host", "content-length", "transfer-encoding", "connection", "te", "upgrade"}

func validateTokenFrom(f *faults, p fieldPath, sources []TokenSourceConfig) {
	seen := map[TokenSourceConfig]fieldPath{}
	headers := map[string]int{} // the first source with that header
	for i := range sources {
		s, at := &sources[i], p.index(i)
		s.Header = strings.ToLower(s.Header)
		if f.broken(at) || !s.validate(f, at) {
			continue
		}
		place := *s
		place.Scheme = strings.ToLower(s.Scheme)
		if first, twice := seen[place]; twice {
			f.add(at, "is the same place as %s", first)
			continue
		}
		seen[place] = at
		if s.Header == "" {
			continue
		}
		first, twice := headers[s.Header]
		switch {
		case !twice:
			headers[s.Header] = i
		case s.Scheme == "" || sources[first].Scheme == "":
			f.add(at, "and %s are one header, once with a scheme and once without: only one of them can be meant", p.index(first))
		}
	}
}

// validate judges one place by itself, and reports whether it is good.
func (c *TokenSourceConfig) validate(f *faults, p fieldPath) bool {
	given := 0
	for _, name := range []string{c.Header, c.Cookie, c.Query} {
		if name != "" {
			given++
		}
	}
	switch {
	case given == 0:
		f.add(p, "names no place: write header, cookie or query")
	case given > 1:
		f.add(p, "names several places: write a list entry for each of header, cookie and query")
	case c.Scheme != "" && c.Header == "":
		f.add(p, "has a scheme, which only a header has: leave it out")
	case c.Header != "":
		c.validateHeader(f, p)
	case c.Cookie != "" && !isHeaderName(c.Cookie):
		f.add(p.field("cookie"), "%s is no name for a cookie: it may have letters, digits, hyphens, dots and underscores", quote(c.Cookie))
	case !utf8.ValidString(c.Query):
		f.add(p.field("query"), "must be UTF-8")
	}
	return !f.broken(p)
}

func (c *TokenSourceConfig) validateHeader(f *faults, p fieldPath) {
	at, alias := p.field("header"), headerAlias(c.Header)
	_, identity := defaultHeaders[alias]
	switch {
	case !isHeaderName(c.Header):
		f.add(at, "%s is no name for a header: letters, digits and hyphens make one", quote(c.Header))
	case alias == "cookie":
		f.add(at, "a cookie is named by itself: write {cookie: NAME}")
	case identity || slices.Contains(notForCredentials, alias):
		f.add(at, "%s has a meaning of its own and cannot carry a credential", quote(c.Header))
	}
	switch {
	case strings.EqualFold(c.Scheme, authheader.DPoP): // it promises a proof, and none is looked at
		f.add(p.field("scheme"), notSupportedYet)
	case c.Scheme != "" && !isHeaderName(c.Scheme):
		f.add(p.field("scheme"), "%s is no authentication scheme: write one word, such as Bearer", quote(c.Scheme))
	}
}
