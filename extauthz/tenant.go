package extauthz

import (
	"errors"
	"fmt"
	"strings"

	"github.com/claimgate/claimgate/oidc"
)

const tenantPlaceholder = "{tenant}"

// tenantBinding says what a token's tenant must be equal to. The zero
// tenantBinding is fulfilled by nothing.
type tenantBinding struct {
	claim          *oidc.ClaimName // nil: the host
	prefix, suffix string          // of the host around the tenant
}

// parseTenantHost reads a host with a tenant in it, such as
// {tenant}.api.example.com: {tenant} is (a part of) one label, with another label
// after it.
func parseTenantHost(s string) (tenantBinding, error) {
	prefix, suffix, found := strings.Cut(s, tenantPlaceholder)
	switch {
	case !found || strings.Contains(suffix, tenantPlaceholder):
		return tenantBinding{}, errors.New("must have {tenant} once, as in {tenant}.api.example.com")
	case !strings.Contains(strings.TrimSuffix(suffix, "."), "."):
		return tenantBinding{}, errors.New("must have a domain after {tenant}, as in {tenant}.api.example.com")
	}
	const sample = "tenant"
	pattern, err := parseHostPattern(prefix + sample + suffix)
	if err != nil || pattern.exact == "" {
		return tenantBinding{}, fmt.Errorf("%q is no host with a tenant: write {tenant}.api.example.com, without scheme, port, path and *", s)
	}
	prefix = strings.ToLower(prefix)
	return tenantBinding{prefix: prefix, suffix: strings.TrimPrefix(pattern.exact, prefix+sample)}, nil
}

// holds reports whether a token of a tenant is good for the request, and what it
// was compared with. A tenant that is no single label fits no host.
func (b *tenantBinding) holds(r *Request, t *oidc.Token) (want string, ok bool) {
	if b.claim != nil {
		v, found := t.Claims.Get(*b.claim)
		if !found || v.Kind() != oidc.KindString {
			return "", false
		}
		return v.Text(), t.Tenant != "" && v.Text() == t.Tenant
	}
	host, _ := canonicalHost(r.Host)
	return host, oidc.ValidTenant(t.Tenant) && host == b.prefix+t.Tenant+b.suffix
}

func (c *TenantFromConfig) build() (*tenantBinding, error) {
	if c == nil {
		return nil, nil
	}
	if c.Claim != "" {
		name, err := oidc.ParseClaimName(c.Claim)
		return &tenantBinding{claim: &name}, err
	}
	b, err := parseTenantHost(c.Host)
	return &b, err
}
