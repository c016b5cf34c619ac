package main

import (
	"github.com/spf13/cobra"
)

// newRoot builds the command tree.
func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "claimgate",
		Short: "A token gate for Envoy",
		Long: `Claimgate is a token gate for Envoy: an external authorization server (ext_authz,
gRPC) that validates the bearer token of each request against many issuers,
decides by policy, and answers allow with clean identity headers or deny with a
correct challenge.

See it at work:       claimgate demo
Check a file:         claimgate validate claimgate.yaml
Serve:                claimgate serve --config claimgate.yaml
Ask why:              claimgate check --config claimgate.yaml --path /orders/7 --token-file token`,
		// Errors are printed by report, in one form.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("there is no command %q", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.AddCommand(
		newServe(s), newValidate(s), newCheck(s), newDemo(s), newVersion(s),
		// A topic, not a command: it has nothing to run.
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp},
	)
	return root
}

// noArgs refuses arguments, as a usage error.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}
