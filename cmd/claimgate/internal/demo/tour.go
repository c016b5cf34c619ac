package demo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Stop is one stop of the tour: a request and what has to come of it.
type Stop struct {
	Asked   string
	Request lab.Request
	Want    Want
	Before  func(ctx context.Context) error // makes the world fit; nil for nothing
}

// Want is the answer that a stop expects. Identity is what the upstream, or for
// want of one the gate's answer, says of the client: all of it, so that a forged
// header that got through is a failure.
type Want struct {
	Status   int
	Reason   string // "" if Envoy refuses by itself
	Upstream string // "" if none is to be reached
	Identity map[string]string

	// AtGate is the answer where the gate is asked without Envoy before it, if
	// it is another.
	AtGate *Want
}

// identity is what the default headers say.
func identity(issuer, subject, client, scopes string) map[string]string {
	m := map[string]string{"x-auth-issuer": issuer, "x-auth-subject": subject, "x-auth-client": client}
	if scopes != "" {
		m["x-auth-scopes"] = scopes
	}
	return m
}

// tokens mints what the tour shows.
type tokens struct{ lab *lab.Lab }

// lifetime is long, so that the curl lines work while the demo is up.
const lifetime = 24 * time.Hour

// workforce is an access token as Keycloak writes it.
func (t tokens) workforce(claims map[string]any, opts ...oidctest.TokenOption) string {
	all := map[string]any{
		"typ": "Bearer", "azp": "intranet", "client_id": oidctest.Omit,
		"exp": time.Now().Add(lifetime).Unix(),
	}
	maps.Copy(all, claims)
	return t.lab.Workforce.Token(all, append([]oidctest.TokenOption{oidctest.Header("typ", "JWT")}, opts...)...)
}

// customer is an access token as RFC 9068 describes it.
func (t tokens) customer() string {
	return t.lab.Customers.Token(map[string]any{
		"sub": "carol", "client_id": "webshop", "scope": "orders.read",
		"exp": time.Now().Add(lifetime).Unix(),
	})
}

// Tour returns the stops, in order. Later ones rotate keys and stop an issuer:
// one tour a lab.
func Tour(l *lab.Lab) []Stop {
	t := tokens{l}
	started := time.Now()
	alice := identity(lab.Workforce, "alice", "intranet", "")
	carol := identity(lab.Customers, "carol", "webshop", "orders.read")
	order := func(headers ...[2]string) lab.Request { return lab.Request{Path: "/orders/7", Headers: headers} }
	refused := func(status int, reason string) Want { return Want{Status: status, Reason: reason} }
	workforce := Want{Status: 200, Reason: "valid_token", Upstream: lab.Workforce, Identity: alice}
	customers := Want{Status: 200, Reason: "valid_token", Upstream: lab.Customers, Identity: carol}
	public := Want{Status: 200, Reason: "public", Upstream: lab.Customers}

	return []Stop{
		{Asked: "no token", Request: order(), Want: refused(401, "missing_token")},
		{Asked: "a token of the workforce issuer", Request: order(lab.Bearer(t.workforce(nil))), Want: workforce},
		{Asked: "a token of the customers issuer", Request: order(lab.Bearer(t.customer())), Want: customers},
		{Asked: "an expired token", Request: order(lab.Bearer(t.workforce(map[string]any{
			"iat": time.Now().Add(-2 * time.Hour).Unix(), "exp": time.Now().Add(-time.Hour).Unix(),
		}))), Want: refused(401, "expired")},
		{Asked: "a forged signature", Request: order(lab.Bearer(t.workforce(nil, oidctest.Forged()))), Want: refused(401, "bad_signature")},
		{Asked: "a token for somebody else (audience)", Request: order(lab.Bearer(t.workforce(map[string]any{"aud": "billing-api"}))), Want: refused(401, "wrong_audience")},
		{Asked: "an unsigned token (alg: none)", Request: order(lab.Bearer(t.workforce(nil, oidctest.Unsigned()))), Want: refused(401, "unsupported_algorithm")},
		{Asked: "two Authorization headers", Request: order(lab.Bearer(t.workforce(nil)), lab.Bearer(t.customer())), Want: refused(400, "multiple_credentials")},
		{Asked: "a forged x-auth-subject: root", Request: order(lab.Bearer(t.workforce(nil)), [2]string{"x-auth-subject", "root"}), Want: workforce},
		{Asked: "its twin X_Auth_Subject: root", Request: order(lab.Bearer(t.workforce(nil)), [2]string{"X_Auth_Subject", "root"}),
			Want: Want{Status: 400, AtGate: &workforce}},
		{Asked: "a public path, no token", Request: lab.Request{Path: "/public/terms"}, Want: public},
		{Asked: "a public path, forged identity", Request: lab.Request{Path: "/public/terms", Headers: [][2]string{
			{"x-auth-issuer", lab.Workforce}, {"x-auth-subject", "root"},
		}}, Want: public},
		{Asked: "a refund without its scope", Request: lab.Request{Method: "POST", Path: "/orders/7/refund", Headers: [][2]string{
			lab.Bearer(t.workforce(map[string]any{"scope": "orders.read"})),
		}}, Want: refused(403, "insufficient_scope")},
		{Asked: "a refund with it", Request: lab.Request{Method: "POST", Path: "/orders/7/refund", Headers: [][2]string{
			lab.Bearer(t.workforce(map[string]any{"scope": "orders.read orders.refund"})),
		}}, Want: Want{Status: 200, Reason: "valid_token", Upstream: lab.Workforce,
			Identity: identity(lab.Workforce, "alice", "intranet", "orders.read orders.refund")}},
		{Asked: "an ambiguous path: /orders/7;/refund", Request: lab.Request{Method: "POST", Path: "/orders/7;/refund", Headers: [][2]string{
			lab.Bearer(t.workforce(nil)),
		}}, Want: refused(403, "ambiguous_path")},
		{Asked: "a forged x-auth-issuer: workforce", Request: order(lab.Bearer(t.customer()), [2]string{"x-auth-issuer", lab.Workforce}), Want: customers},
		{Asked: "the admin host without the role", Request: admin(lab.Bearer(t.workforce(nil))), Want: refused(403, "role_missing")},
		{Asked: "the admin host with it", Request: admin(lab.Bearer(t.workforce(map[string]any{
			"realm_access": map[string]any{"roles": []string{"admin"}},
		}))), Want: workforce},
		rotated(l, t, started, workforce),
		{
			Asked:   "the issuer down, a good token",
			Before:  func(context.Context) error { l.Workforce.Down(); return nil },
			Request: order(lab.Bearer(t.workforce(map[string]any{"jti": "minted before"}))),
			Want:    workforce,
		},
	}
}

func admin(headers ...[2]string) lab.Request {
	return lab.Request{Host: "admin.example.com", Path: "/", Headers: headers}
}

// rotated is the stop at which the issuer signs with a key that the gate has
// never seen. The announced key goes into the token now, and into the key set
// only at the stop.
func rotated(l *lab.Lab, t tokens, started time.Time, want Want) Stop {
	next := oidctest.NewKey("RS256", "next")
	return Stop{
		Asked: "keys rotated, a token of the new key",
		Before: func(ctx context.Context) error {
			l.Workforce.Publish(next)
			// Not for the issuer's sake: the gate asks for unknown keys once in
			// unknownKeyInterval, and it has asked when it started.
			return sleep(ctx, time.Until(started.Add(unknownKeyInterval)))
		},
		Request: lab.Request{Path: "/orders/7", Headers: [][2]string{lab.Bearer(t.workforce(nil, oidctest.SignWith(next)))}},
		Want:    want,
	}
}

// unknownKeyInterval is that of the lab's claimgate.yaml, and a little more.
const unknownKeyInterval = 1100 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Result is what became of a stop.
type Result struct {
	Stop   Stop
	Want   Want // the one that counted, of Stop.Want and its AtGate
	Got    Want // what was seen, in the same form
	Faults []string
}

// OK reports whether all was as expected.
func (r Result) OK() bool { return len(r.Faults) == 0 }

// Walk makes one stop at a door.
func Walk(ctx context.Context, d Door, s Stop) (Result, error) {
	if s.Before != nil {
		if err := s.Before(ctx); err != nil {
			return Result{}, err
		}
	}
	r := Result{Stop: s, Want: s.Want}
	if d.AtGate() && s.Want.AtGate != nil {
		r.Want = *s.Want.AtGate
	}
	got, challenged, err := d.Try(ctx, s.Request, r.Want.Reason != "")
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", s.Asked, err)
	}
	r.Got = got
	r.Faults = compare(r.Want, got)
	if r.Want.Status == 401 && !challenged {
		r.Faults = append(r.Faults, "a 401 without a challenge")
	}
	return r, nil
}

// compare says in which ways an answer is not the wanted one.
func compare(want, got Want) []string {
	var faults []string
	differ := func(what string, want, got any) {
		if want != got {
			faults = append(faults, fmt.Sprintf("%s is %v, not %v", what, got, want))
		}
	}
	differ("status", want.Status, got.Status)
	differ("reason", want.Reason, got.Reason)
	differ("upstream", want.Upstream, got.Upstream)
	differ("identity", spell(want.Identity), spell(got.Identity))
	return faults
}

// spell writes identity headers in one line.
func spell(identity map[string]string) string {
	var list []string
	for name, value := range identity {
		list = append(list, name+": "+value)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
