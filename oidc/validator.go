package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"
	"unsafe"
)

// Config is what a [Validator] is made from. It is read once; later changes of
// its slices have no effect.
type Config struct {
	// Issuers are the issuers whose tokens are accepted. Without any, every token
	// is refused.
	Issuers []IssuerConfig
	// Cache bounds the cache of verified tokens; the zero value turns it off.
	Cache CacheConfig
	// MaxVerifications bounds the tokens whose signature is being checked or waits
	// for a processor; tokens from the cache do not count. One more is refused at
	// once with [Overloaded]. Zero means as many as the processors verify in 75 ms, as
	// it is measured, and 16 to 1,024 for each.
	MaxVerifications int
	// Clock tells the time; nil means time.Now. It is called by several
	// goroutines.
	Clock func() time.Time
	// Logger gets a line for each change of an issuer's state; nil discards.
	Logger *slog.Logger
	// OnFetch is called after each fetch of a document from an issuer, by the
	// goroutine that fetched; nil is allowed.
	OnFetch func(FetchEvent)
}

// IssuerConfig describes one issuer (authorization server) whose tokens are
// accepted.
type IssuerConfig struct {
	// Issuer is compared with the claim iss byte for byte. Unless JWKSURL or
	// JWKSFile is set it must be an https URL, or http on loopback. With
	// [PresetSPIFFE] it is a trust domain, such as spiffe://example.org. Required.
	Issuer string
	// Name is short and unique, for headers, metrics, logs and policies.
	// Required: lower-case letters, digits and inner hyphens, 63 at most.
	Name string
	// Tenants says which tenants are accepted, if Issuer is a template for the
	// issuers of many: https://id.example.com/realms/{tenant}, where {tenant} is 1
	// to 64 of letters, digits, "_" and "-" ([ParseTenantTemplate] says where it can
	// stand). DiscoveryURL and JWKSURL are templates then too; a JWKSURL without
	// {tenant}, or a JWKSFile, has the keys of all tenants. With [PresetEntra],
	// Issuer is https://login.microsoftonline.com/organizations/v2.0 and Tenants
	// lists the tenants' IDs, which tokens have in tid.
	//
	// Keys are fetched when a token of an accepted tenant first needs them, and
	// stay if that works: for one that a token was verified for as long as Max
	// others were not since, and for 64 that had none so far. First fetches are 16 at
	// once and, with a Pattern, 50 in a row and 10 a second after that; a tenant whose
	// first fetch failed is tried again after 5 s, later a minute. What comes over that
	// is answered [KeysUnavailable] at once. An issuer that is configured by itself is none of
	// the tenants.
	Tenants TenantsConfig
	// Aliases are further exact values of iss. Some presets add to them.
	Aliases []string
	// Preset is the kind of provider; zero means generic.
	Preset Preset

	// Audiences are the accepted audiences: one of them must be in aud. If it
	// is empty, each Requirement must bring its own, or AnyAudience is set.
	Audiences []string
	// AnyAudience must be true to accept tokens whatever their audience is.
	AnyAudience bool
	// Algorithms are the accepted signature algorithms; nil means all.
	Algorithms []Algorithm
	// TokenTypes are the accepted values of the header parameter typ, compared
	// without case and without "application/"; "none" stands for a token that
	// has none. Nil means the preset's, by default at+jwt, JWT and none.
	TokenTypes []string
	// IDTokens accepts ID tokens in place of access tokens. Some presets do so
	// without it.
	IDTokens bool
	// Require lists what every token of this issuer must have.
	Require []ClaimRule
	// Leeway is the tolerance for exp, nbf and iat: 30 s if zero, none if
	// negative, 60 s at most.
	Leeway time.Duration
	// MaxLifetime is the largest accepted exp - iat; zero means no limit.
	MaxLifetime time.Duration
	// Mappings say where subject, client and the like are; nil lists mean the
	// preset's.
	Mappings ClaimMappings

	// DiscoveryURL overrides where the issuer's metadata is.
	DiscoveryURL string
	// JWKSURL is the key set's URL; with it there is no discovery.
	JWKSURL string
	// JWKSFile is a file with the key set, in place of both: nothing is fetched
	// then. While Run is active it is looked at every two seconds; a file that is
	// gone or bad does not replace good keys.
	JWKSFile string
	// Keys says how fresh the keys are kept.
	Keys KeysConfig
	// HTTP says how the issuer is reached.
	HTTP HTTPConfig
	// Insecure allows plain http off loopback.
	Insecure bool
}

// ClaimRule demands that a claim holds one of some values. A claim that is a
// list must contain one. The zero rule is never satisfied.
type ClaimRule struct {
	Name   ClaimName // the claim; it must be present
	Values []Scalar  // one of these must match: see Scalar.Matches
}

// Matches reports whether the claims satisfy the rule.
func (r ClaimRule) Matches(c Claims) bool {
	v, ok := c.Get(r.Name)
	return ok && slices.ContainsFunc(r.Values, func(s Scalar) bool { return s.Matches(v) })
}

const (
	defaultLeeway = 30 * time.Second
	maxLeeway     = 60 * time.Second
)

// Validator verifies access tokens of many issuers at once. It is immutable and
// safe for concurrent use. Create it with [NewValidator]; the zero Validator
// refuses every token.
//
// To change the configuration of a running program, make the [Validator.Next]
// one, use it from then on, and Close the one before.
type Validator struct {
	clock     func() time.Time
	epoch     uint64             // no other validator of the store has it
	issuers   []*issuer          // in the order of the configuration
	byName    map[string]*issuer // by short name
	byIss     map[string]*issuer // by issuer identifier and alias
	templated []*issuer          // those with tenants
	byDomain  map[string]*issuer // by trust domain, those of preset spiffe
	cache     *tokenCache        // shared with the validators before and after, if the bounds are the same
	counters  *cacheCounters
	store     *keyStore // shared with the validators before and after
	closing   sync.Once
}

// issuer is an issuer as the validator uses it: immutable, but for its keys. A
// validator has the issuers of the one before whose configuration is the same,
// so that what was verified for one holds for the other.
type issuer struct {
	id          string
	ids         []string // id and aliases, those of the preset too
	name        string
	rules       PresetRules
	audiences   []string
	anyAudience bool
	algorithms  algSet
	algNames    []Algorithm
	tokenTypes  []string
	idTokens    bool
	require     []ClaimRule
	leeway      time.Duration
	maxLifetime time.Duration
	mappings    ClaimMappings
	keys        *issuerKeys

	trustDomains []string // of preset spiffe

	templates  []TenantTemplate // how iss names a tenant, the first is the issuer's own; nil without tenants
	tenantRule tenantRule
	tenants    *tenantKeys // nil if keys has the keys of all
}

// NewValidator checks cfg and returns a Validator for it, or all that is wrong
// with cfg in one error. It does no I/O and starts nothing: keys are fetched by
// [Validator.Run], or when a token first needs them. The caller must Close the
// Validator.
func NewValidator(cfg Config) (*Validator, error) {
	sc := keyStoreConfig{clock: cfg.Clock, logger: cfg.Logger, onFetch: cfg.OnFetch}
	if sc.clock == nil {
		sc.clock = time.Now
	}
	if sc.logger == nil {
		sc.logger = slog.New(slog.DiscardHandler)
	}
	return newValidator(cfg, newKeyStore(sc), &Validator{counters: &cacheCounters{}})
}

// Next checks cfg and returns a Validator for it that takes v's place, or all
// that is wrong with cfg. Both can be used, until each is closed.
//
// What does not change is shared. An issuer whose Issuer, URLs and HTTP are the
// same keeps its keys: nothing is fetched again, and [Validator.Run], wherever it
// was called, goes on with them. A verified token is remembered if nothing in its
// issuer's configuration has changed. Keys of new issuers are fetched from now
// on, if Run runs; [Validator.Warm] waits for them.
//
// Clock, Logger and OnFetch stay what they were, and are not looked at in cfg. The
// next of the zero Validator is a new one.
func (v *Validator) Next(cfg Config) (*Validator, error) {
	if v.store == nil {
		return NewValidator(cfg)
	}
	return newValidator(cfg, v.store, v)
}

// newValidator makes a validator that uses store and shares what it can with
// the one before.
func newValidator(cfg Config, store *keyStore, before *Validator) (*Validator, error) {
	v := &Validator{
		clock: store.clock, epoch: store.generation.Add(1), store: store,
		byName: map[string]*issuer{}, byIss: map[string]*issuer{}, byDomain: map[string]*issuer{},
		cache: before.cache.within(cfg.Cache, before.counters, store.clock()), counters: before.counters,
	}
	if !store.join() {
		return nil, errors.New("oidc: the validator is closed")
	}
	var faults []error
	if cfg.MaxVerifications < 0 {
		faults = append(faults, errors.New("oidc: MaxVerifications is negative"))
	}
	fault := func(name, format string, args ...any) {
		faults = append(faults, fmt.Errorf("oidc: issuer %q: "+format, append([]any{name}, args...)...))
	}
	files := fileUses{}
	for _, ic := range cfg.Issuers {
		files.add(ic)
	}
	for _, ic := range cfg.Issuers {
		if err := files.check(ic); err != nil {
			fault(ic.Name, "%w", err)
		}
		iss, errs := newIssuer(ic)
		for _, err := range errs {
			fault(ic.Name, "%w", err)
		}
		if v.byName[ic.Name] != nil {
			fault(ic.Name, "another issuer has this name")
		}
		if len(errs) == 0 {
			if err := store.acquireFor(iss, ic); err != nil {
				fault(ic.Name, "%w", err)
			} else {
				iss = before.sharing(iss)
				v.issuers = append(v.issuers, iss)
			}
		}
		v.byName[ic.Name] = iss
		for _, id := range iss.ids {
			if v.byIss[id] != nil {
				fault(ic.Name, "another issuer has the identifier %q", id)
			}
			v.byIss[id] = iss
		}
		for _, t := range iss.templates {
			for _, other := range v.templated {
				if other != iss && slices.ContainsFunc(other.templates, t.Overlaps) {
					fault(ic.Name, "a tenant's issuer could be one of issuer %q too", other.name)
				}
			}
		}
		if iss.templates != nil {
			v.templated = append(v.templated, iss)
		}
		for _, domain := range iss.trustDomains {
			if other := v.byDomain[domain]; other != nil && other != iss {
				fault(ic.Name, "another issuer has the trust domain %q", domain)
			}
			v.byDomain[domain] = iss
		}
	}
	if len(faults) > 0 {
		v.Close()
		return nil, errors.Join(faults...)
	}
	store.turns.bound(cfg.MaxVerifications) // the newest configuration counts for all
	keys, _ := v.keys()
	store.schedule(keys)
	return v, nil
}

// CheckFiles reads the files that c names and reports each that cannot be read
// or used now, in a line of its own. What a key set file holds is not judged, and
// a snapshot need not be there. [NewValidator] does without; this is for those who
// would rather not start with a file that is not there.
func (c IssuerConfig) CheckFiles() error {
	err := c.HTTP.CheckFiles()
	if c.JWKSFile != "" {
		_, fileErr := readFile(whatKeyFileSet, c.JWKSFile, maxDocumentSize)
		err = errors.Join(err, fileErr)
	}
	return err
}

// fileUses counts how often files are named, by their absolute paths.
type fileUses map[string]int

func (u fileUses) add(c IssuerConfig) {
	for _, path := range []string{c.JWKSFile, c.Keys.SnapshotFile, c.HTTP.CAFile, c.HTTP.CertFile, c.HTTP.KeyFile, c.HTTP.BearerTokenFile} {
		if path != "" {
			u[absolute(path)]++
		}
	}
}

// check reports whether the snapshot of c would overwrite another file.
func (u fileUses) check(c IssuerConfig) error {
	if c.Keys.SnapshotFile != "" && u[absolute(c.Keys.SnapshotFile)] > 1 {
		return errors.New("Keys.SnapshotFile is named for something else too, which it would overwrite: give each issuer a file of its own")
	}
	return nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}

// sharing returns v's own issuer in place of one with the same configuration
// and keys.
func (v *Validator) sharing(iss *issuer) *issuer {
	if own := v.byName[iss.name]; own != nil && own.same(iss) {
		return own
	}
	return iss
}

// same reports whether two issuers are alike in all that a verification depends
// on.
func (iss *issuer) same(other *issuer) bool {
	a, b := *iss, *other
	a.tenants, b.tenants = nil, nil
	a.keys, b.keys = nil, nil                                                                // compared as pointers: there are locks behind them
	return iss.keys == other.keys && iss.tenants == other.tenants && reflect.DeepEqual(a, b) //nolint:govet // the errors are behind keys
}

// has reports whether iss is one of v's issuers. Whether another one of that
// name is configured does not matter.
func (v *Validator) has(iss *issuer) bool { return v.byName[iss.name] == iss }

// keys returns the keys of all issuers: those of the issuers themselves, and
// those of their tenants.
func (v *Validator) keys() (own []*issuerKeys, tenants []*tenantKeys) {
	for _, iss := range v.issuers {
		if iss.tenants != nil {
			tenants = append(tenants, iss.tenants)
		} else {
			own = append(own, iss.keys)
		}
	}
	return own, tenants
}

// acquireFor gets the keys of an issuer, or of its tenants.
func (s *keyStore) acquireFor(iss *issuer, ic IssuerConfig) (err error) {
	cfg := ic.keysConfig(iss.rules, iss.templates)
	if ic.fetchesByTenant(iss.templates) {
		iss.tenants, err = s.acquireTenants(cfg, ic.Tenants.max(), ic.Tenants.Pattern == "")
		return err
	}
	iss.keys, err = s.acquire(cfg)
	return err
}

// keysConfig is the part of the configuration that the keys depend on.
func (c IssuerConfig) keysConfig(rules PresetRules, templates []TenantTemplate) issuerKeysConfig {
	cfg := issuerKeysConfig{
		issuer: c.Issuer, name: c.Name, discoveryURL: c.DiscoveryURL, jwksURL: c.JWKSURL, jwksFile: c.JWKSFile,
		keys: c.Keys, http: c.HTTP, insecure: c.Insecure, templateMetadata: rules.TemplateMetadata,
	}
	if templates != nil && !c.fetchesByTenant(templates) {
		cfg.metadataIssuer = templates[0].String()
	}
	return cfg
}

func newIssuer(ic IssuerConfig) (*issuer, []error) {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if ic.Issuer == "" {
		fault("Issuer is empty")
	}
	if !validName(ic.Name) {
		fault("Name must be 1 to 63 of a-z, 0-9 and inner hyphens")
	}
	rules, known := ic.Preset.Rules()
	if !known {
		fault("there is no preset %q", ic.Preset)
	}
	if ic.AnyAudience && len(ic.Audiences) > 0 {
		fault("AnyAudience and Audiences contradict each other")
	}
	if ic.Leeway > maxLeeway {
		fault("Leeway is over 60 s")
	}
	if ic.MaxLifetime < 0 {
		fault("MaxLifetime is negative")
	}
	iss := &issuer{
		id: ic.Issuer, name: ic.Name,
		audiences: slices.Clone(ic.Audiences), anyAudience: ic.AnyAudience,
		algorithms: setAll, algNames: slices.Clone(ic.Algorithms),
		ids: ic.Preset.Identifiers(ic.Issuer, ic.Aliases), rules: rules,
		idTokens: ic.IDTokens || rules.IDTokens,
		require:  slices.Clone(ic.Require),
		leeway:   ic.Leeway, maxLifetime: ic.MaxLifetime,
		mappings: ic.Mappings.over(rules.Mappings),
	}
	switch {
	case ic.Leeway == 0:
		iss.leeway = defaultLeeway
	case ic.Leeway < 0:
		iss.leeway = 0
	}
	if ic.Algorithms != nil {
		iss.algorithms = 0
		for _, a := range ic.Algorithms {
			if !a.Known() {
				fault("algorithm %q cannot be verified", a)
			}
			iss.algorithms |= a.bit()
		}
	}
	for i := range iss.require {
		iss.require[i].Values = slices.Clone(iss.require[i].Values)
	}
	if err := ic.Preset.CheckIssuer(ic.Issuer, ic.Aliases); err != nil {
		fault("%w", err)
	}
	if rules.TrustDomain {
		for _, id := range iss.ids {
			if domain, ok := TrustDomain(id); ok {
				iss.trustDomains = append(iss.trustDomains, domain)
			}
		}
	}
	errs = append(errs, iss.setTenants(ic)...)
	iss.tokenTypes = rules.TokenTypes
	if ic.TokenTypes != nil {
		if rules.TokenTypesFixed {
			fault("TokenTypes are fixed by preset %s", ic.Preset)
		}
		iss.tokenTypes = nil
		for _, t := range ic.TokenTypes {
			iss.tokenTypes = append(iss.tokenTypes, canonicalType(t))
		}
	}
	return iss, errs
}

// validName reports whether s is fit for a header, a label and a policy.
func validName(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Run fetches the keys of all issuers and keeps them fresh until ctx ends, or
// until the last of the validators that share the keys is closed: it is called
// once for all of them, and goes on with the issuers of the [Validator.Next]
// one. It returns nil after what it started has ended, and an error if it is
// running already. Without Run, keys are fetched when a token needs them, and
// that request waits.
func (v *Validator) Run(ctx context.Context) error {
	if v.store == nil {
		<-ctx.Done()
		return nil
	}
	return v.store.run(ctx)
}

// Warm waits until the first fetch of each issuer has ended, well or not, and at
// most until ctx ends. It starts none: [Validator.Run] does.
func (v *Validator) Warm(ctx context.Context) {
	for _, iss := range v.issuers {
		if iss.keys != nil {
			iss.keys.awaitFirst(ctx)
		}
	}
}

// Close gives v up: fetches for issuers that no other validator has end, and
// have ended when Close returns. With the last of the validators that share
// their keys, Run ends too. Tokens can still be validated with the keys at hand.
func (v *Validator) Close() {
	if v.store == nil {
		return
	}
	v.closing.Do(func() {
		keys, tenants := v.keys()
		v.store.release(keys)
		for _, t := range tenants {
			v.store.releaseTenants(t)
		}
		v.store.depart()
	})
}

// Status returns the state of each issuer, in the order of the configuration.
func (v *Validator) Status() []IssuerStatus {
	list := make([]IssuerStatus, len(v.issuers))
	for i, iss := range v.issuers {
		if iss.tenants != nil {
			list[i] = iss.tenants.status()
		} else {
			list[i] = iss.keys.status()
		}
	}
	return list
}

// CacheStats returns what the cache of verified tokens did so far.
func (v *Validator) CacheStats() CacheStats { return v.cache.stats() }

// Requirement is what one request wants of a token, beside what its issuer's
// configuration demands. The zero Requirement adds nothing.
type Requirement struct {
	// Issuers are the short names of the issuers accepted; nil accepts all.
	Issuers []string
	// Audiences are accepted instead of the issuer's; nil means the issuer's.
	Audiences []string
	// Deadline ends the wait for keys, as the deadline of the context does, but
	// costs nothing if there is no need to wait. Zero means none.
	Deadline time.Time
	// Proof is what the request offers in proof of possession. The zero Proof proves
	// nothing: a token that is bound to a key or certificate is refused.
	Proof Proof
	// Explain, if set, is called with each step of the validation. It turns the
	// token cache off for this call, so that every step is there.
	Explain func(Step)
}

// Validate verifies a compact JWT and returns what it says, or an [*Error] that
// says why not. It waits only if the token's issuer has no usable keys or the
// token names an unknown key, and then at most until ctx ends or the
// requirement's deadline.
//
// It does not check what the caller may do: scopes, roles and the like are for
// the caller of Validate. A token that is bound to a key or certificate (cnf) is
// refused unless the requirement's Proof proves possession of it. That is judged
// for each request, whether the token was in the cache or not.
func (v *Validator) Validate(ctx context.Context, token string, req Requirement) (*Token, error) {
	tok, err := v.verify(ctx, token, req)
	if err != nil {
		return nil, err
	}
	if err := req.Proof.check(ctx, token, tok, req.Explain); err != nil {
		return nil, err
	}
	return tok, nil
}

// digestOf hashes a token without copying it: this is the first step of each
// request, and the hash only reads.
func digestOf(token string) digest {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token))) //nolint:gosec // see above
}

// verify returns the token's verified facts, from the cache or by verifying it.
func (v *Validator) verify(ctx context.Context, token string, req Requirement) (*Token, *Error) {
	if len(token) > MaxTokenSize { // before the hash, which is the first work per byte
		return nil, explainer(req.Explain).fail("size", &Error{Reason: TokenTooLarge, Err: errors.New("over 16 KiB")})
	}
	if v.clock == nil { // the zero Validator
		return nil, &Error{Reason: UnknownIssuer, Err: errors.New("no issuers are configured")}
	}
	now := v.clock()
	key := digestOf(token)
	if req.Explain == nil {
		if t, iss := v.cache.get(key, now, v); t != nil {
			if err := iss.accepted(req); err != nil {
				return nil, err
			}
			if err := iss.checkAudience(t.Audience, req); err != nil {
				return nil, err
			}
			return t, nil
		}
		// Under overload a look at each token would take the time that the others
		// need. So even a bad one is not called bad then: nobody has looked.
		if v.store.turns.full() {
			return nil, &Error{Reason: Overloaded, Err: errCrowdedOut}
		}
	}
	if !req.Deadline.IsZero() {
		b := &budget{Context: ctx, until: req.Deadline}
		defer b.stop()
		ctx = b
	}
	t, by, err := v.verifyFresh(ctx, token, key, now, req)
	if err != nil {
		return nil, err
	}
	if now.Before(t.Expiry) { // not one that lives on leeway
		v.cache.put(key, t, by, now)
	}
	return t, nil
}
