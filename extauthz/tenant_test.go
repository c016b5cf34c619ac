package extauthz

import (
	"testing"

	"github.com/claimgate/claimgate/oidc"
)

func TestTenantInAHost(t *testing.T) {
	for _, tt := range []struct {
		template, host, tenant string
		want                   bool
	}{
		{"{tenant}.api.example.com", "acme.api.example.com", "acme", true},
		{"{tenant}.API.example.com.", "acme.api.example.com:8443", "acme", true},
		{"T-{tenant}-x.api.example.com", "t-acme-X.api.example.com", "acme", true},
		{"api-{tenant}.example.com", "api-acme.example.com", "acme", true},
		{"{tenant}.api.example.com", "acme.api.example.com", "", false},
		{"{tenant}.api.example.com", ".api.example.com", "", false},
		{"{tenant}.api.example.com", "beta.api.example.com", "acme", false},
		{"{tenant}.api.example.com", "acme.api.example.org", "acme", false},
		{"{tenant}.api.example.com", "a.b.api.example.com", "a.b", false}, // a tenant by a claim can be any text
		{"{tenant}.api.example.com", "acme.api.example.com", "ACME", false},
		{"{tenant}.api.example.com", "acme.api.example.com", "acme.api.example.com", false},
		{"{tenant}.api.example.com", "no host", "acme", false},
	} {
		b, err := parseTenantHost(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := b.holds(&Request{Host: tt.host}, &oidc.Token{Tenant: tt.tenant}); ok != tt.want {
			t.Errorf("%s: tenant %q at %s: %t, want %t", tt.template, tt.tenant, tt.host, ok, tt.want)
		}
	}
	for _, bad := range []string{
		"", "api.example.com", "{tenant}", "{tenant}.{tenant}.com", "{tenant}com", "*.{tenant}.example.com", "{tenant}.api.example.com/x",
		"https://{tenant}.api.example.com", "{tenant}..example.com", "[::1{tenant}.]", "{tenant}.api.example.com:1",
	} {
		if _, err := parseTenantHost(bad); err == nil {
			t.Errorf("%q is a host with a tenant", bad)
		}
	}
	if _, ok := (&tenantBinding{}).holds(&Request{Host: "acme"}, &oidc.Token{}); ok {
		t.Error("the zero binding holds")
	}
}
