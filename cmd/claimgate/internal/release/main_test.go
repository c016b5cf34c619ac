package release_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// root is the project's folder.
const root = "../../../.."

func TestMain(m *testing.M) {
	if os.Getenv("CLAIMGATE_RELEASE") == "" {
		fmt.Fprintln(os.Stderr, "skipped: set CLAIMGATE_RELEASE=1, or run make test-release")
		return
	}
	os.Exit(m.Run())
}

// run runs a command in a folder, and returns what it printed to standard output.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var all bytes.Buffer
	cmd.Stderr = &all
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, all.Bytes())
	}
	return string(out)
}
