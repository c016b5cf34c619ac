package extauthz

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// testClaims returns claims as a validator hands them out: it has an issuer sign
// the members of the object and verifies that. iss and exp are added in front.
func testClaims(t testing.TB, object string) oidc.Claims {
	t.Helper()
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "test", AnyAudience: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Close()
	_, members, _ := strings.Cut(object, "{")
	if strings.TrimSpace(members) != "}" {
		members = "," + members
	}
	claims := fmt.Sprintf(`{"iss":%q,"exp":4102444800%s`, issuer.URL, members)
	token, err := validator.Validate(t.Context(), issuer.Token(nil, oidctest.RawClaims([]byte(claims))), oidc.Requirement{})
	if err != nil {
		t.Fatalf("%s: %v", claims, err)
	}
	return token.Claims
}

// identityToken is a verified token with these further claims.
func identityToken(t *testing.T, claims string) *oidc.Token {
	t.Helper()
	return &oidc.Token{
		Issuer: "https://id.example.com/realms/shop", IssuerName: "id-example-com",
		Subject: "alice", ClientID: "web", Tenant: "acme",
		Scopes: []string{"orders:read", "orders:write"}, Roles: []string{"admin", "buyer"},
		Expiry: time.Unix(1893456000, 0), Claims: testClaims(t, claims),
	}
}

// plan makes the identity plan of a policy with these headers; more are the
// headers of the file's other policies.
func plan(t *testing.T, headers map[string]string, more ...map[string]string) *identityPlan {
	t.Helper()
	p, err := newIdentityPlan(collectIdentityNames(append(more, headers, defaultHeaders)...), headers)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// apply is both parts of an allow: what the plan alone decides, and what the
// request's headers add to it.
func (p *identityPlan) apply(t *oidc.Token, policy, raw string, h Headers) (set []Header, remove []string, ok bool) {
	set, remove, ok = p.fixed(t, policy, raw)
	if !ok {
		return nil, nil, false
	}
	return set, p.removalsFor(h, remove), true
}

func TestDefaultIdentity(t *testing.T) {
	set, remove, ok := plan(t, defaultHeaders).apply(identityToken(t, `{}`), "p", "a.b.c", rawHeaders{})
	want := []Header{
		{"x-auth-client", "web"}, {"x-auth-issuer", "id-example-com"},
		{"x-auth-scopes", "orders:read orders:write"}, {"x-auth-subject", "alice"},
	}
	if !ok || !slices.Equal(set, want) || len(remove) != 0 {
		t.Errorf("set %q, remove %q, ok %t; want %q", set, remove, ok, want)
	}
}

// C4: on every allow each name of the file is either set or removed.
func TestEachIdentityHeaderIsSetOrRemoved(t *testing.T) {
	full := identityToken(t, `{"email":"a@example.com"}`)
	bare := &oidc.Token{Issuer: "https://id.example.com", IssuerName: "id", Claims: testClaims(t, `{}`)}
	mail := map[string]string{"x-mail": "email", "x-auth-subject": "@subject", "x-policy": "@policy"}
	tests := []struct {
		name    string
		headers map[string]string
		more    map[string]string
		token   *oidc.Token
		set     []string
		remove  []string
	}{
		{
			"everything is there", defaultHeaders, nil, full,
			[]string{"x-auth-client", "x-auth-issuer", "x-auth-scopes", "x-auth-subject"}, nil,
		},
		{
			"a token without subject, client and scopes", defaultHeaders, nil, bare,
			[]string{"x-auth-issuer"}, []string{"x-auth-client", "x-auth-scopes", "x-auth-subject"},
		},
		{
			"no token", defaultHeaders, nil, nil,
			nil, []string{"x-auth-client", "x-auth-issuer", "x-auth-scopes", "x-auth-subject"},
		},
		{
			"headers: {} still cleans the default names", map[string]string{}, nil, full,
			nil, []string{"x-auth-client", "x-auth-issuer", "x-auth-scopes", "x-auth-subject"},
		},
		{
			"names of another policy", defaultHeaders, map[string]string{"x-mail": "email"}, full,
			[]string{"x-auth-client", "x-auth-issuer", "x-auth-scopes", "x-auth-subject"}, []string{"x-mail"},
		},
		{
			"own names", mail, nil, full,
			[]string{"x-auth-subject", "x-mail", "x-policy"}, []string{"x-auth-client", "x-auth-issuer", "x-auth-scopes"},
		},
		{
			"without a token only the policy's name is known", mail, nil, nil,
			[]string{"x-policy"}, []string{"x-auth-client", "x-auth-issuer", "x-auth-scopes", "x-auth-subject", "x-mail"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, remove, ok := plan(t, tt.headers, tt.more).apply(tt.token, "p", "a.b.c", rawHeaders{{"X-Auth-Subject", "admin"}, {"x-mail", "root"}})
			if !ok || !slices.Equal(names(set), tt.set) || !slices.Equal(remove, tt.remove) {
				t.Errorf("set %q, remove %q, ok %t; want %q, %q", names(set), remove, ok, tt.set, tt.remove)
			}
		})
	}
}

func names(headers []Header) []string {
	var list []string
	for _, h := range headers {
		list = append(list, h.Name)
	}
	return list
}

// C4: names that a backend may take for an identity header.
func TestAliasesThatTheClientSentAreRemoved(t *testing.T) {
	p := plan(t, defaultHeaders, map[string]string{"x_mail": "email"})
	sent := rawHeaders{
		{"X_Auth_Subject", "admin"}, {"x_auth_subject", "admin"}, {"x.auth.issuer", "a"}, {"x-auth_client", "a"},
		{"X-Auth-Scopes", "a"}, {"x-auth-scopes", "b"}, // what we set: never removed
		{"X_MAIL", "a"}, {"x-mail", "a"},
		{":path", "/"}, {"x-auth-subject2", ""}, {"x-authsubject", ""}, {"xx-auth-issuer", ""}, {"accept", "*/*"},
		{"x auth-subject", ""}, {"X@auth@Client", ""}, // no names for headers, and yet aliases
		{"x\xffauth-subject", ""}, // cannot be in an answer, nor in a CheckRequest
	}
	set, remove, _ := p.apply(identityToken(t, `{}`), "p", "a.b.c", sent)
	want := []string{"x_mail", "x auth-subject", "x-auth_client", "x-mail", "x.auth.issuer", "x@auth@client", "x_auth_subject"}
	if !slices.Equal(remove, want) {
		t.Errorf("remove %q, want %q", remove, want)
	}
	_, remove, _ = p.apply(nil, "p", "", sent)
	if want := append(slices.Clone(p.names.sorted), want[1:]...); !slices.Equal(remove, want) {
		t.Errorf("without a token: remove %q, want %q", remove, want)
	}
	for _, h := range set {
		if slices.Contains(remove[len(p.names.sorted):], h.Name) {
			t.Errorf("%s is set and removed", h.Name)
		}
	}
}

func TestHeaderAlias(t *testing.T) {
	for name, want := range map[string]string{
		"x-auth-subject": "x-auth-subject", "X_Auth.Subject": "x-auth-subject", "X1!~": "x1--", "": "", "é": "--",
	} {
		if got := headerAlias(name); got != want {
			t.Errorf("headerAlias(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestAttributes(t *testing.T) {
	token := identityToken(t, `{ "sub": "alice",	"n": 1.0 }`)
	for source, want := range map[string]string{
		"@issuer":    "id-example-com",
		"@issuerURL": "https://id.example.com/realms/shop",
		"@subject":   "alice",
		"@principal": "https://id.example.com/realms/shop/alice",
		"@client":    "web",
		"@scopes":    "orders:read orders:write",
		"@roles":     "admin,buyer",
		"@tenant":    "acme",
		"@policy":    "p",
		"@expires":   "1893456000",
		"@token":     "a.b.c",
	} {
		set, _, ok := plan(t, map[string]string{"x": source}).apply(token, "p", "a.b.c", rawHeaders{})
		if !ok || len(set) != 1 || set[0].Value != want {
			t.Errorf("%s: set %q, want %q", source, set, want)
		}
	}
	set, _, _ := plan(t, map[string]string{"x": "@claims"}).apply(token, "p", "a.b.c", rawHeaders{})
	if len(set) != 1 {
		t.Fatalf("@claims: set %q", set)
	}
	claims, err := base64.RawURLEncoding.DecodeString(set[0].Value)
	if err != nil || !strings.HasPrefix(string(claims), `{"iss":"http`) || !strings.HasSuffix(string(claims), `,"sub":"alice","n":1.0}`) {
		t.Errorf("@claims: %q (%v), want all claims as compact JSON", claims, err)
	}
	token.Subject = ""
	if set, remove, _ := plan(t, map[string]string{"x": "@principal"}).apply(token, "p", "", rawHeaders{}); len(set) != 0 || !slices.Contains(remove, "x") {
		t.Errorf("@principal without a subject: set %q, remove %q", set, remove)
	}
	if len(attributeNames) != int(attrToken) {
		t.Errorf("%d attributes have names, there are %d", len(attributeNames), attrToken)
	}
}

func TestRolesThatCannotBeJoinedAreJSON(t *testing.T) { // C7
	for _, tt := range []struct {
		roles []string
		want  string
	}{
		{[]string{"a,admin"}, `["a,admin"]`},
		{[]string{"a", ""}, `["a",""]`},
		{[]string{"[a", `b"\`}, `["[a","b\"\\"]`},
		{[]string{"a", "[\n"}, `["a","[\u000A"]`},
		{[]string{"a b", "c"}, `a b,c`},
	} {
		token := identityToken(t, `{}`)
		token.Roles = tt.roles
		set, _, _ := plan(t, map[string]string{"x": "@roles"}).apply(token, "p", "", rawHeaders{})
		if len(set) != 1 || set[0].Value != tt.want {
			t.Errorf("%q: %q, want %q", tt.roles, set, tt.want)
		}
	}
}

func TestClaimInHeader(t *testing.T) {
	for claim, want := range map[string]string{ // "" for a removal
		`"text"`:                        "text",
		`"a,b"`:                         "a,b",
		`"\u00e9\u20ac"`:                "%C3%A9%E2%82%AC",
		`"100%"`:                        "100%25",
		`" a  b "`:                      "%20a  b%20",
		`"   "`:                         "%20%20%20",
		`"a\r\nx-admin: 1\u0000\u007f"`: "a%0D%0Ax-admin: 1%00%7F", // C6
		`12345678901234567890123`:       "12345678901234567890123",
		`1.50e+3`:                       "1.50e+3",
		`-0`:                            "-0",
		`true`:                          "true",
		`false`:                         "false",
		`null`:                          "",
		`""`:                            "",
		`[]`:                            "",
		`{}`:                            "",
		`{ }`:                           "",
		`[ ]`:                           "",
		`["a","b"]`:                     "a,b",
		`["a", 1, true]`:                "a,1,true",
		`["a b", " c"]`:                 "a b, c",
		`["a,admin", "b"]`:              `["a,admin","b"]`, // C7
		`["a", "", "b"]`:                `["a","","b"]`,
		`[""]`:                          `[""]`,
		`["[a"]`:                        `["[a"]`,
		`["a", "[b"]`:                   `["a","[b"]`,
		`["a", null]`:                   `["a",null]`,
		`[null]`:                        `[null]`,
		`["a", ["b"]]`:                  `["a",["b"]]`,
		`[{"a": 1}]`:                    `[{"a":1}]`,
		`{"b": [1, 2],	"a": "x y"}`:     `{"b":[1,2],"a":"x y"}`,
		`{"a": "é"}`:                    `{"a":"%C3%A9"}`,
	} {
		token := identityToken(t, `{"c":`+claim+`}`)
		set, remove, ok := plan(t, map[string]string{"x": "c"}).apply(token, "p", "", rawHeaders{})
		switch {
		case !ok:
			t.Errorf("%s: too large", claim)
		case want == "" && (len(set) != 0 || !slices.Contains(remove, "x")):
			t.Errorf("%s: set %q, remove %q; want a removal", claim, set, remove)
		case want != "" && (len(set) != 1 || set[0] != Header{"x", want} || slices.Contains(remove, "x")):
			t.Errorf("%s: set %q, remove %q; want %q", claim, set, remove, want)
		}
	}
}

func TestClaimByNameOrPointer(t *testing.T) {
	token := identityToken(t, `{"a.b":"dotted","realm_access":{"roles":["x","y"]},"https://ns.example/r":"ns"}`)
	for source, want := range map[string]string{
		"a.b": "dotted", "/realm_access/roles": "x,y", "/realm_access/roles/1": "y", "https://ns.example/r": "ns",
		"realm_access.roles": "", "absent": "", "/realm_access/none": "",
	} {
		set, _, _ := plan(t, map[string]string{"x": source}).apply(token, "p", "", rawHeaders{})
		if want == "" && len(set) != 0 || want != "" && (len(set) != 1 || set[0].Value != want) {
			t.Errorf("%s: set %q, want %q", source, set, want)
		}
	}
}

// C6: more than fits is refused, never cut.
func TestIdentityTooLarge(t *testing.T) {
	big := strings.Repeat("a", maxIdentityValue)
	four := func(last string) map[string]string {
		return map[string]string{"1": "@subject", "2": "@client", "3": "@tenant", last: "@subject"}
	}
	tests := []struct {
		name    string
		value   string
		headers map[string]string
		want    bool
	}{
		{"8 KiB", big, map[string]string{"x": "@subject"}, true},
		{"a byte more", big + "a", map[string]string{"x": "@subject"}, false},
		{"8 KiB that encoding makes longer", "%" + big[1:], map[string]string{"x": "@subject"}, false},
		{"32 KiB of names and values", big[1:], four("4"), true},
		{"a byte more in a name", big[1:], four("44"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := &oidc.Token{Subject: tt.value, ClientID: tt.value, Tenant: tt.value}
			set, remove, ok := plan(t, tt.headers).apply(token, "p", "", rawHeaders{})
			if ok != tt.want || !ok && (set != nil || remove != nil) {
				t.Errorf("ok %t with %d set and %d removed, want %t", ok, len(set), len(remove), tt.want)
			}
		})
	}
}

func TestHeaderSourceRefused(t *testing.T) {
	for _, source := range []string{"", "@", "@Issuer", "@email", "/a~2"} {
		if _, err := parseHeaderSource(source); err == nil {
			t.Errorf("%q is accepted", source)
		}
	}
	for source := range maps.Keys(attributeNames) {
		if _, err := parseHeaderSource("@nope"); !strings.Contains(err.Error(), source) {
			t.Errorf("the message does not name %s: %v", source, err)
		}
	}
}

func TestIdentityNamesAreThoseOfTheWholeFile(t *testing.T) {
	cfg := &Config{
		Headers:  map[string]string{"X-One": "a"},
		Policies: []PolicyConfig{{Headers: map[string]string{"x-two": "b"}}, {Headers: map[string]string{"x-one": "c"}}},
	}
	want := []string{"x-auth-client", "x-auth-issuer", "x-auth-scopes", "x-auth-subject", "x-one", "x-two"}
	if got := newIdentityNames(cfg).sorted; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUsualIdentityAllocatesTheHeadersOnly(t *testing.T) {
	p := plan(t, map[string]string{"x-auth-issuer": "@issuer", "x-auth-subject": "@subject", "x-auth-client": "@client"})
	token := identityToken(t, `{}`)
	var h Headers = singleHeader{"accept", "*/*"}
	allocs := testing.AllocsPerRun(100, func() { p.apply(token, "p", "", h) })
	if allocs > 1 { // the list of headers to set
		t.Errorf("%v allocations, want 1", allocs)
	}
	if allocs := testing.AllocsPerRun(100, func() { p.apply(nil, "p", "", h) }); allocs != 0 {
		t.Errorf("without a token: %v allocations, want none", allocs)
	}
}

func TestListsOfAPlanAreNeverWrittenTo(t *testing.T) {
	p := plan(t, defaultHeaders, map[string]string{"x-mail": "email"})
	for _, token := range []*oidc.Token{nil, identityToken(t, `{}`)} {
		_, first, _ := p.apply(token, "p", "", rawHeaders{})
		first = append(first, "one")
		_, second, _ := p.apply(token, "p", "", rawHeaders{})
		second = append(second, "two")
		if first[len(first)-1] != "one" || second[len(second)-1] != "two" {
			t.Errorf("two requests share memory: %q and %q", first, second)
		}
	}
}

// FuzzIdentityValue: one decoding gives the value back, and what is sent is
// printable ASCII that no proxy trims.
func FuzzIdentityValue(f *testing.F) {
	for _, s := range []string{"alice", "", " ", "a b", " a ", "100%", "%41", "a\r\nb", "é", "\x00\xff", "a,b", "[", `{"a":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := encodeHeaderValue(s)
		if decoded, err := url.PathUnescape(got); err != nil || decoded != s {
			t.Errorf("%q became %q, which decodes to %q (%v)", s, got, decoded, err)
		}
		if strings.Trim(got, " ") != got {
			t.Errorf("%q became %q, with a space at an end", s, got)
		}
		for i := range len(got) {
			if got[i] < 0x20 || got[i] > 0x7E {
				t.Errorf("%q became %q", s, got)
			}
		}
		// A list can be told from an element (C7).
		if list := stringsText([]string{s, "x"}); strings.ToValidUTF8(s, "") == s &&
			!strings.HasPrefix(list, "[") && !slices.Equal(strings.Split(list, ","), []string{s, "x"}) {
			t.Errorf("%q in a list becomes %q", s, list)
		}
	})
}
