package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/ask"
	"github.com/claimgate/claimgate/extauthz"
)

// gateBinary is what make build leaves.
const gateBinary = "../../../../bin/claimgate"

// gate is the daemon, with a configuration of a test.
type gate struct {
	server
	addr, admin string
	conn        *grpc.ClientConn
}

// keys of a gate. One asks for keys when a token names an unknown one, and hardly ever
// before; the other asks again and again, and so learns by itself of what is gone.
const (
	onDemand = "{unknownKeyInterval: 1s}"
	restless = "{unknownKeyInterval: 1s, refresh: 1s}"
)

// startGate runs the daemon with issuers, headers and policies as config says, and
// waits until its first fetches have ended. A check may take long: what is counted here
// is verdicts, on a machine that starts providers at the same time.
func startGate(t *testing.T, config string) *gate {
	t.Helper()
	return startGateAt(t, "127.0.0.1:0", config)
}

// startGateAt is startGate for one that keeps its address when it is started again.
func startGateAt(t *testing.T, listen, config string) *gate {
	t.Helper()
	return startGateWith(t, fmt.Sprintf("listen: %q", listen), config)
}

// startGateWith is startGate for one with settings of its own in server, its address
// among them.
func startGateWith(t *testing.T, settings, config string) *gate {
	t.Helper()
	file := filepath.Join(t.TempDir(), "claimgate.yaml")
	config = `
server: {` + settings + `, drainDelay: 0s, checkTimeout: 10s}
admin: {listen: 127.0.0.1:0}
log: {decisions: none}
` + config
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	g := &gate{}
	g.server = server{
		name:    "the gate",
		command: func() *exec.Cmd { return exec.Command(gateBinary, "serve", "--config", file) },
		ready: func(ctx context.Context) error {
			if err := g.findAddresses(); err != nil {
				return err
			}
			return answers(oneShot, "http://"+g.admin+"/readyz")(ctx)
		},
	}
	g.start(t)
	conn, err := grpc.NewClient("passthrough:///"+g.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	g.conn = conn
	return g
}

// findAddresses reads in the log which ports the gate has got, the last time it started.
func (g *gate) findAddresses() error {
	err := errors.New("it has not said that it serves")
	for line := range strings.Lines(g.process.Log()) {
		var record struct{ Msg, Listen, Admin string }
		if json.Unmarshal([]byte(line), &record) == nil && record.Msg == "claimgate serves" {
			g.addr, g.admin, err = record.Listen, record.Admin, nil
		}
	}
	return err
}

// check asks about a request with a token.
func (g *gate) check(ctx context.Context, token string) (ask.Answer, error) {
	return ask.Check(ctx, g.conn, ask.Request{
		Method: "GET", Host: "shop.example.com", Path: "/orders/7", Scheme: "https",
		Headers: []extauthz.Header{{Name: "authorization", Value: "Bearer " + token}},
	})
}

// wantReason asks once.
func (g *gate) wantReason(t *testing.T, token, reason string) ask.Answer {
	t.Helper()
	a, err := g.check(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if a.Reason != reason || a.Allowed != (reason == "valid_token") {
		t.Errorf("allowed %v, reason %s, want %s; the claims are %s", a.Allowed, a.Reason, reason, claimsOf(token))
	}
	return a
}

// wantReasonSoon asks until the answer has the reason, and is wrong if it is neither
// that nor the one before.
func (g *gate) wantReasonSoon(t *testing.T, token, before, reason string) {
	t.Helper()
	eventually(t, before+" becomes "+reason, func(ctx context.Context) error {
		a, err := g.check(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		if a.Reason != reason && a.Reason != before {
			t.Fatalf("reason %s, want %s and then %s", a.Reason, before, reason)
		}
		if a.Reason != reason {
			return errors.New(a.Reason)
		}
		return nil
	})
}

// wantIdentity asks once, and compares all identity headers that are set.
func (g *gate) wantIdentity(t *testing.T, token string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, h := range g.wantReason(t, token, "valid_token").Set {
		if strings.HasPrefix(h.Name, "x-auth-") {
			got[h.Name] = h.Value
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the headers are %v, want %v", got, want)
	}
}

// wantStale waits until the gate has found, or not any more, that it gets no keys.
func (g *gate) wantStale(t *testing.T, stale int) {
	t.Helper()
	want := regexp.MustCompile(fmt.Sprintf(`(?m)^claimgate_keys_stale\{.*\} %d$`, stale))
	eventually(t, fmt.Sprintf("the gate's keys get stale=%d", stale), func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/metrics", nil)
		if err != nil {
			return err
		}
		answer, err := oneShot.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		metrics, err := io.ReadAll(answer.Body)
		if err == nil && !want.Match(metrics) {
			err = errors.New("it says otherwise")
		}
		return err
	})
}

// load puts requests to a gate, a few hundred a second, until it is ended.
type load struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
	checks  atomic.Int64
	wrong   atomic.Int64
	first   atomic.Pointer[string] // of the wrong ones
}

// startLoad asks about each token in turn. All is well as long as each gets its reason.
func startLoad(t *testing.T, g *gate, want map[string]string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	t.Cleanup(l.end)
	l.running.Go(func() {
		// A pace that leaves the processor to the provider, which starts meanwhile.
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			for token, reason := range want {
				<-pace.C
				a, err := g.check(ctx, token)
				if ctx.Err() != nil {
					return
				}
				l.checks.Add(1)
				if err != nil || a.Reason != reason || a.Allowed != (reason == "valid_token") {
					l.wrong.Add(1)
					text := fmt.Sprintf("allowed %v, reason %q, error %v, want %s", a.Allowed, a.Reason, err, reason)
					l.first.CompareAndSwap(nil, &text)
				}
			}
		}
	})
	return l
}

func (l *load) end() {
	l.cancel()
	l.running.Wait()
}

// more waits until n more checks have been answered.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	target := l.checks.Load() + n
	eventually(t, "more checks", func(context.Context) error {
		if l.checks.Load() < target {
			return fmt.Errorf("%d of %d", l.checks.Load(), target)
		}
		return nil
	})
}

// restartUnderLoad stops a provider and starts it again while the gate, a restless one,
// is asked about tokens, each of which must get its reason each time. In between the
// gate has found that it gets no keys, and that it does again.
func restartUnderLoad(t *testing.T, g *gate, provider *server, want map[string]string) {
	t.Helper()
	l := startLoad(t, g, want)
	l.more(t, 200)
	provider.stop()
	g.wantStale(t, 1)
	l.more(t, 200)
	provider.up(t)
	g.wantStale(t, 0)
	l.more(t, 200)
	l.end()
	if n := l.wrong.Load(); n > 0 {
		t.Errorf("%d of %d verdicts were wrong, the first: %s", n, l.checks.Load(), *l.first.Load())
	}
	t.Logf("%d checks, %d wrong", l.checks.Load(), l.wrong.Load())
}
