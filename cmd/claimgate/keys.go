package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/doctor"
	"github.com/claimgate/claimgate/extauthz"
)

// keysFlags are the flags of keys as they were given.
type keysFlags struct{ config, output, tenant string }

func newKeys(s streams) *cobra.Command {
	var f keysFlags
	c := &cobra.Command{
		Use:   "keys --config FILE [ISSUER...]",
		Short: "Look at the issuers' keys, and see what is wrong",
		Long: `Keys fetches the metadata and keys of each issuer of a configuration, or of those
that are named, once and as the gate does: by the same code, under the same rules,
limits and files. It prints what was fetched from where, what TLS says, the keys with
their algorithms and why any is skipped, and how long they will be kept.

What is wrong is said with the line of the file to change, and how. If the metadata is
not where it should be, a few other usual places on the issuer's own host are asked,
so that the right one can be named. Nothing is written, and no running gate is asked.

Issuers are named by their short names. Of an issuer with tenants, --tenant names the
one to look at; without it, that is the first in tenants.allow.

` + exitCodesHelp,
		Example: `  # Are all issuers well?
  claimgate keys --config claimgate.yaml

  # Why does this one have no keys?
  claimgate keys --config claimgate.yaml shop

  # One tenant of an issuer with {tenant}
  claimgate keys --config claimgate.yaml --tenant acme shops

  # For scripts: what is wrong, one line each
  claimgate keys --config claimgate.yaml -o json | jq -r '.issuers[].findings[]?.message'`,
		ValidArgsFunction: f.completeIssuers,
		RunE: func(c *cobra.Command, names []string) error {
			switch {
			case f.config == "":
				return usagef("--config is missing")
			case f.output != "text" && f.output != "json":
				return usagef("--output is text or json, not %q", f.output)
			}
			return f.run(c.Context(), s, names)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "configuration file (YAML)")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.StringVar(&f.tenant, "tenant", "", "tenant to look at, of issuers that have tenants")
	registerConfig(c)
	registerOutput(c)
	return c
}

// completeIssuers offers the short names of the file's issuers that are not there yet.
func (f *keysFlags) completeIssuers(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
	cfg, err := extauthz.LoadConfig(f.config)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for i := range cfg.Issuers {
		if c := &cfg.Issuers[i]; !slices.Contains(given, c.Name) {
			names = append(names, cobra.CompletionWithDesc(c.Name, printable(c.Issuer)))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (f *keysFlags) run(ctx context.Context, s streams, names []string) error {
	cfg, fields, err := extauthz.LoadConfigFields(f.config)
	if err != nil {
		return err
	}
	indexes, err := chosen(cfg, names)
	if err != nil {
		return err
	}
	progress, wipe := newProgress(s, len(indexes))
	patients, err := doctor.Examine(ctx, cfg, indexes, f.tenant, progress)
	wipe()
	if errors.Is(err, doctor.ErrNoSuchTenant) {
		return usagef("%v", err)
	}
	if err != nil {
		return err
	}
	report := newKeysReport(patients, fields)
	if err := report.write(s.out, f.output); err != nil {
		return err
	}
	return report.err()
}

// chosen are the issuers to look at, in the order of the file.
func chosen(cfg *extauthz.Config, names []string) ([]int, error) {
	var indexes []int
	var have []string
	for i := range cfg.Issuers {
		name := cfg.Issuers[i].Name
		have = append(have, name)
		if len(names) == 0 || slices.Contains(names, name) {
			indexes = append(indexes, i)
		}
	}
	for _, n := range names {
		if !slices.Contains(have, n) {
			const most = 20
			list := strings.Join(have[:min(len(have), most)], ", ")
			if len(have) > most {
				list += ", …"
			}
			return nil, usagef("there is no issuer %q in the file; there are: %s", n, list)
		}
	}
	if len(indexes) == 0 {
		return nil, fmt.Errorf("the file has no issuers")
	}
	return indexes, nil
}

// newProgress counts on a terminal how many issuers have been looked at, and clears
// that away.
func newProgress(s streams, of int) (progress func(done int), wipe func()) {
	if !isTerminal(s.err) {
		return nil, func() {}
	}
	fmt.Fprintf(s.err, "asking %s …", count(of, "issuer", "issuers"))
	return func(done int) { fmt.Fprintf(s.err, "\r%d of %s asked   ", done, count(of, "issuer", "issuers")) },
		func() { fmt.Fprint(s.err, "\r\033[K") }
}
