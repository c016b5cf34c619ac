package checks

import (
	"fmt"
	"io"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/bench/internal/results"
)

// Table writes one table: medians over the rounds with their spread, and the ratio
// of server CPU to the reference with the same kind of tokens.
func (f File) Table(w io.Writer) {
	variants := []string{referenceHot, gateOne, gateThousand, referenceCold, gateRS256, gateES256}
	pick := func(name string, of func(Sample) float64) (median, least, greatest float64) {
		var values []float64
		for _, s := range f.Samples {
			if s.Variant == name {
				values = append(values, of(s))
			}
		}
		return results.Median(values)
	}
	cpu := func(s Sample) float64 { return s.CPUMicros }
	fmt.Fprintf(w, "%s, %d CPUs, %s, %d rounds, closed loop, %d in flight over %d connections\n\n",
		f.Made.Go, f.Made.CPUs, f.Made.CPU, len(f.Samples)/len(variants), inFlight, load.Connections)
	fmt.Fprintln(w, "| variant | server CPU µs/check, median [min, max] | ratio | checks/s | p50 ms | p99 ms | RSS MiB |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	base := 0.0
	for _, name := range variants {
		median, least, greatest := pick(name, cpu)
		if name == referenceHot || name == referenceCold {
			base = median
		}
		perSecond, _, _ := pick(name, func(s Sample) float64 { return s.PerSecond })
		p50, _, _ := pick(name, func(s Sample) float64 { return s.P50 })
		p99, _, _ := pick(name, func(s Sample) float64 { return s.P99 })
		rss, _, _ := pick(name, func(s Sample) float64 { return s.RSSMiB })
		fmt.Fprintf(w, "| %s | %.1f [%.1f, %.1f] | %.2f | %.0f | %.2f | %.2f | %.0f |\n", name,
			median, least, greatest, median/base, perSecond, p50, p99, rss)
	}
}
