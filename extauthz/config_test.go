package extauthz

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

func loadGood(t *testing.T, name string) *Config {
	t.Helper()
	cfg, err := LoadConfig(filepath.Join("testdata/config/good", name))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// putFiles makes a configuration one whose files are there.
func putFiles(t testing.TB, cfg *Config) {
	t.Helper()
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, []byte(`{"keys":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range cfg.Issuers {
		c := &cfg.Issuers[i]
		c.HTTP, c.Keys.SnapshotFile = HTTPConfig{}, ""
		if c.JWKSFile != "" {
			c.JWKSFile = keys
		}
	}
}

// goodConfigs returns the names of all good configurations.
func goodConfigs(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("testdata/config/good")
	if err != nil || len(entries) == 0 {
		t.Fatalf("no good configurations: %v", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestGoodConfigsAreBuilt holds validation to its promise: what it accepts
// makes a gate.
func TestGoodConfigsAreBuilt(t *testing.T) {
	for _, name := range goodConfigs(t) {
		cfg := loadGood(t, name)
		putFiles(t, cfg)
		g, err := NewGate(cfg, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		g.Close()
	}
}

// TestConfigRoundTrip writes each configuration as JSON, which is YAML, and
// reads it back. Once more through Validate changes nothing either.
func TestConfigRoundTrip(t *testing.T) {
	for _, name := range goodConfigs(t) {
		cfg := loadGood(t, name)
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig("gate.json", text)
		if err != nil {
			t.Errorf("%s: %v\nin %s", name, err, text)
			continue
		}
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: Validate: %v", name, err)
		}
		cfg.warnings, again.warnings = nil, nil
		if !reflect.DeepEqual(cfg, again) {
			t.Errorf("%s: after a round trip\ngot  %s\nwant %s", name, asJSON(t, again), asJSON(t, cfg))
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDefaults(t *testing.T) {
	cfg := loadGood(t, "smallest.yaml")
	const want = `{
		"server": {"listen": "127.0.0.1:9191", "checkTimeout": "150ms", "maxConnectionAge": "10m", "drainDelay": "5s",
			"drainTimeout": "20s", "reloadInterval": "2s", "pathParameters": "reject"},
		"tokenCache": {"maxEntries": 100000, "maxBytes": "128MiB"},
		"admin": {"listen": "127.0.0.1:9190"},
		"log": {"level": "info", "decisions": "denied", "subject": true},
		"issuers": [{"issuer": "https://id.example.com/realms/shop", "name": "id-example-com", "preset": "generic",
			"audiences": ["orders-api"], "leeway": "30s", "keys": {"maxStale": "24h", "unknownKeyInterval": "30s"},
			"http": {"timeout": "5s"}}],
		"headers": {"x-auth-client": "@client", "x-auth-issuer": "@issuer", "x-auth-scopes": "@scopes", "x-auth-subject": "@subject"},
		"policies": [{"name": "everything", "access": "token", "tokenFrom": [{"header": "authorization", "scheme": "Bearer"}],
			"realm": "claimgate"}]
	}`
	var got, wanted any
	if err := json.Unmarshal([]byte(asJSON(t, cfg)), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, wanted) {
		t.Errorf("got  %s\nwant %s", asJSON(t, got), asJSON(t, wanted))
	}
	if d, bound := cfg.Issuers[0].Keys.refresh(); d != time.Hour || bound {
		t.Errorf("keys.refresh is %v, bound %t; want 1h, which bounds nothing", d, bound)
	}
	if cfg.Policies[0].ForwardToken != nil || cfg.Policies[0].Issuers != nil || cfg.Policies[0].Audiences != nil {
		t.Error("forwardToken, issuers and audiences of a policy must stay absent")
	}
	if got := asJSON(t, loadGood(t, "smallest.json")); got != asJSON(t, cfg) {
		t.Errorf("the same file as JSON is %s", got)
	}
}

func TestEveryFieldIsDecoded(t *testing.T) {
	cfg := loadGood(t, "every-field.yaml")
	yes, no := true, false
	want := &Config{
		Server: ServerConfig{
			Listen: "0.0.0.0:9000", Insecure: true, CheckTimeout: Duration(250 * time.Millisecond),
			MaxConnectionAge: new(Duration(5 * time.Minute)), DrainDelay: new(Duration(10 * time.Second)),
			DrainTimeout: new(Duration(15 * time.Second)), ReloadInterval: new(Duration(10 * time.Second)), MaxVerifications: 512,
			TLS: &ServerTLSConfig{
				CertFile: "testdata/config/good/tls.crt", KeyFile: "testdata/config/good/tls.key",
				ClientCAFile: "testdata/config/good/ca.crt", ClientNames: []string{"envoy.mesh"},
			},
			PathParameters: PathParametersAllow,
		},
		TokenCache: TokenCacheConfig{MaxEntries: new(5000), MaxBytes: new(Size(64 << 10))},
		Admin:      AdminConfig{Listen: "0.0.0.0:9001", Expose: true, PProf: true},
		Log:        LogConfig{Level: "debug", Format: "text", Decisions: "all", Subject: &no},
		Tracing:    TracingConfig{Endpoint: "https://collector.example:4317"},
		Metadata:   MetadataConfig{Claims: []string{"email", "/realm_access/roles"}},
		Issuers: []IssuerConfig{
			{
				Issuer: "https://id.example.com/realms/shop", Name: "shop", Aliases: []string{"https://old.example.com/realms/shop"},
				Preset: oidc.PresetKeycloak, Audiences: []string{"orders-api", "billing-api"},
				Algorithms: []oidc.Algorithm{oidc.ES256, oidc.EdDSA}, TokenTypes: []string{"at+jwt", "application/JWT", "none"},
				IDTokens: true,
				Require: map[string]ClaimValues{
					"hd": {"example.com"}, "level": {json.Number("1"), json.Number("2.5"), "3", true}, "https://ns.example/team": {"core"},
				},
				DiscoveryURL: "https://id.example.com/realms/shop/.well-known/openid-configuration",
				Leeway:       new(Duration(10 * time.Second)), MaxLifetime: Duration(2 * time.Hour),
				ClaimMappings: ClaimMappingsConfig{
					Subject: []string{"uid", "sub"}, Client: []string{"azp"}, Scopes: []string{"scp"},
					Roles: []string{"/resource_access/orders/roles"}, Tenant: []string{"tid"},
				},
				Keys: KeysConfig{Refresh: Duration(10 * time.Minute), MaxStale: Duration(48 * time.Hour), UnknownKeyInterval: Duration(time.Minute), SnapshotFile: "/var/lib/claimgate/shop.keys"},
				HTTP: HTTPConfig{
					CAFile: "testdata/config/good/certs/ca.pem", CertFile: "testdata/config/good/certs/tls.crt", KeyFile: "testdata/config/good/certs/tls.key",
					ServerName: "id.internal", BearerTokenFile: "/var/run/secrets/tokens/id",
					Timeout: Duration(3 * time.Second), ProxyURL: "http://proxy.internal:3128",
				}, Required: true,
			},
			{
				Issuer: "joe", Name: "joe", Preset: oidc.PresetGeneric, AnyAudience: true,
				JWKSURL: "http://keys.internal:8080/keys", Insecure: true, Leeway: new(Duration(30 * time.Second)),
				Keys: KeysConfig{MaxStale: Duration(24 * time.Hour), UnknownKeyInterval: Duration(30 * time.Second)},
				HTTP: HTTPConfig{Timeout: Duration(5 * time.Second)},
			},
			{
				Issuer: "build system", Name: "builds", Preset: oidc.PresetGeneric, Audiences: []string{"orders-api"},
				JWKSFile: "testdata/config/good/keys/builds.json", Leeway: new(Duration(30 * time.Second)),
				Keys: KeysConfig{MaxStale: Duration(24 * time.Hour), UnknownKeyInterval: Duration(30 * time.Second)},
				HTTP: HTTPConfig{Timeout: Duration(5 * time.Second)},
			},
		},
		Headers: map[string]string{"x-user": "sub", "x-auth-issuer": "@issuer"},
		Policies: []PolicyConfig{
			{
				Name: "preflight and public",
				Match: []MatchConfig{
					{
						Hosts: []string{"shop.example.com", "*.shop.example.com"}, Methods: []string{"GET", "HEAD"},
						Paths: []string{"/", "/assets/**", "/v1;beta/*/status"},
					},
					{Paths: []string{"/healthz"}},
				},
				Access: AccessPublic, ForwardToken: &yes, CORSPreflight: true, Realm: "claimgate",
				TokenFrom: []TokenSourceConfig{{Header: "authorization", Scheme: "Bearer"}},
			},
			{
				Name: "orders", Match: []MatchConfig{{Paths: []string{"/orders/**"}}}, Access: AccessToken,
				Issuers: []string{"shop"}, Audiences: []string{"orders-api"}, Scopes: []string{"orders.read"},
				AnyScope: []string{"orders.admin", "orders.write"}, Roles: []string{"clerk", "manager"},
				Claims: map[string]ClaimValues{"tenant": {"acme", "umbrella"}, "/realm_access/level": {json.Number("3")}},
				When:   `token.claims.email_verified && request.method != "DELETE"`,
				TokenFrom: []TokenSourceConfig{
					{Header: "authorization", Scheme: "Bearer"}, {Header: "x-token"}, {Cookie: "token"}, {Query: "access_token"},
				},
				ForwardToken: &no, Headers: map[string]string{"x-tenant": "@tenant", "x-roles": "/realm_access/roles"},
				Realm: "orders", ResourceMetadata: "https://shop.example.com/.well-known/oauth-protected-resource",
			},
			{
				Name: "profile", Match: []MatchConfig{{Paths: []string{"/profile"}}}, Access: AccessOptional,
				When:      `token.subject == "" || token.claims.active == true`,
				TokenFrom: []TokenSourceConfig{{Header: "authorization", Scheme: "Bearer"}}, Realm: "claimgate",
			},
			{
				Name: "rest", Access: AccessDeny,
				TokenFrom: []TokenSourceConfig{{Header: "authorization", Scheme: "Bearer"}}, Realm: "claimgate",
			},
		},
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %s\nwant %s", asJSON(t, cfg), asJSON(t, want))
	}
	if d, bound := cfg.Issuers[0].Keys.refresh(); d != 10*time.Minute || !bound {
		t.Errorf("keys.refresh is %v, bound %t; want 10m, which is a bound", d, bound)
	}
}

func TestZeroIsNotAbsent(t *testing.T) {
	cfg := loadGood(t, "zeros.yaml")
	if s := &cfg.Server; s.maxConnectionAge() != 0 || s.drainDelay() != 0 || s.drainTimeout() != 0 {
		t.Errorf("maxConnectionAge %v, drainDelay %v, drainTimeout %v; want 0", s.maxConnectionAge(), s.drainDelay(), s.drainTimeout())
	}
	if c := &cfg.TokenCache; c.maxEntries() != 0 || c.maxBytes() != 0 {
		t.Errorf("the token cache has %d entries and %d bytes; want none", c.maxEntries(), c.maxBytes())
	}
	if got := cfg.Issuers[0].leeway(); got != 0 {
		t.Errorf("leeway is %v, want 0", got)
	}
	if roles := cfg.Issuers[0].ClaimMappings.Roles; roles == nil || len(roles) != 0 {
		t.Errorf("claimMappings.roles is %#v, want an empty list", roles)
	}
	if cfg.Headers == nil || len(cfg.Headers) != 0 {
		t.Errorf("headers are %#v, want none", cfg.Headers)
	}
	if f := cfg.Policies[0].ForwardToken; f == nil || *f {
		t.Errorf("forwardToken is %v, want false", f)
	}
}

func TestYAMLOddities(t *testing.T) {
	for _, name := range []string{"admin-off.yaml", "socket.yaml"} {
		if got := loadGood(t, name).Admin.Listen; got != "off" {
			t.Errorf("%s: admin.listen is %q, want off", name, got)
		}
	}
	cfg := loadGood(t, "yaml-text.yaml")
	if got, want := cfg.Issuers[0].Audiences, []string{"2024-01-01", "yes"}; !reflect.DeepEqual(got, want) {
		t.Errorf("audiences are %q, want %q", got, want)
	}
	want := map[string]ClaimValues{"since": {"2024-01-01"}, "country": {"NO"}, "level": {json.Number("1e2"), json.Number("-3")}}
	if got := cfg.Policies[0].Claims; !reflect.DeepEqual(got, want) {
		t.Errorf("claims are %#v, want %#v", got, want)
	}
}

func TestValidateByHand(t *testing.T) {
	cfg := &Config{
		Issuers:  []IssuerConfig{{Issuer: "https://id.example.com", Audiences: []string{"api"}}},
		Policies: []PolicyConfig{{Name: "everything", Claims: map[string]ClaimValues{"level": {1, "2", true, json.Number("3.5")}}}},
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	if cfg.Server.Listen != defaultListen || cfg.Issuers[0].Name != "id-example-com" || cfg.Policies[0].Access != AccessToken {
		t.Errorf("the defaults are not filled in: %s", asJSON(t, cfg))
	}

	bad := &Config{
		Server: ServerConfig{
			CheckTimeout: Duration(time.Millisecond), ReloadInterval: new(Duration(1)), PathParameters: "maybe",
			TLS: &ServerTLSConfig{CertFile: "tls.crt"},
		},
		TokenCache: TokenCacheConfig{MaxEntries: new(-1), MaxBytes: new(Size(-1))},
		Issuers: []IssuerConfig{
			{Issuer: "https://id.example.com", Audiences: []string{""}, Leeway: new(Duration(-1)), Algorithms: []oidc.Algorithm{"none"}},
		},
		Policies: []PolicyConfig{{Claims: map[string]ClaimValues{"level": {1.5}}, Match: []MatchConfig{}}},
	}
	err := bad.Validate()
	if err == nil {
		t.Fatal("Validate returned no error")
	}
	got := map[string]bool{}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		name, _, _ := strings.Cut(line, ": ")
		got[name] = true
	}
	for _, want := range []string{
		"server.checkTimeout", "server.reloadInterval", "server.pathParameters", "server.tls.keyFile", "tokenCache.maxEntries",
		"tokenCache.maxBytes", "issuers[0].audiences[0]", "issuers[0].leeway", "issuers[0].algorithms[0]", "policies[0].name",
		"policies[0].claims.level[0]", "policies[0].match",
	} {
		if !got[want] {
			t.Errorf("no problem with %s in\n%v", want, err)
		}
	}
	if t.Failed() || len(got) != 12 {
		t.Errorf("%d problems, want 12:\n%v", len(got), err)
	}
}

func TestWarnings(t *testing.T) {
	cfg, err := ParseConfig("gate.yaml", []byte(`issuers:
- issuer: https://id.example.com
  audiences: [orders-api]
  discoveryURL: https://id.example.com/metadata
  jwksURL: https://id.example.com/keys
- issuer: https://sso.example.com/.well-known/openid-configuration
  audiences: ["${AUDIENCE}", "orders-api "]
  claimMappings: {roles: [realm_access.roles, "https://ns.example/roles"]}
headers: {x-city: address.city, x-user: "@subject"}
policies:
- name: everything
  claims: {email_verified: [true], "https://ns.example/tier": [gold, 1]}
- name: orders
  match: [{paths: [/orders/**]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range cfg.Warnings() {
		got = append(got, p.String())
	}
	want := []string{
		"gate.yaml:4:17: issuers[0].discoveryURL: is not used: with jwksURL there is no discovery",
		"gate.yaml:6:11: issuers[1].issuer: looks like the URL of metadata, which belongs in discoveryURL: iss in tokens is rather \"https://sso.example.com\"",
		"gate.yaml:7:15: issuers[1].audiences[0]: is taken as it stands, ${…} too: nothing is expanded in this file",
		"gate.yaml:7:30: issuers[1].audiences[1]: begins or ends with a space, which counts",
		"gate.yaml:8:27: issuers[1].claimMappings.roles[0]: is a top-level claim with a dot in its name: a claim inside another is written \"/realm_access/roles\"",
		"gate.yaml:9:19: headers.x-city: is a top-level claim with a dot in its name: a claim inside another is written \"/address/city\"",
		"gate.yaml:13:3: policies[1]: can be chosen by name only: policies[0] before it matches every request",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// A check that does not tell its route must not get further than one that does.
func TestWarningsOfUntoldRoutes(t *testing.T) {
	const (
		status = "- {name: status, match: [{routes: [HTTPRoute/shop/status]}], access: public}\n"
		orders = "- {name: orders, match: [{routes: [HTTPRoute/shop/orders]}], access: deny}\n"
		closed = "- {name: rest, access: deny}\n"
		open   = "- {name: rest, access: public}\n"
		health = "- {name: health, match: [{paths: [/healthz]}], access: public}\n"
	)
	for policies, want := range map[string]string{
		status + orders + closed: "",
		status + orders + health: "",
		status + open:            "",
		open:                     "",
		status + orders + open: "gate.yaml:4:24: policies[2].access: is for requests of the routes of policies[1] too, if Envoy does not tell the route: " +
			"put policies with the routes that are open first, and a strict one last",
	} {
		cfg, err := ParseConfig("gate.yaml", []byte("policies:\n"+policies))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range cfg.Warnings() {
			got += p.String()
		}
		if got != want {
			t.Errorf("%s\ngot  %q\nwant %q", policies, got, want)
		}
	}
}

func TestWarningsOfProviders(t *testing.T) {
	cfg, err := ParseConfig("gate.yaml", []byte(`issuers:
- {issuer: "https://token.actions.githubusercontent.com", name: actions, audiences: [orders-api]}
- {issuer: "https://gitlab.com", preset: gitlab, audiences: [orders-api], require: {namespace_id: ["72"]}}
- {issuer: "https://example.okta.com", preset: okta, audiences: [orders-api]}
- {issuer: "https://example.okta.com/oauth2/default", name: okta, preset: okta, audiences: [orders-api]}
policies:
- name: everything
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range cfg.Warnings() {
		got = append(got, p.String())
	}
	want := []string{
		"gate.yaml:2:12: issuers[0].issuer: gives everybody a token for any audience: write preset: github, which knows",
		"gate.yaml:4:12: issuers[2].issuer: is Okta's org authorization server, whose tokens are for Okta itself: use a custom one, such as \"https://example.okta.com/oauth2/default\"",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
