package demo

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// columns are the table's headings and widths. The last has no width.
var columns = []struct {
	name  string
	width int
}{{"", 1}, {"asked", 38}, {"expected", 20}, {"answered", 20}, {"reason", 0}}

// table prints results as they come, so that a slow stop is seen to be slow.
type table struct{ out io.Writer }

func newTable(out io.Writer) table {
	t := table{out}
	var names, rules []string
	for _, c := range columns {
		names = append(names, c.name)
		rules = append(rules, strings.Repeat("─", max(c.width, len(c.name))))
	}
	t.line(names)
	t.line(rules)
	return t
}

func (t table) line(cells []string) {
	var b strings.Builder
	for n, cell := range cells {
		b.WriteString(cell)
		if n+1 < len(cells) {
			b.WriteString(strings.Repeat(" ", max(0, columns[n].width-utf8.RuneCountInString(cell))+2))
		}
	}
	fmt.Fprintln(t.out, strings.TrimRight(b.String(), " "))
}

func (t table) row(r Result) {
	mark := "✓"
	if !r.OK() {
		mark = "✗"
	}
	reason := r.Got.Reason
	if reason == "" {
		reason = "(Envoy's own)"
	}
	t.line([]string{mark, r.Stop.Asked, outcome(r.Want), outcome(r.Got), reason})
	if len(r.Got.Identity) > 0 {
		t.line([]string{"", "  → " + spell(r.Got.Identity)})
	}
	for _, fault := range r.Faults {
		t.line([]string{"", "  ! " + fault})
	}
}

// outcome is an answer in two words.
func outcome(w Want) string {
	if w.Upstream == "" {
		return fmt.Sprint(w.Status)
	}
	return fmt.Sprintf("%d at %s", w.Status, w.Upstream)
}
