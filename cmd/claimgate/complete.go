package main

import "github.com/spf13/cobra"

// What the shell completes. A flag that does not exist is a mistake in this package,
// so these panic.

// registerConfig lets the shell complete --config.
func registerConfig(c *cobra.Command) {
	if err := c.MarkFlagFilename("config", "yaml", "yml", "json"); err != nil {
		panic(err)
	}
}

// registerFile lets the shell complete a flag with any files.
func registerFile(c *cobra.Command, flag string) {
	register(c, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	})
}

// registerWords lets the shell complete a flag with these words.
func registerWords(c *cobra.Command, flag string, words ...string) {
	register(c, flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// registerOutput lets the shell complete --output.
func registerOutput(c *cobra.Command) { registerWords(c, "output", "text", "json") }

func register(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}
