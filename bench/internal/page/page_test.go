package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/bench/internal/checks"
	"github.com/claimgate/claimgate/bench/internal/numbers"
)

// So no figure of the page was typed by hand, none is of a measurement that is gone,
// and the goals are those that the program judges by.
func TestPageIsWhatTheResultsMake(t *testing.T) {
	got, err := os.ReadFile("../../../docs/benchmarks.md")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read("../../results")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	if err := r.Write(&want); err != nil {
		t.Fatal(err)
	}
	if string(got) != want.String() {
		t.Error("docs/benchmarks.md is not what bench/results makes: go run ./bench page makes it")
	}
	picture, err := os.ReadFile("../../../docs/" + PictureFile)
	if err != nil {
		t.Fatal(err)
	}
	want.Reset()
	if err := r.Picture(&want); err != nil {
		t.Fatal(err)
	}
	if string(picture) != want.String() {
		t.Errorf("docs/%s is not what bench/results makes: go run ./bench page makes it", PictureFile)
	}
	for _, m := range numbers.Measurements() {
		if !strings.Contains(string(got), "\n## "+m.Title+"\n") {
			t.Errorf("docs/benchmarks.md has no section %q: run make numbers", m.Title)
		}
	}
}

// Each command replaces its own results and leaves the other's.
func TestResultsAreKeptApart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	m := numbers.Measurements()[0]
	list := []numbers.Result{{Measurement: m.Name, Values: map[string][]float64{m.Figures[0].Name: {1, 3, 2}}}}
	if err := WriteNumbers(dir, list); err != nil {
		t.Fatal(err)
	}
	if err := WriteChecks(dir, checks.File{Samples: []checks.Sample{{Suite: checks.Direct, Variant: "reference", Round: 1}}}); err != nil {
		t.Fatal(err)
	}
	r, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## What a check costs", "## " + m.Title, "2 [1, 3]", "not measured"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, &b)
		}
	}
}

func TestResultsOfNothingThatExistsAreRefused(t *testing.T) {
	m := numbers.Measurements()[0]
	for _, r := range []numbers.Result{
		{Measurement: "gone"},
		{Measurement: m.Name, Values: map[string][]float64{"gone": {1}}},
	} {
		var b strings.Builder
		if err := (Results{Numbers: []numbers.Result{r}}).Write(&b); err == nil || !strings.Contains(err.Error(), `"gone"`) {
			t.Errorf("%v: %v, want an error that names it", r, err)
		}
	}
}
