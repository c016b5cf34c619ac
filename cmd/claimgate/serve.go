package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"
	"golang.org/x/term"

	"github.com/claimgate/claimgate/extauthz"
)

func newServe(s streams) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the gate",
		Long: `Serve runs the gate until SIGTERM or SIGINT: then it is no longer ready, keeps
answering for server.drainDelay, finishes what runs within server.drainTimeout and
exits with 0. A second signal ends it at once. It logs to standard error, and goes
on without a log if that cannot be written: lines that are lost are counted.

The configuration file is read again every server.reloadInterval, and at once on
SIGHUP. A change that is good is put in force in one step; one that is not changes
nothing: the log says what is wrong, and 'claimgate validate' says all of it.

Traces go to the OpenTelemetry collector that tracing.endpoint or the variable
OTEL_EXPORTER_OTLP_ENDPOINT names, by OTLP over gRPC; without either there are none.

` + exitCodesHelp,
		Example: `  claimgate serve --config claimgate.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: the file is named by --config FILE", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("--config is missing")
			}
			// A log that nobody reads must not end the gate, and a hang-up must
			// neither: people send it to have the file read again.
			signal.Ignore(syscall.SIGPIPE)
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			cfg, err := extauthz.LoadConfig(file)
			if err != nil {
				return err
			}
			handler := newLogHandler(s.err, cfg.Log)
			lines := newLineQueue(handler)
			defer lines.close()
			var beside sync.WaitGroup
			defer beside.Wait()
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			beside.Go(func() { paceCollector(ctx) })
			reload := make(chan struct{}, 1)
			beside.Go(func() { passOn(ctx, hangups, reload) })
			logger := slog.New(lines)
			spans := &tracers{fallback: os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"), logger: logger}
			defer spans.close()
			otel.SetErrorHandler(&collectorTrouble{logger: logger})
			return extauthz.Serve(ctx, cfg, extauthz.ServeOptions{
				Logger: logger, LogLost: lines.lost, Version: version, Tracing: spans.use,
				ConfigFile: file, Reload: reload, Reloaded: func(c *extauthz.Config) { handler.use(c.Log) },
			})
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file (YAML)")
	registerConfig(c)
	return c
}

// passOn asks for a reload for each SIGHUP, until ctx ends. Several that come
// while one is at work are one.
func passOn(ctx context.Context, hangups <-chan os.Signal, reload chan<- struct{}) {
	for {
		select {
		case <-hangups:
			select {
			case reload <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return
		}
	}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
