package extauthz

import (
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc"
)

// TestOperationsPage compares what docs/operations.md names with the program.
func TestOperationsPage(t *testing.T) {
	data, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string) string {
		_, rest, ok := strings.Cut(string(data), "\n## "+name+"\n")
		if !ok {
			t.Fatalf("the page has no section %s", name)
		}
		text, _, _ := strings.Cut(rest, "\n## ")
		return text
	}
	same := func(what string, got, want []string) {
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: the page has\n%v\nthe program has\n%v", what, got, want)
		}
	}

	same("fields of a record", firstCells(section("Decision records")), recordFields(t))

	var rows []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \|$`).FindAllStringSubmatch(section("Reasons"), -1) {
		for _, reason := range quoted(row[2]) {
			rows = append(rows, row[1]+" "+reason)
		}
	}
	// What the reference of answers has beyond that is for features to come.
	later := []oidc.Reason{
		oidc.Inactive, oidc.Revoked, oidc.ProofMissing, oidc.ProofInvalid, oidc.ProofReplayed, oidc.NonceRequired,
		oidc.BindingMismatch, oidc.InsufficientAuthentication, oidc.IntrospectionUnavailable,
	}
	var reasons []string
	for _, r := range oidc.Reasons() {
		if !slices.Contains(later, r) {
			reasons = append(reasons, fmt.Sprint(r.Status(), " ", r))
		}
	}
	same("reasons", rows, reasons)
}

// firstCells returns the names in the first column of a section's table.
func firstCells(section string) []string {
	var names []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(section, -1) {
		names = append(names, quoted(row[1])...)
	}
	return names
}

// quoted returns what stands in back quotes.
func quoted(text string) []string {
	var list []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// recordFields returns the keys of a decision record that has them all.
func recordFields(t *testing.T) []string {
	t.Helper()
	var line strings.Builder
	l := newDecisionLog(slog.New(slog.NewTextHandler(&line, nil)))
	l.write(decisionRecord{
		reason: oidc.ValidToken, allowed: true, policy: "p", issuer: "i", client: "c", subject: "s", method: "GET", host: "h",
		path: "/", traceID: "t", requestID: "r", source: "a", token: "k",
	})
	var names []string
	for _, field := range regexp.MustCompile(`(\w+)=`).FindAllStringSubmatch(line.String(), -1) {
		names = append(names, field[1])
	}
	return append(names, "time")
}
