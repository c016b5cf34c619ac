package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// patience is how long one request may take before it counts as failed.
const patience = 30 * time.Second

// Requests makes one request of HTTP/1.1 for each token, as a browser sends it.
func Requests(tokens []string) []Check {
	var common strings.Builder
	for name, value := range browserHeaders {
		if !strings.HasPrefix(name, ":") && !strings.HasPrefix(name, "x-") { // those are Envoy's
			fmt.Fprintf(&common, "%s: %s\r\n", name, value)
		}
	}
	list := make([]Check, len(tokens))
	for i, token := range tokens {
		list[i] = fmt.Appendf(nil, "GET /orders?page=2 HTTP/1.1\r\nhost: api.example.com\r\n%sauthorization: Bearer %s\r\n\r\n", &common, token)
	}
	return list
}

// HTTP sends requests to a proxy over kept connections of HTTP/1.1. While one waits
// for its answer, its connection is busy; if all are, the next request waits.
type HTTP struct {
	addr string
	free chan *httpConn // those that are not busy; one that is not connected is nil inside
}

type httpConn struct {
	net.Conn
	in *bufio.Reader
}

// DialHTTP prepares a client; it connects with the first requests.
func DialHTTP(addr string, connections int) *HTTP {
	h := &HTTP{addr, make(chan *httpConn, connections)}
	for range connections {
		h.free <- &httpConn{}
	}
	return h
}

// Close ends the connections, when no request is under way.
func (h *HTTP) Close() {
	for range cap(h.free) {
		(<-h.free).hangUp()
	}
}

func (c *httpConn) hangUp() {
	if c.Conn != nil {
		_ = c.Conn.Close() // nothing is left to lose
		c.Conn = nil
	}
}

// Ask implements [Target]. Any free connection will do.
func (h *HTTP) Ask(ctx context.Context, _ int, request *Check) (status int, arrived time.Time) {
	c := <-h.free
	defer func() { h.free <- c }()
	status, err := c.ask(ctx, h.addr, *request)
	arrived = time.Now()
	if err != nil {
		c.hangUp()
		return Failed, arrived
	}
	return status, arrived
}

func (c *httpConn) ask(ctx context.Context, addr string, request Check) (status int, err error) {
	if c.Conn == nil {
		if c.Conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr); err != nil {
			c.Conn = nil // of an interface, not of a pointer
			return 0, err
		}
		c.in = bufio.NewReaderSize(c.Conn, 4096)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	return readAnswer(c.in)
}

var (
	statusLine    = []byte("HTTP/1.1 ")
	contentLength = []byte("content-length:")
)

// readAnswer reads an answer that has a content-length, far enough to know how it
// went and where the next one begins. What it cannot read is an error.
func readAnswer(in *bufio.Reader) (status int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	code, ok := bytes.CutPrefix(line, statusLine)
	if !ok || len(code) < 3 {
		return 0, fmt.Errorf("a status line %q", line)
	}
	if status, err = strconv.Atoi(string(code[:3])); err != nil {
		return 0, err
	}
	length := -1
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				return 0, err
			}
		}
	}
	if length < 0 && status != http.StatusNoContent {
		return 0, fmt.Errorf("an answer %d without content-length", status)
	}
	_, err = io.CopyN(io.Discard, in, int64(max(length, 0)))
	return status, err
}
