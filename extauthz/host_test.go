package extauthz

import (
	"strings"
	"testing"
)

func TestMethodIsOfCapitalsDigitsAndDash(t *testing.T) { // D10
	for method, want := range map[string]bool{
		"GET": true, "M-SEARCH": true, "VERSION2": true, "-": true,
		"": false, "get": false, "Get": false, "GET a": false, "GE_T": false, "GET\x00": false, "ＧＥＴ": false, "PRI*": false,
	} {
		if got := validMethod(method); got != want {
			t.Errorf("validMethod(%q) = %t, want %t", method, got, want)
		}
	}
}

// Host case, port, trailing dot, IPv6, absolute form, two hosts: C11.
func TestHostIsBroughtIntoOneFormOrRefused(t *testing.T) {
	tests := []struct {
		host string
		want string // "" for a refusal
	}{
		{"example.com", "example.com"},
		{"EXAMPLE.Com", "example.com"},
		{"example.com.", "example.com"},
		{"example.com.:443", "example.com"},
		{"Example.com:8443", "example.com"},
		{"example.com..", "example.com."}, // one trailing dot
		{"my_service-1", "my_service-1"},
		{"127.0.0.1:80", "127.0.0.1"},
		{"[::1]", "[::1]"},
		{"[::1]:443", "[::1]"},
		{"[2001:DB8:0::1]", "[2001:db8::1]"}, // two spellings, one address
		{"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"},
		{"", ""},
		{".", ""},
		{":443", ""},
		{"example.com:", ""},
		{"example.com:http", ""},
		{"example.com:123456", ""},
		{"a:1:2", ""},
		{"::1", ""},
		{"[::1", ""},
		{"[]", ""},
		{"[::1]x", ""},
		{"[::1].", ""},
		{"[1.2.3.4]", ""},
		{"[fe80::1%eth0]", ""},
		{"[example.com]", ""},
		{"http://example.com", ""},
		{"example.com/admin", ""},
		{"example.com?x", ""},
		{"user@example.com", ""},
		{"a.example,b.example", ""},
		{"a.example b.example", ""},
		{" example.com", ""},
		{"example.com\x00", ""},
		{"exämple.com", ""},
		{"ｅxample.com", ""},
		{"example%2ecom", ""},
		{"*.example.com", ""},
	}
	for _, tt := range tests {
		got, ok := canonicalHost(tt.host)
		if ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("canonicalHost(%q) = %q, %t; want %q", tt.host, got, ok, tt.want)
		}
	}
}

func TestHostPattern(t *testing.T) {
	tests := []struct {
		pattern  string
		fits     []string
		fitsNone []string
	}{
		{
			"shop.example.com",
			[]string{"shop.example.com", "SHOP.example.com", "shop.example.com.", "shop.example.com:443"},
			[]string{"example.com", "a.shop.example.com", "shopxexample.com", "shop.example.com.evil.com", "shop.example.com.."},
		},
		{"Shop.Example.COM.", []string{"shop.example.com"}, nil},
		{
			"*.example.com", // one or more labels
			[]string{"a.example.com", "a.b.example.com", "A.EXAMPLE.COM:1"},
			[]string{"example.com", ".example.com", "a..example.com", ".a.example.com", "a..b.example.com", "aexample.com", "a.example.com.evil.com"},
		},
		{"[2001:db8::0:1]", []string{"[2001:DB8::1]:443"}, []string{"[2001:db8::2]"}},
		{"10.0.0.1", []string{"10.0.0.1:80"}, nil},
	}
	for _, tt := range tests {
		p, err := parseHostPattern(tt.pattern)
		if err != nil {
			t.Errorf("parseHostPattern(%q): %v", tt.pattern, err)
			continue
		}
		for _, host := range tt.fits {
			if canonical, ok := canonicalHost(host); !ok || !p.match(canonical) {
				t.Errorf("%s does not fit %s", tt.pattern, host)
			}
		}
		for _, host := range tt.fitsNone {
			if canonical, ok := canonicalHost(host); ok && p.match(canonical) {
				t.Errorf("%s fits %s", tt.pattern, host)
			}
		}
	}
	if (hostPattern{}).match("") {
		t.Error("the zero pattern fits")
	}
}

func TestHostPatternRefusedSaysWhatToWrite(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                    "is empty",
		"*":                   `"*" is no pattern: leave hosts out to match every host`,
		"*example.com":        `"*example.com": a * stands for whole labels and only at the front: write *.example.com`,
		"a.*.com":             `"a.*.com": a * stands for whole labels and only at the front: write *.example.com`,
		"*.*.com":             `"*.*.com": a * stands for whole labels and only at the front: write *.example.com`,
		"*.":                  `"*." is no host: write a name such as shop.example.com or *.example.com, without scheme and path`,
		"*.[::1]":             `"*.[::1]" is no host: write a name such as shop.example.com or *.example.com, without scheme and path`,
		"https://example.com": `"https://example.com" is no host: write a name such as shop.example.com or *.example.com, without scheme and path`,
		"example.com/x":       `"example.com/x" is no host: write a name such as shop.example.com or *.example.com, without scheme and path`,
		"example.com:8443":    `"example.com:8443" has a port: hosts are matched without one, write "example.com"`,
		"*.example.com:8443":  `"*.example.com:8443" has a port: hosts are matched without one, write "*.example.com"`,
		"a..b":                `"a..b" has an empty label`,
	} {
		_, err := parseHostPattern(pattern)
		if err == nil || err.Error() != want {
			t.Errorf("parseHostPattern(%q) = %v, want %q", pattern, err, want)
		}
	}
}

func TestUsualHostCostsNoAllocation(t *testing.T) {
	p, err := parseHostPattern("*.example.com")
	if err != nil {
		t.Fatal(err)
	}
	allocs := testing.AllocsPerRun(100, func() {
		host, ok := canonicalHost("shop.example.com:443")
		if !ok || !p.match(host) || !validMethod("GET") {
			t.Error("no match")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

func FuzzHost(f *testing.F) {
	for _, host := range []string{"example.com", "Example.COM.:443", "[2001:DB8::1]:80", "a..b", "[::ffff:1.2.3.4]", "x:"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		canonical, ok := canonicalHost(host)
		if !ok {
			return
		}
		if canonical == "" || canonical != strings.ToLower(canonical) {
			t.Errorf("canonicalHost(%q) = %q", host, canonical)
		}
		if upper, ok := canonicalHost(strings.ToUpper(host)); !ok || upper != canonical {
			t.Errorf("in upper case %q is another host: %q, %q", host, upper, canonical)
		}
	})
}
