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
	section := func(name string) string { return operationsSection(t, name) }
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

// operationsSection returns the text below a heading.
func operationsSection(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../docs/operations.md")
	must(t, err)
	_, rest, ok := strings.Cut(string(data), "\n## "+name+"\n")
	if !ok {
		t.Fatalf("the page has no section %s", name)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// What the page says of trouble is shown by the tests that it names.
func TestEachKindOfTroubleIsTested(t *testing.T) {
	code := testsByPackage(t)
	const columns = 4 // the tests are in the last one
	for _, heading := range []string{"What happens when something is down", "What happens when a file, a certificate or an address is bad"} {
		rows := 0
		for line := range strings.Lines(operationsSection(t, heading)) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(cells[0], " what is ") {
				continue
			}
			rows++
			if len(cells) != columns {
				t.Errorf("%d columns in %s", len(cells), line)
				continue
			}
			names := quoted(cells[columns-1])
			if len(names) == 0 {
				t.Errorf("no test in %s", line)
			}
			for _, name := range names {
				if err := findTest(code, name); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(cells[0]), err)
				}
			}
		}
		if rows < 8 {
			t.Errorf("%s: %d rows", heading, rows)
		}
	}
}

// The page's values are the gate's defaults, and those of the shipped file.
func TestTimeoutsOnThePageAreTheShippedOnes(t *testing.T) {
	section := operationsSection(t, "Timeouts, retries, circuit breakers")
	envoy, err := os.ReadFile("../envoy-config/envoy.yaml")
	must(t, err)
	defaults := loadGood(t, "smallest.yaml")
	gates := map[string]Duration{
		"http.timeout": defaults.Issuers[0].HTTP.Timeout, "server.checkTimeout": defaults.Server.CheckTimeout,
		"server.maxConnectionAge": *defaults.Server.MaxConnectionAge,
		"server.drainDelay":       *defaults.Server.DrainDelay, "server.drainTimeout": *defaults.Server.DrainTimeout,
	}
	seen := 0
	for _, text := range quoted(section) {
		field, value, ok := strings.Cut(text, ": ")
		if !ok {
			continue
		}
		seen++
		if want, ours := gates[field]; ours {
			if value != want.String() {
				t.Errorf("%s: the default is %s", text, want)
			}
		} else if !strings.Contains(string(envoy), text) {
			t.Errorf("envoy.yaml has no %s", text)
		}
	}
	if seen < 10 {
		t.Errorf("only %d values on the page", seen)
	}
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
