package oidc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// errRefused marks what the rules forbid to fetch from or to believe.
var errRefused = errors.New("refused")

// CheckFetchURL reports why nothing may be fetched from a configured URL, nil
// if it may: https, or http on loopback, or any http if insecure is true; a
// host; no user, password or fragment. Which addresses the host may have is
// decided when it is dialled.
func CheckFetchURL(raw string, insecure bool) error {
	_, err := parseFetchURL(raw, func(u *url.URL) bool { return insecure || isLoopbackHost(u.Hostname()) })
	return err
}

// parseFetchURL applies the rules of CheckFetchURL; plainHTTP says whether a URL
// may be http.
func parseFetchURL(raw string, plainHTTP func(*url.URL) bool) (*url.URL, error) {
	u, err := parseHTTPURL(raw, "an https URL")
	switch {
	case err != nil:
		return nil, err
	case strings.Contains(raw, "#"):
		return nil, errors.New("a URL with a fragment")
	case u.Scheme == "http" && !plainHTTP(u):
		return nil, errors.New("a plain http URL, which is accepted only on loopback and never from an https issuer; use https")
	}
	return u, nil
}

// parseHTTPURL parses what every URL of ours is: http or https with a host, and
// without a user or password; expected says so in errors. They do not quote the
// URL, which may carry a password.
func parseHTTPURL(raw, expected string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.User != nil:
		return nil, errors.New("a URL with a user or password in it")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("not " + expected)
	case u.Hostname() == "":
		return nil, errors.New("a URL without a host")
	}
	return u, nil
}

// isLoopbackHost reports whether a host names this machine. A name is believed
// only until it is dialled.
func isLoopbackHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") // RFC 6761 section 6.3
}

// newDialer returns a dialer that looks at each address after name resolution
// and before the connection, so that no name can lead to a forbidden address.
func newDialer(loopbackOnly bool) *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second},
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%w: not an IP address", errRefused)
			}
			return checkAddr(addr.Addr(), loopbackOnly)
		},
	}
}

// forbidden are networks that no issuer is in: an instance's metadata service
// hands credentials to whoever can make a request.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fd00:ec2::/32"),          // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),       // Google Cloud
	netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), // Oracle Cloud
}

// checkAddr reports why addr must not be connected to. Nothing turns the first
// rule off; the second is for plain http.
func checkAddr(addr netip.Addr, loopbackOnly bool) error {
	for a := addr.WithZone("").Unmap(); ; {
		if a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("%w: unspecified or multicast address %s", errRefused, addr)
		}
		for _, p := range forbidden {
			if p.Contains(a) {
				return fmt.Errorf("%w: link-local or metadata address %s", errRefused, addr)
			}
		}
		inner, ok := embeddedIPv4(a)
		if !ok {
			break
		}
		a = inner
	}
	if loopbackOnly && !addr.Unmap().IsLoopback() {
		return fmt.Errorf("%w: plain http to %s, which is not loopback", errRefused, addr)
	}
	return nil
}

// carriers are IPv6 networks whose addresses stand for an IPv4 address: where
// its four bytes begin.
var carriers = []struct {
	prefix netip.Prefix
	offset int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},   // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12}, // NAT64, RFC 8215, in its usual /96 form
	{netip.MustParsePrefix("2002::/16"), 2},       // 6to4, RFC 3056
	{netip.MustParsePrefix("::/96"), 12},          // RFC 4291 section 2.5.5.1
}

func embeddedIPv4(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() || a.IsLoopback() {
		return netip.Addr{}, false
	}
	for _, c := range carriers {
		if c.prefix.Contains(a) {
			b := a.As16()
			return netip.AddrFrom4([4]byte(b[c.offset : c.offset+4])), true
		}
	}
	return netip.Addr{}, false
}
