// Command bench measures Claimgate. See README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/claimgate/claimgate/bench/internal/checks"
	"github.com/claimgate/claimgate/bench/internal/envoy"
	"github.com/claimgate/claimgate/bench/internal/numbers"
	"github.com/claimgate/claimgate/bench/internal/page"
	"github.com/claimgate/claimgate/bench/internal/results"
	"github.com/claimgate/claimgate/bench/internal/server"
)

const usage = `bench [checks]   what a check costs, as a ratio to a server that does nothing
bench numbers    many issuers, hostile key sets, storms, restarts behind an Envoy, overload, memory
bench page       docs/benchmarks.md anew, from what was measured last

`

// Where results and the page are, from the root of the repository.
const (
	resultsDir  = "bench/results"
	pageFile    = "docs/benchmarks.md"
	pictureFile = "docs/" + page.PictureFile
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
		return server.ServeReference(args) // this process is the reference server
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
	c.flags.IntVar(&o.Requests, "requests", 20000, "checks a variant and round, with tokens that were seen before")
	c.flags.IntVar(&o.Cold, "cold", 5000, "checks a variant and round, with tokens never seen before")
	c.flags.IntVar(&o.Many, "many", 100000, "tokens of the variant with many")
	c.flags.Float64Var(&o.Rate, "rate", 1310, "checks a second in an open loop")
	c.flags.DurationVar(&o.Open, "open", 8*time.Second, "how long an open loop runs")
	c.flags.DurationVar(&o.Patience, "patience", 40*time.Second, "spent in all on waiting for a calm machine, and on repeating what others disturbed")
	c.flags.StringVar(&o.Issuer, "issuer", "", "HOST:PORT that the issuer listens at, for peers that must be told before (default any free port)")
	c.flags.Func("peer", "another ext_authz server, as NAME=HOST:PORT or NAME=HOST:PORT,PID; may be repeated", func(text string) error {
		p, err := checks.ParsePeer(text)
		o.Peers = append(o.Peers, p)
		return err
	})
	note := c.flags.String("note", "", "what the page says of the peers: versions, how they are configured")
	c.flags.Func("only", "measure these variants only: a regular expression of \"suite, variant\"; not with -record", func(text string) (err error) {
		o.Only, err = regexp.Compile(text)
		return err
	})
	if err := c.parse(args); err != nil {
		return err
	}
	if o.Only != nil && c.record {
		return errors.New("-record keeps whole runs: leave -only out")
	}
	o.Gate = c.gate
	if err := o.Check(); err != nil {
		return err
	}
	var err error
	if o.Envoy, err = envoy.Find(ctx); err != nil {
		return err
	}
	command := "make bench"
	if len(o.Peers) > 0 {
		command = "go run ./bench checks -peer …"
	}
	made := results.MadeNow(ctx, command)
	file, err := checks.Run(ctx, o)
	if err != nil {
		return err
	}
	file.Made, file.Note = made, *note
	file.Table(os.Stdout)
	fmt.Println()
	file.Goals(os.Stdout)
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
	var failed []error
	commit := results.MadeNow(ctx, "").Commit // results that are kept make the tree dirty
	for _, m := range chosen {
		made := results.MadeNow(ctx, "make numbers")
		made.Commit = commit
		r, err := m.Measure(ctx, scale, made, os.Stderr)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil { // the others are worth having
			fmt.Fprintln(os.Stderr, "bench:", err)
			failed = append(failed, err)
			continue
		}
		measured = append(measured, r)
		if c.record { // each at once: the next one may fail
			if err := keep(r); err != nil {
				failed = append(failed, err)
			}
		}
	}
	if c.json != "" {
		if err := results.Write(c.json, measured); err != nil {
			return err
		}
	}
	return errors.Join(append(failed, numbers.Section(os.Stdout, measured))...)
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

// makePage makes the page and its picture from what was measured last.
func makePage() error {
	all, err := page.Read(resultsDir)
	if err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{pageFile: all.Write, pictureFile: all.Picture} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil { //nolint:gosec // to be read by all
			return err
		}
	}
	return nil
}
