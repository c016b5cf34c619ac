// Package server runs servers under test, each in a process of its own so that
// the kernel's counters are its alone.
package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxStart is how long a server may take to listen: the largest configuration is
// read in a second or two.
const maxStart = time.Minute

// Server is a running server.
type Server struct {
	Addr  string // where it serves gRPC
	Admin string // where it serves HTTP to operators, "off" if it does not
	Began time.Time

	cmd    *exec.Cmd
	exited chan struct{} // closed when it has ended and its log is read

	mu  sync.Mutex
	log []string // its last lines; guarded by mu
}

// Start starts a program and waits until it says where it listens: in a line of
// JSON on standard error that has a member listen.
func Start(ctx context.Context, path string, args ...string) (*Server, error) {
	s := &Server{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	// A group of its own keeps the terminal's Ctrl-C away: Stop ends it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	s.Began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	listens := make(chan serving, 1)
	go func() {
		defer close(s.exited)
		s.read(stderr, listens)
		_ = s.cmd.Wait() // it is killed at the end
	}()
	limit := time.NewTimer(maxStart)
	defer limit.Stop()
	select {
	case at := <-listens:
		s.Addr, s.Admin = at.Listen, at.Admin
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("it ended: %s", s.Log())
	case <-limit.C:
		err = fmt.Errorf("it does not listen after %s: %s", maxStart, s.Log())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.Stop()
	return nil, err
}

// serving is the line in which a server says where it listens.
type serving struct {
	Listen string `json:"listen"`
	Admin  string `json:"admin"`
}

// Serving writes that line.
func Serving(w io.Writer, listen string) error {
	return json.NewEncoder(w).Encode(serving{listen, "off"})
}

func (s *Server) read(r io.Reader, listens chan<- serving) {
	said := false
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		var at serving
		if !said && json.Unmarshal([]byte(line), &at) == nil && at.Listen != "" {
			said = true
			listens <- at
		}
		s.mu.Lock()
		s.log = append(s.log[max(0, len(s.log)-19):], line)
		s.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r) // a line too long for us must not block the server
}

// Log returns the last lines that the server wrote.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(slices.Clone(s.log), "\n")
}

// Stop ends the server at once and returns when it has ended.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.exited
}

// CPU returns the processor time that the server has used: what the scheduler
// counted for each of its threads, in nanoseconds. (/proc/PID/stat has the same in
// ticks of 10 ms, too coarse for a round of a second.)
func (s *Server) CPU() (time.Duration, error) {
	files, err := filepath.Glob(s.proc("task/*/schedstat"))
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

// Memory returns what is resident of the server, now and at most since its start
// or the last ResetPeak, in MiB.
func (s *Server) Memory() (now, peak float64, err error) {
	data, err := os.ReadFile(s.proc("status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		switch name {
		case "VmRSS":
			now = kib / 1024
		case "VmHWM":
			peak = kib / 1024
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, errors.New("the kernel does not tell the memory of the server (/proc/PID/status)")
	}
	return now, peak, nil
}

// ResetPeak makes now the beginning of what Memory calls peak (proc(5),
// clear_refs).
func (s *Server) ResetPeak() error { return os.WriteFile(s.proc("clear_refs"), []byte("5"), 0) }

func (s *Server) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), name)
}
