package extauthz

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The files that a configuration names are looked at when a gate is made, not
// when the file is judged.
func TestGateNeedsTheFilesThatItsConfigurationNames(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("not that"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ field, want string }{
		{"http: {caFile: missing}", "CA file " + dir + "/missing: there is no such file: put it there, or correct the path"},
		{"http: {caFile: junk}", "CA file " + junk + ": has no certificate in PEM form (-----BEGIN CERTIFICATE-----)"},
		{"http: {certFile: missing, keyFile: junk}", "client certificate file " + dir + "/missing: there is no such file: put it there, or correct the path"},
		{"jwksFile: missing", "key set file " + dir + "/missing: there is no such file: put it there, or correct the path"},
		{"http: {bearerTokenFile: junk}", "bearer token file " + junk + ": does not hold a bearer token: it must be one line of letters, digits and -._~+/, with = at its end only"},
	} {
		text := "issuers:\n- issuer: https://id.example.com\n  name: shop\n  audiences: [orders-api]\n  " + tt.field + "\npolicies:\n- name: everything\n"
		cfg, err := ParseConfig(filepath.Join(dir, "gate.yaml"), []byte(text))
		if err != nil {
			t.Errorf("%s: %v", tt.field, err)
			continue
		}
		_, err = NewGate(cfg, Options{})
		if want := "extauthz: issuer shop: " + tt.want; err == nil || err.Error() != want || strings.Contains(err.Error(), "not that") {
			t.Errorf("%s\ngot  %v\nwant %s", tt.field, err, want)
		}
	}
}

// What is in a key set file is not judged at the start, and a snapshot need not
// be there: one issuer's trouble does not stop the others.
func TestGateStartsWithABadKeySetFileAndWithoutSnapshot(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "keys.json"), []byte("not that"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := ParseConfig(filepath.Join(dir, "gate.yaml"), []byte(`issuers:
- {issuer: joe, name: joe, audiences: [orders-api], jwksFile: keys.json}
- {issuer: "https://id.example.com", audiences: [orders-api], keys: {snapshotFile: missing/snapshot}}
policies:
- name: everything
`))
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewGate(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
}
