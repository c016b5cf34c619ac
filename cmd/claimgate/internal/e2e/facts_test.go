package e2e_test

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// fact is what the table in docs/envoy.md says of the Envoy under test: the
// number in a column. The tests expect what the document promises.
func fact(t *testing.T, column string) int {
	t.Helper()
	text := cell(t, column)
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("docs/envoy.md, column %s: %q is no number", column, text)
	}
	return n
}

// cell is a cell of that table.
func cell(t *testing.T, column string) string {
	t.Helper()
	document, err := os.ReadFile("../../../../docs/envoy.md")
	if err != nil {
		t.Fatal(err)
	}
	version := envoyVersion(t)
	number := -1
	for line := range strings.Lines(string(document)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		switch {
		case cells[0] == "Envoy":
			for i, name := range cells {
				if name == strings.Trim(column, "`") {
					number = i
				}
			}
		case number >= 0 && cells[0] == version:
			return cells[number]
		}
	}
	t.Fatalf("docs/envoy.md says nothing of Envoy %s under %q: add a row, or unset ENVOY to test with a version that has one", version, column)
	return ""
}

// envoyVersion asks the binary.
func envoyVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), envoy, "--version").Output() //nolint:gosec // the Envoy under test
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`/(\d+\.\d+\.\d+[^/]*)/`).FindSubmatch(out)
	if version == nil {
		t.Fatalf("no version in %q", out)
	}
	return string(version[1])
}
