package oidc

import "testing"

const someTenant = "0a1b2c3d-0000-4444-8888-00000000000A"

func TestTheTenantIDGoesWhereThePlaceholderIs(t *testing.T) {
	for _, tt := range []struct {
		template, tid, want string
	}{
		{"https://login.example/{tenantid}/v2.0", someTenant, "https://login.example/" + someTenant + "/v2.0"},
		{"https://sts.example/{tenantid}/", someTenant, "https://sts.example/" + someTenant + "/"},
		{"https://login.example/fixed/v2.0", "whatever", "https://login.example/fixed/v2.0"},
		{"https://login.example/{tenantid}/v2.0", "", ""},
		{"https://login.example/{tenantid}/v2.0", "../" + someTenant, ""},
		{"https://login.example/{tenantid}/v2.0", someTenant + "/x", ""},
		{"https://login.example/{tenantid}/v2.0", "0a1b2c3d-0000-4444-8888-00000000000g", ""},
		{"https://login.example/{tenantid}/v2.0", "0a1b2c3d000004444-8888-00000000000A0", ""},
		{"https://{tenantid}.login.example/{tenantid}/v2.0", someTenant, "https://" + someTenant + ".login.example/" + someTenant + "/v2.0"},
		{"https://{tenantid}.login.example/{tenantid}/v2.0", "evil", ""},
	} {
		got, ok := fillTenantID(tt.template, tt.tid)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s with %q: %q, %t", tt.template, tt.tid, got, ok)
		}
		if !ok || tt.template == tt.want {
			continue
		}
		if tid, ok := tenantIDIn(tt.template, got); !ok || tid != tt.tid {
			t.Errorf("%s in %s: %q, %t", tt.template, got, tid, ok)
		}
	}
	for _, issuer := range []string{
		"https://login.example/common/v2.0", "https://login.example/" + someTenant + "/v2.0/", "https://login.example//v2.0",
		"https://login.example.evil/" + someTenant + "/v2.0", "https://login.example/" + someTenant + "/x/v2.0", "https://login.example/{tenantid}/v2.0", "",
	} {
		if tid, ok := tenantIDIn("https://login.example/{tenantid}/v2.0", issuer); ok {
			t.Errorf("%q is of the tenant %q", issuer, tid)
		}
	}
	const other = "0a1b2c3d-0000-4444-8888-00000000000B"
	if tid, ok := tenantIDIn("https://{tenantid}.login.example/{tenantid}/v2.0", "https://"+someTenant+".login.example/"+other+"/v2.0"); ok {
		t.Errorf("two tenants in one issuer are one: %q", tid)
	}
}
