// Package page makes docs/benchmarks.md from the files of results, so that each
// command can be run again without the other.
package page

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/claimgate/claimgate/bench/internal/checks"
	"github.com/claimgate/claimgate/bench/internal/numbers"
	"github.com/claimgate/claimgate/bench/internal/results"
)

// Results is all that was measured last.
type Results struct {
	Checks  checks.File
	Numbers []numbers.Result
}

const (
	checksFile  = "checks.json"
	numbersFile = "numbers.json"
)

// Read reads the files of results in a directory. One that is missing is empty.
func Read(dir string) (Results, error) {
	var r Results
	if err := results.Read(filepath.Join(dir, checksFile), &r.Checks); err != nil {
		return r, err
	}
	return r, results.Read(filepath.Join(dir, numbersFile), &r.Numbers)
}

// WriteChecks replaces what make bench measures.
func WriteChecks(dir string, f checks.File) error {
	return results.Write(filepath.Join(dir, checksFile), f)
}

// WriteNumbers replaces what make numbers measures.
func WriteNumbers(dir string, list []numbers.Result) error {
	return results.Write(filepath.Join(dir, numbersFile), list)
}

// PictureFile is the name of the picture, beside the page.
const PictureFile = "latency.svg"

// Picture writes the picture.
func (r Results) Picture(w io.Writer) error { return r.Checks.Picture(w) }

// Write writes the page.
func (r Results) Write(w io.Writer) error {
	fmt.Fprint(w, `# Benchmarks

Nothing on this page was typed by hand: `+"`make bench` and `make numbers`"+` write what they measured to bench/results and
make the page from it, and a test compares the two. [bench/README.md](../bench/README.md) says how to read it. Absolute figures hold
for one machine and one run; the goals are for a quiet machine.
`)
	if len(r.Checks.Samples) > 0 {
		fmt.Fprintf(w, `
## What a check costs

%s It took %.0f s.

Ratios are to the same with the *reference*, an ext_authz server in grpc-go whose Check answers OK and looks at nothing, in the same
run. %s

`, r.Checks.Made, r.Checks.Seconds, r.Checks.Calm())
		if len(r.Checks.Peers) > 0 {
			fmt.Fprintf(w, "The peers have the same duty, to verify the token and to send its subject on in a header. %s\n\n", r.Checks.Note)
		}
		r.Checks.Goals(w)
		fmt.Fprintf(w, "\n![Latency through Envoy by variant](%s)\n\n", PictureFile)
		r.Checks.Table(w)
		r.Checks.AboutTheWay(w)
		fmt.Fprint(w, "\n### Where jwt_authn stays better\n\n")
		r.Checks.AboutJWTAuthn(w)
	}
	return numbers.Section(w, r.Numbers)
}
