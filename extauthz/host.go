package extauthz

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// validMethod reports whether s is made of A-Z, digits and '-'. Methods are
// compared exactly, so one in lower case must not slip past a rule that names it
// in upper case.
func validMethod(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != ""
}

// canonicalHost returns the form of an authority that policies are matched with:
// lower-cased, without its port and one trailing dot, an IPv6 address in its
// shortest form. It returns false for what is no host: there is one reading of a
// host here, or none.
func canonicalHost(s string) (string, bool) {
	name, port, ok := cutPort(s)
	if !ok || !validPort(port) {
		return "", false
	}
	if strings.HasPrefix(name, "[") {
		return canonicalIPv6(name)
	}
	for i := 0; i < len(name); i++ {
		if !isHostByte(name[i]) {
			return "", false
		}
	}
	name = strings.TrimSuffix(name, ".")
	return strings.ToLower(name), name != ""
}

// cutPort splits an authority at the colon before its port; the port keeps the
// colon. It returns false for a bracket that does not close.
func cutPort(s string) (name, port string, ok bool) {
	end := strings.IndexByte(s, ':')
	if strings.HasPrefix(s, "[") {
		end = strings.IndexByte(s, ']') + 1
		if end == 0 {
			return "", "", false
		}
	}
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:], true
}

// validPort accepts no port, or a colon and one to five digits.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	digits := s[1:]
	if s[0] != ':' || digits == "" || len(digits) > 5 {
		return false
	}
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}

// canonicalIPv6 takes an address in brackets. Two spellings of one address must
// be one host.
func canonicalIPv6(s string) (string, bool) {
	if len(s) < 2 {
		return "", false
	}
	inner := s[1 : len(s)-1]
	addr, err := netip.ParseAddr(inner)
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	if text := addr.String(); text != inner {
		return "[" + text + "]", true
	}
	return s, true
}

func isHostByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

// hostPattern is one entry of match[].hosts. The zero hostPattern matches
// nothing.
type hostPattern struct {
	exact  string
	suffix string // with its leading dot, for *.example.com
}

// parseHostPattern reads an exact host or *.example.com.
func parseHostPattern(s string) (hostPattern, error) {
	if s == "" {
		return hostPattern{}, errors.New("is empty")
	}
	if s == "*" {
		return hostPattern{}, errors.New(`"*" is no pattern: leave hosts out to match every host`)
	}
	name, wildcard := strings.CutPrefix(s, "*.")
	if strings.Contains(name, "*") {
		return hostPattern{}, fmt.Errorf("%q: a * stands for whole labels and only at the front: write *.example.com", s)
	}
	host, ok := canonicalHost(name)
	if !ok || wildcard && strings.HasPrefix(name, "[") {
		return hostPattern{}, fmt.Errorf("%q is no host: write a name such as shop.example.com or *.example.com, without scheme and path", s)
	}
	if _, port, _ := cutPort(name); port != "" {
		return hostPattern{}, fmt.Errorf("%q has a port: hosts are matched without one, write %q", s, s[:len(s)-len(port)])
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" {
			return hostPattern{}, fmt.Errorf("%q has an empty label", s)
		}
	}
	if wildcard {
		return hostPattern{suffix: "." + host}, nil
	}
	return hostPattern{exact: host}, nil
}

// match reports whether the pattern fits a host that canonicalHost returned.
func (p hostPattern) match(host string) bool {
	if p.suffix == "" {
		return p.exact != "" && p.exact == host
	}
	labels, ok := strings.CutSuffix(host, p.suffix)
	return ok && labels != "" && labels[0] != '.' && labels[len(labels)-1] != '.' && !strings.Contains(labels, "..")
}
