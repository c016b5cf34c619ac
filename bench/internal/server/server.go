// Package server runs servers under test, each in a process of its own so that
// the kernel's counters are its alone.
package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// maxStart is how long a server may take to listen: the largest configuration is
// read in a second or two.
const maxStart = time.Minute

// Server is a running server.
type Server struct {
	*Process
	Addr  string // where it serves gRPC
	Admin string // where it serves HTTP to operators, "off" if it does not
}

// Start starts a program, with variables beside those of this one, and waits until it says where it listens: in a line of
// JSON on standard error that has a member listen.
func Start(ctx context.Context, path string, environment []string, args ...string) (*Server, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), environment...)
	listens := make(chan serving, 1)
	said := false
	p, err := StartProcess(cmd, func(line string) {
		var at serving
		if !said && json.Unmarshal([]byte(line), &at) == nil && at.Listen != "" {
			said = true
			listens <- at
		}
	})
	if err != nil {
		return nil, err
	}
	limit := time.NewTimer(maxStart)
	defer limit.Stop()
	select {
	case at := <-listens:
		return &Server{p, at.Listen, at.Admin}, nil
	case <-p.Ended():
		return nil, fmt.Errorf("it ended: %s", p.Log())
	case <-limit.C:
		err = fmt.Errorf("it does not listen after %s: %s", maxStart, p.Log())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.Stop()
	return nil, err
}

// serving is the line in which a server says where it listens.
type serving struct {
	Listen string `json:"listen"`
	Admin  string `json:"admin"`
}

// Serving writes that line.
func Serving(w io.Writer, listen, admin string) error {
	return json.NewEncoder(w).Encode(serving{listen, admin})
}
