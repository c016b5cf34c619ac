package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
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
on without a log if nobody reads that any more.

SIGHUP does not reload the file yet: it changes nothing, and the log says so.
Restart to apply a change; 'claimgate validate' finds its mistakes before.

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
			logger := newLogger(s.err, cfg.Log)
			var beside sync.WaitGroup
			defer beside.Wait()
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			beside.Go(func() { paceCollector(ctx) })
			beside.Go(func() { answerHangups(ctx, hangups, logger) })
			return extauthz.Serve(ctx, cfg, extauthz.ServeOptions{Logger: logger, Version: version})
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file (YAML)")
	registerYAML(c, "config")
	return c
}

// answerHangups says for each SIGHUP that it changed nothing, until ctx ends.
func answerHangups(ctx context.Context, hangups <-chan os.Signal, logger *slog.Logger) {
	for {
		select {
		case <-hangups:
			logger.Warn("SIGHUP changes nothing: reload is not supported yet, restart to apply the configuration")
		case <-ctx.Done():
			return
		}
	}
}

// newLogger writes what the configuration wants: text on a terminal and JSON
// elsewhere, if it says nothing.
func newLogger(w io.Writer, cfg extauthz.LogConfig) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "text" || cfg.Format == "" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// isTerminal reports whether a stream is one.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
