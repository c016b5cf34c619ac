package e2e_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// envoy is the binary that all tests use. It is set once, before the first.
var envoy string

func TestMain(m *testing.M) {
	if os.Getenv("CLAIMGATE_E2E") == "" {
		fmt.Fprintln(os.Stderr, "skipped: set CLAIMGATE_E2E=1, or run make test-integration")
		return
	}
	var err error
	if envoy, err = lab.FindEnvoy(context.Background(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "no Envoy:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// start brings up a lab for one test. Envoy's log is shown if the test fails. Only
// who brings a gate of his own has the time-outs as shipped.
func start(t *testing.T, opts lab.Options) *lab.Lab {
	t.Helper()
	opts.Envoy = envoy
	opts.Patient = opts.Gate == ""
	l, err := lab.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Envoy's log:\n%s", l.EnvoyLog())
		}
		l.Close()
	})
	return l
}

// encodings are the two forms of a check, by what lab.Options.JoinedHeaders is.
var encodings = map[string]bool{"raw headers": false, "joined headers": true}

// inBothEncodings runs a test with encode_raw_headers and without it. A verdict
// must not depend on it.
func inBothEncodings(t *testing.T, test func(t *testing.T, l *lab.Lab)) {
	for name, joined := range encodings {
		t.Run(name, func(t *testing.T) { test(t, start(t, lab.Options{JoinedHeaders: joined})) })
	}
}

// do sends a request through Envoy.
func do(t *testing.T, l *lab.Lab, r lab.Request) lab.Answer {
	t.Helper()
	a, err := l.Do(t.Context(), r)
	if err != nil {
		t.Fatalf("%s %s %v: %v", r.Method, r.Path, r.Headers, err)
	}
	return a
}
