package extauthz

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const wantPrefix = "# want: "

// Each file in testdata/config/bad has one mistake, or a few that belong
// together, and begins with a line for each problem that must be reported.
// With -update the lines are written anew.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/config/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad configurations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				data = withWants(t, string(data))
				if err := os.WriteFile(file, data, 0o644); err != nil { //nolint:gosec // test data
					t.Fatal(err)
				}
			}
			wants, _ := cutWants(string(data))
			cfg, err := ParseConfig("gate.yaml", data)
			if err == nil || cfg != nil {
				t.Fatalf("ParseConfig returned a configuration and the error %v", err)
			}
			if got := problemLines(t, err); !reflect.DeepEqual(got, wants) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wants, "\n"))
			}
		})
	}
}

// problemLines returns the problems as "LINE:COLUMN: PATH: TEXT".
func problemLines(t *testing.T, err error) []string {
	t.Helper()
	var config *ConfigError
	if !errors.As(err, &config) {
		t.Fatalf("the error is a %T, want a *ConfigError", err)
	}
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		rest, ok := strings.CutPrefix(line, "gate.yaml:")
		if !ok {
			t.Errorf("line %q does not begin with the file's name", line)
		}
		lines = append(lines, rest)
	}
	if len(lines) != len(config.Problems) {
		t.Errorf("%d lines for %d problems", len(lines), len(config.Problems))
	}
	return lines
}

func cutWants(data string) (wants []string, rest string) {
	for strings.HasPrefix(data, wantPrefix) {
		var line string
		line, data, _ = strings.Cut(data, "\n")
		wants = append(wants, strings.TrimPrefix(line, wantPrefix))
	}
	return wants, data
}

// withWants writes the lines at the head, which move what they are about.
func withWants(t *testing.T, data string) []byte {
	t.Helper()
	_, rest := cutWants(data)
	head := ""
	for range 3 {
		_, err := ParseConfig("gate.yaml", []byte(head+rest))
		if err == nil {
			t.Fatal("the configuration is good")
		}
		head = ""
		for _, line := range problemLines(t, err) {
			head += wantPrefix + line + "\n"
		}
	}
	return []byte(head + rest)
}
