package dpop_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/oidc/dpop"
)

func TestNormalizeURL(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"https://api.example.com/orders", "https://api.example.com/orders"},
		{"HTTPS://API.Example.COM/Orders", "https://api.example.com/Orders"},
		{"https://api.example.com", "https://api.example.com/"},
		{"https://api.example.com?a=b", "https://api.example.com/"},
		{"https://api.example.com/x?a=/../b#c", "https://api.example.com/x"},
		{"https://api.example.com/x#c?d", "https://api.example.com/x"},
		{"https://api.example.com:443/x", "https://api.example.com/x"},
		{"https://api.example.com:/x", "https://api.example.com/x"},
		{"http://api.example.com:80/x", "http://api.example.com/x"},
		{"https://api.example.com:80/x", "https://api.example.com:80/x"},
		{"http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"},
		{"https://[2001:DB8:0:0::1]:8443/x", "https://[2001:db8::1]:8443/x"},
		{"https://[::1]/", "https://[::1]/"},
		{"https://a/%7euser/%2f/%C3%a9", "https://a/~user/%2F/%C3%A9"},
		{"https://a/./b/../c", "https://a/c"},
		{"https://a/b/%2e%2E/c", "https://a/c"},
		{"https://a/../../c", "https://a/c"},
		{"https://a/b/..", "https://a/"},
		{"https://a/b/.", "https://a/b/"},
		{"https://a//b/", "https://a//b/"},
		{"https://a/b;c=d,e/f:g@h!$&'()*+", "https://a/b;c=d,e/f:g@h!$&'()*+"},
		{"https://a./x", "https://a./x"},
	} {
		if got, err := dpop.NormalizeURL(tt.in); got != tt.want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestNormalizeURLRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "the URL does not begin with https:// or http://"},
		{"/x", "the URL does not begin with https:// or http://"},
		{"//a/x", "the URL does not begin with https:// or http://"},
		{"https:/a", "the URL does not begin with https:// or http://"},
		{"ftp://a/", "the URL does not begin with https:// or http://"},
		{"https:///x", "the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"},
		{"https://:443/x", "the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"},
		{"https://a%2eb/", "the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"},
		{"https://[::1/", "the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"},
		{"https://[::1]x/", "the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"},
		{"https://[fe80::1%25eth0]/", "the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"},
		{"https://[1.2.3.4]/", "the URL's host is not a name, an IPv4 address or an IPv6 address in brackets"},
		{"https://user@a/", "the URL has a user in it"},
		{"https://a@b:443@c/", "the URL has a user in it"},
		{"https://a:0/", "the URL's port is not a number from 1 to 65535"},
		{"https://a:65536/", "the URL's port is not a number from 1 to 65535"},
		{"https://a:99999999999999999999/", "the URL's port is not a number from 1 to 65535"},
		{"https://a:08/", "the URL's port is not a number from 1 to 65535"},
		{"https://a:1:2/", "the URL's port is not a number from 1 to 65535"},
		{"https://a/%", "the URL has a % that is not followed by two hexadecimal digits"},
		{"https://a/%4", "the URL has a % that is not followed by two hexadecimal digits"},
		{"https://a/%zz", "the URL has a % that is not followed by two hexadecimal digits"},
		{"https://a/ ", "the URL has a byte that no URL has: what is not of ASCII, a space and the like are percent-encoded"},
		{"https://a\\b/", "the URL has a byte that no URL has: what is not of ASCII, a space and the like are percent-encoded"},
		{"https://ä/", "the URL has a byte that no URL has: what is not of ASCII, a space and the like are percent-encoded"},
		{"https://a/\r\n", "the URL has a byte that no URL has: what is not of ASCII, a space and the like are percent-encoded"},
		{"https://a/" + strings.Repeat("x", 8<<10), "the URL is over 8 KiB"},
	} {
		if got, err := dpop.NormalizeURL(tt.in); err == nil || err.Error() != tt.want {
			t.Errorf("%.60q: got %q, %v, want %q", tt.in, got, err, tt.want)
		}
	}
}

// What is normalised stays so, says the same to net/url, and has no query.
func FuzzNormalizeURL(f *testing.F) {
	for _, s := range []string{
		"https://api.example.com/orders?x#y", "HTTP://A:80/%7e/../%2F;b", "https://[::1]:8443/./", "https://a//../..//b/.", "https://a/%2e%2e/%zz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := dpop.NormalizeURL(s)
		if err != nil {
			return
		}
		twice, err := dpop.NormalizeURL(once)
		if err != nil || twice != once {
			t.Fatalf("%q becomes %q, and then %q, %v", s, once, twice, err)
		}
		if i := strings.IndexAny(s, "?#"); i >= 0 { // what is left out is not judged
			s = s[:i]
		}
		theirs, err1 := url.Parse(s)
		ours, err2 := url.Parse(once)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q, %q: net/url says %v, %v", s, once, err1, err2)
		}
		if !strings.EqualFold(theirs.Scheme, ours.Scheme) || ours.RawQuery != "" || ours.Fragment != "" || ours.User != nil {
			t.Fatalf("%q becomes %q", s, once)
		}
		if host := theirs.Hostname(); !strings.Contains(host, ":") && !strings.EqualFold(host, ours.Hostname()) { // IPv6 has more spellings
			t.Fatalf("%q becomes %q", s, once)
		}
		for _, segment := range strings.Split(ours.EscapedPath(), "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%q becomes %q", s, once)
			}
		}
	})
}
