package extauthz

import (
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/internal/authheader"
	"github.com/claimgate/claimgate/oidc"
)

// rawHeaders are headers as encode_raw_headers transports them: duplicates kept.
type rawHeaders []Header

// Get implements Headers.
func (l rawHeaders) Get(name string) (string, int) {
	var values []string
	for _, h := range l {
		if strings.ToLower(h.Name) == name {
			values = append(values, h.Value)
		}
	}
	return strings.Join(values, ","), len(values)
}

// Names implements Headers.
func (l rawHeaders) Names(yield func(string) bool) {
	for _, h := range l {
		if !yield(h.Name) {
			return
		}
	}
}

// joined is l as Envoy's default encoding transports it: one entry a name.
func (l rawHeaders) joined() rawHeaders {
	var out rawHeaders
	for _, h := range l {
		name := strings.ToLower(h.Name)
		i := slices.IndexFunc(out, func(o Header) bool { return o.Name == name })
		if i < 0 {
			out = append(out, Header{name, h.Value})
			continue
		}
		out[i].Value += "," + h.Value
	}
	return out
}

// The default of tokenFrom.
var bearer = []tokenSource{{kind: fromHeader, name: "authorization", scheme: "Bearer"}}

const (
	missing   = oidc.MissingToken
	malformed = oidc.MalformedCredentials
	multiple  = oidc.MultipleCredentials
)

// authorization makes one Authorization header of each value.
func authorization(values ...string) rawHeaders {
	var h rawHeaders
	for _, v := range values {
		h = append(h, Header{"authorization", v})
	}
	return h
}

func TestAuthorizationHeader(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		token  string
		reason oidc.Reason
	}{
		{"absent", nil, "", missing},
		{"one token", []string{"Bearer a.b-c_d~e+f/g=="}, "a.b-c_d~e+f/g==", ""},
		// C2: the scheme is compared without case, one or more spaces follow.
		{"lower case", []string{"bearer abc"}, "abc", ""},
		{"upper case", []string{"BEARER abc"}, "abc", ""},
		{"mixed case", []string{"bEaReR abc"}, "abc", ""},
		{"several spaces", []string{"Bearer   abc"}, "abc", ""},
		{"space around the value", []string{" \tBearer abc\t "}, "abc", ""},
		{"a tab instead of the space", []string{"Bearer\tabc"}, "", malformed},
		{"a space and a tab", []string{"Bearer \tabc"}, "", malformed},
		{"a no-break space", []string{"Bearer\u00a0abc"}, "", malformed},
		{"a no-break space after the space", []string{"Bearer \u00a0abc"}, "", malformed},
		{"a full-width scheme", []string{"Ｂｅａｒｅｒ abc"}, "", malformed},
		{"the scheme alone", []string{"Bearer"}, "", malformed},
		{"the scheme and spaces", []string{"Bearer   "}, "", malformed},
		{"two tokens", []string{"Bearer a b"}, "", malformed},
		{"a token and a trailing word", []string{"Bearer abc realm=x"}, "", malformed},
		{"padding inside", []string{"Bearer a=b"}, "", malformed},
		{"padding alone", []string{"Bearer =="}, "", malformed},
		{"a quoted token", []string{`Bearer "abc"`}, "", malformed},
		{"a token that is no ASCII", []string{"Bearer abć"}, "", malformed},
		{"a control byte", []string{"Bearer a\x00b"}, "", malformed},
		{"a slash", []string{"Bearer/abc"}, "", malformed},
		{"an equals sign", []string{"Bearer=abc"}, "", malformed},
		{"empty", []string{""}, "", malformed},
		{"space only", []string{" \t "}, "", malformed},
		{"a token without a scheme", []string{"aaa.bbb.ccc"}, "", malformed},
		// Another scheme is no credential of ours.
		{"Basic", []string{"Basic dXNlcjpwYXNz"}, "", missing},
		{"Digest", []string{`Digest a="b", c="d"`}, "", missing},
		{"a scheme that ours begins", []string{"BearerX abc"}, "", missing},
		{"a parameter that our scheme begins", []string{"Digest a=1, bearerx=2"}, "", missing},
		{"several values of another scheme", []string{"Basic a", "Negotiate b"}, "", missing},
		{"Basic alone", []string{"Basic"}, "", malformed},
		{"Basic and a tab", []string{"Basic\tabc"}, "", malformed},
		{"no scheme", []string{`"x" y`}, "", malformed},
		{"DPoP where it is not offered", []string{"DPoP abc"}, "", malformed},
		{"dpop in lower case", []string{"dpop abc"}, "", malformed},
		{"DPoP beside another", []string{"Basic a, DPoP b"}, "", malformed},
		// C1: never the first, never the last.
		{"two headers", []string{"Bearer abc", "Bearer def"}, "", multiple},
		{"the same twice", []string{"Bearer abc", "Bearer abc"}, "", multiple},
		{"joined by a comma", []string{"Bearer abc, Bearer def"}, "", multiple},
		{"joined without space", []string{"Bearer abc,Bearer def"}, "", multiple},
		{"another scheme before ours", []string{"Basic x, Bearer y"}, "", multiple},
		{"another scheme after ours", []string{"Bearer y, Basic x"}, "", multiple},
		{"another scheme in its own header", []string{"Basic x", "bearer y"}, "", multiple},
		{"a tab after the comma", []string{"Basic x,\tBEARER y"}, "", multiple},
		{"an empty header before ours", []string{"", "Bearer y"}, "", multiple},
		{"a trailing comma", []string{"Bearer abc,"}, "", multiple},
		{"our scheme as a parameter", []string{"Digest a=1, bearer=2"}, "", multiple},
		{"a comma and no scheme", []string{"a,b"}, "", malformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := authorization(tt.values...)
			for encoding, headers := range map[string]rawHeaders{"header_map": h, "headers": h.joined()} {
				token, from, reason, detail := extract(bearer, headers, "/x?access_token=zzz")
				if token != tt.token || reason != tt.reason || from != 0 {
					t.Errorf("%s: got %q from %d, %q (%s); want %q, %q", encoding, token, from, reason, detail, tt.token, tt.reason)
				}
				if (detail == "") != (reason == "") {
					t.Errorf("%s: reason %q has the detail %q", encoding, reason, detail)
				}
			}
		})
	}
}

func TestCredentialPlaces(t *testing.T) {
	var (
		header  = tokenSource{kind: fromHeader, name: "x-token"}
		custom  = tokenSource{kind: fromHeader, name: "x-api-auth", scheme: "Token"}
		cookie  = tokenSource{kind: fromCookie, name: "session"}
		query   = tokenSource{kind: fromQuery, name: "access_token"}
		jwt     = tokenSource{kind: fromHeader, name: "authorization", scheme: "JWT"}
		dpop    = tokenSource{kind: fromHeader, name: "authorization", scheme: "DPoP"}
		anyone  = []tokenSource{bearer[0], cookie, query}
		sources = func(s ...tokenSource) []tokenSource { return s }
	)
	tests := []struct {
		name    string
		sources []tokenSource
		headers rawHeaders
		target  string
		token   string
		from    int
		reason  oidc.Reason
	}{
		{"a header without a scheme", sources(header), rawHeaders{{"X-Token", " abc "}}, "/", "abc", 0, ""},
		{"its value has no scheme", sources(header), rawHeaders{{"x-token", "Bearer abc"}}, "/", "", 0, malformed},
		{"it is empty", sources(header), rawHeaders{{"x-token", ""}}, "/", "", 0, malformed},
		{"it is sent twice", sources(header), rawHeaders{{"x-token", "a"}, {"x-token", "b"}}, "/", "", 0, multiple},
		{"it has a comma", sources(header), rawHeaders{{"x-token", "a,"}}, "/", "", 0, multiple},
		{"its aliases do not count", sources(header), rawHeaders{{"x_token", "abc"}}, "/", "", 0, missing},
		{"another header with a scheme", sources(custom), rawHeaders{{"x-api-auth", "tOkEn abc"}}, "/", "abc", 0, ""},
		{"the same rules for its scheme", sources(custom), rawHeaders{{"x-api-auth", "Bearer abc"}}, "/", "", 0, missing},
		{"and for its DPoP", sources(custom), rawHeaders{{"x-api-auth", "DPoP abc"}}, "/", "", 0, malformed},

		{"two schemes of one header, the first", sources(bearer[0], jwt), authorization("Bearer abc"), "/", "abc", 0, ""},
		{"two schemes of one header, the second", sources(bearer[0], jwt), authorization("jwt abc"), "/", "abc", 1, ""},
		{"two schemes of one header, both", sources(bearer[0], jwt), authorization("Bearer abc", "JWT def"), "/", "", 0, multiple},
		{"two schemes of one header, a bad value", sources(bearer[0], jwt), authorization("Bearer\tabc"), "/", "", 0, malformed},
		{"two schemes of one header, an empty value", sources(bearer[0], jwt), authorization(""), "/", "", 0, malformed},
		{"DPoP where it is offered", sources(bearer[0], dpop), authorization("DPoP abc"), "/", "abc", 1, ""},

		{"a cookie", sources(cookie), rawHeaders{{"cookie", "a=1; session=abc; b=2"}}, "/", "abc", 0, ""},
		{"space around a cookie", sources(cookie), rawHeaders{{"cookie", "a=1;\t session = abc ;b"}}, "/", "abc", 0, ""},
		{"a cookie header is split at commas too", sources(cookie), rawHeaders{{"cookie", "a=1,session=abc,b=2"}}, "/", "abc", 0, ""},
		{"several cookie headers", sources(cookie), rawHeaders{{"cookie", "a=1"}, {"cookie", "session=abc"}}, "/", "abc", 0, ""},
		{"a cookie twice", sources(cookie), rawHeaders{{"cookie", "session=abc; session=abc"}}, "/", "", 0, multiple},
		{"a cookie in two headers", sources(cookie), rawHeaders{{"cookie", "session=a"}, {"cookie", "x=1; session=b"}}, "/", "", 0, multiple},
		{"an empty cookie", sources(cookie), rawHeaders{{"cookie", "session="}}, "/", "", 0, malformed},
		{"a cookie without a value", sources(cookie), rawHeaders{{"cookie", "session"}}, "/", "", 0, malformed},
		{"a cookie that is no token", sources(cookie), rawHeaders{{"cookie", `session="abc"`}}, "/", "", 0, malformed},
		{"cookie names are compared with case", sources(cookie), rawHeaders{{"cookie", "Session=abc; xsession=a; session2=b"}}, "/", "", 0, missing},
		{"a cookie's value has the name", sources(cookie), rawHeaders{{"cookie", "a=session=abc"}}, "/", "", 0, missing},

		{"a query parameter", sources(query), nil, "/x?a=1&access_token=abc&b", "abc", 0, ""},
		{"its name is decoded once", sources(query), nil, "/x?%61ccess%5Ftoken=abc", "abc", 0, ""},
		{"its name is decoded once only", sources(query), nil, "/x?access%255Ftoken=abc", "", 0, missing},
		{"its value is decoded once", sources(query), nil, "/x?access_token=a%2Eb%2fc%3D", "a.b/c=", 0, ""},
		{"its value is decoded once only", sources(query), nil, "/x?access_token=a%252Eb", "", 0, malformed},
		{"a malformed percent sign in its value", sources(query), nil, "/x?access_token=a%2", "", 0, malformed},
		{"& alone separates", sources(query), nil, "/x?a=1;access_token=abc", "", 0, missing},
		{"a parameter with a ; in it", sources(query), nil, "/x?access_token=abc;b=1", "", 0, malformed},
		{"a parameter twice", sources(query), nil, "/x?access_token=a&access_token=a", "", 0, multiple},
		{"a parameter twice, in two spellings", sources(query), nil, "/x?access_token=a&access%5ftoken=b", "", 0, multiple},
		{"an empty parameter", sources(query), nil, "/x?access_token=", "", 0, malformed},
		{"a parameter without a value", sources(query), nil, "/x?access_token", "", 0, malformed},
		{"parameter names are compared with case", sources(query), nil, "/x?Access_Token=abc", "", 0, missing},
		{"a fragment is part of the value", sources(query), nil, "/x?access_token=abc#d", "", 0, malformed},
		{"the path is no query", sources(query), nil, "/access_token=abc", "", 0, missing},

		// C3: exactly one credential over all places together.
		{"no place", anyone, rawHeaders{{"cookie", "a=1"}}, "/x?b", "", 0, missing},
		{"header and query", anyone, authorization("Bearer abc"), "/x?access_token=def", "", 0, multiple},
		{"header and an empty parameter", anyone, authorization("Bearer abc"), "/x?access_token", "", 0, multiple},
		{"cookie and query, the same token", anyone, rawHeaders{{"cookie", "session=abc"}}, "/x?access_token=abc", "", 0, multiple},
		{"a bad header and a good cookie", anyone, append(authorization("Bearer"), Header{"cookie", "session=abc"}), "/", "", 0, multiple},
		{"another scheme and a cookie", anyone, append(authorization("Basic x"), Header{"cookie", "session=abc"}), "/", "abc", 1, ""},
		{"the last place", anyone, nil, "/x?access_token=abc", "abc", 2, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for encoding, headers := range map[string]rawHeaders{"header_map": tt.headers, "headers": tt.headers.joined()} {
				token, from, reason, detail := extract(tt.sources, headers, tt.target)
				if token != tt.token || reason != tt.reason || reason == "" && from != tt.from {
					t.Errorf("%s: got %q from %d, %q (%s); want %q from %d, %q",
						encoding, token, from, reason, detail, tt.token, tt.from, tt.reason)
				}
			}
		})
	}
}

// C8: what a client says about its request is not looked at.
func TestForwardedHeadersCarryNoCredential(t *testing.T) {
	h := rawHeaders{
		{"x-forwarded-authorization", "Bearer a"}, {"proxy-authorization", "Bearer b"},
		{"x-original-url", "/?access_token=c"}, {"x-forwarded-uri", "/?access_token=d"},
	}
	sources := []tokenSource{bearer[0], {kind: fromQuery, name: "access_token"}}
	if token, _, reason, _ := extract(sources, h, "/"); token != "" || reason != oidc.MissingToken {
		t.Errorf("got %q, %q; want no token", token, reason)
	}
}

func TestUsualCredentialCostsNoAllocation(t *testing.T) {
	h := authorization("Bearer abc.def.ghi")
	sources := []tokenSource{{kind: fromQuery, name: "access_token"}, {kind: fromCookie, name: "session"}}
	cookies := singleHeader{"cookie", "a=1; session=abc; b=2"}
	single := singleHeader{"authorization", h[0].Value}
	allocs := testing.AllocsPerRun(100, func() {
		if token, _, _, _ := extract(bearer, single, "/x"); token == "" {
			t.Error("no token")
		}
		if token, _, _, _ := extract(sources, cookies, "/x?a=1&b=2"); token == "" {
			t.Error("no token")
		}
	})
	if allocs > 2 { // the two singleHeaders become interfaces
		t.Errorf("%v allocations, want none but those of the test", allocs)
	}
}

type singleHeader Header

// Get implements Headers.
func (h singleHeader) Get(name string) (string, int) {
	if name != h.Name {
		return "", 0
	}
	return h.Value, 1
}

// Names implements Headers.
func (h singleHeader) Names(yield func(string) bool) { yield(h.Name) }

// FuzzAuthorizationHeader: both encodings get the same verdict, a token is never
// chosen among several, and a token is of the alphabet. C1, C2.
func FuzzAuthorizationHeader(f *testing.F) {
	for _, s := range []string{"Bearer abc", "bearer  abc", "Basic x, Bearer y", "Bearer", "DPoP x", `Digest a="b, Bearer c"`, "", "Bearer\tx", ","} {
		f.Add(s, "")
		f.Add("Bearer a.b.c", s)
		f.Add(s, "Basic zzz")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, h := range []rawHeaders{authorization(a), authorization(a, b)} {
			token, from, reason, detail := extract(bearer, h, "/")
			token2, from2, reason2, detail2 := extract(bearer, h.joined(), "/")
			if token != token2 || from != from2 || reason != reason2 || detail != detail2 {
				t.Fatalf("%q: header_map gives %q, %q; headers gives %q, %q", h, token, reason, token2, reason2)
			}
			switch reason {
			case "":
				if len(h) > 1 {
					t.Errorf("%q: a token of two headers", h)
				}
				if value := strings.Trim(h[0].Value, " \t"); !strings.HasSuffix(value, " "+token) || !strings.EqualFold(value[:7], "Bearer ") {
					t.Errorf("%q: the token %q is not what follows the scheme", h, token)
				}
				if token == "" || strings.ContainsAny(token, " \t,;\"") {
					t.Errorf("%q: token %q", h, token)
				}
			case oidc.MissingToken:
				for _, value := range h {
					for part := range strings.SplitSeq(strings.ToLower(value.Value), ",") {
						if part = strings.Trim(part, " \t"); part == "bearer" || strings.HasPrefix(part, "bearer ") {
							t.Errorf("%q: a credential is overlooked", h)
						}
					}
				}
			case oidc.MalformedCredentials, oidc.MultipleCredentials:
			default:
				t.Errorf("%q: reason %q", h, reason)
			}
			if token != "" && reason != "" {
				t.Errorf("%q: token %q with the reason %q", h, token, reason)
			}
		}
		// Two credentials, however they are written.
		if authheader.IsToken68(a) && authheader.IsToken68(b) {
			for _, h := range []rawHeaders{authorization("Bearer "+a, "Bearer "+b), authorization("Bearer " + a + ", bearer " + b)} {
				if _, _, reason, _ := extract(bearer, h, "/"); reason != oidc.MultipleCredentials {
					t.Errorf("%q: reason %q", h, reason)
				}
			}
		}
	})
}
