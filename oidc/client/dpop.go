package client

import (
	"net"
	"net/url"
	"strings"
	"sync"
)

// thumbprint is that of the DPoP key, "" without one.
func (c *Client) thumbprint() string {
	if c.cfg.DPoP == nil {
		return ""
	}
	return c.cfg.DPoP.Thumbprint()
}

// nonces are the last DPoP nonces of servers, by origin: a nonce of one must not
// be sent to another (RFC 9449 section 8.2).
type nonces struct {
	mu   sync.Mutex // guards last
	last map[string]string
}

// Limits of what is remembered of servers.
const (
	maxNonce   = 1 << 10
	maxOrigins = 64
)

// originOf is the origin of a URL (RFC 6454), with its port.
func originOf(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func (n *nonces) get(u *url.URL) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last[originOf(u)]
}

// set remembers a nonce. What is no nonce (RFC 9449 section 8.1) is not.
func (n *nonces) set(u *url.URL, nonce string) {
	if nonce == "" || len(nonce) > maxNonce || strings.ContainsFunc(nonce, func(r rune) bool {
		return r < 0x21 || r > 0x7e || r == '"' || r == '\\'
	}) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last == nil || len(n.last) >= maxOrigins {
		n.last = map[string]string{} // a server without its nonce gives another
	}
	n.last[originOf(u)] = nonce
}
