package numbers

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

const (
	decideTook   = "a decision about a cached token"
	decideAllocs = "allocations of that"
	wireTook     = "from the bytes of its check to the bytes of the answer"
	wireAllocs   = "allocations of all that"

	coldTook  = "validation of a never-seen RS256 token"
	bareTook  = "its RSA signature alone"
	coldRatio = "RS256: validation to signature"
	ecTook    = "validation of a never-seen ES256 token"
	ecRatio   = "ES256: validation to signature"
)

func decision() Measurement {
	return Measurement{
		Name:  "decision",
		Title: "A decision without gRPC",
		About: `The benchmarks of the packages themselves, on one processor: ` + "`go test -bench`" + ` of ` + "`extauthz` and `oidc`" + `, in rounds.`,
		Figures: []Figure{
			{decideTook, "µs", median(1.5)},
			{decideAllocs, "", median(3)},
			{wireTook, "µs", nil},
			{wireAllocs, "", nil},
			{coldTook, "µs", nil},
			{bareTook, "µs", nil},
			{coldRatio, "", median(1.3)},
			{ecTook, "µs", nil},
			{ecRatio, "", nil},
		},
		run: runDecision,
	}
}

func runDecision(ctx context.Context, r *recorder, s Scale) error {
	found := map[string][]benchmark{}
	for round := range s.Benchmarks {
		r.say("go test -bench, round %d of %d", round+1, s.Benchmarks)
		for _, run := range [][2]string{
			{"^(BenchmarkDecide|BenchmarkCheckWire)$", "./extauthz"}, {"^(BenchmarkValidate|BenchmarkSignature)$/^(RS256|ES256)$", "./oidc"},
		} {
			part, err := benchmarks(ctx, run[0], run[1])
			if err != nil {
				return err
			}
			for name, results := range part {
				found[name] = append(found[name], results...)
			}
		}
	}
	for _, b := range []struct {
		results      []benchmark
		took, allocs string
	}{
		{found["BenchmarkDecide"], decideTook, decideAllocs}, {found["BenchmarkCheckWire"], wireTook, wireAllocs},
		{found["BenchmarkValidate/RS256"], coldTook, ""}, {found["BenchmarkSignature/RS256"], bareTook, ""},
		{found["BenchmarkValidate/ES256"], ecTook, ""},
	} {
		for _, result := range b.results {
			r.add(b.took, result.nanoseconds/1000)
			if b.allocs != "" {
				r.add(b.allocs, result.allocs)
			}
		}
	}
	for alg, figure := range map[string]string{"RS256": coldRatio, "ES256": ecRatio} {
		for i, bare := range found["BenchmarkSignature/"+alg] {
			if cold := found["BenchmarkValidate/"+alg]; i < len(cold) {
				r.add(figure, cold[i].nanoseconds/bare.nanoseconds)
			}
		}
	}
	return nil
}

// benchmark is one result of a benchmark.
type benchmark struct{ nanoseconds, allocs float64 }

// benchmarks runs those of a package that fit.
func benchmarks(ctx context.Context, which, pkg string) (map[string][]benchmark, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", which, "-benchmem", "-benchtime", "300ms",
		"-cpu", "1", "-count", "1", pkg).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test %s: %w: %s", pkg, err, bytes.TrimSpace(out))
	}
	return readBenchmarks(out), nil
}

var benchmarkLine = regexp.MustCompile(`(?m)^(Benchmark\S+)\s+\d+\s+([0-9.]+) ns/op\s.*?([0-9]+) allocs/op`)

func readBenchmarks(out []byte) map[string][]benchmark {
	found := map[string][]benchmark{}
	for _, line := range benchmarkLine.FindAllSubmatch(out, -1) {
		nanoseconds, _ := strconv.ParseFloat(string(line[2]), 64) // it is made of digits
		allocs, _ := strconv.ParseFloat(string(line[3]), 64)
		found[string(line[1])] = append(found[string(line[1])], benchmark{nanoseconds, allocs})
	}
	return found
}
