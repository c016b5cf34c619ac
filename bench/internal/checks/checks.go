// Package checks measures what a check costs, as a ratio to an ext_authz server
// that does nothing.
package checks

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/bench/internal/results"
	"github.com/claimgate/claimgate/bench/internal/server"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Options says how much is measured.
type Options struct {
	Gate     string // the claimgate binary
	Rounds   int    // every variant runs once in each
	Requests int    // checks a variant and round, with a token that was seen before
	Cold     int    // with tokens never seen before
	Progress io.Writer
}

// inFlight is how many checks of a closed loop wait for their answer at a time.
const inFlight = 32

// File is what was measured.
type File struct {
	Made    results.Made `json:"made"`
	Samples []Sample     `json:"samples"`
}

// variant is one thing to measure: a server, and the tokens it is sent.
type variant struct {
	name   string
	server *server.Server
	tokens func(round int) []string
	count  int
}

// Sample is what one variant cost in one round.
type Sample struct {
	Variant   string  `json:"variant"`
	Round     int     `json:"round"`
	CPUMicros float64 `json:"cpu_us_per_check"`
	PerSecond float64 `json:"checks_per_second"`
	P50       float64 `json:"p50_ms"` // with the load's own queueing
	P99       float64 `json:"p99_ms"`
	RSSMiB    float64 `json:"rss_mib"`
}

// The names of the variants, in the order of the table.
const (
	referenceHot  = "reference"
	gateOne       = "gate, one cached token"
	gateThousand  = "gate, 1,000 cached tokens"
	referenceCold = "reference, fresh tokens"
	gateRS256     = "gate, never-seen RS256"
	gateES256     = "gate, never-seen ES256"
)

// Run measures all variants.
func Run(ctx context.Context, o Options) ([]Sample, error) {
	issuer := oidctest.NewIssuer(oidctest.WithAlgorithms("RS256", "ES256"), oidctest.WithAudience("bench"))
	defer issuer.Close()
	dir, err := os.MkdirTemp("", "claimgate-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	config := filepath.Join(dir, "claimgate.yaml")
	if err := os.WriteFile(config, []byte(gateConfig(issuer.URL)), 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	reference, err := server.Start(ctx, self, "reference")
	if err != nil {
		return nil, fmt.Errorf("starting the reference: %w", err)
	}
	defer reference.Stop()
	gate, err := server.Start(ctx, o.Gate, "serve", "--config", config)
	if err != nil {
		return nil, fmt.Errorf("starting %s (make build makes it): %w", o.Gate, err)
	}
	defer gate.Stop()

	// Minted before any clock runs; each cold token is sent to each server once.
	fmt.Fprintln(o.Progress, "minting tokens …")
	hot := []string{mint(issuer, "RS256", "hot")}
	thousand := make([]string, 1000)
	for i := range thousand {
		thousand[i] = mint(issuer, "RS256", fmt.Sprintf("user-%d", i))
	}
	fresh := map[string][][]string{}
	for _, alg := range []string{"RS256", "ES256"} {
		for round := range o.Rounds + 1 { // round 0 warms up
			tokens := make([]string, o.Cold)
			for i := range tokens {
				tokens[i] = mint(issuer, alg, fmt.Sprintf("cold-%d-%d", round, i))
			}
			fresh[alg] = append(fresh[alg], tokens)
		}
	}
	same := func(tokens []string) func(int) []string { return func(int) []string { return tokens } }
	of := func(alg string) func(int) []string { return func(round int) []string { return fresh[alg][round] } }
	variants := []variant{
		{referenceHot, reference, same(hot), o.Requests},
		{gateOne, gate, same(hot), o.Requests},
		{gateThousand, gate, same(thousand), o.Requests},
		{referenceCold, reference, of("RS256"), o.Cold},
		{gateRS256, gate, of("RS256"), o.Cold},
		{gateES256, gate, of("ES256"), o.Cold},
	}
	var samples []Sample
	for round := range o.Rounds + 1 {
		for i := range variants {
			v := variants[(i+round)%len(variants)]
			s, err := measure(ctx, v, round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.name, err)
			}
			if round > 0 {
				samples = append(samples, s)
			}
			fmt.Fprintf(o.Progress, "\r\x1b[Kround %d of %d, %-28s", round, o.Rounds, v.name)
		}
	}
	fmt.Fprint(o.Progress, "\r", "\n")
	return samples, nil
}

// measure sends a variant's checks in a closed loop and reads the server's CPU
// counters around it.
func measure(ctx context.Context, v variant, round int) (Sample, error) {
	wires, err := load.Checks(v.tokens(round))
	if err != nil {
		return Sample{}, err
	}
	client, err := load.Dial(v.server.Addr)
	if err != nil {
		return Sample{}, err
	}
	defer client.Close()
	before, err := v.server.CPU()
	if err != nil {
		return Sample{}, err
	}
	start := time.Now()
	latencies, bad := load.Closed(ctx, client, wires, inFlight, v.count, load.Allowed)
	took := time.Since(start)
	after, err := v.server.CPU()
	switch {
	case ctx.Err() != nil:
		return Sample{}, context.Cause(ctx)
	case err != nil:
		return Sample{}, err
	case bad > 0:
		return Sample{}, fmt.Errorf("%d checks were not answered with an allow", bad)
	}
	rss, _, err := v.server.Memory()
	return Sample{
		Variant: v.name, Round: round,
		CPUMicros: float64((after - before).Microseconds()) / float64(v.count),
		PerSecond: float64(v.count) / took.Seconds(),
		P50:       load.Percentile(latencies, 0.5), P99: load.Percentile(latencies, 0.99),
		RSSMiB: rss,
	}, err
}

func mint(issuer *oidctest.Issuer, alg, subject string) string {
	return issuer.Token(map[string]any{
		"sub": subject, "exp": time.Now().Add(time.Hour).Unix(), "scope": "orders.read orders.write",
		"email": subject + "@example.com", "roles": []string{"customer", "reviewer"},
	}, oidctest.Alg(alg))
}

func gateConfig(issuer string) string {
	return fmt.Sprintf(`server: {listen: "127.0.0.1:0"}
admin: {listen: "off"}
log: {decisions: none}
issuers:
- {issuer: %q, name: bench, audiences: [bench]}
policies:
- name: everything
`, issuer)
}
