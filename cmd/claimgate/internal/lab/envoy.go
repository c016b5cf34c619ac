package lab

import (
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

	"github.com/claimgate/claimgate/cmd/claimgate/internal/child"
)

// envoy is a running Envoy process.
type envoy struct {
	*child.Process
	edge string // the listener that clients use
}

// startEnvoy runs the binary with config and waits until it serves.
func startEnvoy(ctx context.Context, binary, dir string, config []byte) (_ *envoy, err error) {
	configFile := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(configFile, config, 0o600); err != nil {
		return nil, err
	}
	addressFile := filepath.Join(dir, "envoy-admin-address")
	cmd := exec.Command(binary,
		"-c", configFile,
		"--admin-address-path", addressFile,
		"--use-dynamic-base-id", // several Envoys on one machine
		"--concurrency", "1",
		"--log-level", "warning",
		"--file-flush-interval-msec", "100",
	)
	process, err := child.Start(cmd, filepath.Join(dir, "envoy.log"))
	if err != nil {
		return nil, fmt.Errorf("starting Envoy: %w", err)
	}
	e := &envoy{Process: process}
	defer func() {
		if err != nil {
			if log := child.Tail(e.Log(), 20); log != "" {
				err = fmt.Errorf("%w; Envoy's log:\n%s", err, log)
			}
			e.Stop()
		}
	}()

	admin, err := e.waitForFile(ctx, binary, addressFile)
	if err != nil {
		return nil, err
	}
	if err := waitOK(ctx, "Envoy", "http://"+admin+"/ready"); err != nil {
		return nil, err
	}
	if e.edge, err = listenerAddress(ctx, admin, "edge"); err != nil {
		return nil, err
	}
	return e, nil
}

// waitForFile returns the content of a file that Envoy writes when it has bound
// its admin port.
func (e *envoy) waitForFile(ctx context.Context, binary, name string) (string, error) {
	for {
		if b, err := os.ReadFile(name); err == nil && len(b) > 0 { //nolint:gosec // we named it
			return strings.TrimSpace(string(b)), nil
		}
		select {
		case <-e.Ended():
			if e.Err() == nil {
				return "", fmt.Errorf("%s ended at once and without an error: is it an Envoy?", binary)
			}
			return "", fmt.Errorf("%s ended at once: %w: is it an Envoy of this machine's kind?", binary, e.Err())
		case <-ctx.Done():
			return "", errors.New("Envoy did not open its admin port in time")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// listenerAddress asks Envoy which port a listener has got.
func listenerAddress(ctx context.Context, admin, name string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/listeners?format=json", nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("asking Envoy for its listeners: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // read to its end
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
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return "", fmt.Errorf("reading Envoy's listeners: %w", err)
	}
	for _, l := range list.ListenerStatuses {
		if a := l.LocalAddress.SocketAddress; l.Name == name {
			return net.JoinHostPort(a.Address, strconv.Itoa(a.PortValue)), nil
		}
	}
	return "", fmt.Errorf("Envoy has no listener %q", name)
}
