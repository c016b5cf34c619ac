package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// envoy is a running Envoy process.
type envoy struct {
	edge    string // the listener that clients use
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
	err     error         // how it went; written before ended is closed
	logFile string
}

// stopGrace is how long Envoy may take to end on SIGTERM.
const stopGrace = 5 * time.Second

// startEnvoy runs the binary with config and waits until it serves.
func startEnvoy(ctx context.Context, binary, dir string, config []byte) (_ *envoy, err error) {
	configFile := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(configFile, config, 0o600); err != nil {
		return nil, err
	}
	addressFile := filepath.Join(dir, "envoy-admin-address")
	e := &envoy{ended: make(chan struct{}), logFile: filepath.Join(dir, "envoy.log")}
	output, err := os.Create(e.logFile)
	if err != nil {
		return nil, err
	}
	// Not CommandContext: that kills, and stop asks first. Without Stdin it is
	// /dev/null.
	e.cmd = exec.Command(binary,
		"-c", configFile,
		"--admin-address-path", addressFile,
		"--use-dynamic-base-id", // several Envoys on one machine
		"--concurrency", "1",
		"--log-level", "warning",
		"--file-flush-interval-msec", "100",
	)
	e.cmd.Stdout, e.cmd.Stderr = output, output
	e.cmd.SysProcAttr = dieWithParent()
	started := make(chan error, 1)
	go e.run(output, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting Envoy: %w", err)
	}
	defer func() {
		if err != nil {
			if log := tail(e.log(), 20); log != "" {
				err = fmt.Errorf("%w; Envoy's log:\n%s", err, log)
			}
			e.stop()
		}
	}()

	admin, err := e.waitForFile(ctx, addressFile)
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

// run starts the process and waits for its end, on one thread: Linux kills the
// child when the thread that made it ends, not the process.
func (e *envoy) run(output io.Closer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(e.ended)
	defer output.Close() //nolint:errcheck // Envoy has written it, not we
	err := e.cmd.Start()
	started <- err
	if err == nil {
		e.err = e.cmd.Wait()
	}
}

// stop asks Envoy to end, insists if it does not, and waits.
func (e *envoy) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.ended:
	case <-time.After(stopGrace):
		_ = e.cmd.Process.Kill()
		<-e.ended
	}
}

func (e *envoy) log() string {
	b, err := os.ReadFile(e.logFile)
	if err != nil {
		return ""
	}
	return string(b)
}

// waitForFile returns the content of a file that Envoy writes when it has bound
// its admin port.
func (e *envoy) waitForFile(ctx context.Context, name string) (string, error) {
	for {
		if b, err := os.ReadFile(name); err == nil && len(b) > 0 { //nolint:gosec // we named it
			return strings.TrimSpace(string(b)), nil
		}
		select {
		case <-e.ended:
			if e.err == nil {
				return "", fmt.Errorf("%s ended at once and without an error: is it an Envoy?", e.cmd.Path)
			}
			return "", fmt.Errorf("%s ended at once: %w: is it an Envoy of this machine's kind?", e.cmd.Path, e.err)
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

// tail returns the last n lines.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
