package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(s streams) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: `  claimgate version`,
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(s.out, versionLine())
			return err
		},
	}
}

func versionLine() string {
	v, revision := version, ""
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				revision = "revision " + setting.Value + ", "
			}
		}
	}
	if v == "" {
		v = "(devel)"
	}
	return fmt.Sprintf("claimgate %s, %s%s, %s/%s", v, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
