package numbers

import (
	"fmt"
	"io"
	"strings"

	"github.com/claimgate/claimgate/bench/internal/results"
)

// Section writes results as sections of a page, in the order of [Measurements]. It
// is an error if one is of a measurement or has a figure that does not exist.
func Section(w io.Writer, list []Result) error {
	byName := map[string]Result{}
	for _, r := range list {
		m, ok := Find(r.Measurement)
		if !ok {
			return fmt.Errorf("there is no measurement %q", r.Measurement)
		}
		known := map[string]bool{}
		for _, f := range m.Figures {
			known[f.Name] = true
		}
		for figure := range r.Values {
			if !known[figure] {
				return fmt.Errorf("the measurement %q has no figure %q", r.Measurement, figure)
			}
		}
		byName[r.Measurement] = r
	}
	for _, m := range Measurements() {
		r, ok := byName[m.Name]
		if !ok {
			continue
		}
		fmt.Fprintf(w, "\n## %s\n\n%s\n\n%s It took %.0f s.\n\n", m.Title, m.About, r.Made, r.Seconds)
		fmt.Fprintln(w, "| | measured: median [least, greatest] | goal | |")
		fmt.Fprintln(w, "|---|---|---|---|")
		for _, f := range m.Figures {
			goal, verdict := f.judge(r.Values[f.Name])
			fmt.Fprintf(w, "| %s | %s | %s | %s |\n", f.Name, f.measured(r.Values[f.Name]), goal, verdict)
		}
	}
	return nil
}

func (f Figure) measured(values []float64) string {
	mid, least, greatest := results.Median(values)
	text := results.Number(mid)
	switch {
	case len(values) == 0:
		return "not measured"
	case len(values) > 1:
		text += fmt.Sprintf(" [%s, %s]", results.Number(least), results.Number(greatest))
	}
	return strings.TrimSpace(text + " " + f.Unit)
}

func (f Figure) judge(values []float64) (goal, verdict string) {
	if f.Goal == nil {
		return "", ""
	}
	sign := "≤ "
	if f.Goal.Least {
		sign = "≥ "
	}
	goal = strings.TrimSpace(sign + results.Number(f.Goal.Bound) + " " + f.Unit)
	if f.Goal.Each && len(values) > 1 {
		goal += ", each"
	}
	if f.Goal.Met(values) {
		return goal, "met"
	}
	return goal, "**missed**"
}
