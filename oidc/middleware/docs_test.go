package middleware_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The pieces of code in docs/library.md that are said to be from an example are.
func TestDocumentedCodeIsThatOfTheExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/library.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n## Guard a service\n")
	text, _, found2 := strings.Cut(text, "\n## ")
	if !found || !found2 {
		t.Fatal("the section is not there")
	}
	link := regexp.MustCompile(`\]\(\.\./(examples/[a-z/]+\.go)\)`)
	source, pieces := "", 0
	for i, part := range strings.Split(text, "```") {
		if i%2 == 0 { // prose: the last example that it names counts
			if links := link.FindAllStringSubmatch(part, -1); len(links) > 0 {
				code, err := os.ReadFile(filepath.Join("../..", links[len(links)-1][1]))
				if err != nil {
					t.Fatal(err)
				}
				source = string(code)
			}
			continue
		}
		pieces++
		if code := strings.TrimPrefix(part, "go\n"); code == "" || !strings.Contains(source, code) {
			t.Errorf("this is not in the example:\n%s", code)
		}
	}
	if pieces == 0 {
		t.Error("there is no code")
	}
}

// Each example is in both lists of them.
func TestTheListsOfExamplesAreComplete(t *testing.T) {
	programs, err := filepath.Glob("../../examples/*/*_test.go")
	if err != nil || len(programs) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for list, base := range map[string]string{"../../examples/README.md": "", "../../docs/library.md": "../examples/"} {
		page, err := os.ReadFile(list) //nolint:gosec // our own pages
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range programs {
			name := filepath.Base(filepath.Dir(test))
			program := strings.TrimSuffix(filepath.Base(test), "_test.go") + ".go"
			if row := "\n| [" + name + "](" + base + name + "/" + program + ") | "; !strings.Contains(string(page), row) {
				t.Errorf("%s has no row for %s", list, name)
			}
		}
	}
}
