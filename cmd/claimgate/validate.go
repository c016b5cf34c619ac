package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/claimgate/claimgate/extauthz"
)

func newValidate(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE...",
		Short: "Check configuration files",
		Long: `Validate reads configuration files as serve does, and starts nothing. Every
problem is printed on standard error, one a line:

  FILE:LINE:COLUMN: PATH: what is wrong and what to write instead

A good file is one line on standard output, and exit code 0 whatever warnings it has
on standard error.

` + exitCodesHelp,
		Example: `  claimgate validate claimgate.yaml
  claimgate validate configs/*.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("name at least one file")
			}
			if slices.Contains(args, "") {
				return usagef("the name of a file is empty: is a variable not set?")
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(c *cobra.Command, files []string) error {
			failed := false
			for _, file := range files {
				cfg, err := extauthz.LoadConfig(file)
				if err != nil {
					report(s.err, c, err) // now: every file is judged
					failed = true
					continue
				}
				for _, w := range cfg.Warnings() {
					w.Text = "warning: " + w.Text
					fmt.Fprintln(s.err, w)
				}
				if _, err := fmt.Fprintf(s.out, "%s: ok: %s\n", file, summary(cfg)); err != nil {
					return err
				}
			}
			if failed {
				return errReported
			}
			return nil
		},
	}
}

// summary tells a good file from another.
func summary(cfg *extauthz.Config) string {
	return fmt.Sprintf("%s, %s", count(len(cfg.Issuers), "issuer", "issuers"), count(len(cfg.Policies), "policy", "policies"))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}
