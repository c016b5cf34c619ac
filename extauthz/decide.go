package extauthz

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// callerMargin is kept of the caller's deadline, so that the answer is ours and
// not the caller's time-out.
const callerMargin = 10 * time.Millisecond

// explainer reports steps to whoever asked for them, nil for nobody. Callers ask
// for nil before they put a detail together.
type explainer func(oidc.Step)

func (ex explainer) step(name string, ok bool, format string, args ...any) {
	if ex != nil {
		ex(oidc.Step{Name: name, OK: ok, Detail: fmt.Sprintf(format, args...)})
	}
}

// decide is a check. Each sentence of it is a step; all but the verification of
// the token are pure.
func (s *policySet) decide(ctx context.Context, r *Request, ex explainer) Decision {
	if r.Headers == nil { // the caller's Request is not ours to write to
		without := *r
		without.Headers = noHeaders{}
		r = &without
	}
	path := parsePath(r.Path, s.allowParams)
	p, d, found := s.selectPolicy(r, path, ex)
	if !found {
		return d
	}
	d = p.checkRequest(ctx, s, r, path, ex)
	d.policy = p.name
	d.plainText = isGRPC(r.Headers)
	if !d.Allowed() {
		d.challenge = p.challenge.Values(d.Reason())
	}
	return d
}

// selectPolicy finds the policy that decides, or the denial if there is none.
func (s *policySet) selectPolicy(r *Request, path requestPath, ex explainer) (*policy, Decision, bool) {
	deny := func(reason oidc.Reason, policy, format string, args ...any) (*policy, Decision, bool) {
		if ex != nil {
			ex.step("policy", false, "%s: "+format, append([]any{reason}, args...)...)
		}
		return nil, Decision{reason: reason, policy: policy, plainText: isGRPC(r.Headers)}, false
	}
	host, ok := canonicalHost(r.Host)
	if !ok {
		return deny(oidc.NoPolicy, "", "%q is no host", r.Host)
	}
	if !validMethod(r.Method) {
		return deny(oidc.NoPolicy, "", "%q is no method", r.Method)
	}
	if name, ok := r.Context[policyExtension]; ok {
		p := s.byName[name]
		if p == nil {
			return deny(oidc.NoPolicy, "", "the context extension policy=%q names none of the configured policies", name)
		}
		if p.when.readsPath() && path.ambiguous {
			return deny(oidc.AmbiguousPath, p.name, "%s", path.why)
		}
		if ex != nil {
			ex.step("policy", true, "%s, by the context extension policy", p.name)
		}
		return p, Decision{}, true
	}
	for _, p := range s.policies {
		fits, ambiguous := p.match.fits(r, host, path)
		if ambiguous || fits && p.when.readsPath() && path.ambiguous {
			return deny(oidc.AmbiguousPath, p.name, "policy %s would depend on how the path is read: %s", p.name, path.why)
		}
		if fits {
			if ex != nil {
				ex.step("policy", true, "%s, the first that matches %s", p.name, matched(r, host, path))
			}
			return p, Decision{}, true
		}
		if ex != nil {
			ex.step("policy", true, "%s does not match %s", p.name, matched(r, host, path))
		}
	}
	if ex == nil {
		return deny(oidc.NoPolicy, "", "")
	}
	return deny(oidc.NoPolicy, "", "no policy matches %s", matched(r, host, path))
}

// matched describes what policies are matched with.
func matched(r *Request, host string, path requestPath) string {
	s := r.Method + " " + host + path.matched
	for i, route := range r.Routes {
		s += []string{" of ", " and "}[min(i, 1)] + route.String()
	}
	return s
}

// policyExtension is the key under which Envoy sends a policy's name.
const policyExtension = "policy"

// checkRequest decides under a policy.
func (p *policy) checkRequest(ctx context.Context, s *policySet, r *Request, path requestPath, ex explainer) Decision {
	switch {
	case p.access == AccessDeny:
		ex.step("access", false, "the policy denies everything")
		return Decision{reason: oidc.DeniedByPolicy}
	case p.corsPreflight && isPreflight(r):
		ex.step("access", true, "a CORS preflight")
		return p.allow(Decision{reason: oidc.CORSPreflight}, r, "")
	case p.access == AccessPublic:
		ex.step("access", true, "public: credentials are not looked at")
		return p.allow(Decision{reason: oidc.Public}, r, "")
	}

	credential, _, reason, detail := extract(p.sources, r.Headers, r.Path)
	if reason == oidc.MissingToken && p.access == AccessOptional {
		ex.step("credential", true, "none, and the policy does not insist")
		if reason := p.evaluate(r, path, nil, ex); reason != "" {
			return Decision{reason: reason}
		}
		return p.allow(Decision{reason: oidc.Anonymous}, r, "")
	}
	if reason != "" {
		if ex != nil {
			ex.step("credential", false, "%s: %s", reason, detail)
		}
		return Decision{reason: reason}
	}
	if ex != nil {
		ex.step("credential", true, "one, of %d bytes", len(credential))
	}

	requirement := p.requirement
	requirement.Explain = ex
	now := time.Now()
	requirement.Deadline = s.deadline(ctx, now)
	if !now.Before(requirement.Deadline) {
		ex.step("budget", false, "the time for this check is over")
		return Decision{reason: oidc.Deadline, credential: credential}
	}
	token, err := s.validator.Validate(ctx, credential, requirement)
	if err != nil {
		return refused(err, credential)
	}
	d := Decision{reason: oidc.ValidToken, token: token, issuer: token.IssuerName, credential: credential}
	if reason := p.authorize(r, path, token, ex); reason != "" {
		d.reason = reason
		return d
	}
	return p.allow(d, r, credential)
}

// deadline is the end of our own budget, or the caller's deadline less a margin
// if that is sooner. It is the machine's time, whatever the gate's clock says.
func (s *policySet) deadline(ctx context.Context, now time.Time) time.Time {
	deadline := now.Add(s.budget)
	if theirs, ok := ctx.Deadline(); ok && theirs.Add(-callerMargin).Before(deadline) {
		return theirs.Add(-callerMargin)
	}
	return deadline
}

// refused renders an error of the validator.
func refused(err error, credential string) Decision {
	d := Decision{reason: oidc.ReasonOf(err), credential: credential}
	if e, ok := err.(*oidc.Error); ok { //nolint:errorlint // Validate returns it unwrapped
		d.issuer, d.token = e.IssuerName, e.Token
	}
	return d
}

// authorize compares a verified token with what the policy wants, in the order
// tenant, scopes, roles, claims, when. It returns the reason to refuse, "" for none.
func (p *policy) authorize(r *Request, path requestPath, t *oidc.Token, ex explainer) oidc.Reason {
	if p.tenant != nil {
		want, ok := p.tenant.holds(r, t)
		if ex != nil {
			ex.step("tenant", ok, "the token is of tenant %q; the request is for %q", t.Tenant, want)
		}
		if !ok {
			return oidc.ClaimMismatch
		}
	}
	if len(p.scopes) > 0 || len(p.anyScope) > 0 {
		ok := containsAll(t.Scopes, p.scopes) && (len(p.anyScope) == 0 || containsAny(t.Scopes, p.anyScope))
		if ex != nil {
			ex.step("scopes", ok, "the token has %q; wanted are all of %q and one of %q", t.Scopes, p.scopes, p.anyScope)
		}
		if !ok {
			return oidc.InsufficientScope
		}
	}
	if len(p.roles) > 0 {
		ok := containsAny(t.Roles, p.roles)
		if ex != nil {
			ex.step("roles", ok, "the token has %q; wanted is one of %q", t.Roles, p.roles)
		}
		if !ok {
			return oidc.RoleMissing
		}
	}
	for _, rule := range p.claims {
		ok := rule.Matches(t.Claims)
		if ex != nil {
			ex.step("claims", ok, "%s must be one of %v", rule.Name, rule.Values)
		}
		if !ok {
			return oidc.ClaimMismatch
		}
	}
	return p.evaluate(r, path, t, ex)
}

// evaluate runs the policy's condition; t is nil for an anonymous request.
func (p *policy) evaluate(r *Request, path requestPath, t *oidc.Token, ex explainer) oidc.Reason {
	if p.when == nil {
		return ""
	}
	result, err := p.when.eval(conditionInput{request: r, path: path.matched, token: t})
	switch {
	case err != nil:
		if ex != nil {
			ex.step("when", false, "%s could not be evaluated: %v", p.when, err)
		}
		return oidc.PolicyError
	case !result:
		if ex != nil {
			ex.step("when", false, "%s is false", p.when)
		}
		return oidc.ConditionFalse
	}
	if ex != nil {
		ex.step("when", true, "%s is true", p.when)
	}
	return ""
}

// allow completes an allow with what it changes in the request: the identity
// headers, and the credential if it does not go on.
func (p *policy) allow(d Decision, r *Request, credential string) Decision {
	prepared := p.prepare(d.token, credential)
	if prepared == nil {
		return Decision{reason: oidc.IdentityTooLarge, token: d.token, issuer: d.issuer, credential: credential}
	}
	remove := p.identity.removalsFor(r.Headers, prepared.remove)
	d.set, d.remove = p.forward.apply(p.sources, d.token != nil, r, prepared.set, remove)
	if len(d.set) == len(prepared.set) && len(d.remove) == len(prepared.remove) { // all that is done is to append
		d.prepared = prepared
	}
	return d
}

func isPreflight(r *Request) bool {
	if r.Method != "OPTIONS" {
		return false
	}
	_, origin := r.Headers.Get("origin")
	_, method := r.Headers.Get("access-control-request-method")
	return origin > 0 && method > 0
}

// isGRPC reports whether the client speaks gRPC, so that a denial has a plain
// text for a body.
func isGRPC(h Headers) bool {
	contentType, _ := h.Get("content-type")
	return strings.HasPrefix(contentType, "application/grpc")
}

func containsAll(have, want []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(have, w) })
}

func containsAny[T comparable](have, want []T) bool {
	return slices.ContainsFunc(want, func(w T) bool { return slices.Contains(have, w) })
}

// noHeaders are the headers of a request without any.
type noHeaders struct{}

// Get implements Headers.
func (noHeaders) Get(string) (string, int) { return "", 0 }

// Names implements Headers.
func (noHeaders) Names(func(string) bool) {}
