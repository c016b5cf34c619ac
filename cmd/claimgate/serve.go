package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"

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
exits with 0. A second signal ends it at once. It logs to standard error.

` + exitCodesHelp,
		Example: `  claimgate serve --config claimgate.yaml`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("--config is missing")
			}
			cfg, err := extauthz.LoadConfig(file)
			if err != nil {
				return err
			}
			var pacing sync.WaitGroup
			defer pacing.Wait()
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			pacing.Go(func() { paceCollector(ctx) })
			return extauthz.Serve(ctx, cfg, extauthz.ServeOptions{
				Logger: newLogger(s.err, cfg.Log), Version: version,
			})
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file (YAML)")
	registerYAML(c, "config")
	return c
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

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// registerYAML lets the shell complete a flag with YAML files.
func registerYAML(c *cobra.Command, flag string) {
	if err := c.MarkFlagFilename(flag, "yaml", "yml", "json"); err != nil {
		panic(err) // the flag does not exist: a mistake in this package
	}
}
