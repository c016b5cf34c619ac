package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"claimgate": main})
}

// leakChecked looks for goroutines that the tests have left behind:
// testscript.Main exits by itself, so goleak.VerifyTestMain has no turn.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the transcripts of testdata/script: what a person types and
// what comes back. Beside testscript's own commands they have
//
//	exits CODE COMMAND...      the command ends with this exit code
//	issuer                     start an issuer, $ISSUER
//	issuer-down                its port is closed from now on
//	token FILE [CLAIM=VALUE]...  write a token of it; FILE.forged is a forged one
//	expand FILE                replace $VARIABLES in a file
//	occupy                     listen on a port, $OCCUPIED
//	await-socket FILE          wait until something listens on a Unix socket
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[issuerKey{}] = &holder{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":        exits,
			"issuer":       startIssuer,
			"issuer-down":  issuerDown,
			"token":        writeToken,
			"expand":       expand,
			"occupy":       occupy,
			"await-socket": awaitSocket,
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// issuerKey finds a script's issuer among its values.
type issuerKey struct{}

// holder is a script's issuer, once it has one.
type holder struct{ issuer *oidctest.Issuer }

func startIssuer(ts *testscript.TestScript, _ bool, _ []string) {
	issuer := oidctest.NewIssuer(oidctest.WithPath("/shop"))
	ts.Defer(issuer.Close)
	ts.Setenv("ISSUER", issuer.URL)
	ts.Value(issuerKey{}).(*holder).issuer = issuer
}

func issuerDown(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Value(issuerKey{}).(*holder).issuer.Down()
}

func writeToken(ts *testscript.TestScript, _ bool, args []string) {
	issuer := ts.Value(issuerKey{}).(*holder).issuer
	if issuer == nil || len(args) == 0 {
		ts.Fatalf("usage: issuer, then token FILE [CLAIM=VALUE]...")
	}
	claims := map[string]any{}
	for _, a := range args[1:] {
		name, value, _ := strings.Cut(a, "=")
		claims[name] = value
		if n, err := strconv.Atoi(value); err == nil {
			claims[name] = n
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(issuer.Token(claims)+"\n"), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".forged"), []byte(issuer.Token(claims, oidctest.Forged())), 0o600))
}

func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

func occupy(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv("OCCUPIED", l.Addr().String())
}

func awaitSocket(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", ts.MkAbs(args[0]))
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("nothing listens on %s: %v", args[0], err)
		case <-tick.C:
		}
	}
}
