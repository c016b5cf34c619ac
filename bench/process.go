package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
)

const (
	referenceAddr = "127.0.0.1:19291"
	gateAddr      = "127.0.0.1:19292"
)

// reference answers OK and looks at nothing: what is left is the cost of gRPC.
type reference struct {
	authv3.UnimplementedAuthorizationServer
}

// Check implements the ext_authz service.
func (reference) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}, nil
}

func serveReference() {
	l, err := net.Listen("tcp", referenceAddr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: reference:", err)
		os.Exit(1)
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, reference{})
	if err := s.Serve(l); err != nil {
		fmt.Fprintln(os.Stderr, "bench: reference:", err)
		os.Exit(1)
	}
}

// serverProcess is a server under test, in a process of its own so that the
// kernel's counters are its alone.
type serverProcess struct {
	addr string
	cmd  *exec.Cmd
	log  bytes.Buffer
}

func startServer(addr, path string, args ...string) (*serverProcess, error) {
	p := &serverProcess{addr: addr, cmd: exec.Command(path, args...)} //nolint:gosec // the binary to measure
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		p.cmd.Wait() //nolint:errcheck // it is killed at the end
		close(exited)
	}()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close() //nolint:errcheck // nothing was written
			return p, nil
		}
		select {
		case <-exited:
			return nil, fmt.Errorf("it ended: %s", strings.TrimSpace(p.log.String()))
		case <-time.After(20 * time.Millisecond):
		}
	}
	p.stop()
	return nil, errors.New("it does not listen after 10 s")
}

func (p *serverProcess) stop() { p.cmd.Process.Kill() } //nolint:errcheck // it may have ended

// cpu returns the processor time that the process has used: what the scheduler
// counted for each of its threads, in nanoseconds. (/proc/PID/stat has the same in
// ticks of 10 ms, too coarse for a round of a second.)
func (p *serverProcess) cpu() (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		return 0, errors.New("the kernel does not tell the processor time of threads (/proc/PID/task/*/schedstat)")
	}
	total := time.Duration(0)
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // of the kernel
		if err != nil {
			continue // a thread that has just ended; Go keeps its threads
		}
		running, _, _ := strings.Cut(string(data), " ")
		n, err := strconv.ParseInt(running, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n)
	}
	return total, nil
}

// rss returns the resident memory of the process in MiB, 0 if it cannot be read.
func (p *serverProcess) rss() float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20)
}

// machine names the processor.
func machine() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), ":"))
		}
	}
	return "unknown processor"
}
