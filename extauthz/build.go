package extauthz

import (
	"fmt"
	"slices"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// A configuration that [Config.Validate] accepts can be built, but for files
// that are missing by now.

// ValidatorIssuers returns what an [oidc.Validator] is made of: the issuers of a
// Config that is valid, in its order. It does no I/O: whether the files that they
// name can be used shows when keys are fetched. Tools use it to look at issuers
// without a gate.
func (c *Config) ValidatorIssuers() ([]oidc.IssuerConfig, error) {
	list := make([]oidc.IssuerConfig, len(c.Issuers))
	for i := range c.Issuers {
		var err error
		if list[i], err = c.Issuers[i].build(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// build makes the validator's configuration of an issuer.
func (c *IssuerConfig) build() (oidc.IssuerConfig, error) {
	fail := func(err error) (oidc.IssuerConfig, error) {
		return oidc.IssuerConfig{}, fmt.Errorf("extauthz: issuer %s: %w", c.Name, err)
	}
	transport := c.HTTP.build()
	c.addPodFiles(&transport, podFiles)
	mappings, err := c.ClaimMappings.build()
	if err != nil {
		return fail(err)
	}
	require, err := claimRules(c.Require)
	if err != nil {
		return fail(err)
	}
	leeway := c.leeway()
	if leeway == 0 {
		leeway = -1 // to the validator, zero means its default
	}
	var tenants oidc.TenantsConfig
	if c.Tenants != nil {
		tenants = oidc.TenantsConfig{Allow: c.Tenants.Allow, Pattern: c.Tenants.Pattern, Max: c.Tenants.Max}
	}
	return oidc.IssuerConfig{
		Tenants: tenants,
		Issuer:  c.Issuer, Name: c.Name, Aliases: c.Aliases, Preset: c.Preset,
		Audiences: c.Audiences, AnyAudience: c.AnyAudience,
		Algorithms: c.Algorithms, TokenTypes: c.TokenTypes, IDTokens: c.IDTokens,
		Require: require, Leeway: leeway, MaxLifetime: time.Duration(c.MaxLifetime), Mappings: mappings,
		DiscoveryURL: c.DiscoveryURL, JWKSURL: c.JWKSURL, JWKSFile: c.JWKSFile,
		Keys: oidc.KeysConfig{
			Refresh:  time.Duration(c.Keys.Refresh), // zero is not the default written down: it is no upper bound
			MaxStale: c.Keys.maxStale(), UnknownKeyInterval: c.Keys.unknownKeyInterval(),
			SnapshotFile: c.Keys.SnapshotFile,
		},
		HTTP:     transport,
		Insecure: c.Insecure,
	}, nil
}

func (c *ClaimMappingsConfig) build() (oidc.ClaimMappings, error) {
	m := oidc.ClaimMappings{RoleObjects: c.RoleObjects}
	for _, field := range []struct {
		from []string
		to   *[]oidc.ClaimName
	}{
		{c.Subject, &m.Subject}, {c.Client, &m.Client}, {c.Scopes, &m.Scopes}, {c.Roles, &m.Roles}, {c.Tenant, &m.Tenant},
		{c.Audience, &m.Audience},
	} {
		if field.from == nil {
			continue
		}
		*field.to = make([]oidc.ClaimName, len(field.from))
		for i, text := range field.from {
			name, err := oidc.ParseClaimName(text)
			if err != nil {
				return m, err
			}
			(*field.to)[i] = name
		}
	}
	return m, nil
}

func (c *HTTPConfig) build() oidc.HTTPConfig {
	return oidc.HTTPConfig{
		CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, ServerName: c.ServerName,
		BearerTokenFile: c.BearerTokenFile, ProxyURL: c.ProxyURL, Timeout: c.timeout(),
	}
}

// buildPolicy compiles one policy.
func buildPolicy(cfg *Config, pc *PolicyConfig, names *identityNames) (*policy, error) {
	fail := func(err error) (*policy, error) {
		return nil, fmt.Errorf("extauthz: policy %s: %w", pc.Name, err)
	}
	p := &policy{
		name: pc.Name, access: pc.Access,
		requirement: oidc.Requirement{Issuers: pc.Issuers, Audiences: pc.Audiences},
		scopes:      pc.Scopes, anyScope: pc.AnyScope, roles: pc.Roles,
		corsPreflight: pc.CORSPreflight,
		challenge: oidc.Challenge{
			Realm: pc.Realm, ResourceMetadata: pc.ResourceMetadata,
			Scopes: slices.Concat(pc.Scopes, pc.AnyScope),
		},
	}
	var err error
	if p.claims, err = claimRules(pc.Claims); err != nil {
		return fail(err)
	}
	if pc.When != "" {
		if p.when, err = compileCondition(pc.When); err != nil {
			return fail(err)
		}
	}
	if p.tenant, err = pc.TenantFrom.build(); err != nil {
		return fail(err)
	}
	for _, m := range pc.Match {
		entry, err := m.build(cfg.Server.PathParameters == PathParametersAllow)
		if err != nil {
			return fail(err)
		}
		p.match = append(p.match, entry)
	}
	for _, s := range pc.TokenFrom {
		p.sources = append(p.sources, s.build())
	}
	if pc.ForwardToken != nil {
		p.forward = forwardNever
		if *pc.ForwardToken {
			p.forward = forwardAlways
		}
	}
	if p.identity, err = newIdentityPlan(names, pc.allHeaders(cfg)); err != nil {
		return fail(err)
	}
	p.bare = p.prepareBare()
	return p, nil
}

func (c *MatchConfig) build(allowParams bool) (matchEntry, error) {
	e := matchEntry{methods: c.Methods}
	for _, text := range c.Hosts {
		pattern, err := parseHostPattern(text)
		if err != nil {
			return e, err
		}
		e.hosts = append(e.hosts, pattern)
	}
	for _, text := range c.Paths {
		pattern, err := parsePathPattern(text, allowParams)
		if err != nil {
			return e, err
		}
		e.paths = append(e.paths, pattern)
	}
	for _, text := range c.Routes {
		route, err := ParseRoute(text)
		if err != nil {
			return e, err
		}
		e.routes = append(e.routes, route)
	}
	return e, nil
}

func (c *TokenSourceConfig) build() tokenSource {
	switch {
	case c.Cookie != "":
		return tokenSource{kind: fromCookie, name: c.Cookie}
	case c.Query != "":
		return tokenSource{kind: fromQuery, name: c.Query}
	default:
		return tokenSource{kind: fromHeader, name: c.Header, scheme: c.Scheme}
	}
}
