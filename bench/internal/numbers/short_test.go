package numbers

import (
	"math"
	"os"
	"testing"

	"github.com/claimgate/claimgate/bench/internal/results"
)

// progress writes to a test's log.
type progress struct{ t *testing.T }

// Write implements io.Writer.
func (p progress) Write(line []byte) (int, error) {
	p.t.Logf("%s", line)
	return len(line), nil
}

// What make numbers measures for minutes holds for seconds too: no failed call, no
// wrong verdict, no leak. On a machine that is busy with something else, some goals
// are looser.
func TestLifeUnderLoadInShort(t *testing.T) {
	if os.Getenv("CLAIMGATE_E2E") == "" {
		t.Skip("set CLAIMGATE_E2E=1 and ENVOY, or run make test-integration")
	}
	scale := Short("../../../bin/claimgate")
	scale.Envoy, scale.Patient = os.Getenv("ENVOY"), true
	looser := map[string]float64{
		reloadMostMore: math.Inf(1), // what waits for a processor waits in goroutines
		reloadMore:     10, reloadHeapGrows: 4,
		shareOff(headless): 40, shareOff(oneIP): 75,
	}
	for _, name := range []string{"reload", "restart", "balance", "page"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, ok := Find(name)
			if !ok {
				t.Fatal("there is no such measurement")
			}
			r, err := m.Measure(t.Context(), scale, results.Made{}, progress{t})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range m.Figures {
				if f.Goal == nil {
					continue
				}
				goal := *f.Goal
				if bound, ok := looser[f.Name]; ok {
					goal.Bound = bound
				}
				if !goal.Met(r.Values[f.Name]) {
					t.Errorf("%s: %v, and the bound is %v", f.Name, r.Values[f.Name], goal.Bound)
				}
			}
		})
	}
}
