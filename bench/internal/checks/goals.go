package checks

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/claimgate/claimgate/bench/internal/results"
)

// goal is a ratio that ought to be reached.
type goal struct {
	name     string
	suite    Suite
	variant  string
	to       string // another variant of the suite
	of       func(Sample) float64
	bound    float64
	atLeast  bool // otherwise at most
	optional bool // only if both were measured
}

func goals(peers []string) []goal {
	list := []goal{
		{"server CPU of a cached token, to the reference", Direct, gateOne, reference, cpuColumn.of, 0.80, false, false},
		{"server CPU with 1,000 cached tokens, to the reference", Direct, gateThousand, reference, cpuColumn.of, 0.80, false, false},
		{"server CPU of a never-seen RS256 token, to the reference", Direct, gateRS256, referenceFresh, cpuColumn.of, 2, false, false},
		{"server CPU of a never-seen ES256 token, to the reference", Direct, gateES256, referenceFresh, cpuColumn.of, 3, false, false},
		{"p50 of a cached token, open loop, to the reference", DirectOpen, gateOne, reference, p50Column.of, 1, false, false},
		{"p99 of a cached token, open loop, to the reference", DirectOpen, gateOne, reference, p99Column.of, 1.15, false, false},
		{"p50 through Envoy, open loop, to ext_authz to the reference", ProxyOpen, viaGate, viaReference, p50Column.of, 1, false, false},
		{"p99 through Envoy, open loop, to ext_authz to the reference", ProxyOpen, viaGate, viaReference, p99Column.of, 1.15, false, false},
		{"requests a second through Envoy, to ext_authz to the reference", Proxied, viaGate, viaReference, rateColumn.of, 1, true, false},
	}
	for name, times := range map[string]float64{"heimdall": 6, "opa": 10} {
		if slices.Contains(peers, name) {
			list = append(list, goal{"server CPU of " + name + ", to the gate's", Direct, peerOne(name), gateOne, cpuColumn.of, times, true, true})
		}
	}
	slices.SortStableFunc(list[9:], func(a, b goal) int { return strings.Compare(a.name, b.name) })
	return list
}

// Goals writes the goals with what was reached.
func (f File) Goals(w io.Writer) {
	fmt.Fprint(w, "| | measured: ratio of medians | goal | |\n|---|---|---|---|\n")
	for _, g := range goals(f.Peers) {
		got := f.ratio(g.suite, g.variant, g.to, g.of)
		sign, met := "≤", got <= g.bound
		if g.atLeast {
			sign, met = "≥", got >= g.bound
		}
		verdict := "**missed**"
		if met {
			verdict = "met"
		}
		fmt.Fprintf(w, "| %s | %.2f | %s %s | %s |\n", g.name, got, sign, results.Number(g.bound), verdict)
	}
}

// Calm says how many samples were disturbed by others.
func (f File) Calm() string {
	disturbed, most := 0, 0.0
	for _, s := range f.Samples {
		if s.Others > calm {
			disturbed++
		}
		most = max(most, s.Others)
	}
	return fmt.Sprintf("During %d of %d runs other processes used more than %.2f of a processor (at most %.2f).", disturbed, len(f.Samples), calm, most)
}

// AboutTheWay says what stands in the way of lower figures, if that was measured.
func (f File) AboutTheWay(w io.Writer) {
	if !slices.Contains(f.variants(Direct), bareRS256) {
		return
	}
	of := func(suite Suite, variant string, c column) float64 {
		median, _, _ := f.median(suite, variant, c.of)
		return median
	}
	fmt.Fprintf(w, `
### What stands in the way

Two more references show what no gate can do without. One *verifies* the signature of a token with Go's standard library and
reads nothing of it. Never-seen tokens cost it %.2f × the reference with RS256 and %.2f × with ES256, and the gate, which also reads the
token, judges it, remembers it and tells whose it is, %.2f × and %.2f ×: a difference of %+.0f µs and %+.0f µs. Much less needs faster
signatures.

The other answers what the gate answers to a cached token: identity headers, and metadata for access logs. Through Envoy it gets %.2f ×
the requests a second of the reference, which answers nothing, and the gate %.2f ×; at %.0f a second its p50 is %.2f × and the
gate's %.2f ×. For Envoy has to read such an answer and to act on it: with it, a request takes %.0f µs of Envoy's time instead of %.0f.

Sent to the server without an Envoy, the p50 of that reference is %.2f × and the gate's %.2f ×, a difference to the first reference of
%+.0f µs. At such a rate a check takes the gate %.0f µs of processor time and the reference %.0f µs, where %.0f and %.0f are enough at
saturation: threads sleep and have to be woken, and find the processor's caches used by others, so that each microsecond of work before
the answer becomes several.
`,
		f.ratio(Direct, bareRS256, referenceFresh, cpuColumn.of), f.ratio(Direct, bareES256, referenceFresh, cpuColumn.of),
		f.ratio(Direct, gateRS256, referenceFresh, cpuColumn.of), f.ratio(Direct, gateES256, referenceFresh, cpuColumn.of),
		of(Direct, gateRS256, cpuColumn)-of(Direct, bareRS256, cpuColumn), of(Direct, gateES256, cpuColumn)-of(Direct, bareES256, cpuColumn),
		f.ratio(Proxied, viaSame, viaReference, rateColumn.of), f.ratio(Proxied, viaGate, viaReference, rateColumn.of), f.Rate,
		f.ratio(ProxyOpen, viaSame, viaReference, p50Column.of), f.ratio(ProxyOpen, viaGate, viaReference, p50Column.of),
		of(Proxied, viaSame, envoyColumn), of(Proxied, viaReference, envoyColumn),
		f.ratio(DirectOpen, sameAnswer, reference, p50Column.of), f.ratio(DirectOpen, gateOne, reference, p50Column.of),
		1000*(of(DirectOpen, gateOne, p50Column)-of(DirectOpen, reference, p50Column)),
		of(DirectOpen, gateOne, cpuColumn), of(DirectOpen, reference, cpuColumn), of(Direct, gateOne, cpuColumn), of(Direct, reference, cpuColumn))
}

// AboutJWTAuthn says where Envoy's own filter stays better.
func (f File) AboutJWTAuthn(w io.Writer) {
	of := func(suite Suite, variant string, c column) float64 {
		median, _, _ := f.median(suite, variant, c.of)
		return median
	}
	bare := of(Proxied, noFilter, envoyColumn)
	fmt.Fprintf(w, `With its cache jwt_authn adds %.0f µs of Envoy's own processor time to a request and no hop. The gate adds %.0f µs there, for the
hop that every ext_authz server costs, and %.0f µs in its own process; at %.0f requests a second a request takes %.2f ms at the
median, against %.2f ms with jwt_authn. No ext_authz server can be as cheap as that, this one neither. Without its cache (which is off
unless `+"`jwt_cache_config`"+` is set, and keeps 100 tokens a thread by default) jwt_authn adds %.0f µs.

It has more to be said for it: no process beside Envoy that can be down, nothing to deploy or to watch, and a line or two in Istio and
Envoy Gateway. So where the issuers are few and known, a rotation of their keys is announced longer ahead than Envoy keeps key sets, and
rules need no more than issuer, audience and the RBAC filter: take jwt_authn. What the gate costs buys what jwt_authn does
not do: keys by discovery, fetched at once for a key ID that is not known and kept for a limited time when the issuer is down; one
cache for all workers and proxies; rules, answers and metrics that say why. The page on [Envoy](envoy.md) has a file to try both at once.
`, of(Proxied, jwtCached, envoyColumn)-bare, of(Proxied, viaGate, envoyColumn)-bare, of(Proxied, viaGate, cpuColumn), f.Rate,
		of(ProxyOpen, viaGate, p50Column), of(ProxyOpen, jwtCached, p50Column), of(Proxied, jwtUncached, envoyColumn)-bare)
}
