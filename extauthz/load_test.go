package extauthz

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/claimgate/claimgate/oidc"
)

func TestLoadConfigSaysHowToMendIt(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.yaml")
	if err := os.WriteFile(secret, []byte("policies: []"), 0o000); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("#"), maxConfigSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ file, want string }{
		{filepath.Join(dir, "none.yaml"), ": there is no such file: "},
		{dir, ": is a directory: name a file in it"},
		{large, ":1:1: the file is larger than 1 MiB"},
	}
	if os.Getuid() != 0 { // who may read everything
		tests = append(tests, struct{ file, want string }{secret, ": no permission to read the file: "})
	}
	for _, test := range tests {
		_, err := LoadConfig(test.file)
		var config *ConfigError
		if !errors.As(err, &config) || len(config.Problems) != 1 {
			t.Errorf("%s: the error is %v, want one problem", test.file, err)
			continue
		}
		if got := err.Error(); !strings.HasPrefix(got, test.file+test.want) || strings.Contains(got, "\n") {
			t.Errorf("the error is %q, want %q and how to mend it", got, test.file+test.want)
		}
	}
}

// A shell makes a pipe of <(command); a daemon that looks again refuses it.
func TestAPipeIsReadOnce(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "gate.yaml")
	must(t, syscall.Mkfifo(pipe, 0o600))
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(pipe, []byte("policies: [{name: all, access: public}]"), 0o600) }()
	cfg, err := LoadConfig(pipe)
	if err != nil || cfg.Policies[0].Name != "all" {
		t.Errorf("%v, %v", cfg, err)
	}
	must(t, <-written)
}

func TestRelativePathsAreRelativeToTheFile(t *testing.T) {
	const text = `issuers:
- issuer: https://id.example.com
  audiences: [orders-api]
  keys: {snapshotFile: %.keys}
  http: {caFile: %, certFile: %, keyFile: %, bearerTokenFile: %}
- issuer: joe
  name: joe
  audiences: [orders-api]
  jwksFile: %
policies:
- name: everything
`
	for _, test := range []struct{ file, path, want string }{
		{"gate.yaml", "ca.pem", "ca.pem"},
		{"/etc/claimgate/gate.yaml", "ca.pem", "/etc/claimgate/ca.pem"},
		{"/etc/claimgate/gate.yaml", "../ssl/ca.pem", "/etc/ssl/ca.pem"},
		{"/etc/claimgate/gate.yaml", "/ca.pem", "/ca.pem"},
	} {
		cfg, err := ParseConfig(test.file, []byte(strings.ReplaceAll(text, "%", test.path)))
		if err != nil {
			t.Fatal(err)
		}
		first, second := cfg.Issuers[0], cfg.Issuers[1]
		for _, got := range []string{
			first.HTTP.CAFile, first.HTTP.CertFile, first.HTTP.KeyFile, first.HTTP.BearerTokenFile, second.JWKSFile,
			strings.TrimSuffix(first.Keys.SnapshotFile, ".keys"),
		} {
			if got != test.want {
				t.Errorf("%s in %s is %s, want %s", test.path, test.file, got, test.want)
			}
		}
	}
}

// FuzzParseConfig holds every input to this: it is refused with lines that
// operators can read, or it makes a gate that lets nobody in without a token
// unless a policy literally says public or optional. What was accepted can be
// written and read back.
func FuzzParseConfig(f *testing.F) {
	for _, pattern := range []string{"testdata/config/good/*", "testdata/config/bad/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := ParseConfig("gate.yaml", data)
		if err != nil {
			checkProblems(t, err)
			return
		}
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig("gate.yaml", text)
		if err != nil {
			t.Fatalf("what was accepted is refused as JSON: %v\n%s", err, text)
		}
		cfg.warnings, again.warnings = nil, nil
		if !reflect.DeepEqual(cfg, again) {
			t.Fatalf("after a round trip\ngot  %s\nwant %s", asJSON(t, again), text)
		}
		putFiles(t, cfg)
		g, err := NewGate(cfg, Options{})
		if err != nil {
			t.Fatalf("what was accepted makes no gate: %v\n%s", err, text)
		}
		defer g.Close()
		for _, method := range []string{"GET", "OPTIONS"} {
			d := g.Decide(t.Context(), &Request{Method: method, Host: "shop.example.com", Path: "/", Scheme: "https", Headers: newHeaderMap(nil)})
			if d.Allowed() && !saysSo(cfg, d.Policy(), data) {
				t.Fatalf("a request without a token is let in by policy %q: %s\n%s", d.Policy(), d.Reason(), text)
			}
		}
	})
}

func checkProblems(t *testing.T, err error) {
	t.Helper()
	var config *ConfigError
	if !errors.As(err, &config) || len(config.Problems) == 0 {
		t.Fatalf("the error is %#v, want problems", err)
	}
	for _, p := range config.Problems {
		if line := p.String(); p.Line < 1 || p.Column < 1 || p.Text == "" || strings.ContainsAny(line, "\n\r\x00\x1b") {
			t.Fatalf("the problem is %#v", p)
		}
	}
}

// saysSo reports whether the file says that the policy is open.
func saysSo(cfg *Config, policy string, data []byte) bool {
	for i := range cfg.Policies {
		if c := &cfg.Policies[i]; c.Name == policy && (c.Access == AccessPublic || c.Access == AccessOptional) {
			return bytes.Contains(data, []byte(c.Access)) || bytes.Contains(data, []byte(`\`)) // an escape in a quoted text
		}
	}
	return false
}

// The rules for URLs are the validator's; only the words are ours.
func TestURLFaultAgreesWithTheValidator(t *testing.T) {
	for _, raw := range []string{
		"https://id.example.com", "https://id.example.com:8443/a?b=c", "http://id.example.com", "http://localhost/a", "http://127.0.0.1:80",
		"http://[::1]/", "http://10.0.0.1", "https://u@id.example.com", "https://u:p@id.example.com", "https://", "https:///a",
		"https://id.example.com#a", "https://id.example.com#", "ftp://id.example.com", "id.example.com", "/a", "", "https://[::1", "https://a b",
		"HTTPS://id.example.com", "https:id.example.com", "http://foo.localhost",
	} {
		for _, insecure := range []bool{false, true} {
			err := oidc.CheckFetchURL(raw, insecure)
			if fault := urlFault(raw, insecure); (fault == "") != (err == nil) {
				t.Errorf("%q, insecure %t: fault %q, but the validator says %v", raw, insecure, fault, err)
			}
		}
	}
}

func TestIssuerName(t *testing.T) {
	for _, test := range []struct{ issuer, want string }{
		{"https://id.example.com/realms/shop", "id-example-com"},
		{"https://ID.Example.COM:8443", "id-example-com"},
		{"http://localhost:8080", "localhost"},
		{"http://127.0.0.1:8080", "127-0-0-1"},
		{"https://id_1.example.com", "id-1-example-com"},
		{"joe", ""},
		{"urn:example:issuer", ""},
		{"%", ""},
	} {
		if got := issuerName(test.issuer); got != test.want {
			t.Errorf("the name of %s is %q, want %q", test.issuer, got, test.want)
		}
	}
}

func TestListenAddress(t *testing.T) {
	for _, test := range []struct {
		in    string
		local bool
		ok    bool
	}{
		{"127.0.0.1:9191", true, true},
		{"127.9.9.9:0", true, true},
		{"localhost:9191", true, true},
		{"LOCALHOST:9191", true, true},
		{"[::1]:9191", true, true},
		{"[::ffff:127.0.0.1]:1", true, true},
		{"unix:/run/gate.sock", true, true},
		{"unix:///run/gate.sock", true, true},
		{":9191", false, true},
		{"0.0.0.0:9191", false, true},
		{"[::]:9191", false, true},
		{"localhost.example.com:9191", false, true},
		{"[fe80::1%eth0]:9191", false, true},
		{"", false, false},
		{"9191", false, false},
		{"127.0.0.1:", false, false},
		{"127.0.0.1:-1", false, false},
		{"127.0.0.1:65536", false, false},
		{"::1:9191", false, false},
		{"a b:9191", false, false},
		{"unix:", false, false},
		{"unix:@abstract", false, false},
	} {
		a, err := parseListenAddress(test.in)
		if (err == nil) != test.ok || a.local() != test.local && test.ok {
			t.Errorf("%q: local %t, error %v; want %t, ok %t", test.in, a.local(), err, test.local, test.ok)
		}
	}
}

func TestListenAddressesClash(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:9191", "127.0.0.1:9191", true},
		{":9191", "127.0.0.1:9191", true},
		{"127.0.0.1:9191", "0.0.0.0:9191", true},
		{"localhost:9191", "127.0.0.1:9191", true},
		{"127.0.0.1:9191", "127.0.0.2:9191", false},
		{"127.0.0.1:9191", "127.0.0.1:9190", false},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"unix:/a", "127.0.0.1:9191", false},
	} {
		a, err := parseListenAddress(test.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := parseListenAddress(test.b)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.clashes(b); got != test.want {
			t.Errorf("%s and %s clash: %t, want %t", test.a, test.b, got, test.want)
		}
	}
}
