package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/inspect"
	"github.com/claimgate/claimgate/extauthz"
)

// inspectFlags are the flags of inspect as they were given.
type inspectFlags struct {
	config, tokenFile, output string
	offline                   bool
	timeout                   time.Duration
}

func newInspect(s streams) *cobra.Command {
	var f inspectFlags
	c := &cobra.Command{
		Use:   "inspect (TOKEN | - | --token-file FILE) [flags]",
		Short: "Read a token, and see what issuers make of it",
		Long: `Inspect prints what a token says: header, claims, times in words, what it is for.
Nothing of that is verified: anybody can write a token that says the same.

With --config it also tells which configured issuer the token goes to and why, and
the verdict of each check, the signature with the issuer's keys included. Checks
behind the first that does not hold are made as if it did, so that one look finds
everything. Policies want more of a request: ask 'claimgate check' about that.

The token is sent nowhere, and neither it nor its signature is printed. Give it as -
(standard input): a token on the command line stays in the shell's history, and
others can see it while the command runs.

` + exitCodesHelp,
		Example: `  # What does this token say? Paste it, then Ctrl-D.
  claimgate inspect -

  # Why is it refused?
  fetch-token | claimgate inspect - --config claimgate.yaml

  # The same for scripts, without any request
  claimgate inspect --token-file token --config claimgate.yaml --offline -o json`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && f.tokenFile == "":
				return usagef("give a token: - for standard input, or --token-file FILE")
			case len(args) > 0 && f.tokenFile != "":
				return usagef("a token and --token-file exclude each other")
			case len(args) > 1: // said without repeating what may be a token
				return usagef("give one token, in one piece: - for standard input does without quoting")
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions([]string{"-"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(c *cobra.Command, args []string) error {
			return f.run(c.Context(), s, args)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "have the issuers of this configuration file check the token")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the token, - for standard input")
	flags.BoolVar(&f.offline, "offline", false, "fetch nothing: the signature is not checked")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for keys")
	registerConfig(c)
	registerOutput(c)
	registerFile(c, "token-file")
	return c
}

func (f *inspectFlags) run(ctx context.Context, s streams, args []string) error {
	switch {
	case f.output != "text" && f.output != "json":
		return usagef("--output is text or json, not %q", f.output)
	case f.offline && f.config == "":
		return usagef("--offline goes with --config: without that, nothing is fetched anyway")
	case f.timeout <= 0:
		return usagef("--timeout must be more than nothing")
	}
	text, err := f.read(s, args)
	if err != nil {
		return err
	}
	reading := inspect.Read(text)
	report := newInspectReport(reading, time.Now())
	judged := f.config != "" && reading.Kind != inspect.Malformed
	if judged {
		cfg, err := extauthz.LoadConfig(f.config)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, f.timeout)
		defer cancel()
		judgement, err := inspect.Judge(ctx, cfg, reading, inspect.Options{Offline: f.offline})
		if err != nil {
			return err
		}
		report.judge(judgement, f.config)
	}
	if err := report.write(s.out, f.output); err != nil {
		return err
	}
	switch {
	case judged && report.Verdict == verdictRefused:
		return errDenied
	case !judged && reading.Kind != inspect.Signed && reading.Kind != inspect.Encrypted:
		return errReported
	}
	return nil
}

// read returns the text that should be a token.
func (f *inspectFlags) read(s streams, args []string) (string, error) {
	file := f.tokenFile
	if len(args) == 1 {
		if args[0] != "-" {
			fmt.Fprintln(s.err, "claimgate: this token is in the shell's history now: give it as - the next time, 'claimgate inspect - < FILE'")
			return args[0], nil
		}
		file = "-"
	}
	if file == "-" && isTerminal(s.in) {
		fmt.Fprintln(s.err, "claimgate: paste the token, then Enter and Ctrl-D")
	}
	text, err := readFile(file, s.in, maxTokenFile+1)
	if err != nil {
		return "", fmt.Errorf("--token-file: cannot read %w", err)
	}
	if len(text) > maxTokenFile {
		return "", fmt.Errorf("%s has over 1 MiB: that is no token", named(file))
	}
	return text, nil
}

func named(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}
