package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// CheckProxyURL reports why raw cannot be an issuer's proxy, nil if it can: http
// or https, a host and perhaps a port, and nothing else. Errors do not quote the
// URL, which may carry a password.
func CheckProxyURL(raw string) error {
	_, err := parseProxyURL(raw)
	return err
}

func parseProxyURL(raw string) (*url.URL, error) {
	u, err := parseHTTPURL(raw, "an http or https URL")
	switch {
	case err != nil:
		return nil, err
	case u.Path != "" && u.Path != "/" || strings.ContainsAny(raw, "?#"):
		return nil, errors.New("a URL with more than a host and a port")
	}
	return u, nil
}

// metadataHosts are names of metadata services, which a proxy would resolve past
// the check of addresses.
var metadataHosts = []string{
	"metadata", "metadata.google.internal", "metadata.goog", // Google Cloud
	"instance-data", "instance-data.ec2.internal", // AWS
	"metadata.azure.internal", "metadata.tencentyun.com", "metadata.platformequinix.com",
}

// checkProxied reports why nothing may be fetched from host through a proxy.
// The proxy resolves names, so only what the host says by itself is judged.
func checkProxied(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return checkAddr(addr, false)
	}
	host = strings.ToLower(strings.TrimRight(host, "."))
	if slices.Contains(metadataHosts, host) {
		return fmt.Errorf("%w: %s is a metadata service", errRefused, host)
	}
	// Resolvers take 0xa9fea9fe, 2852039166 and 169.254.43518 for addresses.
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" || strings.HasPrefix(last, "0x") || strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%w: %q is an address in an unusual form", errRefused, host)
	}
	return nil
}

var errProxyTLS = errors.New("TLS with the proxy")

// proxyTLS returns what dials an https proxy.
func proxyTLS(dialer *net.Dialer, cfg *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn := tls.Client(raw, cfg)
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close() // nothing was written that could be lost
			return nil, fmt.Errorf("%w: %w", errProxyTLS, err)
		}
		return conn, nil
	}
}
