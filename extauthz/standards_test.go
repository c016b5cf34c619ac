package extauthz

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestStandardsAreProven compares docs/standards.md with the tests that it names.
func TestStandardsAreProven(t *testing.T) {
	page, err := os.ReadFile("../docs/standards.md")
	if err != nil {
		t.Fatal(err)
	}
	code := testsByPackage(t)
	named := regexp.MustCompile("`([a-z]+): ([A-Z][A-Za-z0-9]+)`")
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| standard |") {
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test proves %.80s", line)
		}
		for _, test := range tests {
			if !strings.Contains(code[test[1]], "\nfunc "+test[2]+"(") {
				t.Errorf("package %s has no %s", test[1], test[2])
			}
		}
	}
	if rows == 0 {
		t.Error("the page has no rows")
	}
}
