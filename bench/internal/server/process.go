package server

import (
	"bufio"
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

// Process is a running program. Its methods may be called from several goroutines.
type Process struct {
	Began time.Time

	pid  int
	cmd  *exec.Cmd     // nil if it is not ours
	exit chan struct{} // closed when it has ended and its log is read

	mu  sync.Mutex
	log []string // its last lines; guarded by mu
}

// StartProcess starts a program. Each line that it writes to standard error is kept
// for a while, and told to each.
func StartProcess(cmd *exec.Cmd, each func(line string)) (*Process, error) {
	// A group of its own keeps the terminal's Ctrl-C away: Stop ends it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p := &Process{Began: time.Now(), cmd: cmd, exit: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	go func() {
		defer close(p.exit)
		p.read(stderr, each)
		_ = cmd.Wait() // it is killed at the end
	}()
	return p, nil
}

// Watch is a process that somebody else has started: its counters can be read.
func Watch(pid int) (*Process, error) {
	p := &Process{Began: time.Now(), pid: pid}
	_, err := p.CPU()
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return p, nil
}

func (p *Process) read(r io.Reader, each func(line string)) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		each(line)
		p.mu.Lock()
		p.log = append(p.log[max(0, len(p.log)-19):], line)
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r) // a line too long for us must not block the server
}

// Log returns the last lines that the process wrote.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(slices.Clone(p.log), "\n")
}

// Signal sends it a signal. One that has ended does not mind.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Ended is closed when it has ended.
func (p *Process) Ended() <-chan struct{} { return p.exit }

// Stop ends the process at once and returns when it has ended.
func (p *Process) Stop() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exit
}

// CPU returns the processor time that the process has used: what the scheduler
// counted for each of its threads, in nanoseconds. (/proc/PID/stat has the same in
// ticks of 10 ms, too coarse for a round of a second.)
func (p *Process) CPU() (time.Duration, error) {
	files, err := filepath.Glob(p.proc("task/*/schedstat"))
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

// Memory returns what is resident of the process, now and at most since its start
// or the last ResetPeak, in MiB.
func (p *Process) Memory() (now, peak float64, err error) {
	data, err := os.ReadFile(p.proc("status"))
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
		return 0, 0, errors.New("the kernel does not tell the memory of the process (/proc/PID/status)")
	}
	return now, peak, nil
}

// ResetPeak makes now the beginning of what Memory calls peak (proc(5),
// clear_refs).
func (p *Process) ResetPeak() error { return os.WriteFile(p.proc("clear_refs"), []byte("5"), 0) }

func (p *Process) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.pid), name)
}
