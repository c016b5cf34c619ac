package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"claimgate": main, "browse": browse})
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
//	issuer [tls]               start an issuer at the path /shop, $ISSUER and $ORIGIN;
//	                           with tls its authority is in ca.pem
//	client ID METHOD [SECRET]  the issuer knows a client; its redirect URI is on loopback
//	fault NAME [TEXT]          the issuer fails from now on; fault none ends it
//	normal FILE                write standard output into FILE, with ports, times,
//	                           thumbprints and the like replaced by words, for cmp
//	token FILE [CLAIM=VALUE]...  write a token of it; FILE.forged is a forged one
//	expand FILE                replace $VARIABLES in a file
//	occupy                     listen on a port, $OCCUPIED
//	await-socket FILE          wait until something listens on a Unix socket
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "", // writes what cmp compares with
		Setup: func(env *testscript.Env) error {
			env.Values[issuerKey{}] = &holder{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":        exits,
			"issuer":       startIssuer,
			"fault":        fault,
			"client":       registerClient,
			"normal":       normalise,
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

func startIssuer(ts *testscript.TestScript, _ bool, args []string) {
	options := []oidctest.Option{oidctest.WithPath("/shop")}
	if len(args) == 1 && args[0] == "tls" {
		options = append(options, oidctest.WithTLS())
	}
	issuer := oidctest.NewIssuer(options...)
	ts.Defer(issuer.Close)
	ts.Setenv("ISSUER", issuer.URL)
	ts.Setenv("ORIGIN", strings.TrimSuffix(issuer.URL, "/shop"))
	ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), issuer.CertPEM(), 0o600))
	ts.Value(issuerKey{}).(*holder).issuer = issuer
}

func registerClient(ts *testscript.TestScript, _ bool, args []string) {
	issuer := ts.Value(issuerKey{}).(*holder).issuer
	if issuer == nil || len(args) < 2 {
		ts.Fatalf("usage: issuer, then client ID METHOD [SECRET]")
	}
	c := oidctest.Client{
		ID: args[0], Method: args[1], RefreshTokens: true,
		RedirectURIs: []string{"http://127.0.0.1/callback"},
	}
	if len(args) > 2 {
		c.Secret = args[2]
	}
	issuer.RegisterClient(c)
}

// browse is a browser that shows one page and ends.
func browse() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(os.Stdout, answer.Body)
	_ = answer.Body.Close()
}

func fault(ts *testscript.TestScript, _ bool, args []string) {
	issuer := ts.Value(issuerKey{}).(*holder).issuer
	args = append(args, "", "")
	discovery := []oidctest.Endpoint{oidctest.OpenIDDiscovery, oidctest.OAuthDiscovery}
	switch args[0] {
	case "none":
		issuer.Recover()
	case "down":
		issuer.Down()
	case "html":
		issuer.HTML(discovery...)
	case "not-found":
		issuer.Fail(http.StatusNotFound, discovery...)
	case "only-rfc8414":
		issuer.Fail(http.StatusNotFound, oidctest.OpenIDDiscovery)
	case "redirect":
		issuer.Redirect(args[1], discovery...)
	case "lie":
		issuer.Lie(args[1])
	case "unauthorized":
		issuer.Fail(http.StatusUnauthorized, oidctest.JWKS)
	case "token":
		issuer.Body(args[1], oidctest.Token)
	case "busy":
		issuer.Fail(http.StatusServiceUnavailable, oidctest.Token)
	case "keys":
		issuer.Body(args[1], oidctest.JWKS)
	case "extra-key":
		issuer.PublishRaw(args[1])
	case "headers":
		issuer.SetCacheControl(args[1])
		issuer.SetETag(true)
	case "date":
		issuer.Respond(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", args[1])
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"issuer":"`+issuer.URL+`","jwks_uri":"`+issuer.URLOf(oidctest.JWKS)+`"}`)
		}, oidctest.OpenIDDiscovery)
	case "elsewhere":
		issuer.Fail(http.StatusNotFound, discovery...)
		issuer.Respond(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != args[1] {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"issuer":"`+issuer.URL+`","jwks_uri":"`+issuer.URLOf(oidctest.JWKS)+`"}`)
		}, oidctest.Elsewhere)
	default:
		ts.Fatalf("there is no fault %q", args[0])
	}
}

// varying is what differs from run to run, with the words for it.
var varying = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "HOST"},
	{regexp.MustCompile(`in [0-9.]+m?s`), "in TIME"},
	{regexp.MustCompile(` [A-Za-z0-9_-]{43}( |$)`), " THUMBPRINT$1"},
	{regexp.MustCompile(`etag "[^ ]+"`), "etag TAG"},
	{regexp.MustCompile(`"durationSeconds": [0-9.e-]+`), `"durationSeconds": TIME`},
	{regexp.MustCompile(`"thumbprint": "[A-Za-z0-9_-]{43}"`), `"thumbprint": "THUMBPRINT"`},
	{regexp.MustCompile(`TLS_[A-Z0-9_]+`), "CIPHER"},
	{regexp.MustCompile(`/[^ ]*/ca\.pem`), "ca.pem"},
}

func normalise(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(ts.ReadFile("stdout"), "\n")
	for i := range lines {
		for _, n := range varying {
			lines[i] = n.pattern.ReplaceAllString(lines[i], n.word)
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "\n")), 0o600))
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
