package extauthz

import (
	"cmp"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

const maxIssuerName = 63

// issuerName returns the default short name of an issuer: its host without the
// port, every other character than a-z0-9 as a hyphen. It is "" if the issuer is
// no URL, and need not be a valid name.
func issuerName(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(u.Hostname()))
}

// isIssuerName reports whether s is fit for a header, a label and a policy.
func isIssuerName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxIssuerName && s[0] != '-' && s[len(s)-1] != '-'
}

func validateIssuers(issuers []IssuerConfig, f *faults) {
	names := map[string]fieldPath{}
	ids := map[string]fieldPath{}
	for i := range issuers {
		p := fieldPath("issuers").index(i)
		c := &issuers[i]
		c.validateKeys(f, p)
		c.validateIdentity(f, p, names, ids)
		c.validateTokens(f, p)
		c.validatePreset(f, p)
		c.validateTenants(f, p)
	}
	validateTemplates(issuers, f)
	validateSnapshotFiles(issuers, f)
}

// validateIdentity judges what an issuer is called. names and ids hold those of
// the issuers before it.
func (c *IssuerConfig) validateIdentity(f *faults, p fieldPath, names, ids map[string]fieldPath) {
	if c.Issuer == "" {
		f.missing(p.field("issuer"), "write the value of iss in this issuer's tokens, as https://id.example.com")
	}
	claim := func(at fieldPath, id string) {
		if id == "" {
			return
		}
		if hasUserinfo(id) && !f.broken(at) {
			f.add(at, textUserinfo)
		}
		if first, taken := ids[id]; taken {
			f.add(at, "is %s already: an issuer can be there only once", first)
			return
		}
		ids[id] = at
	}
	claim(p.field("issuer"), c.Issuer)
	for i, alias := range c.Aliases {
		claim(p.field("aliases").index(i), alias)
	}
	for _, id := range c.Preset.Identifiers(c.Issuer, c.Aliases)[1+len(c.Aliases):] {
		if first, taken := ids[id]; taken && !f.broken(p.field("issuer")) {
			f.add(p.field("issuer"), "is %s already, which is %s to preset %s: leave one of them out", first, quote(id), c.Preset)
			continue
		}
		ids[id] = p.field("issuer")
	}
	c.validateTrustDomains(f, p, ids)

	at := p.field("name")
	name := cmp.Or(c.Name, issuerName(c.Issuer))
	first, taken := names[name]
	switch {
	case f.broken(at) || c.Name == "" && (c.Issuer == "" || f.broken(p.field("issuer"))):
		return // there is no name to judge
	case c.Name == "" && name == "":
		f.add(at, "is missing: no name can be made of this issuer, so give it one")
	case c.Name == "" && !isIssuerName(name):
		f.add(at, "is missing: the one made of the issuer's host would be %s, which is no valid name, so give it one", quote(name))
	case !isIssuerName(name):
		f.add(at, "must be 1 to %d of a-z, 0-9 and hyphens inside, not %s", maxIssuerName, quote(name))
	case taken:
		f.add(at, "%s and this issuer have one name, %q: give each a name", first, name)
	default:
		names[name] = p
	}
}

// validateTrustDomains looks for two issuers of one trust domain, in whatever
// spelling.
func (c *IssuerConfig) validateTrustDomains(f *faults, p fieldPath, ids map[string]fieldPath) {
	if c.Preset != oidc.PresetSPIFFE {
		return
	}
	var own []string
	for _, id := range append([]string{c.Issuer}, c.Aliases...) {
		domain, ok := oidc.TrustDomain(id)
		if !ok || slices.Contains(own, domain) {
			continue
		}
		own = append(own, domain)
		key := "trust domain " + domain // no identifier of an issuer: it has spaces
		if first, taken := ids[key]; taken && !f.broken(p.field("issuer")) {
			f.add(p.field("issuer"), "%s has the trust domain %s already: a trust domain can be there only once", first, domain)
		}
		ids[key] = p
	}
}

// validateTokens judges what is said about an issuer's tokens.
func (c *IssuerConfig) validateTokens(f *faults, p fieldPath) {
	if c.AnyAudience && len(c.Audiences) > 0 {
		f.add(p.field("anyAudience"), "contradicts audiences: leave one of them out")
	}
	for i, a := range c.Algorithms {
		at := p.field("algorithms").index(i)
		name := strings.ToUpper(string(a))
		switch {
		case a == "" || a.Known():
		case name == "NONE":
			f.add(at, "none is never accepted: a token without a signature says nothing")
		case strings.HasPrefix(name, "HS"):
			f.add(at, "%s is never accepted: who can verify an HMAC can forge it, and no public key set has its key", quote(string(a)))
		default:
			f.add(at, "%s is no algorithm that can be verified: there %s", quote(string(a)), areThese(algorithmNames()))
		}
	}
	for i, t := range c.TokenTypes {
		if t != "" {
			validateTokenType(f, p.field("tokenTypes").index(i), t)
		}
	}
	checkPointedDuration(f, p.field("leeway"), c.Leeway, 0, time.Minute)
	if at := p.field("maxLifetime"); !f.broken(at) && (c.MaxLifetime != 0 || f.given(at)) && c.MaxLifetime < Duration(time.Second) {
		f.add(at, "must be at least 1s, not %s: leave it out for no limit", c.MaxLifetime)
	}
	m := p.field("claimMappings")
	for _, list := range []struct {
		name   string
		claims []string
	}{
		{"subject", c.ClaimMappings.Subject}, {"client", c.ClaimMappings.Client}, {"scopes", c.ClaimMappings.Scopes},
		{"roles", c.ClaimMappings.Roles}, {"tenant", c.ClaimMappings.Tenant}, {"audience", c.ClaimMappings.Audience},
	} {
		validateClaimNames(f, m.field(list.name), list.claims)
	}
}

// validatePreset judges what stands beside a preset.
func (c *IssuerConfig) validatePreset(f *faults, p fieldPath) {
	rules, known := c.Preset.Rules()
	if !known {
		return
	}
	if at := p.field("issuer"); c.Issuer != "" && !f.broken(at) {
		if err := c.Preset.CheckIssuer(c.Issuer, c.Aliases); err != nil {
			f.add(at, "%v", err)
		}
	}
	if c.TokenTypes != nil && rules.TokenTypesFixed {
		f.add(p.field("tokenTypes"), "cannot stand beside preset %s, which fixes it: leave one of them out", c.Preset)
	}
	if at := p.field("idTokens"); rules.IDTokens && !c.IDTokens && f.given(at) && !f.broken(at) {
		f.add(at, "contradicts preset %s, whose tokens are ID tokens: leave one of them out", c.Preset)
	}
	if at := p.field("claimMappings.roleObjects"); rules.Mappings.RoleObjects && !c.ClaimMappings.RoleObjects && f.given(at) && !f.broken(at) {
		f.add(at, "contradicts preset %s, whose roles are an object: leave one of them out", c.Preset)
	}
}

func algorithmNames() []string {
	var names []string
	for _, a := range oidc.Algorithms() {
		names = append(names, string(a))
	}
	return names
}

// otherTokenTypes mark tokens that are made for another use; taken for access
// tokens they would let their holders in (RFC 8725 section 3.11).
var otherTokenTypes = []string{"logout+jwt", "dpop+jwt", "secevent+jwt", "oauth-authz-req+jwt", "jose"}

func validateTokenType(f *faults, p fieldPath, t string) {
	short := strings.TrimPrefix(strings.ToLower(t), "application/")
	switch {
	case slices.Contains(otherTokenTypes, short):
		f.add(p, "%s marks tokens that are no access tokens", quote(t))
	case !isMediaType(short) || short == "none" && !strings.EqualFold(t, short):
		f.add(p, `%s is no media type: write values of typ such as at+jwt or JWT, or none for a token without typ`, quote(t))
	}
}

// isMediaType reports whether s is a token, or two with a slash between them
// (RFC 7515 section 4.1.9).
func isMediaType(s string) bool {
	first, second, pair := strings.Cut(s, "/")
	return isHeaderName(first) && (!pair || isHeaderName(second))
}

// validateKeys judges how an issuer's keys are found and kept.
func (c *IssuerConfig) validateKeys(f *faults, p fieldPath) {
	if at := p.field("issuer"); c.Issuer != "" && c.JWKSURL == "" && c.JWKSFile == "" && !f.broken(p.field("jwksURL")) && !f.broken(p.field("jwksFile")) {
		fault := urlFault(withoutTenant(c.Issuer), c.Insecure)
		switch {
		case fault == "" && strings.Contains(c.Issuer, "?"):
			f.add(at, "has a query (?…): keys cannot be discovered there")
		case fault == textUserinfo:
			f.add(at, textUserinfo)
		case c.Preset == oidc.PresetSPIFFE:
			f.missing(p.field("jwksURL"), "a trust domain has no metadata to discover keys by: write the URL of its bundle endpoint, or the bundle's file in jwksFile")
		case fault != "":
			f.add(at, "%s; keys are discovered at this URL, and with jwksURL or jwksFile it may be any text", fault)
		}
	}
	for _, u := range []struct{ name, value string }{{"discoveryURL", c.DiscoveryURL}, {"jwksURL", c.JWKSURL}} {
		if at := p.field(u.name); u.value != "" && !f.broken(at) {
			if fault := urlFault(withoutTenant(u.value), c.Insecure); fault != "" {
				f.add(at, "%s", fault)
			}
		}
	}
	c.validateKeyFiles(f, p)
	k := p.field("keys")
	checkDuration(f, k.field("refresh"), c.Keys.Refresh, time.Second, 24*time.Hour)
	checkDuration(f, k.field("unknownKeyInterval"), c.Keys.UnknownKeyInterval, time.Second, time.Hour)
	checkDuration(f, k.field("maxStale"), c.Keys.MaxStale, time.Second, 720*time.Hour)
	if refresh, _ := c.Keys.refresh(); c.Keys.maxStale() < refresh && !f.broken(k.field("refresh")) && !f.broken(k.field("maxStale")) {
		f.add(k.field("maxStale"), "must be at least keys.refresh (%s), not %s", Duration(refresh), Duration(c.Keys.maxStale()))
	}
	c.HTTP.validate(f, p.field("http"))
}

// validateKeyFiles holds a key set file to being the only source of keys.
func (c *IssuerConfig) validateKeyFiles(f *faults, p fieldPath) {
	at := p.field("jwksFile")
	if c.JWKSFile == "" || f.broken(at) {
		return
	}
	for _, other := range []struct{ name, value string }{{"jwksURL", c.JWKSURL}, {"discoveryURL", c.DiscoveryURL}} {
		if other.value != "" {
			f.add(at, "contradicts %s: keys come from a file or from a URL, so leave one of them out", other.name)
			return
		}
	}
	if c.Keys.SnapshotFile != "" {
		f.add(p.field("keys").field("snapshotFile"), "is for keys that are fetched: those of jwksFile are on disk already, so leave it out")
	}
}

// validateSnapshotFiles sees to it that no snapshot overwrites another file that
// the configuration names.
func validateSnapshotFiles(issuers []IssuerConfig, f *faults) {
	absolute := func(path string) string {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(f.file), path)
		}
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
		return filepath.Clean(path)
	}
	taken := map[string]fieldPath{} // what is there already, or read
	for _, snapshots := range []bool{false, true} {
		for i := range issuers {
			for _, file := range issuers[i].files() {
				at := fieldPath("issuers").index(i) + "." + file.at
				if *file.path == "" || snapshots != (file.at == snapshotField) || f.broken(at) {
					continue
				}
				path := absolute(*file.path)
				first, used := taken[path]
				if snapshots && used {
					f.add(at, "is the file of %s too, and would overwrite it: give each snapshot a file of its own", first)
				}
				if !used {
					taken[path] = at
				}
			}
		}
	}
}

// fileField is a field that names a file, by its path below the issuer.
type fileField struct {
	at   fieldPath
	path *string
}

const snapshotField fieldPath = "keys.snapshotFile"

// files returns the fields of an issuer that name files.
func (c *IssuerConfig) files() []fileField {
	return []fileField{
		{"jwksFile", &c.JWKSFile}, {snapshotField, &c.Keys.SnapshotFile},
		{"http.caFile", &c.HTTP.CAFile}, {"http.certFile", &c.HTTP.CertFile}, {"http.keyFile", &c.HTTP.KeyFile},
		{"http.bearerTokenFile", &c.HTTP.BearerTokenFile},
	}
}

func (c *HTTPConfig) validate(f *faults, p fieldPath) {
	checkDuration(f, p.field("timeout"), c.Timeout, 100*time.Millisecond, time.Minute)
	cert, key := p.field("certFile"), p.field("keyFile")
	switch {
	case f.broken(cert) || f.broken(key):
	case c.CertFile != "" && c.KeyFile == "":
		f.add(cert, "has no private key: name its file in keyFile")
	case c.KeyFile != "" && c.CertFile == "":
		f.add(key, "has no certificate: name its file in certFile")
	}
	if at := p.field("serverName"); c.ServerName != "" && !f.broken(at) && !isServerName(c.ServerName) {
		f.add(at, "%s is no host name: write the name in the server's certificate, without scheme and port", quote(c.ServerName))
	}
	if at := p.field("proxyURL"); c.ProxyURL != "" && !f.broken(at) {
		if hasUserinfo(c.ProxyURL) {
			f.add(at, textUserinfo)
		} else if err := oidc.CheckProxyURL(c.ProxyURL); err != nil {
			f.add(at, "is %v: write http:// or https://, the proxy's host and port", err)
		}
	}
}

// isServerName reports whether a certificate can have the name.
func isServerName(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return len(s) <= 253 && !slices.ContainsFunc(strings.Split(s, "."), func(label string) bool {
		return !isIssuerName(strings.ReplaceAll(strings.ToLower(label), "_", "a"))
	})
}

const textUserinfo = "has a user or password in it: secrets never stand in this file"

// hasUserinfo reports whether s is a URL with a user or password.
func hasUserinfo(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.User != nil
}

// urlFault says why nothing can be fetched from a URL, "" if it can. The rules
// are those of [oidc.CheckFetchURL]; this knows better what to write instead.
// It never quotes the URL, which may carry a password.
func urlFault(raw string, insecure bool) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "is not a URL: write https:// and a host"
	case u.User != nil:
		return textUserinfo
	case u.Scheme != "https" && u.Scheme != "http":
		return "is not an https URL: write https:// and a host"
	case u.Hostname() == "":
		return "is a URL without a host"
	case strings.Contains(raw, "#"):
		return "has a fragment (#…): leave it out"
	case oidc.CheckFetchURL(raw, insecure) == nil:
		return ""
	case u.Scheme == "http":
		return "is plain http, which is accepted on loopback only: write https, or insecure: true for this issuer"
	default:
		return "is " + oidc.CheckFetchURL(raw, insecure).Error()
	}
}

// validateAudiences holds every issuer to the rule that some audience is always
// demanded: a token for another service must not open this one.
func (c *Config) validateAudiences(f *faults) {
	for i := range c.Issuers {
		ic := &c.Issuers[i]
		p := fieldPath("issuers").index(i)
		if len(ic.Audiences) > 0 || ic.AnyAudience || f.broken(p.field("anyAudience")) || f.broken(p.field("audiences")) {
			continue
		}
		name := cmp.Or(ic.Name, issuerName(ic.Issuer))
		for j := range c.Policies {
			pc := &c.Policies[j]
			at := fieldPath("policies").index(j)
			if pc.accepts(name) && len(pc.Audiences) == 0 && !f.broken(at.field("access")) && !f.broken(at.field("issuers")) && !f.broken(at.field("audiences")) {
				f.missing(p.field("audiences"), "%s accepts this issuer and has no audiences either; "+
					"list what is in aud of the tokens meant for this service, or write anyAudience: true", policyLabel(j, pc.Name))
				break
			}
		}
	}
}

// validateOpenIssuers holds issuers that give everybody a token for any audience
// to the rule that an audience alone never opens anything: some claim must be
// looked at.
func (c *Config) validateOpenIssuers(f *faults) {
	for i := range c.Issuers {
		ic := &c.Issuers[i]
		rules, _ := ic.Preset.Rules()
		if !rules.OpenToAll || len(ic.Require) > 0 || f.broken(fieldPath("issuers").index(i).field("require")) {
			continue
		}
		name := cmp.Or(ic.Name, issuerName(ic.Issuer))
		for j := range c.Policies {
			pc := &c.Policies[j]
			at := fieldPath("policies").index(j)
			looks := len(pc.Claims) > 0 || pc.When != "" || f.broken(at.field("claims")) || f.broken(at.field("when"))
			if !pc.accepts(name) || f.broken(at.field("access")) || f.broken(at.field("issuers")) || pc.Issuers != nil && looks {
				continue
			}
			f.add(at, "accepts issuers[%d] (%s), where anybody can get a token for any audience: "+
				"write issuers: [%s] and claims or when that tell your tokens from others, or give the issuer require, such as %s", i, name, name, requireExample(ic.Preset))
		}
	}
}

// openIssuers are issuers that are open to all, and the presets that know it.
var openIssuers = map[string]oidc.Preset{
	"https://accounts.google.com":                 oidc.PresetGoogle,
	"https://token.actions.githubusercontent.com": oidc.PresetGitHub,
	"https://gitlab.com":                          oidc.PresetGitLab,
}

// warnOfProviders looks for what is known of providers and hardly meant.
func (c *Config) warnOfProviders(w *faults) {
	for i := range c.Issuers {
		ic, at := &c.Issuers[i], fieldPath("issuers").index(i).field("issuer")
		if rules, _ := ic.Preset.Rules(); !rules.OpenToAll && openIssuers[ic.Issuer] != "" {
			w.add(at, "gives everybody a token for any audience: write preset: %s, which knows", openIssuers[ic.Issuer])
		}
		if u, err := url.Parse(ic.Issuer); err == nil && ic.Preset == oidc.PresetOkta && !strings.HasPrefix(u.Path, "/oauth2/") && strings.HasSuffix(u.Hostname(), ".okta.com") {
			w.add(at, "is Okta's org authorization server, whose tokens are for Okta itself: use a custom one, such as %s", quote("https://"+u.Host+"/oauth2/default"))
		}
	}
}

// requireExample is a line that tells one's own tokens from others.
func requireExample(p oidc.Preset) string {
	switch p {
	case oidc.PresetGitHub:
		return `require: {repository_owner_id: ["123456"]}`
	case oidc.PresetGitLab:
		return `require: {namespace_id: ["123456"]}`
	default:
		return "require: {hd: [example.com]}"
	}
}

// looksAtTokens reports whether the policy ever verifies a token.
func (c *PolicyConfig) looksAtTokens() bool {
	return c.Access != AccessPublic && c.Access != AccessDeny
}

// accepts reports whether the policy can accept a token of the issuer with that
// short name.
func (c *PolicyConfig) accepts(issuer string) bool {
	return c.looksAtTokens() && (c.Issuers == nil || slices.Contains(c.Issuers, issuer))
}
