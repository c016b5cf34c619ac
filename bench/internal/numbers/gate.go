package numbers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/bench/internal/server"
)

// configuredIssuer is an issuer in a configuration file.
type configuredIssuer struct{ issuer, name string }

// gate is a running gate, and how its operator looks at it.
type gate struct {
	*server.Server
	http *http.Client
	path string // of the program

	environment []string
	dir         string
	configSize  int64
}

// startGate starts the gate with these issuers, each written in one line; more is
// added to each.
func startGate(ctx context.Context, path string, issuers []configuredIssuer, more string, environment ...string) (*gate, error) {
	var b strings.Builder
	b.WriteString("server: {listen: \"127.0.0.1:0\"}\n" + quietGate + "issuers:\n")
	for _, i := range issuers {
		fmt.Fprintf(&b, "- {issuer: %q, name: %s, audiences: [bench]%s}\n", i.issuer, i.name, more)
	}
	b.WriteString("policies:\n- name: everything\n")
	return startGateWith(ctx, path, b.String(), environment...)
}

// quietGate is what every gate has in its configuration, beside what is measured.
const quietGate = "admin: {listen: \"127.0.0.1:0\"}\nlog: {decisions: none, format: json}\n"

// profiledGate is the same with a port for profiles.
const profiledGate = "admin: {listen: \"127.0.0.1:0\", pprof: true}\nlog: {decisions: none, format: json}\n"

// startGateWith starts the gate with a configuration, and with variables like
// GOMAXPROCS=1.
func startGateWith(ctx context.Context, path, config string, environment ...string) (*gate, error) {
	dir, err := os.MkdirTemp("", "claimgate-bench-")
	if err != nil {
		return nil, err
	}
	// Compressing the metrics would be seen in the gate's memory.
	g := &gate{http: &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 30 * time.Second}, dir: dir, path: path, environment: environment}
	if err = g.configure(config); err == nil {
		err = g.start(ctx)
	}
	if err != nil {
		_ = os.RemoveAll(dir) // the other error says more
		return nil, err
	}
	return g, nil
}

// configure replaces the configuration's file, in one step.
func (g *gate) configure(config string) error {
	g.configSize = int64(len(config))
	if err := os.WriteFile(g.file()+".new", []byte(config), 0o600); err != nil {
		return err
	}
	return os.Rename(g.file()+".new", g.file())
}

func (g *gate) file() string { return filepath.Join(g.dir, "claimgate.yaml") }

// start starts the program, anew if it has ended.
func (g *gate) start(ctx context.Context) (err error) {
	if g.Server, err = server.Start(ctx, g.path, g.environment, "serve", "--config", g.file()); err != nil {
		return fmt.Errorf("starting %s (make build makes it): %w", g.path, err)
	}
	return nil
}

// stop ends the gate and leaves nothing behind.
func (g *gate) stop() {
	g.Stop()
	g.http.CloseIdleConnections()
	_ = os.RemoveAll(g.dir) // a temporary directory
}

// ready reports whether the first fetch of every issuer has ended.
func (g *gate) ready(ctx context.Context) (bool, error) {
	resp, err := g.get(ctx, "/readyz")
	if err != nil {
		return false, err
	}
	defer resp.Body.Close() //nolint:errcheck // it is not even read
	return resp.StatusCode == http.StatusOK, nil
}

func (g *gate) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Admin+path, nil)
	if err != nil {
		return nil, err
	}
	return g.http.Do(req)
}

// awaitReady asks until the gate is ready, and returns how long that took since its
// start.
func (g *gate) awaitReady(ctx context.Context, limit, between time.Duration) (time.Duration, error) {
	for {
		ok, err := g.ready(ctx)
		took := time.Since(g.Began)
		switch {
		case err != nil:
			return 0, err
		case ok:
			return took, nil
		case took > limit:
			return 0, fmt.Errorf("the gate is not ready after %s: %s", limit, g.Log())
		}
		if err := pause(ctx, between); err != nil {
			return 0, err
		}
	}
}

// series are the values of metrics, by name and labels as they are written.
type series map[string]float64

// metrics reads what the gate counts.
func (g *gate) metrics(ctx context.Context) (series, error) {
	resp, err := g.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("/metrics: " + resp.Status)
	}
	list := series{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		if list[line[:i]], err = strconv.ParseFloat(line[i+1:], 64); err != nil {
			return nil, err
		}
	}
	return list, lines.Err()
}

// heap returns the gate's live heap in MiB and its goroutines.
func (g *gate) heap(ctx context.Context) (mib, goroutines float64, err error) {
	for range 3 { // the second empties pools
		resp, err := g.get(ctx, "/debug/pprof/heap?gc=1")
		if err != nil {
			return 0, 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if closed := resp.Body.Close(); err != nil || closed != nil {
			return 0, 0, fmt.Errorf("profile: %w", err)
		}
	}
	m, err := g.metrics(ctx)
	return m["go_memstats_heap_alloc_bytes"] / (1 << 20), m["go_goroutines"], err
}

// sum adds the values of a metric up whose labels contain all of these.
func (s series) sum(name string, labels ...string) float64 {
	total := 0.0
	for k, v := range s {
		if k != name && !strings.HasPrefix(k, name+"{") {
			continue
		}
		fits := true
		for _, l := range labels {
			fits = fits && strings.Contains(k, l)
		}
		if fits {
			total += v
		}
	}
	return total
}
