package checks

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/bench/internal/results"
)

// column is one figure of a sample.
type column struct {
	title  string
	of     func(Sample) float64
	spread bool
}

var (
	cpuColumn   = column{"server CPU µs", func(s Sample) float64 { return s.CPU }, true}
	envoyColumn = column{"Envoy CPU µs", func(s Sample) float64 { return s.EnvoyCPU }, true}
	allocColumn = column{"allocations", func(s Sample) float64 { return s.Allocs }, false}
	rateColumn  = column{"a second", func(s Sample) float64 { return s.PerSecond }, true}
	p50Column   = column{"p50 ms", func(s Sample) float64 { return s.P50 }, true}
	p90Column   = column{"p90 ms", func(s Sample) float64 { return s.P90 }, false}
	p99Column   = column{"p99 ms", func(s Sample) float64 { return s.P99 }, true}
	p999Column  = column{"p99.9 ms", func(s Sample) float64 { return s.P999 }, false}
	rssColumn   = column{"server RSS MiB", func(s Sample) float64 { return s.RSS }, false}
)

// median is the middle of a figure over the rounds, with its spread. All are NaN if
// there is none.
func (f File) median(suite Suite, variant string, of func(Sample) float64) (median, least, greatest float64) {
	var values []float64
	for _, s := range f.Samples {
		if s.Suite == suite && s.Variant == variant {
			values = append(values, of(s))
		}
	}
	return results.Median(values)
}

// ratio is a figure of one variant to that of another, median to median.
func (f File) ratio(suite Suite, variant, to string, of func(Sample) float64) float64 {
	a, _, _ := f.median(suite, variant, of)
	b, _, _ := f.median(suite, to, of)
	return a / b
}

// variants are those that a suite has samples of, in the order of the page.
func (f File) variants(suite Suite) []string {
	order := []string{
		reference, gateOne, gateThousand, gateMany, gateMissing, gateForged, referenceFresh, bareRS256, gateRS256, bareES256, gateES256, gateEdDSA, sameAnswer,
		noFilter, jwtCached, jwtUncached, viaReference, viaSame, viaGate, viaSocket,
	}
	for _, p := range f.Peers {
		order = append(order, peerOne(p), peerFresh(p, "RS256"), peerFresh(p, "ES256"), viaPeer(p))
	}
	return slices.DeleteFunc(order, func(name string) bool {
		return !slices.ContainsFunc(f.Samples, func(s Sample) bool { return s.Suite == suite && s.Variant == name })
	})
}

// Table writes all tables of one run: medians over the rounds, with the least and
// the greatest where there is room.
func (f File) Table(w io.Writer) {
	rounds := fmt.Sprintf("Medians of %d rounds [least, greatest].", f.Rounds)
	fmt.Fprintf(w, "### Sent to the server, closed loop\n\n%d in flight over %d connections, as fast as they are answered. %s\n\n", inFlight, load.Connections, rounds)
	f.table(w, Direct, baseOfDirect, cpuColumn, cpuColumn, allocColumn, rateColumn, p50Column, p99Column, p999Column, rssColumn)
	fmt.Fprintf(w, "\n### Sent to the server, open loop\n\n%.0f checks a second, whatever the answers take. %s\n\n", f.Rate, rounds)
	f.table(w, DirectOpen, baseOfDirect, p50Column, p50Column, p90Column, p99Column, p999Column, cpuColumn)
	fmt.Fprintf(w, "\n### Through Envoy, closed loop\n\nEnvoy %s with one worker thread answers by itself what passes. %d connections of HTTP/1.1, one token. %s\n\n", f.Envoy, inFlight, rounds)
	f.table(w, Proxied, baseOfProxied, rateColumn, rateColumn, p50Column, p90Column, p99Column, p999Column, envoyColumn, cpuColumn, allocColumn)
	fmt.Fprintf(w, "\n### Through Envoy, open loop\n\n%.0f requests a second over %d connections. %s\n\n", f.Rate, openConnections, rounds)
	f.table(w, ProxyOpen, baseOfProxied, p50Column, p50Column, p90Column, p99Column, p999Column, envoyColumn, cpuColumn)
}

func baseOfDirect(variant string) string {
	if strings.Contains(variant, "fresh") || strings.Contains(variant, "never-seen") {
		return referenceFresh
	}
	return reference
}

func baseOfProxied(string) string { return viaReference }

// table writes one table, with the ratio of one figure to that of a base.
func (f File) table(w io.Writer, suite Suite, base func(string) string, compared column, columns ...column) {
	fmt.Fprintf(w, "| | ratio of %s |", strings.TrimSuffix(strings.TrimSuffix(compared.title, " µs"), " ms"))
	for _, c := range columns {
		fmt.Fprintf(w, " %s |", c.title)
	}
	fmt.Fprintf(w, "\n|---|---|%s\n", strings.Repeat("---|", len(columns)))
	for _, name := range f.variants(suite) {
		fmt.Fprintf(w, "| %s | %.2f |", name, f.ratio(suite, name, base(name), compared.of))
		for _, c := range columns {
			median, least, greatest := f.median(suite, name, c.of)
			switch {
			case greatest == 0: // not measured
				fmt.Fprint(w, " – |")
			case c.spread:
				fmt.Fprintf(w, " %s [%s, %s] |", results.Number(median), results.Number(least), results.Number(greatest))
			default:
				fmt.Fprintf(w, " %s |", results.Number(median))
			}
		}
		fmt.Fprintln(w)
	}
}
