package extauthz

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// conditionRequest is what the expressions of the tests look at.
func conditionRequest(t *testing.T) conditionInput {
	t.Helper()
	return conditionInput{
		request: &Request{
			Method: "GET", Host: "API.example.com:443", Path: "/orders/1/?x=1", Scheme: "https",
			Headers: rawHeaders{
				{":path", "/orders/1/?x=1"}, {"X-Tier", "gold"}, {"x-tag", "a"}, {"x-tag", "b"}, {"authorization", "Bearer secret-token"},
			},
			SourceAddress: "10.0.0.1", SourcePrincipal: "spiffe://example.com/front",
			Context: map[string]string{"team": "shop"},
		},
		path: "/orders/1",
		token: &oidc.Token{
			Issuer: "https://id.example.com", IssuerName: "id", Subject: "alice", ClientID: "web", Tenant: "acme",
			Scopes: []string{"read", "write"}, Roles: []string{"admin"}, Expiry: time.Unix(1893456000, 0),
			Claims: testClaims(t, `{
				"email": "alice@example.com", "email_verified": true, "level": 3, "big": 9007199254740993, "huge": 1e30,
				"too_big": 1e999, "score": 1.5, "nothing": null, "groups": ["a", "b"], "mixed": [1, "x", 2.5, null, {"y": true}],
				"address": {"country": "CH", "street": null, "geo": {"lat": 47.4}}, "https://ns.example/tier": "gold", "secret": "s3cr3t"
			}`),
		},
	}
}

func TestConditionSees(t *testing.T) {
	in := conditionRequest(t)
	for _, expr := range []string{
		`request.method == "GET"`,
		`request.host == "api.example.com"`, // as policies match it
		`request.path == "/orders/1"`,       // as matched
		`request.path.startsWith("/orders/")`,
		`request.scheme == "https"`,
		`request.headers["x-tier"] == "gold"`,
		`request.headers.authorization.startsWith("Bearer ")`,
		`request.headers["x-tag"] == "a,b"`, // several values are joined
		`"x-tier" in request.headers && !("x-none" in request.headers)`,
		`request.headers.size() == 3`, // no pseudo headers
		`request.headers.all(name, !name.startsWith(":"))`,
		`request.headers.exists(name, name == "x-tag" && request.headers[name] == "a,b")`,
		`request.source.address == "10.0.0.1"`,
		`request.source.principal == "spiffe://example.com/front"`,
		`token.issuer == "id" && token.subject == "alice" && token.client == "web" && token.tenant == "acme"`,
		`"read" in token.scopes && token.scopes.size() == 2 && token.roles == ["admin"]`,
		`token.expires == timestamp("2030-01-01T00:00:00Z")`,
		`token.expires > timestamp("2029-12-31T23:59:59Z") && token.expires.getFullYear() == 2030`,
		`has(token.subject) && has(token.claims.email) && !has(token.claims.none)`,
		`token.claims.email.endsWith("@example.com")`,
		`token.claims.email_verified`,
		`token.claims["https://ns.example/tier"] == "gold"`,
		`token.claims.level >= 3 && token.claims.level < 3.5 && type(token.claims.level) == int`,
		`token.claims.big == 9007199254740993 && token.claims.big != 9007199254740992`, // exact
		`type(token.claims.huge) == double && token.claims.huge > 1e29`,
		`token.claims.score < 2 && type(token.claims.score) == double`,
		`!has(token.claims.nothing) && !("nothing" in token.claims) && !token.claims.exists(k, k == "nothing")`, // null is absent
		`!has(token.claims.address.street)`,
		`"a" in token.claims.groups && token.claims.groups.size() == 2 && token.claims.groups[1] == "b"`,
		`token.claims.groups.exists(g, g in ["b", "c"])`,
		`token.claims.mixed[4].y && token.claims.mixed[2] == 2.5 && token.claims.mixed[3] == null`,
		`token.claims.address.country == "CH" && token.claims.address.geo.lat > 47`,
		`token.claims.address == {"country": "CH", "geo": {"lat": 47.4}}`,
		`token.claims.address.map(k, k).size() == 2`,
		`token.claims.exists(k, k == "level")`,
		`token.claims.email.matches("^[a-z]+@example[.]com$")`,
		`context.team == "shop" && context["team"] in ["shop"] && !("x" in context)`,
		`[1, 2].all(request, request > 0)`, // a variable of that name
	} {
		c, err := compileCondition(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got, err := c.eval(in); !got || err != nil {
			t.Errorf("%s: %t, %v", expr, got, err)
		}
		if c.String() != expr {
			t.Errorf("String() = %q, want %q", c, expr)
		}
	}
}

func TestConditionOfAnAnonymousRequestSeesAnEmptyToken(t *testing.T) {
	for _, expr := range []string{
		`token.issuer == "" && token.subject == "" && token.client == "" && token.tenant == ""`,
		`token.scopes == [] && token.roles.size() == 0 && token.claims == {} && token.claims.size() == 0`,
		`!has(token.subject) && !has(token.scopes) && !has(token.claims.sub) && !("sub" in token.claims)`,
		`token.expires == timestamp(0)`,
		`request.headers.size() == 0 && !("x" in context) && request.path == ""`,
	} {
		c, err := compileCondition(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got, err := c.eval(conditionInput{request: &Request{}}); !got || err != nil {
			t.Errorf("%s: %t, %v", expr, got, err)
		}
	}
}

func TestConditionRefusedSaysWhere(t *testing.T) {
	for expr, want := range map[string]string{
		`request.pth == "/"`:                  "1:8: undefined field 'pth'",
		`token.sub == "alice"`:                "1:6: undefined field 'sub'",
		`request.source.ip == "10.0.0.1"`:     "1:15: undefined field 'ip'",
		`requst.path == "/"`:                  "1:1: undeclared reference to 'requst' (did you mean 'request'?)",
		`source.address == "10.0.0.1"`:        "1:1: undeclared reference to 'source'",
		`token.claims.sub == `:                "1:21: mismatched input '<EOF>'",
		"token.subject == 'a' &&\n  token.x":  "2:8: undefined field 'x'",
		`token.subject == 1`:                  "1:15: found no matching overload for '_==_' applied to '(string, int)'",
		`context.team == 1`:                   "1:14: found no matching overload for '_==_' applied to '(string, int)'",
		`token.subject`:                       "is a string, but must be true or false",
		`1 + 2`:                               "is a int, but must be true or false",
		`token.claims`:                        "is a map(string, dyn), but must be true or false",
		`request == request`:                  "1:1: request has fields and is no value itself: write request.NAME",
		`dyn(request).path == "/"`:            "1:5: request has fields and is no value itself: write request.NAME",
		`[request].exists(r, r.path == "/")`:  "1:2: request has fields and is no value itself: write request.NAME",
		`request.source == request.source`:    "1:8: request.source has fields and is no value itself: write request.source.NAME",
		`has(request.source)`:                 "",
		`type(token) == type(1)`:              "1:6: token has fields and is no value itself: write token.NAME",
		`request.headers["X-Tier"] == "gold"`: `1:16: request.headers has names in lower case: write "x-tier"`,
		`!("X-Blocked" in request.headers)`:   `1:15: request.headers has names in lower case: write "x-blocked"`,
		`has(request.headers.Host)`:           `1:4: request.headers has names in lower case: write "host"`,
		`request.headers[":path"] == "/"`:     "1:16: request.headers has no :path: use request.method, host, path or scheme",
		`token.subject.matches("(")`:          "error parsing regexp: missing closing ): `(`",
		`unknown(token.subject)`:              "1:8: undeclared reference to 'unknown'",
		``:                                    "1:1: mismatched input '<EOF>'",
		"token.subject == '" + strings.Repeat("a", 200000) + "'": "expression code point size exceeds limit: size: 200019, limit 100000",
	} {
		_, err := compileCondition(expr)
		if len(expr) > 80 {
			expr = expr[:80]
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", expr, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s:\n got %v\nwant %s", expr, err, want)
		case err != nil && (len(err.Error()) > 600 || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: a long message: %v", expr, err)
		}
	}
}

// An error names what the expression names, and never what a token holds.
func TestConditionThatFailsTellsNoValues(t *testing.T) {
	in := conditionRequest(t)
	for expr, want := range map[string]string{
		`token.claims.department == "x"`:                         `there is no "department"`,
		`token.claims["none"] == "x"`:                            `there is no "none"`,
		`token.claims.address.city == "x"`:                       `there is no "city"`,
		`request.headers["x-none"] == "x"`:                       `there is no "x-none"`,
		`context.none == "x"`:                                    `there is no "none"`,
		`token.claims[token.claims.secret] == "x"`:               "a key is missing",
		`request.headers[":" + "path"] == "x"`:                   "a key is missing",
		`request.headers["X-" + "TIER"] == "x"`:                  "a key is missing",
		`token.claims.secret.city == "x"`:                        `there is no "city"`,
		`token.claims.level.x == "x"`:                            `there is no "x"`,
		`token.claims.groups[7] == "x"`:                          "index out of bounds",
		`token.claims.secret + 1 == 2`:                           "no such overload",
		`token.claims.secret < 1`:                                "no such overload",
		`int(token.claims.secret) == 1`:                          "the evaluation failed",
		`timestamp(token.claims.secret) == timestamp(0)`:         "the evaluation failed",
		`token.claims.level / 0 == 1`:                            "division by zero",
		`token.claims.level % 0 == 1`:                            "modulus by zero",
		`token.claims.big * 9007199254740993 > 0`:                "integer overflow",
		`token.claims.too_big > 1`:                               "number out of range",
		`token.claims.secret`:                                    "the result is neither true nor false",
		`token.claims.level`:                                     "the result is neither true nor false",
		`token.claims.secret.matches(token.claims.secret + "(")`: "the evaluation failed",
		`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, [1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, a+b+c+d+e > 0)))))`: "the evaluation costs more than 100000 units",
	} {
		c, err := compileCondition(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		got, err := c.eval(in)
		if got || err == nil || err.Error() != want {
			t.Errorf("%s: %t, %v; want %s", expr, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: the error tells the claim: %v", expr, err)
		}
	}
}

func TestConditionReadsPath(t *testing.T) {
	for expr, want := range map[string]bool{
		`request.path == "/"`:                               true,
		`has(request.path)`:                                 true,
		`token.subject == "a" || request.path.size() > 1`:   true,
		`["a"].exists(x, request.path == x)`:                true,
		`[request.path].exists(x, x == "/")`:                true,
		`{"p": request.path}.p == "/"`:                      true,
		`(token.subject == "" ? request.path : "") == "/"`:  true,
		`.request.path == "/"`:                              true,
		`request.host == "/path"`:                           false,
		`request.method == "GET" && token.claims.path == 1`: false,
		`context.path == "/"`:                               false,
		`request.headers.path == "/"`:                       false,
		`true`:                                              false,
	} {
		c, err := compileCondition(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got := c.readsPath(); got != want {
			t.Errorf("%s reads the path: %t, want %t", expr, got, want)
		}
	}
	if (*condition)(nil).readsPath() {
		t.Error("no condition reads the path")
	}
}

// For the race detector: one program, many goroutines. The failing ones return
// errors that all programs of cel-go share.
func TestConditionIsSharedByGoroutines(t *testing.T) {
	in := conditionRequest(t)
	for expr, want := range map[string]string{
		`token.claims.groups.exists(g, g == "b") && request.headers.size() > 0`:   "",
		`token.claims.level.matches("^a") || token.subject == ""`:                 "no such overload",
		`timestamp(token.claims.big * 100) > timestamp(0) || token.subject == ""`: "timestamp overflow",
	} {
		c, err := compileCondition(expr)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					if got, err := c.eval(in); got != (want == "") || err != nil && err.Error() != want {
						t.Errorf("%s: %t, %v; want %q", expr, got, err, want)
					}
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkCondition(b *testing.B) {
	c, err := compileCondition(`token.subject == "alice" && request.method in ["GET", "HEAD"] && "read" in token.scopes`)
	if err != nil {
		b.Fatal(err)
	}
	in := conditionInput{
		request: &Request{Method: "GET", Headers: rawHeaders{}},
		token:   &oidc.Token{Subject: "alice", Scopes: []string{"read"}},
	}
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := c.eval(in); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkCompileCondition(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compileCondition(`token.subject == "alice" && request.method in ["GET", "HEAD"]`); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzCondition: any text is refused or compiled, and what is compiled gives an
// answer that has nothing of the token in it.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{`token.subject == "a"`, `request.path`, `token.claims.a[0].b`, `[1].all(x, x > 0)`, `has(token.claims.x)`, `"a".matches("a*")`, `{`} {
		f.Add(s)
	}
	token := &oidc.Token{Subject: "s3cr3t", Scopes: []string{"s3cr3t"}}
	f.Fuzz(func(t *testing.T, expr string) {
		if len(expr) > 500 {
			return
		}
		c, err := compileCondition(expr)
		if err != nil {
			return
		}
		_, err = c.eval(conditionInput{request: &Request{Method: "GET", Headers: rawHeaders{}}, token: token})
		if err != nil && strings.Contains(err.Error(), "s3cr3t") && !strings.Contains(expr, "s3cr3t") {
			t.Errorf("%s: %v", expr, err)
		}
	})
}

// Two gates may be made at once: cel-go's shared errors must not be written to
// by both.
func TestConditionsCompileAtTheSameTime(t *testing.T) {
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, err := compileCondition(`token.claims.a == "b"`); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
