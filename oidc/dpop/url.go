package dpop

import (
	"errors"
	"net/netip"
	"strings"
)

// maxURLSize bounds the URLs that are compared, in bytes.
const maxURLSize = 8 << 10

// Why a URL cannot be compared. The texts repeat nothing of it.
var (
	errURLSize      = errors.New("the URL is over 8 KiB")
	errURLByte      = errors.New("the URL has a byte that no URL has: what is not of ASCII, a space and the like are percent-encoded")
	errURLScheme    = errors.New("the URL does not begin with https:// or http://")
	errURLAuthority = errors.New("the URL's host is not a name, an IPv4 address or an IPv6 address in brackets")
	errURLUserinfo  = errors.New("the URL has a user in it")
	errURLPort      = errors.New("the URL's port is not a number from 1 to 65535")
	errURLPercent   = errors.New("the URL has a % that is not followed by two hexadecimal digits")
)

// NormalizeURL returns an absolute http or https URL in the form in which htu is
// compared (RFC 9449 section 4.3): without query and fragment; scheme and host in
// lower case, without the scheme's default port; percent-encodings in upper case,
// and decoded where they need not be; without dot segments; and "/" for an empty
// path (RFC 3986 sections 6.2.2 and 6.2.3). Whatever it returns it leaves as it
// is.
//
// It is stricter than package net/url: a user, a byte that no URL has, or a
// broken encoding is an error. Two URLs that differ in anything else, a slash at
// the end or an encoded slash, stay different.
func NormalizeURL(s string) (string, error) {
	if len(s) > maxURLSize {
		return "", errURLSize
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7F || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return "", errURLByte
		}
	}
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	scheme, rest, found := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !found || scheme != "https" && scheme != "http" {
		return "", errURLScheme
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	authority, err := normalizeAuthority(authority, scheme)
	if err != nil {
		return "", err
	}
	if path, err = normalizeEncoding(path); err != nil {
		return "", err
	}
	return scheme + "://" + authority + removeDotSegments(path), nil
}

// normalizeAuthority writes host and port (RFC 3986 sections 3.2, 6.2.2.1 and
// 6.2.3).
func normalizeAuthority(s, scheme string) (string, error) {
	if strings.IndexByte(s, '@') >= 0 {
		return "", errURLUserinfo
	}
	var host, port string
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", errURLAuthority
		}
		addr, err := netip.ParseAddr(s[1:end])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", errURLAuthority
		}
		host = "[" + addr.String() + "]" // one spelling (RFC 5952)
		switch rest := s[end+1:]; {
		case rest == "":
		case rest[0] == ':':
			port = rest[1:]
		default:
			return "", errURLAuthority
		}
	} else {
		host, port, _ = strings.Cut(s, ":")
		host = strings.ToLower(host)
		if host == "" {
			return "", errURLAuthority
		}
		for i := 0; i < len(host); i++ {
			// Of a registered name's alphabet, what names of hosts have.
			if c := host[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
				return "", errURLAuthority
			}
		}
	}
	n := 0
	for i := 0; i < len(port); i++ {
		if port[i] < '0' || port[i] > '9' || n > 65535 {
			return "", errURLPort
		}
		n = 10*n + int(port[i]-'0')
	}
	switch {
	case port == "" || scheme == "https" && n == 443 || scheme == "http" && n == 80:
		return host, nil
	case n == 0 || n > 65535 || port[0] == '0':
		return "", errURLPort
	}
	return host + ":" + port, nil
}

// normalizeEncoding writes percent-encodings in upper case, and decodes those of
// unreserved characters (RFC 3986 sections 6.2.2.1 and 6.2.2.2).
func normalizeEncoding(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	const upperHex = "0123456789ABCDEF"
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errURLPercent
		}
		high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
		if high < 0 || low < 0 {
			return "", errURLPercent
		}
		i += 2
		if c := byte(high<<4 | low); isUnreserved(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', upperHex[high], upperHex[low])
		}
	}
	return string(out), nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// removeDotSegments resolves "." and ".." in an absolute or empty path (RFC 3986
// section 5.2.4).
func removeDotSegments(path string) string {
	if path == "" {
		return "/"
	}
	var kept []string
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			fallthrough
		case ".":
			if last { // what is left is a directory
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}
