package oidc

import (
	"testing"
)

func mustClaims(t *testing.T, s string) Claims {
	t.Helper()
	c, err := parseClaims(s)
	if err != nil {
		t.Fatalf("claims %s: %v", s, err)
	}
	return c
}

func mustName(t *testing.T, s string) ClaimName {
	t.Helper()
	n, err := ParseClaimName(s)
	if err != nil {
		t.Fatalf("claim name %q: %v", s, err)
	}
	return n
}

func TestClaimNamesAreTopLevelOrJSONPointers(t *testing.T) {
	claims := mustClaims(t, `{
		"sub": "u", "a.b": "dotted", "https://ns.example/roles": ["r"], "nothing": null, "": "empty name",
		"a": {"b": "nested", "": "e", "x/y": "slash", "m~n": "tilde", "null": null},
		"list": ["zero", {"k": "one"}]
	}`)
	tests := []struct{ name, want string }{
		{"sub", "u"},
		{"a.b", "dotted"}, // a dot means nothing
		{"/sub", "u"},
		{"/a/b", "nested"},
		{"/a/", "e"},
		{"/a/x~1y", "slash"},
		{"/a/m~0n", "tilde"},
		{"/", "empty name"},
		{"/list/0", "zero"},
		{"/list/1/k", "one"},
		{"/list/00", ""},
		{"/list/-", ""},
		{"/list/2", ""},
		{"/list/+0", ""},
		{"/sub/x", ""},
		{"/a/null", ""},
		{"nothing", ""}, // null counts as absent
		{"Sub", ""},
		{"b", ""},
	}
	for _, test := range tests {
		v, ok := claims.Get(mustName(t, test.name))
		if v.Text() != test.want || ok != (test.want != "") {
			t.Errorf("claim %q = %q, %t; want %q", test.name, v.Text(), ok, test.want)
		}
	}
	for _, bad := range []string{"", "/a~", "/a~2"} {
		if _, err := ParseClaimName(bad); err == nil {
			t.Errorf("ParseClaimName(%q) gives no error", bad)
		}
	}
}

func TestScalarsMatchByTypeAndValue(t *testing.T) {
	number := func(s string) Scalar {
		n, err := NumberScalar(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	tests := []struct {
		scalar Scalar
		value  string
		want   bool
	}{
		{StringScalar("a"), `"a"`, true},
		{StringScalar("a"), `"\u0061"`, true},
		{StringScalar("a"), `"A"`, false},
		{StringScalar("a"), `["b","a"]`, true},
		{StringScalar("a"), `["b",["a"]]`, false},
		{StringScalar("a"), `{"a":"a"}`, false},
		{StringScalar("1"), `1`, false},
		{StringScalar("true"), `true`, false},
		{StringScalar(""), `null`, false},
		{number("1"), `1.0`, true},
		{number("1"), `10e-1`, true},
		{number("1"), `"1"`, false},
		{number("1"), `true`, false},
		{number("-0"), `0`, true},
		{number("12345678901234567890"), `12345678901234567891`, false},
		{number("1.5"), `[1,1.50]`, true},
		{number("1"), `1e999999999999`, false},
		{BoolScalar(true), `true`, true},
		{BoolScalar(true), `false`, false},
		{BoolScalar(false), `null`, false},
		{BoolScalar(false), `0`, false},
		{Scalar{}, `null`, false},
		{Scalar{}, `""`, false},
	}
	for _, test := range tests {
		v, err := parseJSON(test.value)
		if err != nil {
			t.Fatal(err)
		}
		if got := test.scalar.Matches(v); got != test.want {
			t.Errorf("%#v matches %s: %t, want %t", test.scalar, test.value, got, test.want)
		}
	}
	for _, bad := range []string{"", "x", "1e99999999999999999999", `"1"`} {
		if _, err := NumberScalar(bad); err == nil {
			t.Errorf("NumberScalar(%q) gives no error", bad)
		}
	}
}

func TestPresetsNameClaimsThatParse(t *testing.T) {
	for _, p := range Presets() {
		rules, ok := p.Rules()
		if !ok {
			t.Fatalf("preset %s has no rules", p)
		}
		m := rules.Mappings
		for _, list := range [][]ClaimName{m.Subject, m.Client, m.Scopes, m.Roles, m.Tenant, m.Audience} {
			for _, n := range list {
				if n.String() == "" {
					t.Errorf("preset %s has a claim name that does not parse", p)
				}
			}
		}
	}
}
