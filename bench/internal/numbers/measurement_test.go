package numbers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/bench/internal/results"
)

func TestGoals(t *testing.T) {
	for _, tt := range []struct {
		goal   Goal
		values []float64
		met    bool
	}{
		{Goal{Bound: 2}, []float64{2}, true},
		{Goal{Bound: 2}, []float64{2.01}, false},
		{Goal{Bound: 2}, []float64{1, 9, 2}, true},
		{Goal{Bound: 2, Each: true}, []float64{1, 9, 2}, false},
		{Goal{Bound: 2, Each: true}, []float64{1, 2}, true},
		{Goal{Bound: 2}, []float64{1, 4}, false},
		{Goal{Bound: 2}, nil, false},
		{Goal{Bound: 2, Each: true}, nil, false},
		{Goal{}, []float64{0, 0}, true},
		{Goal{Bound: 2, Least: true}, []float64{1, 2, 3}, true},
		{Goal{Bound: 2, Least: true}, []float64{1, 1.9, 3}, false},
		{Goal{Bound: 2, Least: true, Each: true}, []float64{1, 2, 3}, false},
		{Goal{Bound: 2, Least: true, Each: true}, []float64{2, 3}, true},
		{Goal{Bound: 2, Least: true, Each: true}, nil, false},
	} {
		if met := tt.goal.Met(tt.values); met != tt.met {
			t.Errorf("%+v with %v: met %v", tt.goal, tt.values, met)
		}
	}
}

func TestTableIsUnambiguous(t *testing.T) {
	names := map[string]bool{}
	for _, m := range Measurements() {
		if names[m.Name] || m.Name == "" || strings.Contains(m.Name, ",") || m.Title == "" || m.About == "" {
			t.Errorf("measurement %q", m.Name)
		}
		names[m.Name] = true
		figures := map[string]bool{}
		for _, f := range m.Figures {
			if figures[f.Name] || f.Name == "" || strings.Contains(f.Name, "|") {
				t.Errorf("%s: figure %q", m.Name, f.Name)
			}
			figures[f.Name] = true
		}
	}
}

func TestAFigureWithoutValuesIsAnError(t *testing.T) {
	m := Measurement{Name: "m", Figures: []Figure{{Name: "a"}, {Name: "b"}}, run: func(_ context.Context, r *recorder, _ Scale) error {
		r.add("a", 1)
		return nil
	}}
	if _, err := m.Measure(t.Context(), Scale{}, results.Made{}, io.Discard); err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("error %v, want one that names b", err)
	}
}

func TestInterruptedMeasurementsSaySo(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	m := Measurement{Name: "m", run: func(context.Context, *recorder, Scale) error {
		cancel(why)
		return errors.New("a consequence")
	}}
	if _, err := m.Measure(ctx, Scale{}, results.Made{}, io.Discard); !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
}

func TestMissedGoalsStandOut(t *testing.T) {
	m := Measurements()[0]
	var goals []Figure
	for _, f := range m.Figures {
		if f.Goal != nil {
			goals = append(goals, f)
		}
	}
	values := map[string][]float64{goals[0].Name: {goals[0].Goal.Bound + 1}, goals[1].Name: {goals[1].Goal.Bound}}
	var b bytes.Buffer
	if err := Section(&b, []Result{{Measurement: m.Name, Values: values}}); err != nil {
		t.Fatal(err)
	}
	for figure, verdict := range map[string]string{goals[0].Name: "**missed**", goals[1].Name: "met"} {
		for line := range strings.Lines(b.String()) {
			if strings.HasPrefix(line, "| "+figure+" |") && !strings.HasSuffix(strings.TrimSpace(line), "| "+verdict+" |") {
				t.Errorf("line %q, want %s", line, verdict)
			}
		}
	}
}

func TestBenchmarksAreRead(t *testing.T) {
	got := readBenchmarks([]byte(`goos: linux
BenchmarkDecide 	  352694	      1234 ns/op	     416 B/op	       3 allocs/op
BenchmarkDecide 	  352694	      1300.5 ns/op	     416 B/op	       4 allocs/op
BenchmarkValidate/RS256         	    5000	     42 ns/op	 0 B/op	       0 allocs/op
PASS
`))
	want := map[string][]benchmark{"BenchmarkDecide": {{1234, 3}, {1300.5, 4}}, "BenchmarkValidate/RS256": {{42, 0}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
