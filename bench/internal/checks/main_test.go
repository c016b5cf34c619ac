package checks

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/bench/internal/server"
)

// TestMain lets a measurement start this binary as the reference server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "reference" {
		fmt.Fprintln(os.Stderr, server.ServeReference(os.Args[2:]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}
