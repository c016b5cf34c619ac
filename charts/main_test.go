package charts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// helm is the command that make test-chart names. Without it the tests that need it are
// skipped, but not in CI.
func helm(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	binary := os.Getenv("CLAIMGATE_HELM")
	if binary == "" {
		t.Skip("skipped: make test-chart runs it, with a pinned helm")
	}
	home := t.TempDir()
	return func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), binary, append(args, "--kube-version", "1.36.0")...)
		cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// valueSets are the files that show, and test, how the chart is used.
func valueSets(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("claimgate/ci/*-values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files with values:", err)
	}
	return files
}

func setName(file string) string { return strings.TrimSuffix(filepath.Base(file), "-values.yaml") }
