// Package demo shows the gate at work: a tour of real requests, each with what
// was expected and what came back.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// Options say how the demonstration runs.
type Options struct {
	Out     io.Writer
	Once    bool   // end after the tour
	NoEnvoy bool   // ask the gate directly, do not even look for an Envoy
	Version string // of the gate, for its metrics
	Program string // how claimgate was called, for the lines to paste
}

// ErrUnexpected says that the tour was walked and something was not as it should
// be. The table has said what.
var ErrUnexpected = errors.New("the tour was not as expected: see the rows marked with ✗")

// ErrInterrupted says that the tour did not come to its end.
var ErrInterrupted = errors.New("interrupted before the tour was over")

// Run starts a lab, walks the tour, and, unless it is to be done once, stays up
// until ctx ends. It returns when all is stopped.
func Run(ctx context.Context, opts Options) error {
	out := opts.Out
	progress := func(s string) { fmt.Fprintf(out, "· %s\n", s) }

	envoy := ""
	if !opts.NoEnvoy {
		progress("looking for Envoy")
		var err error
		if envoy, err = lab.FindEnvoy(ctx, out); err != nil {
			if ctx.Err() != nil {
				return ErrInterrupted
			}
			if os.Getenv("ENVOY") != "" { // whoever names one wants that one, or to know
				return fmt.Errorf("the Envoy that the variable ENVOY names cannot be used: %w", err)
			}
			fmt.Fprintf(out, withoutEnvoy, err)
		} else {
			progress("Envoy is " + envoy)
		}
	}
	l, err := lab.Start(ctx, lab.Options{Envoy: envoy, Progress: progress, Version: opts.Version})
	if err != nil {
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		return err
	}
	defer l.Close()

	var door Door = EnvoyDoor{l}
	if envoy == "" {
		gate, err := NewGateDoor(l)
		if err != nil {
			return err
		}
		defer gate.Close() //nolint:errcheck // nothing is in flight
		door = gate
	}
	tour := Tour(l)
	fine, err := walk(ctx, out, door, tour)
	if err != nil {
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		return errors.Join(err, envoyLog(l))
	}
	if !opts.Once {
		l.Workforce.Up()
		invite(out, l, door, opts.Program)
		<-ctx.Done()
		fmt.Fprintln(out, "\n· stopping")
	}
	if !fine {
		return errors.Join(ErrUnexpected, envoyLog(l))
	}
	return nil
}

const withoutEnvoy = `· no Envoy: %v.
  The tour goes straight to the gate's gRPC port instead, as Envoy would ask it.
  To see it through a real Envoy, install one (https://www.envoyproxy.io/docs/envoy/latest/start/install)
  and put it on PATH, or name it in the variable ENVOY.
`

// envoyLog is Envoy's log as an error's second half, nil if there is none.
func envoyLog(l *lab.Lab) error {
	log := strings.TrimSpace(l.EnvoyLog())
	if log == "" {
		return nil
	}
	return fmt.Errorf("Envoy's log:\n%s", log)
}

// walk walks the tour and prints each stop as it is made.
func walk(ctx context.Context, out io.Writer, door Door, tour []Stop) (fine bool, err error) {
	way := "HTTP/1.1 through Envoy"
	if door.AtGate() {
		way = "gRPC checks at the gate"
	}
	fmt.Fprintf(out, "· a tour of %d requests: %s\n\n", len(tour), way)
	start := time.Now()
	table := newTable(out)
	failed := 0
	for _, stop := range tour {
		r, err := Walk(ctx, door, stop)
		if err != nil {
			return false, err
		}
		table.row(r)
		if !r.OK() {
			failed++
		}
	}
	fmt.Fprintf(out, "\n%d of %d as expected, in %.1f s\n", len(tour)-failed, len(tour), time.Since(start).Seconds())
	return failed == 0, nil
}
