package extauthz

import (
	"slices"
	"testing"
)

func TestCredentialGoesOnOrNot(t *testing.T) {
	var (
		cookie = tokenSource{kind: fromCookie, name: "session"}
		query  = tokenSource{kind: fromQuery, name: "access_token"}
		plain  = tokenSource{kind: fromHeader, name: "x-token"}
		all    = []tokenSource{bearer[0], cookie, query, plain}
	)
	type headers = []Header
	tests := []struct {
		name     string
		forward  forwarding
		verified bool
		sources  []tokenSource
		target   string
		headers  rawHeaders
		set      headers
		remove   []string
	}{
		{"a verified token goes on by default", forwardVerified, true, all, "/x", authorization("Bearer a"), nil, nil},
		{"what nobody verified does not", forwardVerified, false, all, "/x", authorization("Bearer a"), nil, []string{"authorization"}},
		{"forwardToken: true", forwardAlways, false, all, "/x", authorization("Bearer a"), nil, nil},
		{"forwardToken: false", forwardNever, true, all, "/x", authorization("Bearer a"), nil, []string{"authorization"}},
		{"a query parameter never goes on", forwardAlways, true, all, "/x?access_token=a&b", nil, headers{{":path", "/x?b"}}, nil},
		{"in no spelling", forwardVerified, false, all, "/x?%61ccess_token=a", nil, headers{{":path", "/x"}}, nil},
		{"nothing is left of the target", forwardAlways, true, all, "?access_token=a", nil, headers{{":path", "/"}}, nil},
		{"a query that is not in tokenFrom goes on", forwardNever, false, bearer, "/x?access_token=a", nil, nil, nil},

		{"another scheme is not ours", forwardNever, false, all, "/x", authorization("Basic a"), nil, nil},
		{"in lower case", forwardNever, false, all, "/x", authorization("bearer a"), nil, []string{"authorization"}},
		{"malformed", forwardNever, false, all, "/x", authorization("Bearer\u00a0a"), nil, []string{"authorization"}},
		{"the scheme alone", forwardNever, false, all, "/x", authorization("Bearer"), nil, []string{"authorization"}},
		{"behind a comma", forwardNever, false, all, "/x", authorization("Basic a, Bearer b"), nil, []string{"authorization"}},
		{"in a second header", forwardNever, false, all, "/x", authorization("Basic a", "Bearer b"), nil, []string{"authorization"}},
		{"a longer scheme", forwardNever, false, all, "/x", authorization("BearerX a"), nil, nil},
		{"two sources, one header", forwardNever, false, append(all, tokenSource{kind: fromHeader, name: "authorization", scheme: "JWT"}), "/x", authorization("Bearer a, JWT b"), nil, []string{"authorization"}},
		{"a header without a scheme", forwardNever, false, all, "/x", rawHeaders{{"X-Token", "anything, really"}}, nil, []string{"x-token"}},

		{"the only cookie", forwardNever, false, all, "/x", rawHeaders{{"cookie", "session=a"}}, nil, []string{"cookie"}},
		{"only space and separators are left", forwardNever, false, all, "/x", rawHeaders{{"cookie", "; session=a ;"}}, nil, []string{"cookie"}},
		{"one of several cookies", forwardNever, false, all, "/x", rawHeaders{{"cookie", "a=1; session=a; b=2"}}, headers{{"cookie", "a=1; b=2"}}, nil},
		// An answer with bytes that are not UTF-8 could not be sent at all.
		{"bytes that are not UTF-8", forwardNever, false, all, "/x", rawHeaders{{"cookie", "a=\xff\xfe; session=a; b=\u00e9"}}, headers{{"cookie", "a=!; b=\u00e9"}}, nil},
		{"no such cookie", forwardNever, false, all, "/x", rawHeaders{{"cookie", "a=1; b=2"}}, nil, nil},
		{"everything", forwardNever, false, all, "/x?access_token=a", append(authorization("Bearer a"), Header{"cookie", "session=a; b=2"}), headers{{":path", "/x"}, {"cookie", "b=2"}}, []string{"authorization"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for encoding, h := range map[string]rawHeaders{"header_map": tt.headers, "headers": tt.headers.joined()} {
				before := []string{"x-auth-subject"}
				r := &Request{Path: tt.target, Headers: h}
				set, remove := tt.forward.apply(tt.sources, tt.verified, r, nil, slices.Clip(before))
				if !slices.Equal(set, tt.set) || !slices.Equal(remove[1:], tt.remove) {
					t.Errorf("%s: set %q, remove %q; want %q, %q", encoding, set, remove[1:], tt.set, tt.remove)
				}
			}
		})
	}
}
