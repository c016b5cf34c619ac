package extauthz

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/claimgate/claimgate/oidc"
)

// Options are what a [Gate] takes besides its configuration. The zero value
// works.
type Options struct {
	// Logger gets decision records and changes of state; nil discards.
	Logger *slog.Logger
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
	// Registerer gets the metrics; nil means none are exported.
	Registerer prometheus.Registerer
	// TracerProvider gets a span of each check that the gRPC service answers; nil
	// means none are made.
	TracerProvider trace.TracerProvider
	// Version is shown in claimgate_build_info; "" means what the Go tool
	// recorded in the binary.
	Version string
}

// Gate decides about requests. It is safe for concurrent use. Create it with
// [NewGate], call [Gate.Run] in a goroutine, and Close it.
type Gate struct {
	clock             func() time.Time
	logger            *slog.Logger
	version           string
	started           time.Time
	metrics           *metrics
	log               *decisionLog
	logLost           func() uint64                    // lines that the logger has lost by itself; nil: none
	tracing           atomic.Pointer[tracing]          // nil without traces
	fetches           recentFetches                    // for traces
	set               atomic.Pointer[policySet]        // loaded once for each request; stored with reloading held
	trouble           atomic.Pointer[reloadTrouble]    // nil while the configuration file is the one in force
	tlsTrouble        atomic.Pointer[reloadTrouble]    // nil while the files of server.tls are those in force
	serverCertificate atomic.Pointer[x509.Certificate] // that clients are shown; nil without TLS
	draining          atomic.Bool

	reloading    sync.Mutex // held while a set is made and put in force; no check waits for it
	closed       bool       // guarded by reloading
	certificates *serverTLS // guarded by reloading; nil unless Serve listens with TLS
}

// NewGate returns a gate for cfg, or all that is wrong with cfg in a
// [*ConfigError]. It reads the files that cfg names and does no other I/O; keys
// are fetched by [Gate.Run], or when a request needs them. Later changes of cfg
// have no effect.
func NewGate(cfg *Config, opts Options) (*Gate, error) {
	valid, err := cfg.validated()
	if err != nil {
		return nil, err
	}
	return newGate(valid, opts)
}

// newGate takes a configuration that is valid and that nobody else changes.
func newGate(cfg *Config, opts Options) (*Gate, error) {
	g := &Gate{clock: opts.Clock, logger: opts.Logger, version: opts.Version, metrics: newMetrics()}
	if g.clock == nil {
		g.clock = time.Now
	}
	g.started = g.clock()
	if g.logger == nil {
		g.logger = slog.New(slog.DiscardHandler)
	}
	g.log = newDecisionLog(g.logger)
	g.tracing.Store(newTracing(opts.TracerProvider))
	set, err := g.build(cfg, &oidc.Validator{})
	if err != nil {
		return nil, err
	}
	g.set.Store(set)
	g.metrics.configured(len(cfg.Issuers))
	if opts.Registerer != nil {
		if err := register(opts.Registerer, append(g.metrics.collectors(), stateCollector{g})); err != nil {
			g.Close()
			return nil, fmt.Errorf("extauthz: registering metrics: %w", err)
		}
	}
	set.warn(g.logger)
	return g, nil
}

// register registers all of the collectors or none.
func register(to prometheus.Registerer, collectors []prometheus.Collector) error {
	for i, c := range collectors {
		if err := to.Register(c); err != nil {
			for _, done := range collectors[:i] {
				to.Unregister(done)
			}
			return err
		}
	}
	return nil
}

// Run keeps the issuers' keys fresh and writes decision records until ctx ends or
// the gate is closed. It returns nil then, and an error if it is running already.
func (g *Gate) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { g.log.run(ctx) })
	defer writer.Wait()
	defer cancel()
	return g.set.Load().validator.Run(ctx)
}

// fetched is the validator's OnFetch.
func (g *Gate) fetched(e oidc.FetchEvent) {
	g.metrics.fetched(e)
	g.fetches.add(e)
}

// Close ends what the gate has started and waits for it.
func (g *Gate) Close() {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	g.closed = true
	g.set.Load().validator.Close()
}

// Decide answers one request. It waits only for keys, and at most for the
// configured time budget or until ctx ends. Unlike the gRPC service it neither
// recovers panics nor counts or records the decision.
func (g *Gate) Decide(ctx context.Context, r *Request) Decision {
	return g.set.Load().decide(ctx, r, nil)
}

// Explain decides like [Gate.Decide] and returns each step with what was looked
// at. Steps quote claims: they are for the operator who holds the token.
func (g *Gate) Explain(ctx context.Context, r *Request) (Decision, []oidc.Step) {
	var steps []oidc.Step
	d := g.set.Load().decide(ctx, r, func(s oidc.Step) { steps = append(steps, s) })
	return d, steps
}

// policySet is a configuration ready to decide: immutable, and swapped as a
// whole.
type policySet struct {
	config          *Config // what it was built from; nobody changes it
	records         recordRule
	validator       *oidc.Validator
	policies        []*policy
	byName          map[string]*policy
	budget          time.Duration // of one check
	allowParams     bool          // a ';' in a path is an ordinary character
	hash            string
	loaded          time.Time
	required        map[string]bool // short names of issuers that readiness waits for
	metadataClaims  []oidc.ClaimName
	insecureIssuers []string
}

// policy is one policy, compiled.
type policy struct {
	name          string
	match         matchList
	access        Access
	requirement   oidc.Requirement
	tenant        *tenantBinding // nil without one
	scopes        []string
	anyScope      []string
	roles         []string
	claims        []oidc.ClaimRule
	when          *condition // nil without one
	sources       []tokenSource
	forward       forwarding
	identity      *identityPlan
	bare          *preparedAllow // of a request without a token
	corsPreflight bool
	challenge     oidc.Challenge
}

// configHash names a configuration, so that replicas can be compared.
func configHash(cfg *Config) string {
	canonical, err := json.Marshal(cfg)
	if err != nil { // not for the types that a configuration has
		panic(err)
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:8])
}

// build makes a policy set of a configuration, with a validator that shares with
// the one before what has not changed.
func (g *Gate) build(cfg *Config, before *oidc.Validator) (*policySet, error) {
	set := &policySet{
		config: cfg, records: recordRule{decisions: cfg.Log.Decisions, subject: cfg.Log.subject()},
		budget: cfg.Server.checkTimeout(), allowParams: cfg.Server.PathParameters == PathParametersAllow,
		byName: map[string]*policy{}, required: map[string]bool{}, loaded: g.clock(),
	}
	set.hash = configHash(cfg)

	vc := oidc.Config{
		Cache:            oidc.CacheConfig{MaxEntries: cfg.TokenCache.maxEntries(), MaxBytes: cfg.TokenCache.maxBytes()},
		MaxVerifications: cfg.Server.MaxVerifications,
		Clock:            g.clock,
		Logger:           g.logger, OnFetch: g.fetched,
	}
	var err error
	if vc.Issuers, err = cfg.ValidatorIssuers(); err != nil {
		return nil, err
	}
	for i, ic := range vc.Issuers {
		if err := ic.CheckFiles(); err != nil {
			return nil, fmt.Errorf("extauthz: issuer %s: %w", ic.Name, err)
		}
		set.required[ic.Name] = cfg.Issuers[i].Required
		if ic.Insecure {
			set.insecureIssuers = append(set.insecureIssuers, ic.Name)
		}
	}
	for _, name := range cfg.Metadata.Claims {
		n, err := oidc.ParseClaimName(name)
		if err != nil {
			return nil, fmt.Errorf("extauthz: metadata.claims: %w", err)
		}
		set.metadataClaims = append(set.metadataClaims, n)
	}
	identities := newIdentityNames(cfg)
	for i := range cfg.Policies {
		p, err := buildPolicy(cfg, &cfg.Policies[i], identities)
		if err != nil {
			return nil, err
		}
		set.policies = append(set.policies, p)
		set.byName[p.name] = p
	}
	// Without issuers every policy is one that looks at no token.
	if set.validator, err = before.Next(vc); err != nil {
		return nil, err
	}
	return set, nil
}
