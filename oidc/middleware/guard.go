package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/claimgate/claimgate/internal/authheader"
	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/dpop"
)

// Config is what a [Guard] is made from.
type Config struct {
	// Validator judges the tokens. Required. The caller runs and closes it.
	Validator *oidc.Validator

	// Issuers are the short names of the issuers accepted; nil accepts all.
	Issuers []string
	// Audiences are accepted instead of the issuers'; nil means the issuers'.
	Audiences []string
	// Scopes are all needed in each token; nil means none.
	Scopes []string
	// StepUp is what is wanted of how the user was authenticated (RFC 9470).
	StepUp oidc.StepUp
	// Optional lets requests without a credential pass, without a token in their
	// context. One with a bad credential is refused all the same.
	Optional bool

	// Realm is named in challenges; "" for none.
	Realm string
	// ResourceMetadata is the URL of the metadata of this resource, for challenges
	// (RFC 9728 section 5.1); "" for none. See Metadata.
	ResourceMetadata string

	// DPoP verifies proofs of possession (RFC 9449); nil does not offer DPoP. Share
	// one verifier between all guards: it remembers the proofs that were used.
	DPoP *dpop.Verifier
	// NoBearer accepts no tokens but under DPoP.
	NoBearer bool
	// Origin is scheme, host and port of this service as clients see it, such as
	// https://api.example.com, and the path that a proxy takes away, if one does.
	// Required with DPoP.
	Origin string
	// CertSHA256 returns the SHA-256 of the client's certificate from the headers
	// of a request, nil for none, where TLS ends at a proxy. That proxy must replace
	// what clients send: see XFCC and ClientCert. Nil takes the certificate of the
	// connection.
	CertSHA256 func(http.Header) []byte

	// Wait is how long a request waits for an issuer's keys, if they are not in
	// memory; zero means a second.
	Wait time.Duration
	// OnDecision is called with each decision before it is carried out, for logs and
	// metrics; nil is allowed. It is called by many goroutines.
	OnDecision func(context.Context, Decision)
	// Clock tells the time for StepUp; nil means time.Now.
	Clock func() time.Time
}

const defaultWait = time.Second

// Guard decides about requests. It is immutable and safe for concurrent use. The
// zero Guard refuses every request.
type Guard struct {
	validator   *oidc.Validator
	requirement oidc.Requirement
	scopes      []string
	optional    bool
	schemes     []string // that are read
	challenge   oidc.Challenge
	dpop        *dpop.Verifier
	origin      string
	certSHA256  func(http.Header) []byte
	wait        time.Duration
	onDecision  func(context.Context, Decision)
	clock       func() time.Time
}

// New checks cfg and returns a Guard for it, or all that is wrong with it. It
// starts nothing.
func New(cfg Config) (*Guard, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("middleware: "+format, args...)) }
	if cfg.Validator == nil {
		fault("Validator is missing: make one with oidc.NewValidator")
	}
	for _, scope := range cfg.Scopes {
		if !oidc.ValidScope(scope) {
			fault("%q is not a scope", scope)
		}
	}
	switch {
	case cfg.DPoP == nil && cfg.NoBearer:
		fault("with NoBearer and without DPoP no token would be accepted")
	case cfg.DPoP != nil && cfg.Origin == "":
		fault("DPoP needs Origin: proofs name the URL that clients see")
	}
	if cfg.Origin != "" {
		if err := checkOrigin(cfg.Origin); err != nil {
			fault("Origin: %w", err)
		}
	}
	if cfg.ResourceMetadata != "" {
		if u, err := url.Parse(cfg.ResourceMetadata); err != nil || u.Scheme == "" || u.Host == "" {
			fault("ResourceMetadata is not an absolute URL")
		}
	}
	if cfg.StepUp.ACRValues != nil && len(cfg.StepUp.ACRValues) == 0 {
		fault("StepUp.ACRValues has no value that a token could have")
	}
	if cfg.StepUp.MaxAge < 0 {
		fault("StepUp.MaxAge is negative")
	}
	if cfg.Wait < 0 {
		fault("Wait is negative")
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	g := &Guard{
		validator:   cfg.Validator,
		requirement: oidc.Requirement{Issuers: slices.Clone(cfg.Issuers), Audiences: slices.Clone(cfg.Audiences)},
		scopes:      slices.Clone(cfg.Scopes), optional: cfg.Optional,
		challenge: oidc.Challenge{
			Realm: cfg.Realm, ResourceMetadata: cfg.ResourceMetadata, Scopes: slices.Clone(cfg.Scopes),
			StepUp: oidc.StepUp{ACRValues: slices.Clone(cfg.StepUp.ACRValues), MaxAge: cfg.StepUp.MaxAge}, NoBearer: cfg.NoBearer,
		},
		dpop: cfg.DPoP, origin: cfg.Origin, certSHA256: cfg.CertSHA256,
		wait: cfg.Wait, onDecision: cfg.OnDecision, clock: cfg.Clock,
	}
	g.schemes = []string{authheader.Bearer} // without bearer tokens too: to refuse one is not to overlook it
	if cfg.DPoP != nil {
		g.schemes = append(g.schemes, authheader.DPoP)
		g.challenge.DPoP = cfg.DPoP.Algorithms()
	}
	if g.wait == 0 {
		g.wait = defaultWait
	}
	if g.clock == nil {
		g.clock = time.Now
	}
	return g, nil
}

// checkOrigin holds an origin to be one that a path can be appended to.
func checkOrigin(origin string) error {
	if strings.HasSuffix(origin, "/") || strings.ContainsAny(origin, "?#") {
		return errors.New("it ends without a slash, and has no query and no fragment")
	}
	_, err := dpop.NormalizeURL(origin)
	return err
}

// Request is what of a request a decision is about, whatever protocol brought it.
type Request struct {
	// Header are the request's headers, each with all the values that came. Names
	// may be in any case.
	Header http.Header
	// Method is the request's method, POST for gRPC.
	Method string
	// Path is the path of the URL as the client sent it, percent-encoded, less what
	// Origin has of it; what follows a ? does not matter. Method and path matter for
	// DPoP only.
	Path string
	// CertSHA256 is the SHA-256 of the client's certificate, of its DER; nil for
	// none. It must come from the connection. With Config.CertSHA256 it does not
	// count.
	CertSHA256 []byte
	// Scopes are needed for this request beside those of the guard.
	Scopes []string
}

// values returns the values of a header, whatever the case of its name is, even
// if it comes in two.
func (r Request) values(name string) []string {
	var all []string
	for n, values := range r.Header {
		if len(n) == len(name) && strings.EqualFold(n, name) {
			all = append(all, values...)
		}
	}
	return all
}

// certificate returns the hash of the client's certificate.
func (g *Guard) certificate(r Request) []byte {
	if g.certSHA256 == nil {
		return r.CertSHA256
	}
	canonical := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		name = http.CanonicalHeaderKey(name)
		canonical[name] = append(canonical[name], values...)
	}
	return g.certSHA256(canonical)
}

// Check decides about a request. It waits only for an issuer's keys, and for no
// longer than Config.Wait and ctx allow.
func (g *Guard) Check(ctx context.Context, r Request) Decision {
	d := g.decide(ctx, r)
	if g.onDecision != nil {
		g.onDecision(ctx, d)
	}
	return d
}

func (g *Guard) decide(ctx context.Context, r Request) Decision {
	d := Decision{challenge: g.challenge}
	if len(r.Scopes) > 0 {
		d.challenge.Scopes = slices.Concat(g.scopes, r.Scopes)
	}
	if g.validator == nil { // the zero Guard
		return d.refuse(oidc.Internal, errors.New("the guard was not made by New"))
	}
	credential, scheme, reason, detail := authheader.Find(r.values("Authorization"), g.schemes...)
	switch {
	case reason == oidc.MissingToken && g.optional && len(r.Scopes) == 0:
		d.reason = oidc.Anonymous
		return d
	case reason != "":
		return d.refuse(reason, errors.New(detail))
	case scheme == authheader.Bearer && g.challenge.NoBearer:
		return d.refuse(oidc.ProofMissing, errors.New("a bearer token, and only those under DPoP are accepted"))
	}
	req := g.requirement
	req.Proof.CertSHA256 = g.certificate(r)
	if scheme == authheader.DPoP {
		d.challenge.UsedDPoP = true
		d.nonce = g.dpop.Nonce()
		req.Proof.DPoP = g.dpop.Check(dpop.Request{Proofs: r.values("DPoP"), Method: r.Method, URL: g.url(r.Path)})
	}
	req.Deadline = time.Now().Add(g.wait)
	token, err := g.validator.Validate(ctx, credential, req)
	if err != nil {
		d.reason, d.err = oidc.ReasonOf(err), err
		return d
	}
	d.reason, d.token = oidc.ValidToken, token
	if !g.challenge.StepUp.MetBy(token, g.clock()) {
		return d.refuse(oidc.InsufficientAuthentication, errors.New("acr or auth_time is not what StepUp wants"))
	}
	return d.needs(d.challenge.Scopes)
}

// url returns the URL of a request as the client sees it, "" if path is none: it
// must not become a part of the host.
func (g *Guard) url(path string) string {
	if path != "" && path[0] != '/' && path[0] != '?' {
		return ""
	}
	return g.origin + path
}
