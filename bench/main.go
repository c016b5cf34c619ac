// Command bench measures what a check costs, as a ratio to an ext_authz server
// that does nothing. See README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "reference" {
		serveReference() // this process is the reference server
		return
	}
	gate := flag.String("gate", "bin/claimgate", "the claimgate binary to measure")
	rounds := flag.Int("rounds", 5, "rounds; every variant runs once in each, in rotating order")
	requests := flag.Int("requests", 30000, "checks a variant and round, with a token that was seen before")
	cold := flag.Int("cold", 6000, "checks a variant and round, with tokens never seen before")
	out := flag.String("json", "", "write all figures to this file too")
	flag.Parse()
	if err := run(*gate, *rounds, *requests, *cold, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// variant is one thing to measure: a server, and the tokens it is sent.
type variant struct {
	name   string
	server *serverProcess
	tokens func(round int) []string
	count  int
}

// sample is what one variant cost in one round.
type sample struct {
	Variant   string  `json:"variant"`
	Round     int     `json:"round"`
	CPUMicros float64 `json:"cpu_us_per_check"`
	PerSecond float64 `json:"checks_per_second"`
	P50, P99  float64 // milliseconds, with the load's own queueing
	Bad       int     `json:"bad"`
	RSSMiB    float64 `json:"rss_mib"`
}

func run(gatePath string, rounds, requests, cold int, out string) error {
	issuer := oidctest.NewIssuer(oidctest.WithAlgorithms("RS256", "ES256"), oidctest.WithAudience("bench"))
	defer issuer.Close()
	dir, err := os.MkdirTemp("", "claimgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	config := filepath.Join(dir, "claimgate.yaml")
	if err := os.WriteFile(config, []byte(gateConfig(issuer.URL)), 0o600); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	reference, err := startServer(referenceAddr, self, "reference")
	if err != nil {
		return fmt.Errorf("starting the reference: %w", err)
	}
	defer reference.stop()
	gate, err := startServer(gateAddr, gatePath, "serve", "--config", config)
	if err != nil {
		return fmt.Errorf("starting %s (make build makes it): %w", gatePath, err)
	}
	defer gate.stop()

	// Minted before any clock runs; each cold token is sent to each server once.
	fmt.Fprintln(os.Stderr, "minting tokens …")
	hot := []string{mint(issuer, "RS256", "hot")}
	thousand := make([]string, 1000)
	for i := range thousand {
		thousand[i] = mint(issuer, "RS256", fmt.Sprintf("user-%d", i))
	}
	fresh := map[string][][]string{}
	for _, alg := range []string{"RS256", "ES256"} {
		for round := range rounds + 1 { // round 0 warms up
			tokens := make([]string, cold)
			for i := range tokens {
				tokens[i] = mint(issuer, alg, fmt.Sprintf("cold-%d-%d", round, i))
			}
			fresh[alg] = append(fresh[alg], tokens)
		}
	}
	same := func(tokens []string) func(int) []string { return func(int) []string { return tokens } }
	of := func(alg string) func(int) []string { return func(round int) []string { return fresh[alg][round] } }
	variants := []variant{
		{"reference", reference, same(hot), requests},
		{"gate, one cached token", gate, same(hot), requests},
		{"gate, 1,000 cached tokens", gate, same(thousand), requests},
		{"reference, fresh tokens", reference, of("RS256"), cold},
		{"gate, never-seen RS256", gate, of("RS256"), cold},
		{"gate, never-seen ES256", gate, of("ES256"), cold},
	}
	var samples []sample
	for round := range rounds + 1 {
		for i := range variants {
			v := variants[(i+round)%len(variants)]
			s, err := measure(v, round)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			if s.Bad > 0 {
				return fmt.Errorf("%s: %d checks were not answered with an allow", v.name, s.Bad)
			}
			if round > 0 {
				samples = append(samples, s)
			}
			fmt.Fprintf(os.Stderr, "\r\x1b[Kround %d of %d, %-28s", round, rounds, v.name)
		}
	}
	fmt.Fprint(os.Stderr, "\r", "\n")
	report(variants, samples)
	if out == "" {
		return nil
	}
	data, err := json.MarshalIndent(samples, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o600)
}

func mint(issuer *oidctest.Issuer, alg, subject string) string {
	return issuer.Token(map[string]any{
		"sub": subject, "exp": time.Now().Add(time.Hour).Unix(), "scope": "orders.read orders.write",
		"email": subject + "@example.com", "roles": []string{"customer", "reviewer"},
	}, oidctest.Alg(alg))
}

func gateConfig(issuer string) string {
	return fmt.Sprintf(`server: {listen: %q}
admin: {listen: "off"}
log: {decisions: none}
issuers:
- {issuer: %q, name: bench, audiences: [bench]}
policies:
- name: everything
`, gateAddr, issuer)
}

// report prints one table: medians over the rounds with their spread, and the
// ratio of server CPU to the reference with the same kind of tokens.
func report(variants []variant, samples []sample) {
	pick := func(name string, of func(sample) float64) []float64 {
		var values []float64
		for _, s := range samples {
			if s.Variant == name {
				values = append(values, of(s))
			}
		}
		slices.Sort(values)
		return values
	}
	cpu := func(s sample) float64 { return s.CPUMicros }
	fmt.Printf("%s, %d CPUs, %s, %d rounds, closed loop, %d in flight over %d connections\n\n",
		runtime.Version(), runtime.NumCPU(), machine(), len(samples)/len(variants), inFlight, connections)
	fmt.Println("| variant | server CPU µs/check, median [min, max] | ratio | checks/s | p50 ms | p99 ms | RSS MiB |")
	fmt.Println("|---|---|---|---|---|---|---|")
	base := ""
	for _, v := range variants {
		if v.name == "reference" || v.name == "reference, fresh tokens" {
			base = v.name
		}
		c := pick(v.name, cpu)
		fmt.Printf("| %s | %.1f [%.1f, %.1f] | %.2f | %.0f | %.2f | %.2f | %.0f |\n", v.name,
			median(c), c[0], c[len(c)-1], median(c)/median(pick(base, cpu)),
			median(pick(v.name, func(s sample) float64 { return s.PerSecond })),
			median(pick(v.name, func(s sample) float64 { return s.P50 })),
			median(pick(v.name, func(s sample) float64 { return s.P99 })),
			median(pick(v.name, func(s sample) float64 { return s.RSSMiB })))
	}
}

func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}
