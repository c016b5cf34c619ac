package extauthz

import (
	"strings"
	"testing"
)

func TestOnlyTheNamedCookieIsRemoved(t *testing.T) {
	sources := []tokenSource{bearer[0], {kind: fromCookie, name: "session"}, {kind: fromQuery, name: "b"}}
	for header, want := range map[string]string{
		"":                                "",
		"a=1; b=2":                        "a=1; b=2",
		"session=x":                       "",
		"session":                         "",
		" session = x ":                   "",
		"session=x; a=1":                  "a=1",
		"a=1; session=x":                  "a=1",
		"a=1; session=x; b=2":             "a=1; b=2",
		"a=1;session=x;b=2":               "a=1;b=2",
		"a=1,2; session=x; b=\"c\"":       "a=1,2; b=\"c\"",
		"a=1,session=x,b=2":               "a=1,b=2",
		"session=x; session=y; a=1":       "a=1",
		"Session=x; xsession=y; session2": "Session=x; xsession=y; session2",
		"a=session=x":                     "a=session=x",
	} {
		if got := withoutCookies(header, sources); got != want {
			t.Errorf("withoutCookies(%q) = %q, want %q", header, got, want)
		}
	}
}

// FuzzCookieStrip: the named cookie is gone, and every other one is as it was.
func FuzzCookieStrip(f *testing.F) {
	for _, s := range []string{"a=1; session=x; b=2", "session", ";;session=;,", "a,b;session=c", " session = x"} {
		f.Add(s)
	}
	sources := []tokenSource{{kind: fromCookie, name: "session"}}
	cookies := func(header string) (named int, others []string) {
		for cookie := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ';' || r == ',' }) {
			cookie = strings.Trim(cookie, " \t")
			name, _, _ := strings.Cut(cookie, "=")
			if strings.Trim(name, " \t") == "session" {
				named++
			} else if cookie != "" {
				others = append(others, cookie)
			}
		}
		return named, others
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := withoutCookies(header, sources)
		named, others := cookies(header)
		left, kept := cookies(got)
		if left != 0 || strings.Join(kept, ";") != strings.Join(others, ";") {
			t.Errorf("%q became %q", header, got)
		}
		if _, count := cookieValue(header, "session"); count != named {
			t.Errorf("%q has the cookie %d times, counted %d", header, named, count)
		}
	})
}
