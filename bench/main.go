// Command bench measures Claimgate. See README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/claimgate/claimgate/bench/internal/checks"
	"github.com/claimgate/claimgate/bench/internal/envoy"
	"github.com/claimgate/claimgate/bench/internal/numbers"
	"github.com/claimgate/claimgate/bench/internal/page"
	"github.com/claimgate/claimgate/bench/internal/results"
	"github.com/claimgate/claimgate/bench/internal/server"
)

const usage = `bench [checks]   what a check costs, as a ratio to a server that does nothing
bench numbers    many issuers, hostile key sets, storms, restarts behind an Envoy
bench page       docs/benchmarks.md anew, from what was measured last

`

// Where results and the page are, from the root of the repository.
const (
	resultsDir = "bench/results"
	pageFile   = "docs/benchmarks.md"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	what := "checks"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		what, args = args[0], args[1:]
	}
	switch what {
	case "reference":
		return server.ServeReference() // this process is the reference server
	case "checks":
		return measureChecks(ctx, args)
	case "numbers":
		return measureNumbers(ctx, args)
	case "page":
		return makePage()
	default:
		return fmt.Errorf("there is no %q: it is checks, numbers or page", what)
	}
}

// common are the options of every command.
type common struct {
	flags  *flag.FlagSet
	gate   string
	record bool
	json   string
}

func newCommon(name string) *common {
	c := &common{flags: flag.NewFlagSet("bench "+name, flag.ContinueOnError)}
	c.flags.StringVar(&c.gate, "gate", "bin/claimgate", "the claimgate binary to measure")
	c.flags.BoolVar(&c.record, "record", false, "keep the results in "+resultsDir+" and make "+pageFile+" anew")
	c.flags.StringVar(&c.json, "json", "", "write all figures to this file too")
	c.flags.Usage = func() {
		fmt.Fprint(c.flags.Output(), usage)
		c.flags.PrintDefaults()
	}
	return c
}

func (c *common) parse(args []string) error {
	if err := c.flags.Parse(args); err != nil {
		return flag.ErrHelp // it has been said what is wrong
	}
	if c.flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", c.flags.Arg(0))
	}
	if c.record {
		if _, err := os.Stat(filepath.Dir(pageFile)); err != nil {
			return fmt.Errorf("-record wants to be run in the root of the repository: %w", err)
		}
	}
	return nil
}

func measureChecks(ctx context.Context, args []string) error {
	c := newCommon("checks")
	o := checks.Options{Progress: os.Stderr}
	c.flags.IntVar(&o.Rounds, "rounds", 5, "rounds; every variant runs once in each, in rotating order")
	c.flags.IntVar(&o.Requests, "requests", 30000, "checks a variant and round, with a token that was seen before")
	c.flags.IntVar(&o.Cold, "cold", 6000, "checks a variant and round, with tokens never seen before")
	if err := c.parse(args); err != nil {
		return err
	}
	if o.Rounds < 1 || o.Requests < 1 || o.Cold < 1 {
		return errors.New("-rounds, -requests and -cold must be at least 1")
	}
	o.Gate = c.gate
	file := checks.File{Made: results.MadeNow(ctx, "make bench")}
	var err error
	if file.Samples, err = checks.Run(ctx, o); err != nil {
		return err
	}
	file.Table(os.Stdout)
	if c.json != "" {
		if err := results.Write(c.json, file); err != nil {
			return err
		}
	}
	if !c.record {
		return nil
	}
	if err := page.WriteChecks(resultsDir, file); err != nil {
		return err
	}
	return makePage()
}

func measureNumbers(ctx context.Context, args []string) error {
	c := newCommon("numbers")
	only := c.flags.String("only", "", "measure these only, separated by commas: "+names())
	short := c.flags.Bool("short", false, "a few seconds of each, to see that it works; not with -record")
	if err := c.parse(args); err != nil {
		return err
	}
	scale := numbers.Full(c.gate)
	if *short {
		scale = numbers.Short(c.gate)
	}
	if *short && c.record {
		return errors.New("-short shows nothing that is worth to be kept: leave -record out")
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if scale.Envoy, err = envoy.Find(ctx); err != nil {
		return err
	}
	debug.SetGCPercent(400) // the load and the provider are in this process: leave them alone
	var measured []numbers.Result
	commit := results.MadeNow(ctx, "").Commit // results that are kept make the tree dirty
	for _, m := range chosen {
		made := results.MadeNow(ctx, "make numbers")
		made.Commit = commit
		r, err := m.Measure(ctx, scale, made, os.Stderr)
		if err != nil {
			return err
		}
		measured = append(measured, r)
		if c.record { // each at once: the next one may fail
			if err := keep(r); err != nil {
				return err
			}
		}
	}
	if c.json != "" {
		if err := results.Write(c.json, measured); err != nil {
			return err
		}
	}
	return numbers.Section(os.Stdout, measured)
}

func names() string {
	var list []string
	for _, m := range numbers.Measurements() {
		list = append(list, m.Name)
	}
	return strings.Join(list, ", ")
}

// choose returns the measurements of these names, all for none.
func choose(only string) ([]numbers.Measurement, error) {
	if only == "" {
		return numbers.Measurements(), nil
	}
	var list []numbers.Measurement
	for name := range strings.SplitSeq(only, ",") {
		m, ok := numbers.Find(name)
		if !ok {
			return nil, fmt.Errorf("-only: there is no measurement %q: there are %s", name, names())
		}
		list = append(list, m)
	}
	return list, nil
}

// keep puts a result in the place of the last one of its measurement.
func keep(r numbers.Result) error {
	all, err := page.Read(resultsDir)
	if err != nil {
		return err
	}
	list := slices.DeleteFunc(all.Numbers, func(old numbers.Result) bool { return old.Measurement == r.Measurement })
	if err := page.WriteNumbers(resultsDir, append(list, r)); err != nil {
		return err
	}
	return makePage()
}

// makePage makes the page from what was measured last.
func makePage() error {
	all, err := page.Read(resultsDir)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := all.Write(&b); err != nil {
		return err
	}
	return os.WriteFile(pageFile, b.Bytes(), 0o644) //nolint:gosec // to be read by all
}
