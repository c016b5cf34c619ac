// Package checks measures what a check costs, as a ratio to an ext_authz server
// that does nothing: sent to the server directly, and through a real Envoy, which
// also does without any and with its own filter for tokens.
package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/bench/internal/results"
	"github.com/claimgate/claimgate/bench/internal/server"
)

// Options says what is measured, and how much.
type Options struct {
	Gate     string // the claimgate binary
	Envoy    string // the Envoy binary
	Issuer   string // host:port that the issuer listens at; "" for any
	Peers    []Peer
	Rounds   int // every variant runs once in each
	Requests int // checks of a closed loop, with tokens that were seen before
	Cold     int // with tokens never seen before
	Many     int // tokens of the variant with many
	Rate     float64
	Open     time.Duration  // an open loop
	Patience time.Duration  // spent in all on waiting for a calm machine and on repeating what was disturbed
	Only     *regexp.Regexp // of "suite, variant"; nil: all of them
	Progress io.Writer
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	switch {
	case o.Rounds < 1 || o.Requests < 1 || o.Cold < 1 || o.Many < 1:
		return errors.New("-rounds, -requests, -cold and -many must be at least 1")
	case !(o.Rate >= 1 && o.Rate <= 1e6) || o.Open < 100*time.Millisecond:
		return errors.New("-rate must be at least 1 and -open at least 100ms")
	}
	names := map[string]bool{}
	for _, p := range o.Peers {
		if names[p.Name] {
			return fmt.Errorf("-peer: there are two of the name %q", p.Name)
		}
		names[p.Name] = true
	}
	return nil
}

// Peer is another ext_authz server, at an address.
type Peer struct {
	Name string
	Addr string
	PID  int // 0 if its counters cannot be read
}

// File is what was measured.
type File struct {
	Made    results.Made `json:"made"`
	Seconds float64      `json:"seconds"` // it took
	Envoy   string       `json:"envoy"`   // its version
	Peers   []string     `json:"peers,omitempty"`
	Note    string       `json:"note,omitempty"` // on the peers
	Rounds  int          `json:"rounds"`
	Rate    float64      `json:"rate"` // of the open loops, a second
	Samples []Sample     `json:"samples"`
}

// Suite is a way to send checks.
type Suite string

// The suites, in the order of the page.
const (
	Direct     Suite = "direct"            // to the server, closed loop
	DirectOpen Suite = "direct, open loop" // to the server, at a fixed rate
	Proxied    Suite = "through Envoy"     // closed loop
	ProxyOpen  Suite = "through Envoy, open loop"
)

// Sample is what one variant cost in one round. What could not be measured is left
// out.
type Sample struct {
	Suite     Suite   `json:"suite"`
	Variant   string  `json:"variant"`
	Round     int     `json:"round"`
	CPU       float64 `json:"server_cpu_us,omitempty"` // of the server, a check
	EnvoyCPU  float64 `json:"envoy_cpu_us,omitempty"`  // of Envoy, a request
	Allocs    float64 `json:"allocs,omitempty"`        // objects that the server has allocated, a check
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"` // in a closed loop with the load's own queueing
	P90       float64 `json:"p90_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	RSS       float64 `json:"rss_mib,omitempty"` // of the server, afterwards
	Others    float64 `json:"others_cores"`      // what other processes used meanwhile
}

// The names of the variants.
const (
	reference      = "reference"
	referenceFresh = "reference, fresh tokens"
	bareRS256      = "reference that verifies, fresh RS256"
	bareES256      = "reference that verifies, fresh ES256"
	sameAnswer     = "reference with the gate's answer"
	gateOne        = "gate, one cached token"
	gateThousand   = "gate, 1,000 cached tokens"
	gateMany       = "gate, 100,000 cached tokens"
	gateMissing    = "gate, denied: no token"
	gateForged     = "gate, denied: forged signature"
	gateRS256      = "gate, never-seen RS256"
	gateES256      = "gate, never-seen ES256"
	gateEdDSA      = "gate, never-seen EdDSA"

	noFilter     = "no filter"
	jwtCached    = "jwt_authn, with its cache"
	jwtUncached  = "jwt_authn"
	viaReference = "ext_authz to the reference"
	viaSame      = "ext_authz to the reference with the gate's answer"
	viaGate      = "ext_authz to the gate, TCP"
	viaSocket    = "ext_authz to the gate, Unix socket"
)

func peerOne(name string) string { return name + ", one token" }
func viaPeer(name string) string { return "ext_authz to " + name }

func peerFresh(name, algorithm string) string { return name + ", fresh " + algorithm }

// inFlight is how many checks of a closed loop wait for their answer at a time.
const inFlight = 32

// openConnections are those of an open loop through Envoy: a request that is due
// must not wait for one.
const openConnections = 128

// variant is one thing to measure: a way to send checks, a server, and what it is
// sent.
type variant struct {
	suite  Suite
	name   string
	server *subject // nil: Envoy alone
	checks source
	want   int // status of each answer
	addr   string
}

// Run measures all variants.
func Run(ctx context.Context, o Options) (File, error) {
	began := time.Now()
	f := File{Rounds: o.Rounds, Rate: o.Rate}
	for _, p := range o.Peers {
		f.Peers = append(f.Peers, p.Name)
	}
	b, err := build(ctx, o)
	if err != nil {
		return f, err
	}
	defer b.close()
	f.Envoy = b.envoyVersion
	if o.Only != nil {
		b.variants = slices.DeleteFunc(b.variants, func(v variant) bool { return !o.Only.MatchString(string(v.suite) + ", " + v.name) })
		if len(b.variants) == 0 {
			return f, fmt.Errorf("-only: %s is in none of the variants", o.Only)
		}
	}
	r := rounds{options: o, bench: b, patience: o.Patience}
	if f.Samples, err = r.run(ctx); err != nil {
		return f, err
	}
	f.Seconds = time.Since(began).Seconds()
	return f, nil
}

// source is where a variant has its checks from.
type source struct {
	next func() []load.Check // for the next run; none if there are no more
	once bool                // each check is sent once
}

// same is a source of the same checks for each run.
func same(checks []load.Check) source {
	return source{next: func() []load.Check { return checks }}
}

// rotating is a source of the same checks too, each run beginning later in the list.
func rotating(checks []load.Check, step int) source {
	first := 0
	return source{next: func() []load.Check {
		first = (first + step) % len(checks)
		return slices.Concat(checks[first:], checks[:first])
	}}
}

// fresh is a source of other checks for each run.
func fresh(sets [][]load.Check) source {
	n := 0
	return source{once: true, next: func() []load.Check {
		if n == len(sets) {
			return nil
		}
		n++
		return sets[n-1]
	}}
}

// subject is a server under test.
type subject struct {
	addr    string
	process *server.Process // nil if its counters cannot be read
	allocs  func(context.Context) (float64, error)
}

func ours(s *server.Server) *subject { return &subject{s.Addr, s.Process, s.Mallocs} }

func (s *subject) mallocs(ctx context.Context) (float64, error) {
	if s == nil || s.allocs == nil {
		return 0, nil
	}
	return s.allocs(ctx)
}

// say writes a line for whoever waits.
func (o Options) say(format string, args ...any) {
	fmt.Fprintf(o.Progress, "%s bench: %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}
