package extauthz

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAttacksAreCovered compares docs/attacks.md with the tests that it names.
func TestAttacksAreCovered(t *testing.T) {
	page, err := os.ReadFile("../docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	code := testsByPackage(t)

	row := regexp.MustCompile(`^\| ([A-Z]\d+) \| .+ \| (.+) \| (.+) \|$`)
	quoted := regexp.MustCompile("`([^`]+)`")
	var ids []string
	for line := range strings.Lines(string(page)) {
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		id, control, tests := m[1], m[2], quoted.FindAllStringSubmatch(m[3], -1)
		ids = append(ids, id)
		if waived := strings.HasPrefix(control, "waived: "); waived != (len(tests) == 0) {
			t.Errorf("%s: %d tests, waived: %t", id, len(tests), waived)
		}
		for _, test := range tests {
			if err := findTest(code, test[1]); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	for prefix, last := range map[string]int{"A": 20, "B": 10, "C": 12, "D": 10, "E": 10, "G": 11, "N": 12} {
		for n := 1; n <= last; n++ {
			if id := fmt.Sprintf("%s%d", prefix, n); !slices.Contains(ids, id) {
				t.Errorf("%s has no row", id)
			}
		}
	}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			t.Errorf("%s has two rows", id)
		}
	}
}

// testsByPackage is the source of the tests that documents may name, by the names that
// they use for packages.
func testsByPackage(t *testing.T) map[string]string {
	t.Helper()
	packages := map[string]string{
		"oidc": "../oidc", "client": "../oidc/client", "dpop": "../oidc/dpop", "middleware": "../oidc/middleware", "grpc": "../oidc/middleware/grpc",
		"extauthz": ".", "claimgate": "../cmd/claimgate", "e2e": "../cmd/claimgate/internal/e2e", "doctor": "../cmd/claimgate/internal/doctor",
		"interop": "../cmd/claimgate/internal/interop",
		"numbers": "../bench/internal/numbers",
	}
	code := map[string]string{}
	for name, dir := range packages {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file) //nolint:gosec // our own sources
			if err != nil {
				t.Fatal(err)
			}
			code[name] += string(text)
		}
	}
	return code
}

// findTest reports that there is no such test: "package: TestName", or the file of
// a transcript.
func findTest(code map[string]string, test string) error {
	pkg, name, isGo := strings.Cut(test, ": ")
	if !isGo {
		_, err := os.Stat(filepath.Join("testdata/check", test))
		return err
	}
	if !strings.Contains(code[pkg], "\nfunc "+name+"(") {
		return fmt.Errorf("package %s has no %s", pkg, name)
	}
	return nil
}
