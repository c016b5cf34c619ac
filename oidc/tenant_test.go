package oidc

import (
	"strings"
	"testing"
)

func mustTemplate(t testing.TB, s string) TenantTemplate {
	t.Helper()
	tmpl, found, err := ParseTenantTemplate(s)
	if !found || err != nil {
		t.Fatalf("%s: found %t, %v", s, found, err)
	}
	return tmpl
}

// What a tenant can be, and where: nothing that a client writes leads to another
// host, another path or another spelling of the same place (B5).
func TestTenantOfAnIssuer(t *testing.T) {
	const realms = "https://id.example.com/realms/{tenant}"
	const hosts = "https://{tenant}.id.example.com/oidc"
	long := strings.Repeat("a", 64)
	for _, tt := range []struct {
		template, issuer, tenant string // tenant "": none
	}{
		{realms, "https://id.example.com/realms/acme", "acme"},
		{realms, "https://id.example.com/realms/ACME", "ACME"},
		{realms, "https://id.example.com/realms/a_b-C9", "a_b-C9"},
		{realms, "https://id.example.com/realms/" + long, long},
		{realms, "https://id.example.com/realms/" + long + "a", ""},
		{realms, "https://id.example.com/realms/", ""},
		{realms, "https://id.example.com/realms", ""},
		{realms, "https://id.example.com/realms/{tenant}", ""},
		{realms, "https://id.example.com/realms/..", ""},
		{realms, "https://id.example.com/realms/%2e%2e", ""},
		{realms, "https://id.example.com/realms/%61cme", ""},
		{realms, "https://id.example.com/realms/a/b", ""},
		{realms, "https://id.example.com/realms/acme/", ""},
		{realms, "https://id.example.com/realms/acme?x", ""},
		{realms, "https://id.example.com/realms/acme#x", ""},
		{realms, "https://id.example.com/realms/acme ", ""},
		{realms, "https://id.example.com/realms/acme\x00", ""},
		{realms, "https://id.example.com/realms/acmé", ""},
		{realms, "https://id.example.com/realms/ａcme", ""},
		{realms, "https://id.example.com/Realms/acme", ""},
		{realms, "https://ID.example.com/realms/acme", ""},
		{realms, "http://id.example.com/realms/acme", ""},
		{realms, "https://id.example.com:443/realms/acme", ""},
		{realms, "https://x@id.example.com/realms/acme", ""},
		{realms, " https://id.example.com/realms/acme", ""},
		{"https://id.example.com/t-{tenant}/v2", "https://id.example.com/t-a/v2", "a"},
		{"https://id.example.com/t-{tenant}/v2", "https://id.example.com/t-/v2", ""},
		{"https://id.example.com/aa{tenant}aa", "https://id.example.com/aaa", ""}, // prefix and suffix do not share bytes
		{"https://id.example.com/aa{tenant}aa", "https://id.example.com/aaaaa", "a"},
		{"urn:example:{tenant}", "urn:example:acme", "acme"},
		{hosts, "https://acme.id.example.com/oidc", "acme"},
		{hosts, "https://a-9.id.example.com/oidc", "a-9"},
		{hosts, "https://ACME.id.example.com/oidc", ""}, // another spelling of the same place
		{hosts, "https://a_b.id.example.com/oidc", ""},
		{hosts, "https://-a.id.example.com/oidc", ""},
		{hosts, "https://a-.id.example.com/oidc", ""},
		{hosts, "https://" + long + ".id.example.com/oidc", ""},
		{hosts, "https://" + long[1:] + ".id.example.com/oidc", long[1:]},
		{hosts, "https://a.evil.com", ""},
		{hosts, "https://a.evil.com/.id.example.com/oidc", ""},
		{hosts, "https://a.b.id.example.com/oidc", ""},
		{hosts, "https://evil.com/a.id.example.com/oidc", ""},
		{hosts, "https://evil.com#a.id.example.com/oidc", ""},
		{"https://t-{tenant}-x.id.example.com", "https://t--a--x.id.example.com", "-a-"},
	} {
		tmpl := mustTemplate(t, tt.template)
		tenant, ok := tmpl.Tenant(tt.issuer)
		if tt.tenant == "" && ok || tt.tenant != "" && (!ok || tenant != tt.tenant) {
			t.Errorf("%s: the tenant of %q is %q, %t; want %q", tt.template, tt.issuer, tenant, ok, tt.tenant)
		}
		if tmpl.String() != tt.template {
			t.Errorf("%s is written %s", tt.template, tmpl)
		}
	}
}

func TestWhereATenantCanStand(t *testing.T) {
	for template, want := range map[string]string{
		"https://id.example.com/{tenant}/{tenant}":     "more than once",
		"{tenant}://id.example.com":                    "before its ://",
		"https://{tenant}":                             "too near to the end",
		"https://{tenant}/realms":                      "too near to the end",
		"https://{tenant}.com":                         "too near to the end",
		"https://{tenant}.com.":                        "too near to the end",
		"https://{tenant}.com:8443/realms":             "too near to the end",
		"https://{tenant}..example.com":                "too near to the end",
		"https://id.{tenant}":                          "too near to the end",
		"https://id.example.com{tenant}/":              "too near to the end",
		"https://{tenant}.254.169.254":                 "IP address",
		"https://{tenant}.0.1":                         "IP address",
		"https://id.example.com:{tenant}/":             "port",
		"https://[::{tenant}]/":                        "port, an address",
		"https://{tenant}@id.example.com/":             "user",
		"https://x:{tenant}@id.example.com/":           "user",
		"https://{tenant}.id.example.com@evil.com/":    "user",
		"https://id.example.com/realms/{tenant}":       "",
		"https://id.example.com/{tenant}.x/y":          "",
		"https://{tenant}.id.example.com:8443/x":       "",
		"https://login-{tenant}.id.example.com":        "",
		"https://id.example.com/keys?realm={tenant}":   "",
		"urn:example:{tenant}":                         "",
		"http://127.0.0.1:8080/realms/{tenant}/keys":   "",
		"https://id.example.com/x://{tenant}":          "",
		"https://id.example.com/realms/{tenant}?x=://": "before its ://",
	} {
		_, found, err := ParseTenantTemplate(template)
		if !found || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: found %t, %v; want %q", template, found, err, want)
		}
	}
	if _, found, err := ParseTenantTemplate("https://id.example.com/{tenantid}"); found || err != nil {
		t.Errorf("found %t, %v", found, err)
	}
}

func TestTemplatesThatOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"https://id.example.com/{tenant}", "https://id.example.com/{tenant}", true},
		{"https://id.example.com/{tenant}", "https://id.example.com/t-{tenant}", true},
		{"https://id.example.com/{tenant}x", "https://id.example.com/t-{tenant}", true},
		{"https://id.example.com/{tenant}", "https://id.example.com/{tenant}/", false},
		{"https://id.example.com/{tenant}", "https://id.example.com/realms/{tenant}", false},
		{"https://id.example.com/a{tenant}", "https://id.example.com/b{tenant}", false},
		{"https://id.example.com/{tenant}", "https://id.example.org/{tenant}", false},
	} {
		a, b := mustTemplate(t, tt.a), mustTemplate(t, tt.b)
		if a.Overlaps(b) != tt.want || b.Overlaps(a) != tt.want {
			t.Errorf("%s and %s: overlap %t, want %t", a, b, a.Overlaps(b), tt.want)
		}
	}
}

func TestTenantsOfEntra(t *testing.T) {
	const id, other = "72f988bf-86f1-41af-91ab-2d7cd011db47", "9188040d-6c67-4c5b-b112-36a304b66dad"
	list, err := PresetEntra.TenantTemplates("https://login.microsoftonline.com/organizations/v2.0")
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for iss, want := range map[string]string{
		"https://login.microsoftonline.com/" + id + "/v2.0":                  id,
		"https://sts.windows.net/" + id + "/":                                id,
		"https://login.microsoftonline.com/" + other + "/v2.0":               other,
		"https://login.microsoftonline.com/" + strings.ToUpper(id) + "/v2.0": "",
		"https://login.microsoftonline.com/organizations/v2.0":               "",
		"https://login.microsoftonline.com/{tenantid}/v2.0":                  "",
		"https://login.microsoftonline.com/acme/v2.0":                        "",
		"https://login.microsoftonline.com/" + id:                            "",
	} {
		got := ""
		for _, tmpl := range list {
			if tenant, ok := tmpl.Tenant(iss); ok {
				got = tenant
			}
		}
		if got != want {
			t.Errorf("tenant of %s is %q, want %q", iss, got, want)
		}
	}
	for _, none := range []string{"https://login.microsoftonline.com/consumers/v2.0", "https://login.microsoftonline.com/x/common/v2.0", "common/v2.0"} {
		if list, err := PresetEntra.TenantTemplates(none); list != nil || err != nil {
			t.Errorf("%s: %v, %v", none, list, err)
		}
	}
	if list, err := PresetGeneric.TenantTemplates("https://login.microsoftonline.com/common/v2.0"); list != nil || err != nil {
		t.Errorf("%v, %v: of another preset", list, err)
	}
	if _, err := PresetEntra.TenantTemplates("https://login.microsoftonline.com/{tenant}/v2.0"); err == nil {
		t.Error("{tenant} with preset entra is accepted")
	}
}

func TestTenantPatternsMatchTheWholeTenant(t *testing.T) {
	for pattern, want := range map[string]string{
		"acme":      "acme",
		"acme|shop": "acme shop",
		"team-.*":   "team-1",
		"(?m)^acme": "acme",
		"":          "",
	} {
		re, err := ParseTenantPattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, tenant := range []string{"acme", "acme2", "xacme", "shop", "shop2", "team-1", "xteam-1"} {
			if got := re.MatchString(tenant); got != strings.Contains(" "+want+" ", " "+tenant+" ") {
				t.Errorf("%s matches %s: %t", pattern, tenant, got)
			}
		}
	}
	for _, bad := range []string{"(", "a)|(b", `\Qa`, strings.Repeat("a", maxTenantPattern+1)} {
		if _, err := ParseTenantPattern(bad); err == nil {
			t.Errorf("%.20s is a pattern", bad)
		}
	}
}

// FuzzTenantTemplate: a match re-assembles to exactly the issuer, the tenant is
// one that can stand there, and of two templates that fit one text Overlaps says
// so.
func FuzzTenantTemplate(f *testing.F) {
	for _, template := range []string{"https://id.example.com/realms/{tenant}", "https://{tenant}.id.example.com/x", "urn:{tenant}", "a{tenant}a"} {
		for _, iss := range []string{"https://id.example.com/realms/acme", "https://acme.id.example.com/x", "urn:a", "aaa", "https://a.evil.com"} {
			f.Add(template, "x{tenant}", iss)
			f.Add(template, template, iss)
		}
	}
	f.Fuzz(func(t *testing.T, template, second, iss string) {
		tmpl, found, err := ParseTenantTemplate(template)
		if !found || err != nil {
			if _, ok := tmpl.Tenant(iss); ok {
				t.Fatal("a template that is none matches")
			}
			return
		}
		tenant, ok := tmpl.Tenant(iss)
		if !ok {
			return
		}
		if tmpl.Fill(tenant) != iss || !ValidTenant(tenant) || tmpl.CheckTenant(tenant) != nil {
			t.Fatalf("%s: %q is the tenant of %q", template, tenant, iss)
		}
		other, found, err := ParseTenantTemplate(second)
		if _, both := other.Tenant(iss); found && err == nil && both && !tmpl.Overlaps(other) {
			t.Fatalf("%s and %s both fit %s", template, second, iss)
		}
	})
}
