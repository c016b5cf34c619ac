package extauthz

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/claimgate/claimgate/internal/authheader"
	"github.com/claimgate/claimgate/oidc"
)

// Limits of the identity that goes upstream. More of it is refused: a part of an
// identity is another identity.
const (
	maxIdentityValue = 8 << 10  // one value, encoded
	maxIdentitySize  = 32 << 10 // all names and values
)

// defaultHeaders is the identity that goes upstream unless headers says another
// thing. These names are cleaned even if they are not in use, because an
// upstream may trust them from an earlier configuration.
var defaultHeaders = map[string]string{
	"x-auth-issuer":  "@issuer",
	"x-auth-subject": "@subject",
	"x-auth-client":  "@client",
	"x-auth-scopes":  "@scopes",
}

// headerAlias returns what backends may take a header name for that turn it into
// a variable name, as CGI does: names with the same alias are the same header to
// them.
func headerAlias(name string) string {
	out := []byte(name)
	for i := range out {
		out[i] = aliasByte(out[i])
	}
	return string(out)
}

func aliasByte(c byte) byte {
	switch {
	case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		return c
	case c >= 'A' && c <= 'Z':
		return c | 0x20
	default:
		return '-'
	}
}

// identityNames are all the identity headers of a configuration, of every
// policy: an upstream that trusts one of them must never get it from a client,
// whichever policy decides.
type identityNames struct {
	sorted  []string   // lower-case names
	aliases [][]string // the names' aliases by length
	scans   sync.Pool  // of *aliasScan
}

// newIdentityNames collects the names of cfg and the default ones.
func newIdentityNames(cfg *Config) *identityNames {
	maps := make([]map[string]string, 0, 2+len(cfg.Policies))
	maps = append(maps, defaultHeaders, cfg.Headers)
	for i := range cfg.Policies {
		maps = append(maps, cfg.Policies[i].Headers)
	}
	return collectIdentityNames(maps...)
}

func collectIdentityNames(maps ...map[string]string) *identityNames {
	n := &identityNames{}
	for _, m := range maps {
		for name := range m {
			n.sorted = append(n.sorted, strings.ToLower(name))
		}
	}
	slices.Sort(n.sorted)
	n.sorted = slices.Clip(slices.Compact(n.sorted))
	for _, name := range n.sorted {
		for len(n.aliases) <= len(name) {
			n.aliases = append(n.aliases, nil)
		}
		n.aliases[len(name)] = append(n.aliases[len(name)], headerAlias(name))
	}
	return n
}

// isAlias reports whether the header name that a client sent could be taken for
// an identity header. An alias has the name's length.
func (n *identityNames) isAlias(name string) bool {
	if len(name) >= len(n.aliases) {
		return false
	}
	for _, alias := range n.aliases[len(name)] {
		i := 0
		for i < len(name) && aliasByte(name[i]) == alias[i] {
			i++
		}
		if i == len(name) {
			return true
		}
	}
	return false
}

func (n *identityNames) contains(name string) bool {
	_, found := slices.BinarySearch(n.sorted, name)
	return found
}

// attribute is what a header's value is made of.
type attribute uint8

const (
	attrClaim attribute = iota
	attrIssuer
	attrIssuerURL
	attrSubject
	attrPrincipal
	attrClient
	attrScopes
	attrRoles
	attrTenant
	attrPolicy
	attrExpires
	attrClaims
	attrToken
)

var attributeNames = map[string]attribute{
	"@issuer": attrIssuer, "@issuerURL": attrIssuerURL, "@subject": attrSubject, "@principal": attrPrincipal,
	"@client": attrClient, "@scopes": attrScopes, "@roles": attrRoles, "@tenant": attrTenant,
	"@policy": attrPolicy, "@expires": attrExpires, "@claims": attrClaims, "@token": attrToken,
}

// headerSource is where a header's value comes from: an attribute, or a claim.
type headerSource struct {
	attribute attribute
	claim     oidc.ClaimName
}

// parseHeaderSource reads the right side of an entry of headers.
func parseHeaderSource(s string) (headerSource, error) {
	if !strings.HasPrefix(s, "@") {
		name, err := oidc.ParseClaimName(s)
		return headerSource{claim: name}, err
	}
	a, ok := attributeNames[s]
	if !ok {
		return headerSource{}, fmt.Errorf("%q is no attribute: there are @issuer, @issuerURL, @subject, @principal, @client, "+
			"@scopes, @roles, @tenant, @policy, @expires, @claims and @token", s)
	}
	return headerSource{attribute: a}, nil
}

// value returns the text for the upstream, not yet encoded; "" if there is none.
func (s *headerSource) value(t *oidc.Token, policy, raw string) string {
	if s.attribute == attrPolicy {
		return policy
	}
	if t == nil {
		return ""
	}
	switch s.attribute {
	case attrClaim:
		v, _ := t.Claims.Get(s.claim)
		return claimText(v)
	case attrIssuer:
		return t.IssuerName
	case attrIssuerURL:
		return t.Issuer
	case attrSubject:
		return t.Subject
	case attrPrincipal:
		return t.Principal()
	case attrClient:
		return t.ClientID
	case attrScopes:
		return strings.Join(t.Scopes, " ")
	case attrRoles:
		return stringsText(t.Roles)
	case attrTenant:
		return t.Tenant
	case attrExpires:
		return strconv.FormatInt(t.Expiry.Unix(), 10)
	case attrClaims:
		return base64.RawURLEncoding.EncodeToString(t.Claims.Object().AppendCompact(nil))
	case attrToken:
		return raw
	default:
		return ""
	}
}

// identityPlan is how one policy writes the identity headers. It is immutable
// and shared by all requests.
type identityPlan struct {
	names   *identityNames
	headers []plannedHeader // sorted by name
	others  []string        // the names that this policy never sets
	raw     bool            // one of the headers is the token itself
}

type plannedHeader struct {
	name   string
	source headerSource
}

// newIdentityPlan compiles a policy's headers, the global ones and its own
// merged: lower-case name to claim or attribute. names must contain them all.
func newIdentityPlan(names *identityNames, headers map[string]string) (*identityPlan, error) {
	p := &identityPlan{names: names}
	for _, name := range names.sorted {
		text, ok := headers[name]
		if !ok {
			p.others = append(p.others, name)
			continue
		}
		source, err := parseHeaderSource(text)
		if err != nil {
			return nil, fmt.Errorf("header %s: %w", name, err)
		}
		p.headers = append(p.headers, plannedHeader{name, source})
		p.raw = p.raw || source.attribute == attrToken
	}
	if len(p.headers) != len(headers) {
		return nil, fmt.Errorf("headers %v are not all among the identity headers", headers)
	}
	p.others = slices.Clip(p.others)
	return p, nil
}

// fixed returns the identity headers to set and the names to remove whatever the
// request has, for any allow; t is nil if it comes without an identity. Each identity header is in one
// of the two lists, never in both and never with an empty value. It returns false
// if the identity is too large to go upstream.
//
// Neither list may be changed; to append to one makes another.
func (p *identityPlan) fixed(t *oidc.Token, policy, raw string) (set []Header, remove []string, ok bool) {
	size := 0
	for i := range p.headers {
		value := p.headers[i].source.value(t, policy, raw)
		if value == "" {
			continue
		}
		if len(value) > maxIdentityValue {
			return nil, nil, false
		}
		value = encodeHeaderValue(value)
		size += len(p.headers[i].name) + len(value)
		if len(value) > maxIdentityValue || size > maxIdentitySize {
			return nil, nil, false
		}
		if set == nil {
			set = make([]Header, 0, len(p.headers))
		}
		set = append(set, Header{p.headers[i].name, value})
	}
	return slices.Clip(set), p.removals(set), true
}

// removals returns the names to remove beside what is set: the shared list if
// nothing else is needed.
func (p *identityPlan) removals(set []Header) []string {
	switch len(set) {
	case len(p.headers):
		return p.others
	case 0:
		return p.names.sorted
	}
	remove := make([]string, 0, len(p.names.sorted)-len(set))
	for _, name := range p.names.sorted {
		if !isSet(set, name) {
			remove = append(remove, name)
		}
	}
	return slices.Clip(remove)
}

// removalsFor adds to the names to remove every alias of an identity header that the
// client sent.
func (p *identityPlan) removalsFor(h Headers, remove []string) []string {
	if aliases := p.clientAliases(h); len(aliases) > 0 {
		return slices.Concat(remove, aliases)
	}
	return remove
}

// clientAliases returns the aliases of identity headers that the client sent,
// lower-cased, each once. The identity headers themselves are not among them:
// Envoy removes last, and without case, so that it would remove what we set.
func (p *identityPlan) clientAliases(h Headers) []string {
	scan, ok := p.names.scans.Get().(*aliasScan)
	if !ok {
		scan = newAliasScan(p.names)
	}
	h.Names(scan.look)
	aliases := scan.found
	scan.found = nil
	p.names.scans.Put(scan)
	slices.Sort(aliases)
	return slices.Compact(aliases)
}

// aliasScan collects aliases from Headers.Names. It is pooled, because a
// function that is passed to an interface would be allocated for each request.
type aliasScan struct {
	found []string
	look  func(name string) bool
}

func newAliasScan(names *identityNames) *aliasScan {
	scan := &aliasScan{}
	scan.look = func(name string) bool {
		// Other bytes than UTF-8 cannot come in a CheckRequest, and in an answer
		// they would make it one that cannot be sent.
		if !names.isAlias(name) || !utf8.ValidString(name) {
			return true
		}
		if lower := lowerASCII(name); !names.contains(lower) {
			scan.found = append(scan.found, lower)
		}
		return true
	}
	return scan
}

// lowerASCII lower-cases A-Z and nothing else: an alias must be removed by the
// name that was sent, and Unicode's lower case can be another one.
func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			out := []byte(s)
			for ; i < len(out); i++ {
				if out[i] >= 'A' && out[i] <= 'Z' {
					out[i] |= 0x20
				}
			}
			return string(out)
		}
	}
	return s
}

// isHeaderName reports whether s can be a header's name (RFC 9110 section 5.1).
func isHeaderName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !authheader.IsTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isSet(set []Header, name string) bool {
	for i := range set {
		if set[i].Name == name {
			return true
		}
	}
	return false
}
