// Package numbers measures what the gate promises: many issuers, hostile key sets,
// storms of made-up key IDs and of reloads, restarts behind an Envoy. Each measurement has figures, and some figures
// have goals; all of them stand in one table, [Measurements].
package numbers

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/claimgate/claimgate/bench/internal/results"
)

// Measurement is one thing that is measured.
type Measurement struct {
	Name    string // on the command line and in files
	Title   string
	About   string // what is done, and how to read it
	Figures []Figure
	run     func(ctx context.Context, r *recorder, s Scale) error
}

// Figure is what a measurement yields: a value, or one for each round.
type Figure struct {
	Name string
	Unit string // may be empty
	Goal *Goal  // nil: it only explains
}

// Goal is what a figure ought to be.
type Goal struct {
	Bound float64 // at most
	Least bool    // at least, rather
	Each  bool    // holds for each value, and not only for the median
}

func median(atMost float64) *Goal { return &Goal{Bound: atMost} }
func each(atMost float64) *Goal   { return &Goal{Bound: atMost, Each: true} }
func atLeast(bound float64) *Goal { return &Goal{Bound: bound, Least: true, Each: true} }

// Met reports whether values keep to a goal. Without values none is met.
func (g Goal) Met(values []float64) bool {
	value, least, greatest := results.Median(values)
	switch {
	case g.Each && g.Least:
		value = least
	case g.Each:
		value = greatest
	}
	if g.Least {
		return value >= g.Bound
	}
	return value <= g.Bound
}

// Result is what one measurement has yielded.
type Result struct {
	Measurement string               `json:"measurement"`
	Made        results.Made         `json:"made"`
	Seconds     float64              `json:"seconds"` // it took
	Values      map[string][]float64 `json:"values"`  // by the figure's name
}

// Scale says how much is measured.
type Scale struct {
	Gate string // the claimgate binary

	Issuers int // that the provider has
	Hot     int // of these, issuers whose tokens are checked
	Few     int // issuers that many are compared with

	Rounds  int           // of what is compared
	Round   time.Duration // one of these
	Refresh time.Duration // keys.refresh where refreshes are counted
	Watch   time.Duration // how long they are counted
	Slow    time.Duration // how long the provider is slow after that
	Storm   time.Duration // a storm without a pause
	Fetches int           // of each hostile key set

	Envoy   string // the Envoy binary
	Patient bool   // for a machine that is busy with something else: no short time-outs
	Reloads int    // of the configuration

	Restarts int // of all replicas, one after the other
	Kills    int // the same, by SIGKILL

	Overloads             int // times that the gate is overloaded
	Capacity, Over, After time.Duration

	Cached int           // tokens in the cache
	Settle time.Duration // how long these are sent
	Churn  time.Duration // with tokens that were never seen

	Starts     int
	Benchmarks int // times that each runs
}

// rate is how much of a load a machine gets that is busy with something else.
func (s Scale) rate(full float64) float64 {
	if s.Patient {
		return full / 5
	}
	return full
}

// Full is what the goals are for.
func Full(gate string) Scale {
	return Scale{
		Gate: gate, Issuers: 10000, Hot: 500, Few: 20,
		Rounds: 20, Round: 2 * time.Second, Refresh: time.Minute, Watch: 60 * time.Second, Slow: 15 * time.Second,
		Storm: time.Minute, Fetches: 5,
		Reloads: 200, Restarts: 20, Kills: 5,
		Overloads: 3, Capacity: 3 * time.Second, Over: 10 * time.Second, After: 6 * time.Second,
		Cached: 100000, Settle: 30 * time.Second, Churn: 10 * time.Minute, Starts: 15, Benchmarks: 5,
	}
}

// Short is enough to see that everything works; its figures mean nothing.
func Short(gate string) Scale {
	return Scale{
		Gate: gate, Issuers: 1000, Hot: 100, Few: 20,
		Rounds: 2, Round: time.Second, Refresh: 5 * time.Second, Watch: 8 * time.Second, Slow: 3 * time.Second,
		Storm: 3 * time.Second, Fetches: 1,
		Reloads: 10, Restarts: 2, Kills: 1,
		Overloads: 1, Capacity: time.Second, Over: 3 * time.Second, After: 2 * time.Second,
		Cached: 5000, Settle: time.Second, Churn: 5 * time.Second, Starts: 3, Benchmarks: 1,
	}
}

// Measurements are all that there are.
func Measurements() []Measurement {
	return []Measurement{
		issuers(), hostile(), storm(), reloads(), restarts(), balance(), overload(), memoryUse(), start(), decision(), statusPage(), cover(),
	}
}

// Find returns the measurement of that name.
func Find(name string) (Measurement, bool) {
	all := Measurements()
	i := slices.IndexFunc(all, func(m Measurement) bool { return m.Name == name })
	if i < 0 {
		return Measurement{}, false
	}
	return all[i], true
}

// Measure runs a measurement. Every figure has values when it returns nil.
func (m Measurement) Measure(ctx context.Context, s Scale, made results.Made, progress io.Writer) (Result, error) {
	r := &recorder{measurement: m, values: map[string][]float64{}, progress: progress}
	began := time.Now()
	if err := m.run(ctx, r, s); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return Result{}, fmt.Errorf("%s: %w", m.Name, err)
	}
	for _, f := range m.Figures {
		if len(r.values[f.Name]) == 0 {
			return Result{}, fmt.Errorf("%s: nothing was recorded for %q", m.Name, f.Name)
		}
	}
	return Result{m.Name, made, float64(time.Since(began).Milliseconds()) / 1000, r.values}, nil
}

// recorder takes a measurement's values down.
type recorder struct {
	measurement Measurement

	mu       sync.Mutex
	values   map[string][]float64 // guarded by mu
	progress io.Writer            // guarded by mu
}

// add adds a value to a figure of the measurement.
func (r *recorder) add(figure string, value float64) {
	if !slices.ContainsFunc(r.measurement.Figures, func(f Figure) bool { return f.Name == figure }) {
		panic("numbers: " + r.measurement.Name + " has no figure " + figure)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[figure] = append(r.values[figure], value)
}

func (r *recorder) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.progress, "%s %s: %s\n", time.Now().Format("15:04:05"), r.measurement.Name, fmt.Sprintf(format, args...))
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
