package extauthz

import (
	"slices"
	"strings"
	"testing"
)

func TestQueryParametersAreRemovedInEverySpelling(t *testing.T) {
	sources := []tokenSource{bearer[0], {kind: fromQuery, name: "access_token"}, {kind: fromQuery, name: "t"}, {kind: fromCookie, name: "a"}}
	for target, want := range map[string]string{
		"":                                   "",
		"/x":                                 "/x",
		"/x?":                                "/x?",
		"/x?a=1&b":                           "/x?a=1&b",
		"/x?access_token=abc":                "/x",
		"/x?access_token":                    "/x",
		"/x?&access_token=abc":               "/x",
		"/x?access_token=abc&a=1":            "/x?a=1",
		"/x?a=1&access_token=abc":            "/x?a=1",
		"/x?a=%2f&access_token=abc&b=%2F&&c": "/x?a=%2f&b=%2F&&c",
		"/x?%61ccess%5Ftoken=a&b=2":          "/x?b=2",
		"/x?access%5ftoken=a&access_token=b": "/x",
		"/x?t=1&u=2&%74=3":                   "/x?u=2",
		"/x?access%255Ftoken=a":              "/x?access%255Ftoken=a",
		"/x?Access_token=a":                  "/x?Access_token=a",
		"/x?access_token%=a":                 "/x?access_token%=a",
		"/x?b;access_token=a":                "/x?b;access_token=a",
		"/x?a=1&b?access_token=2":            "/x?a=1&b?access_token=2",
		"/t=1?u":                             "/t=1?u",
		"?t=1":                               "",
	} {
		if got := withoutParameters(target, sources); got != want {
			t.Errorf("withoutParameters(%q) = %q, want %q", target, got, want)
		}
	}
}

// FuzzQueryStrip: nothing that decodes to the name is left, everything else
// keeps its bytes and its order, and the path is untouched.
func FuzzQueryStrip(f *testing.F) {
	for _, s := range []string{"/x?access_token=a&b=1", "/x?%61ccess_token=a", "/?access_token&access_token", "/x?a&&b", "?", "/a%3Faccess_token=b"} {
		f.Add(s)
	}
	sources := []tokenSource{{kind: fromQuery, name: "access_token"}}
	f.Fuzz(func(t *testing.T, target string) {
		got := withoutParameters(target, sources)
		path, query, _ := strings.Cut(target, "?")
		gotPath, gotQuery, _ := strings.Cut(got, "?")
		if path != gotPath {
			t.Fatalf("%q became %q: another path", target, got)
		}
		var want []string
		for parameter := range strings.SplitSeq(query, "&") {
			name, _, _ := strings.Cut(parameter, "=")
			if lenientDecode(name) != "access_token" {
				want = append(want, parameter)
			}
		}
		if joined := strings.Join(want, "&"); gotQuery != joined {
			t.Errorf("%q became %q, want the query %q", target, got, joined)
		}
		if _, count := queryValue(got, "access_token"); count != 0 {
			t.Errorf("%q became %q, which still has the parameter", target, got)
		}
		if _, count := queryValue(target, "access_token"); (count > 0) != !slices.Equal(want, strings.Split(query, "&")) {
			t.Errorf("%q: %d parameters found, %q kept", target, count, want)
		}
	})
}
