// Package child runs other programs for demonstrations and tests: each writes its
// output to a file, ends with us whatever happens to us, and is asked to end before
// it is made to.
package child

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Grace is how long a program may take to end once it was asked to.
const Grace = 5 * time.Second

// Process is a program that was started. Its methods may be called from several
// goroutines.
type Process struct {
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the process is gone
	err     error         // how it went; written before ended is closed
	logFile string
}

// Start runs cmd, whose output goes to the end of logFile. Make cmd without a
// context, since that would kill where Stop asks first. Without Stdin it reads
// nothing. Whoever starts a process stops it.
func Start(cmd *exec.Cmd, logFile string) (*Process, error) {
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the caller names it
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = dieWithParent()
	p := &Process{cmd: cmd, ended: make(chan struct{}), logFile: logFile}
	started := make(chan error, 1)
	go p.run(output, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run starts the process and waits for its end, on one thread: Linux kills the
// child when the thread that made it ends, not the process.
func (p *Process) run(output io.Closer, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.ended)
	defer output.Close() //nolint:errcheck // the child has written it, not we
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
	}
}

// Stop asks the process to end, insists if it does not within Grace, and waits.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(Grace):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Err tells how the process ended, once Ended is closed: nil if with exit code 0.
func (p *Process) Err() error { return p.err }

// Log is what the process has written so far.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		return fmt.Sprintf("(its log cannot be read: %v)", err)
	}
	return string(b)
}

// Tail returns the last n lines of a log.
func Tail(log string, n int) string {
	lines := strings.Split(strings.TrimRight(log, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
