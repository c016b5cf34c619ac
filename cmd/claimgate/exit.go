package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claimgate/claimgate/extauthz"
)

// The exit codes, as `claimgate help exit-codes` explains them.
const (
	exitOK     = 0
	exitError  = 1
	exitUsage  = 2
	exitDenied = 3
	exitWarned = 4
)

const exitCodesHelp = `Exit codes:
  0  done; for check: the request is allowed; for inspect: the token could be read and,
     with --config, no check refuses it; for keys: every issuer has keys, and nothing
     was found
  1  an error: a bad or unreadable configuration, a port in use, a gate that does
     not answer, a tour that was not as expected, something that is no readable token,
     keys: an issuer without keys that could be used
  2  the command line was wrong
  3  check: the request is denied; inspect --config: a check refuses the token, or
     its keys could not be had; token --introspect and --userinfo: the token is not good
  4  keys: every issuer has keys, but there are warnings`

// Errors that have been printed already.
var (
	errDenied   = errors.New("denied")
	errReported = errors.New("failed")
	errWarned   = errors.New("warned")
)

// usageError is a command line that cannot be meant.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// Unwrap gives the error without its class.
func (e usageError) Unwrap() error { return e.error }

// execute runs a command line and returns the exit code.
func execute(ctx context.Context, args []string, s streams) int {
	root := newRoot(s, args)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	command, err := root.ExecuteContextC(ctx)
	return report(s.err, command, err)
}

// report prints an error so that it says what, where and what to do next, and
// returns the exit code.
func report(w io.Writer, command *cobra.Command, err error) int {
	var usage usageError
	var config *extauthz.ConfigError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDenied):
		return exitDenied
	case errors.Is(err, errWarned):
		return exitWarned
	case errors.Is(err, errReported):
		return exitError
	case errors.As(err, &config):
		// One problem a line, each with its place: nothing before it, so that
		// editors and CI find it.
		fmt.Fprintln(w, config.Error())
		return exitError
	case errors.As(err, &usage):
		fmt.Fprintf(w, "claimgate: %v; see '%s -h'\n", err, command.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(w, "claimgate: %s\n", strings.TrimPrefix(strings.TrimPrefix(err.Error(), "extauthz: "), "client: "))
		return exitError
	}
}
