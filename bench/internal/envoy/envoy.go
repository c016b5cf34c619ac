// Package envoy runs a real Envoy under load, with a file of its own making or with
// the shipped one.
package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/bench/internal/server"
)

// maxStart is how long an Envoy may take to serve.
const maxStart = time.Minute

// Envoy is a running Envoy.
type Envoy struct {
	*server.Process
	Listeners map[string]string // host:port by name

	admin string
	dir   string
	http  *http.Client
}

// Find returns the path of an Envoy: what ENVOY names, or what get-envoy.sh finds
// and, if it must, fetches. It wants to be run in the root of the repository.
func Find(ctx context.Context) (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		return path, nil
	}
	cmd := exec.CommandContext(ctx, "envoy-config/get-envoy.sh")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("envoy-config/get-envoy.sh: %w: name an Envoy in the variable ENVOY", err)
	}
	return string(bytes.TrimSpace(out)), nil
}

// Start runs the binary with a configuration, in so many threads, and returns when
// it serves. Its listeners and its admin port are to have port 0: it tells which it
// has got.
func Start(ctx context.Context, binary string, config []byte, concurrency int) (_ *Envoy, err error) {
	dir, err := os.MkdirTemp("", "claimgate-bench-envoy-")
	if err != nil {
		return nil, err
	}
	e := &Envoy{dir: dir, http: &http.Client{Timeout: 10 * time.Second}}
	e.http.Transport = &http.Transport{}
	defer func() {
		if err == nil {
			return
		}
		if e.Process != nil {
			err = fmt.Errorf("%w: %s", err, e.Log())
		}
		e.Stop()
	}()
	file, adminFile := filepath.Join(dir, "envoy.json"), filepath.Join(dir, "admin")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	e.Process, err = server.StartProcess(exec.Command(binary, "-c", file, "--admin-address-path", adminFile,
		"--service-node", "bench", "--service-cluster", "bench",
		"--use-dynamic-base-id", "--concurrency", strconv.Itoa(concurrency), "--log-level", "warning"), func(string) {})
	if err != nil {
		return nil, fmt.Errorf("starting Envoy: %w", err)
	}
	limit := time.After(maxStart)
	for e.Listeners == nil {
		select {
		case <-e.Ended():
			return nil, fmt.Errorf("%s ended", binary)
		case <-limit:
			return nil, fmt.Errorf("envoy does not serve after %s", maxStart)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
		address, err := os.ReadFile(adminFile) //nolint:gosec // we named it
		if err != nil || len(address) == 0 {
			continue // not yet
		}
		e.admin = strings.TrimSpace(string(address))
		if ready, err := e.Get(ctx, "/ready"); err != nil || strings.TrimSpace(string(ready)) != "LIVE" {
			continue
		}
		if e.Listeners, err = e.listeners(ctx); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Stop ends Envoy and leaves nothing behind.
func (e *Envoy) Stop() {
	if e.Process != nil {
		e.Process.Stop()
	}
	e.http.CloseIdleConnections()
	_ = os.RemoveAll(e.dir) // a temporary directory
}

// Get asks the admin port.
func (e *Envoy) Get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.admin+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := e.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	var b bytes.Buffer
	if _, err := b.ReadFrom(answer.Body); err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New(path + ": " + answer.Status)
	}
	return b.Bytes(), nil
}

func (e *Envoy) listeners(ctx context.Context) (map[string]string, error) {
	data, err := e.Get(ctx, "/listeners?format=json")
	if err != nil {
		return nil, err
	}
	var list struct {
		ListenerStatuses []struct {
			Name         string `json:"name"`
			LocalAddress struct {
				SocketAddress struct {
					Address   string `json:"address"`
					PortValue int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, l := range list.ListenerStatuses {
		a := l.LocalAddress.SocketAddress
		found[l.Name] = net.JoinHostPort(a.Address, strconv.Itoa(a.PortValue))
	}
	if len(found) == 0 {
		return nil, errors.New("envoy has no listeners")
	}
	return found, nil
}

// Counter returns the value of a statistic, 0 if there is none of that name.
func (e *Envoy) Counter(ctx context.Context, name string) (float64, error) {
	data, err := e.Get(ctx, "/stats?filter=^"+strings.ReplaceAll(name, ".", `\.`)+"$")
	if err != nil {
		return 0, err
	}
	_, value, ok := strings.Cut(strings.TrimSpace(string(data)), ": ")
	if !ok {
		return 0, nil
	}
	return strconv.ParseFloat(value, 64)
}
