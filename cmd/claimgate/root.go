package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// newRoot builds the command tree for a command line.
func newRoot(s streams, args []string) *cobra.Command {
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
Ask why:              claimgate check --config claimgate.yaml --path /orders/7 --token-file token
Look at the issuers:  claimgate keys --config claimgate.yaml
Read a token:         claimgate inspect --config claimgate.yaml --token-file token
Get a token:          claimgate token --issuer https://id.example.com --client ID --secret-file secret`,
		// Errors are printed by report, in one form.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return noCommand(c, args[0])
			}
			return nil
		},
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
		Version: versionLine(),

		SuggestionsMinimumDistance: 2, // of letters that are wrong
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		// A command that is not there leaves its flags to the root: the command
		// is what is wrong then.
		if c == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			return noCommand(c, args[0])
		}
		return usageError{err}
	})
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.AddCommand(
		newServe(s), newValidate(s), newCheck(s), newInspect(s), newKeys(s), newToken(s), newDemo(s), newVersion(s),
		// A topic, not a command: it has nothing to run.
		&cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp},
	)
	root.SetHelpCommand(newHelp())
	return root
}

// newHelp is cobra's help command, but for a topic that is not there, which is a
// wrong command line.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(c *cobra.Command, args []string) error {
			topic, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noCommand(c.Root(), strings.Join(args, " "))
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if topic, _, err := c.Root().Find(args); err == nil {
				for _, sub := range topic.Commands() {
					if sub.IsAvailableCommand() || sub.IsAdditionalHelpTopicCommand() {
						names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// noCommand says that a command is not there, and which one is near.
func noCommand(root *cobra.Command, name string) error {
	if near := root.SuggestionsFor(name); len(near) > 0 {
		return usagef("there is no command %q (did you mean %q?)", name, near[0])
	}
	return usagef("there is no command %q", name)
}

// noArgs refuses arguments, as a usage error.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}
