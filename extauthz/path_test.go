package extauthz

import (
	"strings"
	"testing"
)

func TestPathCanonicalForm(t *testing.T) {
	tests := []struct {
		name   string
		target string
		want   string
	}{
		{"an ordinary path is kept", "/orders/1", "/orders/1"},
		{"the root is kept", "/", "/"},
		{"the path is cut at the first ?", "/orders?x=1?y", "/orders"},
		{"a query cannot name a path", "/admin?x=/public", "/admin"}, // D6
		{"OPTIONS *", "*", "*"},                                      // D8
		{"OPTIONS * with a query", "*?x", "*"},
		{"unreserved characters are decoded", "/%61dmin/%7Euser%2Dx%5Fy%2Ez", "/admin/~user-x_y.z"}, // D7
		{"they are decoded once", "/%2541", ""},
		{"hex digits are upper-cased", "/a%2cb%c3%a9", "/a%2Cb%C3%A9"},
		{"reserved characters stay encoded", "/a%2Cb%40c", "/a%2Cb%40c"},
		{"reserved characters stay as they are", "/a,b@c:d!e$f&g'h(i)j+k=l", "/a,b@c:d!e$f&g'h(i)j+k=l"},
		{"case is kept", "/ADMIN", "/ADMIN"}, // D7
		{"one trailing slash is dropped", "/admin/", "/admin"},
		{"a space stays encoded", "/a%20b", "/a%20b"},
		{"a percent sign that encodes nothing further", "/100%25", "/100%25"},
		{"a percent sign before one hex digit", "/%25a", "/%25a"},
		{"a percent sign before no hex digits", "/%25zz", "/%25zz"},
		{"dots inside a segment", "/a..b/.well-known/...", "/a..b/.well-known/..."},
		{"UTF-8 of every length", "/%C3%A9%E2%82%AC%F0%9F%98%80", "/%C3%A9%E2%82%AC%F0%9F%98%80"},
		{"an encoded star is no star", "/%2A", "/%2A"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := parsePath(tt.target, false)
			if tt.want == "" {
				if !got.ambiguous {
					t.Fatalf("parsePath(%q) = %+v, want ambiguous", tt.target, got)
				}
				return
			}
			if got.ambiguous || !got.present || got.matched != tt.want {
				t.Errorf("parsePath(%q) = %+v, want %q", tt.target, got, tt.want)
			}
		})
	}
}

func TestMissingPath(t *testing.T) {
	if got := parsePath("", false); got != (requestPath{}) {
		t.Errorf("got %+v, want the zero path: present is false", got)
	}
}

func TestAmbiguousPath(t *testing.T) {
	tests := []struct {
		target string
		want   string
	}{
		// D1: backslash, encoded slash and backslash, double encoding.
		{`/a\b`, whyBackslash},
		{"/a%5Cb", whyEncBack},
		{"/a%5cb", whyEncBack},
		{"/a%2Fb", whyEncSlash},
		{"/a%2fb", whyEncSlash},
		{"/%252e%252e/x", whyEncTwice},
		{"/a%252Fb", whyEncTwice},
		{"/a%25%32%66b", whyEncTwice}, // ambiguous after the decoding
		{"/a%25%32Fb", whyEncTwice},
		{"/%%34%31", whyPercent}, // would become %41
		// D2: dot segments.
		{"/a/../admin", whyDotPart},
		{"/a/%2e%2e/admin", whyDotPart},
		{"/a/.%2E/admin", whyDotPart},
		{"/admin/.", whyDotPart},
		{"/admin/..", whyDotPart},
		{"/./admin", whyDotPart},
		{"/.", whyDotPart},
		{"/..?x", whyDotPart},
		// D3: empty segments, read as an authority by some.
		{"//admin", whyEmptyPart},
		{"//host/admin", whyEmptyPart},
		{"/a//b", whyEmptyPart},
		{"/a//", whyEmptyPart},
		{"//", whyEmptyPart},
		// D4: path parameters.
		{"/admin;x=1", whyParameter},
		{"/public;/../admin", whyParameter},
		{"/admin%3Bx", whyEncParam},
		{"/admin%3bx", whyEncParam},
		// D5: fragments.
		{"/admin#x", whyFragment},
		{"/admin%23", whyEncHash},
		{"/a#b?c", whyFragment},
		// D7: control bytes, other encodings.
		{"/a%00", whyEncControl},
		{"/a%1F", whyEncControl},
		{"/a%7f", whyEncControl},
		{"/a\x00b", whyControl},
		{"/a\tb", whyControl},
		{"/a\x7Fb", whyControl},
		{"/a%3Fb", whyEncQuery},
		{"/a\x80", whyNotASCII},
		{"/é", whyNotASCII},
		{"/ａ", whyNotASCII},
		{"/%C0%AF", whyEncNotUTF8}, // overlong /
		{"/%E0%80%AF", whyEncNotUTF8},
		{"/%ED%A0%80", whyEncNotUTF8}, // surrogate
		{"/%F4%90%80%80", whyEncNotUTF8},
		{"/%C3", whyEncNotUTF8},
		{"/%C3x%A9", whyEncNotUTF8},
		{"/%C3%41", whyEncNotUTF8},
		{"/%A9", whyEncNotUTF8},
		{"/%FF", whyEncNotUTF8},
		{"/%", whyPercent},
		{"/%4", whyPercent},
		{"/%4g", whyPercent},
		{"/%u0041", whyPercent},
		// D8: absolute form, no leading slash.
		{"http://h/admin", whyNoSlash},
		{"admin", whyNoSlash},
		{"host:443", whyNoSlash},
		{"?x", whyNoSlash},
		{"**", whyNoSlash},
		{"%2A", whyNoSlash},
		{"%2Fadmin", whyNoSlash},
	}
	for _, tt := range tests {
		got := parsePath(tt.target, false)
		if !got.present || !got.ambiguous || got.why != tt.want || got.matched != "" {
			t.Errorf("parsePath(%q) = %+v, want ambiguous: %s", tt.target, got, tt.want)
		}
	}
}

func TestPathParametersAllowed(t *testing.T) {
	for target, want := range map[string]string{"/a;x=1": "/a;x=1", "/a%3bx": "/a%3Bx", "/;": "/;"} {
		if got := parsePath(target, true); got.ambiguous || got.matched != want {
			t.Errorf("parsePath(%q) = %+v, want %q", target, got, want)
		}
	}
	for _, target := range []string{"/a;/../b", "/a;//b", "/a;%2f"} {
		if got := parsePath(target, true); !got.ambiguous {
			t.Errorf("parsePath(%q) = %+v, want ambiguous", target, got)
		}
	}
}

func TestPathPattern(t *testing.T) {
	tests := []struct {
		pattern string
		fits    []string
		not     []string
	}{
		{"/", []string{"/"}, []string{"/a", "*"}},
		{"/orders", []string{"/orders", "/orders/", "/orders?x"}, []string{"/", "/Orders", "/orders/1", "/ordersx", "/order"}},
		{"/public/**", []string{"/public", "/public/", "/public/a", "/public/a/b/c"}, []string{"/", "/publicity", "/publicity/a", "/a/public"}}, // D9
		{"/**", []string{"/", "/a", "/a/b"}, []string{"*", ""}},
		{"/*", []string{"/a", "/*"}, []string{"/", "/a/b"}},
		{"/*/**", []string{"/a", "/a/b"}, []string{"/"}},
		{"/a/*/c", []string{"/a/b/c", "/a/*/c/"}, []string{"/a/c", "/a/b", "/a/b/c/d", "/a/b/b/c"}},
		{"/a/*/c/**", []string{"/a/b/c", "/a/b/c/d"}, []string{"/a/b", "/a/b/d"}},
		{"/%61/%c3%a9", []string{"/a/%C3%A9", "/a/%c3%a9"}, nil},
		{"/a%2cb", []string{"/a%2Cb"}, []string{"/a,b"}},
		{"/users/~me", []string{"/users/%7Eme", "/users/%7eme"}, nil},
	}
	for _, tt := range tests {
		p, err := parsePathPattern(tt.pattern, false)
		if err != nil {
			t.Errorf("parsePathPattern(%q): %v", tt.pattern, err)
			continue
		}
		for _, target := range tt.fits {
			if path := parsePath(target, false); path.ambiguous || !p.match(path.matched) {
				t.Errorf("%s does not fit %s", tt.pattern, target)
			}
		}
		for _, target := range tt.not {
			if path := parsePath(target, false); p.match(path.matched) {
				t.Errorf("%s fits %s", tt.pattern, target)
			}
		}
	}
}

func TestPathPatternRefusedSaysWhatToWrite(t *testing.T) {
	for pattern, want := range map[string]string{
		"":           "is empty: write / for the root, or /** for every path",
		"orders":     `"orders" does not begin with /: write "/orders"`,
		"*":          `"*" does not begin with /: write "/*"`,
		"**":         `"**" does not begin with /: write "/**"`,
		"/orders/":   `"/orders/" ends with /: write "/orders", which fits both`,
		"/a/**/b":    `"/a/**/b" has ** before the end: write * for each single segment`,
		"/a/**/**":   `"/a/**/**" has ** before the end: write * for each single segment`,
		"/a*":        `"/a*" has a * inside a segment: * stands for one whole segment, ** at the end for any number`,
		"/a/b**":     `"/a/b**" has a * inside a segment: * stands for one whole segment, ** at the end for any number`,
		"/***":       `"/***" has a * inside a segment: * stands for one whole segment, ** at the end for any number`,
		"/a?b":       `"/a?b" has a ?: paths are matched without the query`,
		"/a//b":      `"/a//b" is ambiguous (the path has //): a request with such a path is refused`,
		"//":         `"//" is ambiguous (the path has //): a request with such a path is refused`,
		"/a/../b":    `"/a/../b" is ambiguous (the path has a . or .. segment): a request with such a path is refused`,
		"/a/%2e%2E":  `"/a/%2e%2E" is ambiguous (the path has a . or .. segment): a request with such a path is refused`,
		"/a%2Fb":     `"/a%2Fb" is ambiguous (the path has an encoded /): a request with such a path is refused`,
		"/é":         `"/é" is ambiguous (the path has a byte over 0x7E that is not percent-encoded): a request with such a path is refused`,
		"/a;b":       `"/a;b" is ambiguous (the path has a ;): write server.pathParameters: allow if no backend cuts a path there`,
		"/discount%": `"/discount%" is ambiguous (the path has a malformed percent sign): a request with such a path is refused`,
	} {
		_, err := parsePathPattern(pattern, false)
		if err == nil || err.Error() != want {
			t.Errorf("parsePathPattern(%q):\n got %v\nwant %s", pattern, err, want)
		}
	}
	if p, err := parsePathPattern("/a;b", true); err != nil || !p.match("/a;b") {
		t.Errorf("with pathParameters: allow: %v", err)
	}
}

func TestUsualPathCostsNoAllocation(t *testing.T) {
	p, err := parsePathPattern("/orders/*/lines/**", false)
	if err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(100, func() {
		path := parsePath("/orders/caf%C3%A9/lines/4?page=2", false)
		if !p.match(path.matched) {
			t.Error("no match")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

// lenient reads a path as the most forgiving of backends would: it drops
// parameters and fragment, decodes until nothing changes, takes a backslash for
// a slash, merges slashes and resolves dot segments. It is written for clarity
// and shares no code with path.go.
func lenient(target string) string {
	path, _, _ := strings.Cut(target, "?")
	for {
		decoded := lenientDecode(path)
		if decoded == path {
			break
		}
		path = decoded
	}
	path, _, _ = strings.Cut(path, "#")
	path, _, _ = strings.Cut(path, "?")
	path = strings.ReplaceAll(path, `\`, "/")
	var resolved []string
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			if len(resolved) > 0 {
				resolved = resolved[:len(resolved)-1]
			}
		default:
			resolved = append(resolved, segment)
		}
	}
	return "/" + strings.Join(resolved, "/")
}

func lenientDecode(s string) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high := strings.IndexByte(digits, s[i+1]|0x20)
			low := strings.IndexByte(digits, s[i+2]|0x20)
			if s[i+1] < 0x20 || s[i+2] < 0x20 {
				high = -1
			}
			if high >= 0 && low >= 0 {
				out.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// FuzzPath: two spellings of a path that a lenient backend takes for one never
// fall under different policies, unless one of them is ambiguous and so refused.
// The patterns' literals are unreserved characters, which have one spelling
// (RFC 3986 section 2.3). D1 to D9.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"/admin", "/%61dmin", "/a/../admin", "/admin/", "//admin", `/\admin`, "/admin;x", "/admin%2f", "/%2561dmin",
		"/public/..%2fadmin", "/admin#", "/admin%23", "/%c3%a9", "/public/%2e%2e/admin", "/ADMIN", "*", "",
		"/%%36%31dmin", "/admin%00", "/public;/../admin", "http://h/admin", "/a%2Cb", "/public/x?/admin",
	} {
		f.Add(s, "/admin")
		f.Add("/public/x", s)
	}
	var patterns []pathPattern
	for _, text := range []string{"/admin", "/admin/*", "/public/**", "/", "/a/*/b", "/*/x", "/deep/**"} {
		p, err := parsePathPattern(text, false)
		if err != nil {
			f.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	which := func(path string) int {
		for i := range patterns {
			if patterns[i].match(path) {
				return i
			}
		}
		return -1
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, target := range []string{a, b} {
			path := parsePath(target, false)
			if path.present != (target != "") || path.ambiguous != (path.why != "") || path.ambiguous && path.matched != "" {
				t.Fatalf("parsePath(%q) = %+v", target, path)
			}
			if path.ambiguous || !path.present {
				continue
			}
			if again := parsePath(path.matched, false); again != path {
				t.Errorf("parsePath(%q) = %+v, and of that %+v", target, path, again)
			}
			if allowed := parsePath(target, true); allowed != path {
				t.Errorf("allowing ; changes %q from %+v to %+v", target, path, allowed)
			}
			// The lenient reading of an unambiguous path is a spelling of it too.
			if target[0] == '/' && which(path.matched) != which(lenient(target)) {
				t.Errorf("%q: policy %d, but a lenient backend reads %q: policy %d",
					target, which(path.matched), lenient(target), which(lenient(target)))
			}
		}
		pa, pb := parsePath(a, false), parsePath(b, false)
		if !pa.present || !pb.present || pa.ambiguous || pb.ambiguous || a[0] != '/' || b[0] != '/' || lenient(a) != lenient(b) {
			return
		}
		if which(pa.matched) != which(pb.matched) {
			t.Errorf("%q and %q are one path to a lenient backend, and fall under policies %d and %d",
				a, b, which(pa.matched), which(pb.matched))
		}
	})
}
