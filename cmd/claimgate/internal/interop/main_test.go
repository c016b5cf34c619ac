package interop_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/child"
)

func TestMain(m *testing.M) {
	if os.Getenv("CLAIMGATE_INTEROP") == "" {
		fmt.Fprintln(os.Stderr, "skipped: set CLAIMGATE_INTEROP=1, or run make test-interop")
		return
	}
	goleak.VerifyTestMain(m)
}

// part returns the folder of a provider, or of what one needs, which is fetched or
// built if it is not in the cache. Where a program is missing that must be installed
// first the test is skipped, but not in CI: there nobody would read it.
func part(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "./get-part.sh", name)
	var progress strings.Builder
	cmd.Stderr = &progress
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 && os.Getenv("CI") == "" {
		t.Skip(progress.String())
	}
	if err != nil {
		t.Fatalf("get-part.sh %s: %v\n%s", name, err, progress.String())
	}
	return strings.TrimSpace(string(out))
}

// patience bounds each wait. Nothing here takes as long, but on a loaded machine.
const patience = 4 * time.Minute

// eventually asks until try has no more to say.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in time: %v", what, last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// server is a program that can be stopped and started again, as the same one: with
// its port and its files.
type server struct {
	name    string
	command func() *exec.Cmd
	ready   func(ctx context.Context) error
	log     string
	process *child.Process
}

// start starts the program, waits until it is ready, and ends it with the test. The
// log is shown if the test fails.
func (s *server) start(t *testing.T) {
	t.Helper()
	if s.log == "" {
		s.log = filepath.Join(t.TempDir(), s.name+".log")
		t.Cleanup(func() {
			if s.process == nil { // it did not start
				return
			}
			s.process.Stop()
			if t.Failed() {
				t.Logf("the end of the log of %s:\n%s", s.name, child.Tail(s.process.Log(), 40))
			}
		})
	}
	s.up(t)
}

// up is start for one that has been stopped.
func (s *server) up(t *testing.T) {
	t.Helper()
	p, err := child.Start(s.command(), s.log)
	if err != nil {
		t.Fatalf("starting %s: %v", s.name, err)
	}
	s.process = p
	eventually(t, s.name+" gets ready", func(ctx context.Context) error {
		select {
		case <-p.Ended():
			t.Fatalf("%s ended at once: %v", s.name, p.Err())
		default:
		}
		return s.ready(ctx)
	})
}

func (s *server) stop() { s.process.Stop() }

// ports hands out each port once.
var ports atomic.Int32

// freePort is a port that nobody listens on. A provider keeps its port when it is
// started again, since its name has it; so it is none of those that the system gives to
// connections (from 32768 on, on Linux), one of which could take it in between.
func freePort(t *testing.T) string {
	t.Helper()
	const first, number = 12000, 20000
	ports.CompareAndSwap(0, 1+rand.Int32N(number)) // others run tests too
	for range number {
		port := strconv.Itoa(first + int(ports.Add(1))%number)
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// answers is a server's ready: it does once url is answered with 200.
func answers(client *http.Client, url string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return errors.New(answer.Status)
		}
		return nil
	}
}

// provider is an OpenID provider of a folder beside, which gets its port and the file
// of its keys in variables.
type provider struct {
	server
	issuer, keys string
}

// newProvider returns one that is not started yet. It signs with the keys, by the first.
func newProvider(t *testing.T, name string, keys []jose.JSONWebKey, command func(port string) *exec.Cmd) *provider {
	t.Helper()
	port := freePort(t)
	p := &provider{issuer: "http://127.0.0.1:" + port, keys: filepath.Join(t.TempDir(), "keys.json")}
	writeKeys(t, p.keys, keys...)
	p.server = server{
		name: name,
		command: func() *exec.Cmd {
			cmd := command(port)
			cmd.Env = append(os.Environ(), "PORT="+port, "KEYS="+p.keys)
			return cmd
		},
		ready: answers(oneShot, p.issuer+"/.well-known/openid-configuration"),
	}
	return p
}

// token is one of a client, by client credentials.
func (p *provider) token(t *testing.T, client, secret string, form url.Values) string {
	t.Helper()
	form.Set("grant_type", "client_credentials")
	return textOf(t, tokens(t, endpoint(t, p.issuer, "token_endpoint"), client, secret, form), "access_token")
}
