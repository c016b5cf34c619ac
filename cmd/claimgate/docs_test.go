package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/dependencies.md names what go.mod names, with the same versions.
func TestDependenciesAreDocumented(t *testing.T) {
	var want []string
	for line := range strings.Lines(read(t, "../../go.mod")) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") && !strings.Contains(line, "// indirect") {
			want = append(want, fields[0]+" "+dated(fields[1]))
		}
	}
	var got []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z.]+/[^ ]+|[a-z.]+\.[a-z]+/[^ ]+) \| ([^ ]+) \|`).FindAllStringSubmatch(read(t, "../../docs/dependencies.md"), -1) {
		got = append(got, row[1]+" "+row[2])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docs/dependencies.md has\n%s\ngo.mod has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// dated writes a pseudo-version as its day.
func dated(v string) string {
	if day := regexp.MustCompile(`^v0\.0\.0-(\d{4})(\d\d)(\d\d)\d{6}-`).FindStringSubmatch(v); day != nil {
		return day[1] + "-" + day[2] + "-" + day[3]
	}
	return v
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
