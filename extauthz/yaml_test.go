package extauthz

import (
	"strings"
	"testing"
)

func parseProblems(t *testing.T, data string) []string {
	t.Helper()
	_, err := ParseConfig("gate.yaml", []byte(data))
	if err == nil {
		t.Fatal("ParseConfig returned no error")
	}
	return problemLines(t, err)
}

// A small file can make a large one of itself with aliases (billion laughs).
func TestAliasesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("policies:\n- name: a\n  match:\n  - &match\n    paths: &paths [")
	b.WriteString(strings.Repeat("/a,", 2000))
	b.WriteString("]\n")
	b.WriteString(strings.Repeat("  - *match\n", 2000))
	got := parseProblems(t, b.String())
	if len(got) != 1 || !strings.Contains(got[0], "aliases make more than 1048576 values") {
		t.Errorf("problems are %.300q", got)
	}
}

func TestALargeFileWithoutAliasesIsRead(t *testing.T) {
	data := "policies:\n- name: everything\n  access: public\n  match:\n  - methods: [" + strings.Repeat("A,", maxConfigSize/2-100) + "]\n"
	if _, err := ParseConfig("gate.yaml", []byte(data)); err != nil {
		t.Errorf("ParseConfig: %.300v", err)
	}
}

func TestConfigSizeIsBounded(t *testing.T) {
	got := parseProblems(t, strings.Repeat("#", maxConfigSize+1))
	if len(got) != 1 || got[0] != "1:1: the file is larger than 1 MiB" {
		t.Errorf("problems are %q", got)
	}
}

func TestDeepNestingIsAnError(t *testing.T) {
	for _, data := range []string{
		strings.Repeat("[", 500_000),
		"policies: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		strings.Repeat("- ", 100_000),
		"policies: &a [*a]\n",
	} {
		if got := parseProblems(t, data); len(got) == 0 {
			t.Errorf("no problem in %.20q", data)
		}
	}
}

// An alias has its own place; what is inside stands where the anchor is.
func TestAliasPositions(t *testing.T) {
	got := parseProblems(t, `issuers:
- issuer: https://id.example.com
  audiences: &list [""]
policies:
- name: everything
  scopes: *list
  roles: *list
`)
	want := []string{
		"3:21: issuers[0].audiences[0]: is empty: give it a value, or leave it out",
		"3:21: policies[0].scopes[0]: is empty: give it a value, or leave it out",
		"3:21: policies[0].roles[0]: is empty: give it a value, or leave it out",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A problem with a block is reported where its key stands, not a line below.
func TestBlockPositions(t *testing.T) {
	got := parseProblems(t, `policies:
- name: everything
  access: public
  scopes:
  - orders.read
`)
	if len(got) != 1 || !strings.HasPrefix(got[0], "4:3: policies[0].scopes: ") {
		t.Errorf("problems are %q", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"issuer", "name", "audiences", "jwksURL", "when", "anyScope"}
	for _, test := range []struct{ in, want string }{
		{"issuers", "issuer"},
		{"Issuer", "issuer"},
		{"audience", "audiences"},
		{"jwks_uri", "jwksURL"},
		{"any-scope", "anyScope"},
		{"nam", "name"},
		{"where", ""}, // two letters off in four is another word
		{"", ""},
		{"x", ""},
		{strings.Repeat("a", 10_000), ""},
	} {
		if got := nearest(test.in, names); got != test.want {
			t.Errorf("nearest(%.20q) is %q, want %q", test.in, got, test.want)
		}
	}
}

func TestFieldPath(t *testing.T) {
	p := fieldPath("policies").index(1).field("claims")
	for _, test := range []struct {
		path   fieldPath
		text   string
		parent fieldPath
	}{
		{"", "", ""},
		{fieldPath("").field("server"), "server", ""},
		{p, "policies[1].claims", "policies[1]"},
		{p.key("tenant"), "policies[1].claims.tenant", p},
		{p.key("/realm_access/roles"), `policies[1].claims["/realm_access/roles"]`, p},
		{p.key(`a"]b.c[0`).index(0), `policies[1].claims["a\"]b.c[0"][0]`, p.key(`a"]b.c[0`)},
		{p.key(`a"]b.c[0`), `policies[1].claims["a\"]b.c[0"]`, p},
		{p.key("").index(2), `policies[1].claims[""][2]`, p.key("")},
	} {
		if string(test.path) != test.text {
			t.Errorf("the path is %s, want %s", test.path, test.text)
		}
		if got := test.path.parent(); got != test.parent {
			t.Errorf("the parent of %s is %s, want %s", test.path, got, test.parent)
		}
	}
}
