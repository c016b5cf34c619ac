package extauthz

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxSocketPath is what Linux takes for the path of a Unix socket.
const maxSocketPath = 107

func (c *ServerConfig) validate(f *faults) {
	const p = fieldPath("server")
	checkDuration(f, p.field("checkTimeout"), c.CheckTimeout, 10*time.Millisecond, 10*time.Second)
	checkPointedDuration(f, p.field("drainDelay"), c.DrainDelay, 0, 10*time.Minute)
	checkPointedDuration(f, p.field("drainTimeout"), c.DrainTimeout, 0, 10*time.Minute)
	if age := c.MaxConnectionAge; age != nil && *age != 0 && !f.broken(p.field("maxConnectionAge")) {
		if d := time.Duration(*age); d < 10*time.Second || d > 24*time.Hour {
			f.add(p.field("maxConnectionAge"), "must be 10s to 24h, or 0 for never, not %s", *age)
		}
	}
	if every := c.ReloadInterval; every != nil && *every != 0 && !f.broken(p.field("reloadInterval")) {
		if d := time.Duration(*every); d < 100*time.Millisecond || d > time.Hour {
			f.add(p.field("reloadInterval"), "must be 100ms to 1h, or 0 for never, not %s", *every)
		}
	}
	if at := p.field("maxVerifications"); c.MaxVerifications < 0 || c.MaxVerifications == 0 && f.given(at) && !f.broken(at) {
		f.add(at, "must be at least 1, not %d: leave it out for as many as the processors verify in 75 ms", c.MaxVerifications)
	}
	c.TLS.validate(f, p.field("tls"))
	listen := p.field("listen")
	if c.Listen == "" || f.broken(listen) {
		return
	}
	a, err := parseListenAddress(c.Listen)
	switch {
	case err != nil:
		f.add(listen, "%v", err)
	case !a.local() && c.TLS == nil && !f.broken(p.field("tls")) && !c.Insecure && !f.broken(p.field("insecure")):
		f.add(listen, "%s can be reached from other machines, and without TLS whoever is on the way reads tokens: "+
			"set server.tls, listen on 127.0.0.1 or a unix socket, or write server.insecure: true", quote(c.Listen))
	}
}

func (c *TokenCacheConfig) validate(f *faults) {
	if c.maxEntries() < 0 {
		f.add("tokenCache.maxEntries", "must not be negative: 0 turns the cache off")
	}
	if c.maxBytes() < 0 {
		f.add("tokenCache.maxBytes", "must not be negative: 0 turns the cache off")
	}
}

func (c *Config) validateAdmin(f *faults) {
	const p = fieldPath("admin.listen")
	if f.broken(p) || f.broken("server.listen") || c.Admin.Listen == adminOff {
		return
	}
	address := cmp.Or(c.Admin.Listen, defaultAdminListen)
	admin, err := parseListenAddress(address)
	switch {
	case err != nil:
		f.add(p, "%v; or off", err)
		return
	case admin.socket != "":
		f.add(p, "must be host:port or off: there is no unix socket for operators")
		return
	}
	server, err := parseListenAddress(cmp.Or(c.Server.Listen, defaultListen))
	if err == nil && admin.clashes(server) {
		at := p
		if !f.given(p) {
			at = "server.listen"
		}
		f.add(at, "server.listen and admin.listen (%s) are one port: choose another", address)
	}
}

func (c *TracingConfig) validate(f *faults) {
	const p = fieldPath("tracing.endpoint")
	if c.Endpoint == "" || f.broken(p) {
		return
	}
	if hasUserinfo(c.Endpoint) {
		f.add(p, textUserinfo)
	} else if err := CheckCollectorURL(c.Endpoint); err != nil {
		f.add(p, "%s %v", quote(c.Endpoint), err)
	}
}

// listenAddress is where a server listens: a socket, or a host and a port.
type listenAddress struct {
	socket string
	host   string // "" is every address of the machine
	port   int    // 0 lets the system choose
}

// parseListenAddress reads host:port or unix:/path.
func parseListenAddress(s string) (listenAddress, error) {
	if socket, ok := strings.CutPrefix(s, "unix:"); ok {
		switch {
		case !strings.HasPrefix(socket, "/"):
			return listenAddress{}, fmt.Errorf("%s has no absolute path: write unix:/path", quote(s))
		case strings.ContainsRune(socket, 0):
			return listenAddress{}, errors.New("has a path with a NUL byte")
		case len(socket) > maxSocketPath:
			return listenAddress{}, fmt.Errorf("has a path of %d bytes: the system takes %d for a socket", len(socket), maxSocketPath)
		case strings.HasSuffix(socket, "/"):
			return listenAddress{}, fmt.Errorf("%s is a directory: write unix:/path/to/socket", quote(s))
		}
		return listenAddress{socket: filepath.Clean(socket)}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return listenAddress{}, fmt.Errorf("%s is no address to listen on: write host:port or unix:/path, such as 127.0.0.1:9191", quote(s))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return listenAddress{}, fmt.Errorf("%s has no port number from 0 to 65535", quote(s))
	}
	if !isListenHost(host) {
		return listenAddress{}, fmt.Errorf("%s has no host to listen on: write an IP address or a host name before the port", quote(s))
	}
	return listenAddress{host: host, port: int(n)}, nil
}

// isListenHost accepts what net.Listen can make an address of: nothing, an IP
// address or a host name.
func isListenHost(host string) bool {
	if host == "" {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	for i := 0; i < len(host); i++ {
		if !isHostByte(host[i]) {
			return false
		}
	}
	return true
}

// local reports whether only this machine can reach the address.
func (a listenAddress) local() bool {
	if a.socket != "" || strings.EqualFold(a.host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(a.host)
	return err == nil && ip.Unmap().IsLoopback()
}

// clashes reports whether a and b cannot both be listened on.
func (a listenAddress) clashes(b listenAddress) bool {
	if a.socket != "" || b.socket != "" || a.port != b.port || a.port == 0 {
		return false
	}
	return a.host == b.host || a.everywhere() || b.everywhere() || a.local() && b.local() && (a.name() || b.name())
}

func (a listenAddress) everywhere() bool {
	ip, err := netip.ParseAddr(a.host)
	return a.host == "" || err == nil && ip.IsUnspecified()
}

func (a listenAddress) name() bool {
	_, err := netip.ParseAddr(a.host)
	return err != nil
}
