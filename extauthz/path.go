package extauthz

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// requestPath is the path of a request as policies see it. The zero requestPath
// is a missing one (CONNECT).
type requestPath struct {
	present   bool
	matched   string // the canonical path; "" if it is missing or ambiguous
	ambiguous bool
	why       string // what makes it ambiguous: a constant
}

// parsePath brings the path of a request target into the one form that policies
// are matched with, or finds that a backend could read it in another way than
// we do. Such a path is never guessed at: see matchList.
//
// The query does not belong to the path. Percent-encoded unreserved characters
// (RFC 3986 section 2.3) are decoded once, other hex digits are upper-cased, and
// one trailing slash is dropped. allowParams makes a ';' an ordinary character.
func parsePath(target string, allowParams bool) requestPath {
	if target == "" {
		return requestPath{}
	}
	raw, _, _ := strings.Cut(target, "?")
	if raw == "*" { // OPTIONS * (RFC 9110 section 7.1)
		return requestPath{present: true, matched: raw}
	}
	path, why := canonicalPath(raw, allowParams)
	if why != "" {
		return requestPath{present: true, ambiguous: true, why: why}
	}
	if len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	return requestPath{present: true, matched: path}
}

// Why a path is ambiguous.
const (
	whyNoSlash    = "the path does not begin with /"
	whyPercent    = "the path has a malformed percent sign"
	whyBackslash  = `the path has a \`
	whyControl    = "the path has a control byte"
	whyFragment   = "the path has a #"
	whyParameter  = "the path has a ;"
	whyNotASCII   = "the path has a byte over 0x7E that is not percent-encoded"
	whyEmptyPart  = "the path has //"
	whyDotPart    = "the path has a . or .. segment"
	whyEncSlash   = "the path has an encoded /"
	whyEncQuery   = "the path has an encoded ?"
	whyEncHash    = "the path has an encoded #"
	whyEncBack    = `the path has an encoded \`
	whyEncControl = "the path has an encoded control byte"
	whyEncParam   = "the path has an encoded ;"
	whyEncTwice   = "the path is percent-encoded twice"
	whyEncNotUTF8 = "the path has percent-encoded bytes that are not UTF-8"
)

// canonicalPath decodes and upper-cases as parsePath says and judges the result.
// It allocates only if that changes something.
func canonicalPath(raw string, allowParams bool) (path, why string) {
	path, ok := decodeUnreserved(raw)
	if !ok {
		return "", whyPercent
	}
	return path, ambiguity(path, allowParams)
}

// decodeUnreserved decodes each percent-encoded unreserved character once and
// upper-cases the hex digits of the others. It returns false for a percent sign
// without two hex digits.
func decodeUnreserved(s string) (string, bool) {
	var out []byte // nil as long as nothing has changed
	kept := 0      // s[:kept] is in out
	for i := strings.IndexByte(s, '%'); i >= 0 && i < len(s); {
		if s[i] != '%' {
			i++
			continue
		}
		c, ok := unhex(s, i)
		if !ok {
			return "", false
		}
		switch {
		case isUnreserved(c):
			out = append(append(out, s[kept:i]...), c)
			kept = i + 3
		case isLowerHex(s[i+1]) || isLowerHex(s[i+2]):
			out = append(append(out, s[kept:i]...), '%', upperHex[c>>4], upperHex[c&15])
			kept = i + 3
		}
		i += 3
	}
	if out == nil {
		return s, true
	}
	return string(append(out, s[kept:]...)), true
}

// ambiguity says why two servers could read the path differently, "" if they
// could not. The path has been through decodeUnreserved, so what it still has
// encoded is upper-case and not unreserved.
func ambiguity(path string, allowParams bool) string {
	if path == "" || path[0] != '/' {
		return whyNoSlash
	}
	segment := 1 // where the segment begins
	for i := 1; i < len(path); i++ {
		switch c := path[i]; {
		case c == '/':
			if why := ambiguousSegment(path[segment:i]); why != "" {
				return why
			}
			segment = i + 1
		case c == '%':
			why, n := ambiguousEncoding(path[i:], allowParams)
			if why != "" {
				return why
			}
			i += n - 1
		case c == '\\':
			return whyBackslash
		case c == '#':
			return whyFragment
		case c == ';' && !allowParams:
			return whyParameter
		case c < ' ' || c == 0x7F:
			return whyControl
		case c > '~':
			return whyNotASCII
		}
	}
	if last := path[segment:]; last != "" {
		return ambiguousSegment(last)
	}
	return "" // one trailing slash
}

func ambiguousSegment(s string) string {
	switch s {
	case "":
		return whyEmptyPart
	case ".", "..":
		return whyDotPart
	}
	return ""
}

// ambiguousEncoding judges the percent-encoded character that s begins with and
// returns the length of its text.
func ambiguousEncoding(s string, allowParams bool) (why string, n int) {
	c, ok := unhex(s, 0)
	switch {
	case !ok:
		return whyPercent, 0
	case c == '/':
		return whyEncSlash, 0
	case c == '\\':
		return whyEncBack, 0
	case c == '?':
		return whyEncQuery, 0
	case c == '#':
		return whyEncHash, 0
	case c == ';' && !allowParams:
		return whyEncParam, 0
	case c < ' ' || c == 0x7F:
		return whyEncControl, 0
	case c == '%' && len(s) >= 5 && isHex(s[3]) && isHex(s[4]):
		return whyEncTwice, 0
	case c < utf8.RuneSelf:
		return "", 3
	}
	// A rune of several bytes, each of them percent-encoded. The decoder refuses
	// overlong forms and surrogates.
	var bytes [utf8.UTFMax]byte
	size := 0
	for size < len(bytes) {
		b, ok := unhex(s, 3*size)
		if !ok || b < utf8.RuneSelf {
			break
		}
		bytes[size] = b
		size++
	}
	r, width := utf8.DecodeRune(bytes[:size])
	if r == utf8.RuneError && width <= 1 {
		return whyEncNotUTF8, 0
	}
	return "", 3 * width
}

// unhex returns the byte that the percent-encoding at s[i:] stands for.
func unhex(s string, i int) (byte, bool) {
	if i+3 > len(s) || s[i] != '%' || !isHex(s[i+1]) || !isHex(s[i+2]) {
		return 0, false
	}
	return hexDigit(s[i+1])<<4 | hexDigit(s[i+2]), true
}

const upperHex = "0123456789ABCDEF"

func hexDigit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || isLowerHex(c)
}

func isLowerHex(c byte) bool { return c >= 'a' && c <= 'f' }

// isUnreserved reports whether c never needs encoding (RFC 3986 section 2.3).
func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// pathPattern is one entry of match[].paths. It is compared segment by segment,
// so that /public is no prefix of /publicity.
type pathPattern struct {
	text     string
	segments []string // "" stands for *: no segment is empty
	rest     bool     // ends with **
	literal  bool     // no wildcard: text is the whole truth
}

// parsePathPattern reads a pattern; its errors say what to write instead. The
// pattern is brought into the same form as a request's path.
func parsePathPattern(s string, allowParams bool) (pathPattern, error) {
	switch {
	case s == "":
		return pathPattern{}, errors.New("is empty: write / for the root, or /** for every path")
	case s[0] != '/':
		return pathPattern{}, fmt.Errorf("%q does not begin with /: write %q", s, "/"+s)
	case strings.Contains(s, "?"):
		return pathPattern{}, fmt.Errorf("%q has a ?: paths are matched without the query", s)
	}
	path, why := canonicalPath(s, allowParams)
	switch why {
	case "":
	case whyParameter, whyEncParam:
		return pathPattern{}, fmt.Errorf("%q is ambiguous (%s): write server.pathParameters: allow if no backend cuts a path there", s, why)
	default:
		return pathPattern{}, fmt.Errorf("%q is ambiguous (%s): a request with such a path is refused", s, why)
	}
	if path == "/" {
		return pathPattern{text: path, literal: true}, nil
	}
	if trimmed := strings.TrimSuffix(path, "/"); trimmed != path {
		return pathPattern{}, fmt.Errorf("%q ends with /: write %q, which fits both", s, trimmed)
	}
	p := pathPattern{text: path, literal: true, segments: strings.Split(path[1:], "/")}
	last := len(p.segments) - 1
	if p.segments[last] == "**" {
		p.rest, p.literal, p.segments = true, false, p.segments[:last]
	}
	for i, segment := range p.segments {
		switch {
		case segment == "*":
			p.segments[i], p.literal = "", false
		case segment == "**":
			return pathPattern{}, fmt.Errorf("%q has ** before the end: write * for each single segment", s)
		case strings.Contains(segment, "*"):
			return pathPattern{}, fmt.Errorf("%q has a * inside a segment: * stands for one whole segment, ** at the end for any number", s)
		}
	}
	return p, nil
}

// match reports whether the pattern fits a canonical path.
func (p *pathPattern) match(path string) bool {
	if p.literal {
		return path == p.text
	}
	if path == "" || path[0] != '/' { // missing, or *
		return false
	}
	rest := path[1:]
	if path == "/" {
		return p.rest && len(p.segments) == 0
	}
	more := true // another segment follows
	for _, want := range p.segments {
		if !more {
			return false
		}
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if want != "" && want != segment {
			return false
		}
	}
	return !more || p.rest
}

// String returns the pattern in its canonical form.
func (p *pathPattern) String() string { return p.text }
