package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/child"
	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// mesh is istiod on an API server, with the files of envoy-config/istio, the gate that
// they lead to, and two applications that tell what they see.
type mesh struct {
	*cluster
	gate                 *gate
	gateConfig           string
	workforce, customers *oidctest.Issuer

	control *server
	config  string // file of MeshConfig
	xds     string // istiod's port for proxies
	agent   *agent
	envoy   string // the program

	gateway, sidecar, billing, beside *proxy // beside is the gate's own
}

// proxy is an Envoy that is told everything by istiod.
type proxy struct {
	server
	addr, admin string
}

// istioFile is a shipped file with the test's ports in it, and with long time-outs instead
// of short ones, so that a busy machine changes no outcome. Each text of replace must be
// there.
func istioFile(t *testing.T, name string, replace ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../../envoy-config/istio", name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s has no %q", name, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	return shortTimeout.ReplaceAllString(text, "${1}: 10s")
}

// shortTimeout is a time-out of less than a second in a shipped file.
var shortTimeout = regexp.MustCompile(`\b(timeout|connectTimeout|max_interval): 0\.\d+s\b`)

// startMesh starts all but the proxies.
func startMesh(t *testing.T, c *cluster) *mesh {
	t.Helper()
	istiod := filepath.Join(part(t, "istiod"), "istiod")
	envoy, err := lab.FindEnvoy(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{
		cluster: c, envoy: envoy, xds: freePort(t),
		agent:     startAgent(t, "istio-ingressgateway.istio-ingress", "orders.shop", "billing.shop", "claimgate.claimgate"),
		workforce: oidctest.NewIssuer(oidctest.WithAudience(lab.Audience)),
		customers: oidctest.NewIssuer(oidctest.WithAudience(lab.Audience)),
	}
	t.Cleanup(m.workforce.Close)
	t.Cleanup(m.customers.Close)
	gatePort := freePort(t)
	m.gateConfig = fmt.Sprintf(`
issuers:
- {issuer: %q, name: workforce, audiences: [shop-api]}
- {issuer: %q, name: customers, audiences: [shop-api]}
policies:
- name: public
  match: [{paths: [/public/**]}]
  access: public
- name: everything
  match: [{hosts: [shop.example.com, admin.example.com]}]
- name: admin
  match: [{hosts: [nowhere.example.com]}]
  issuers: [workforce]
- name: orders
  match: [{hosts: [nowhere.example.com]}]
`, m.workforce.URL, m.customers.URL)
	m.gate = startGateAt(t, "127.0.0.1:"+gatePort, m.gateConfig)

	m.gateway, m.sidecar = &proxy{addr: "127.0.0.1:" + freePort(t)}, &proxy{addr: "127.0.0.2:" + freePort(t)}
	m.billing, m.beside = &proxy{addr: "127.0.0.3:" + freePort(t)}, &proxy{addr: "127.0.0.4:" + freePort(t)}
	surroundings, err := os.ReadFile("istio/mesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m.apply(t, strings.NewReplacer(
		"@GATE_PORT@", gatePort, "@WORKFORCE_PORT@", port(application(t, "workforce")), "@CUSTOMERS_PORT@", port(application(t, "customers")),
		"@GATEWAY_PORT@", port(m.gateway.addr), "@ORDERS_PORT@", port(m.sidecar.addr), "@BILLING_PORT@", port(m.billing.addr), "@GATE_SIDECAR_PORT@", port(m.beside.addr),
	).Replace(string(surroundings)))

	m.applyFiles(t) // before istiod starts, so that the proxies get all of it at once

	m.config = filepath.Join(t.TempDir(), "mesh.yaml")
	m.writeConfig(t)
	http := freePort(t)
	m.control = &server{
		name: "istiod",
		command: func() *exec.Cmd {
			cmd := exec.Command(istiod, "discovery", "--kubeconfig", c.config, "--meshConfig", m.config, "--networksConfig", os.DevNull,
				"--grpcAddr", "127.0.0.1:"+m.xds, "--httpAddr", "127.0.0.1:"+http, "--httpsAddr", "", "--secureGRPCAddr", "",
				"--monitoringAddr", "127.0.0.1:"+freePort(t), "--ctrlz_port", "0")
			// A stock Envoy lacks the filters that Istio builds into its own.
			cmd.Env = append(c.env, "PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_ALPN_FILTER=false", "PILOT_DISABLE_MX_ALPN=true",
				"XDS_AUTH=false", "POD_NAME=istiod", "POD_NAMESPACE=istio-system")
			cmd.Dir = c.home
			return cmd
		},
		ready: answers(oneShot, "http://127.0.0.1:"+http+"/ready"),
	}
	m.control.start(t)
	return m
}

// writeConfig writes MeshConfig, the shipped one with what the test's host wants, where
// istiod reads it at once.
func (m *mesh) writeConfig(t *testing.T, replace ...string) {
	t.Helper()
	var values struct {
		MeshConfig map[string]any `yaml:"meshConfig"`
	}
	if err := yaml.Load([]byte(istioFile(t, "mesh-config.yaml", replace...)), &values); err != nil {
		t.Fatal(err)
	}
	values.MeshConfig["rootNamespace"] = "istio-system"
	values.MeshConfig["trustDomain"] = "cluster.local"
	values.MeshConfig["defaultProviders"] = map[string]any{}
	values.MeshConfig["defaultConfig"] = map[string]any{"discoveryAddress": "127.0.0.1:" + m.xds}
	b, err := yaml.Dump(values.MeshConfig)
	if err := errors.Join(err, os.WriteFile(m.config+".new", b, 0o600), os.Rename(m.config+".new", m.config)); err != nil {
		t.Fatal(err)
	}
}

// startOutside starts another gate, which has a certificate, and lets in none but the
// holder of another. Both are those of service-entry.yaml.
func (m *mesh) startOutside(t *testing.T) *gate {
	t.Helper()
	dir := m.agent.outside
	tls := regexp.MustCompile(`(?m)^#\s+tls: \{certFile: tls.crt, keyFile: tls.key, clientCAFile: clients.crt, clientNames: \[gateway.example.com\]\}$`).
		FindString(istioFile(t, "service-entry.yaml"))
	if tls == "" {
		t.Fatal("service-entry.yaml does not say how the gate gets its certificate")
	}
	_, tls, _ = strings.Cut(tls, "tls:")
	tls = strings.NewReplacer("tls.", dir+"/gate.", "clients.crt", dir+"/ca.crt").Replace(tls)
	return startGateWith(t, "listen: 127.0.0.1:0, tls: "+tls, m.gateConfig)
}

// apply gives objects to the API server.
func (m *mesh) apply(t *testing.T, objects string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	m.must(t, "kubectl apply --validate=strict -f "+file)
}

// applyFiles gives the shipped files to the API server, whatever was done to them.
func (m *mesh) applyFiles(t *testing.T) {
	t.Helper()
	var all strings.Builder
	for name, replace := range map[string][]string{
		"gateway.yaml": nil, "sidecar.yaml": nil, "rules-on-identity.yaml": nil, "access-log.yaml": nil, "destination-rule.yaml": nil, "behind-the-gateway.yaml": nil,
		"policy-by-name.yaml": {"admin.example.com:443", "admin.example.com:" + port(m.gateway.addr)},
	} {
		fmt.Fprintf(&all, "---\n%s", istioFile(t, name, replace...))
	}
	m.apply(t, all.String())
}

// start starts an Envoy; role is router for a gateway.
func (m *mesh) start(t *testing.T, p *proxy, role, name, namespace, label string) {
	t.Helper()
	template, err := os.ReadFile("istio/proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	address, _, _ := strings.Cut(p.addr, ":")
	admin := freePort(t)
	p.admin = "http://127.0.0.1:" + admin
	config := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(config, []byte(strings.NewReplacer(
		"@ROLE@", role, "@ADDRESS@", address, "@NAMESPACE@", namespace, "@NAME@", name, "@LABEL@", label, "@XDS_PORT@", m.xds, "@SDS_PORT@", m.agent.port, "@ADMIN_PORT@", admin,
	).Replace(string(template))), 0o600); err != nil {
		t.Fatal(err)
	}
	p.server = server{
		name: "envoy-" + name,
		command: func() *exec.Cmd {
			return exec.Command(m.envoy, "-c", config, "--use-dynamic-base-id", "--concurrency", "1",
				"--log-level", "warning", "--component-log-level", "misc:error", "--file-flush-interval-msec", "100")
		},
		ready: answers(oneShot, p.admin+"/ready"),
	}
	p.server.start(t)
}

// application answers with the headers that it sees and its name.
func application(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(reply{Upstream: name, Headers: r.Header}) //nolint:errcheck // the client may be gone
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

type reply struct {
	Upstream string
	Headers  http.Header
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// asked is a request to a proxy and what must come of it.
type asked struct {
	method, host, path string // GET shop.example.com if they are empty
	headers            [][2]string

	status    int
	challenge string // a part of it
	body      string // a part of it, of a denial
	upstream  string
	identity  map[string]string // what reaches the application, of an allow
}

// try asks and says what is wrong with the answer.
func (a asked) try(ctx context.Context, addr string) error {
	return a.tryWith(ctx, oneShot, "http://"+addr)
}

// tryWith is try by a client of its own.
func (a asked) tryWith(ctx context.Context, client *http.Client, url string) error {
	method, host := a.method, a.host
	if method == "" {
		method = http.MethodGet
	}
	if host == "" {
		host = "shop.example.com"
	}
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	r.Host, r.URL.Opaque = host, a.path
	for _, h := range a.headers {
		r.Header[h[0]] = append(r.Header[h[0]], h[1])
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s %s%s: %d %q %s", method, host, a.path, answer.StatusCode, answer.Header.Values("Www-Authenticate"), bytes.TrimSpace(body))
	challenge := strings.Join(answer.Header.Values("Www-Authenticate"), "; ")
	if answer.StatusCode != a.status || !strings.Contains(challenge, a.challenge) || (a.challenge == "") != (challenge == "") || !strings.Contains(string(body), a.body) {
		return fmt.Errorf("%s, want %d, a challenge with %q and a body with %q", what, a.status, a.challenge, a.body)
	}
	if a.status != http.StatusOK {
		return nil
	}
	var seen reply
	if err := json.Unmarshal(body, &seen); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	identity := map[string]string{}
	for name, values := range seen.Headers {
		if lab.IsIdentity(name) {
			identity[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	if !maps.Equal(identity, a.identity) || a.upstream != "" && seen.Upstream != a.upstream {
		return fmt.Errorf("%s, want %v at %s", what, a.identity, a.upstream)
	}
	return nil
}

// want asks each of list once.
func (p *proxy) want(t *testing.T, list ...asked) {
	t.Helper()
	for _, a := range list {
		if err := a.try(t.Context(), p.addr); err != nil {
			t.Error(err)
		}
	}
}

// wantSoon asks until the answer is right: what kubectl changes is with the proxies a
// moment later.
func (p *proxy) wantSoon(t *testing.T, a asked) {
	t.Helper()
	eventually(t, "the new answer", func(ctx context.Context) error { return a.try(ctx, p.addr) })
}

// logLine is a line of the access log that mesh-config.yaml has.
type logLine struct {
	Path, Flags, Reason, Policy, Issuer string
	Status                              int
}

// logs waits for a line.
func (p *proxy) logs(t *testing.T, want logLine) {
	t.Helper()
	eventually(t, fmt.Sprintf("%+v in the log", want), func(context.Context) error {
		var last logLine
		for text := range strings.Lines(p.process.Log()) {
			var line logLine
			if json.Unmarshal([]byte(text), &line) != nil || line.Path != want.Path {
				continue
			}
			if last = line; line == want {
				return nil
			}
		}
		return fmt.Errorf("it has %+v", last)
	})
}

// dump is all of a proxy's configuration.
func (p *proxy) dump(t *testing.T) string {
	t.Helper()
	return string(send(t, oneShot, request(t, http.MethodGet, p.admin+"/config_dump", "", ""), http.StatusOK))
}

// upstreamCluster is what the tests ask of an Envoy's cluster.
type upstreamCluster struct {
	Name    string
	Options json.RawMessage       `json:"typed_extension_protocol_options"`
	TLS     struct{ Name string } `json:"transport_socket"`
}

// clusters are those that istiod has told the proxy of.
func (p *proxy) clusters(t *testing.T) []upstreamCluster {
	t.Helper()
	var list struct {
		Configs []struct {
			Cluster upstreamCluster
		}
	}
	body := send(t, oneShot, request(t, http.MethodGet, p.admin+"/config_dump?resource=dynamic_active_clusters", "", ""), http.StatusOK)
	if err := json.Unmarshal(body, &list); err != nil {
		t.Fatal(err)
	}
	var clusters []upstreamCluster
	for _, c := range list.Configs {
		clusters = append(clusters, c.Cluster)
	}
	return clusters
}

func TestIstio(t *testing.T) {
	t.Parallel()
	crds := filepath.Join(part(t, "crds"), "customresourcedefinitions.gen.yaml")
	c := startAPI(t, part(t, "helm"))
	c.must(t, "kubectl apply --server-side -f "+crds)
	c.must(t, "kubectl wait --for=condition=Established crd --all --timeout=60s")
	for _, namespace := range []string{"istio-system", "istio-ingress", "shop", "claimgate"} {
		c.must(t, "kubectl create namespace "+namespace)
	}

	t.Run("strict validation by the API server finds nothing in any file", func(t *testing.T) {
		out := c.must(t, `for file in envoy-config/istio/*.yaml; do
			[ "$file" = envoy-config/istio/mesh-config.yaml ] || kubectl apply --dry-run=server --validate=strict -f "$file"
		done`)
		if strings.Contains(out, "Warning") || strings.Count(out, "(server dry run)") < 10 {
			t.Error(out)
		}
		if out, err := c.run(`sed 's/notValues:/notValue:/' envoy-config/istio/gateway.yaml | kubectl apply --dry-run=server --validate=strict -f -`); err == nil || !strings.Contains(out, "notValue") {
			t.Errorf("what is no field is not found: %v\n%s", err, out)
		}
	})

	m := startMesh(t, c)
	m.start(t, m.gateway, "router", "istio-ingressgateway", "istio-ingress", "istio: ingressgateway")
	m.start(t, m.sidecar, "sidecar", "orders", "shop", "app: orders")
	m.start(t, m.billing, "sidecar", "billing", "shop", "app: billing")
	m.start(t, m.beside, "sidecar", "claimgate", "claimgate", "app: claimgate")

	bearer := func(issuer *oidctest.Issuer, claims map[string]any, options ...oidctest.TokenOption) [2]string {
		return lab.Bearer(issuer.Token(claims, options...))
	}
	alice := bearer(m.workforce, map[string]any{"sub": "alice", "client_id": "intranet", "scope": "orders.read orders.write"})
	carol := bearer(m.customers, map[string]any{"sub": "carol", "client_id": "webshop", "scope": "orders.read"})
	isAlice := map[string]string{"x-auth-issuer": "workforce", "x-auth-subject": "alice", "x-auth-client": "intranet", "x-auth-scopes": "orders.read orders.write"}
	isCarol := map[string]string{"x-auth-issuer": "customers", "x-auth-subject": "carol", "x-auth-client": "webshop", "x-auth-scopes": "orders.read"}
	isNobody := map[string]string{}
	with := func(headers ...[2]string) [][2]string { return headers }
	forged := func(headers ...[2]string) [][2]string {
		return append(headers, [2]string{"x-auth-subject", "root"}, [2]string{"X-Auth-Issuer", "workforce"}, [2]string{"x-auth-subject", "admin"}, [2]string{"x-auth-scopes", "everything"})
	}
	const denied = "RBAC: access denied" // Istio's word

	allowed := asked{path: "/orders/7", headers: forged(alice), status: 200, identity: isAlice}
	m.gateway.wantSoon(t, allowed)
	m.sidecar.wantSoon(t, allowed)

	t.Run("a gateway lets in whom the gate lets in, with the identity and no forged one", func(t *testing.T) {
		m.gateway.want(t,
			asked{path: "/orders/7", headers: forged(alice), status: 200, identity: isAlice, upstream: "workforce"},
			asked{path: "/orders/7", headers: forged(carol), status: 200, identity: isCarol, upstream: "customers"},
			asked{path: "/public/terms", headers: forged(), status: 200, identity: isNobody, upstream: "customers"},
		)
	})
	t.Run("a gateway answers with the gate's challenge", func(t *testing.T) {
		m.gateway.want(t,
			asked{path: "/orders/7", headers: forged(), status: 401, challenge: `Bearer realm="claimgate"`},
			asked{path: "/orders/7", headers: with(bearer(m.workforce, nil, oidctest.Forged())), status: 401, challenge: `error="invalid_token"`},
			asked{path: "/orders/7", headers: with(bearer(m.workforce, map[string]any{"exp": 1})), status: 401, challenge: "The access token expired"},
			asked{path: "/orders/7", headers: with(bearer(m.workforce, map[string]any{"aud": "else"})), status: 401, challenge: `error="invalid_token"`},
			asked{path: "/orders/7", headers: with(alice, carol), status: 400, challenge: `error="invalid_request"`},
			asked{path: "/orders%2f7", headers: with(alice), status: 400},
			asked{path: "/orders/7", headers: with(alice, [2]string{"x_auth_subject", "root"}), status: 400},
		)
	})
	t.Run("a host of the gateway has the policy that is named for it", func(t *testing.T) {
		m.gateway.want(t,
			asked{host: "admin.example.com", path: "/orders/7", headers: forged(alice), status: 200, identity: isAlice},
			asked{host: "admin.example.com", path: "/orders/7", headers: forged(carol), status: 401, challenge: `error="invalid_token"`},
			asked{host: "admin.example.com", path: "/public/terms", status: 401, challenge: "Bearer"},
		)
	})
	t.Run("Istio's rules decide on what the gate has verified", func(t *testing.T) {
		m.gateway.want(t,
			asked{path: "/reports/1", headers: with(alice), status: 200, identity: isAlice},
			asked{path: "/reports/1", headers: forged(carol), status: 403, body: denied},
			asked{path: "/reports", headers: forged(carol), status: 403, body: denied},
			asked{method: "POST", path: "/orders/7", headers: with(alice), status: 200, identity: isAlice},
			asked{method: "POST", path: "/orders/7", headers: forged(carol), status: 403, body: denied},
		)
	})
	t.Run("a sidecar asks as well", func(t *testing.T) {
		stranger := bearer(m.customers, map[string]any{"sub": "mallory", "client_id": "elsewhere"})
		m.sidecar.want(t,
			asked{path: "/orders/7", headers: forged(carol), status: 200, identity: isCarol},
			asked{path: "/orders/7", headers: forged(), status: 401, challenge: `Bearer realm="claimgate"`},
			asked{path: "/public/terms", status: 401, challenge: "Bearer"}, // the policy that is named for the workload
			asked{path: "/orders/7", headers: forged(stranger), status: 403, body: denied},
			asked{path: "/orders/7", headers: with(alice, carol), status: 400, challenge: `error="invalid_request"`},
			asked{path: "/orders/7", headers: with(alice, [2]string{"x_auth_subject", "root"}), status: 400},
		)
	})
	t.Run("each setting of the files is in force", func(t *testing.T) {
		for p, settings := range map[*proxy][]string{m.gateway: {`"clear_route_cache": true`}, m.sidecar: nil} {
			dump := p.dump(t)
			for _, setting := range append(settings,
				`"encode_raw_headers": true`, `"include_peer_certificate": true`, `"validate_mutations": true`,
				`"retry_on": "unavailable,reset,connect-failure,refused-stream"`, `"num_retries": 2`, `envoy.retry_host_predicates.previous_hosts`, `"code": "ServiceUnavailable"`,
				`"path_with_escaped_slashes_action": "REJECT_REQUEST"`, `"headers_with_underscores_action": "REJECT_REQUEST"`,
				`"merge_slashes": true`, `"normalize_path": true`, `"remove": "x-auth-client"`,
				`"max_requests": 16384`, `"max_pending_requests": 16384`, `"max_retries": 1024`, `"keepalive_time": 30`,
			) {
				if !strings.Contains(dump, setting) {
					t.Errorf("%s has no %s", p.name, setting)
				}
			}
			if strings.Contains(dump, `"failure_mode_allow": true`) {
				t.Errorf("%s lets through without an answer", p.name)
			}
		}
		if strings.Contains(m.control.process.Log(), "ACK ERROR") {
			t.Errorf("a proxy has refused what istiod sent:\n%s", child.Tail(m.control.process.Log(), 40))
		}
	})
	t.Run("Istio speaks HTTP/2 to the Service of the Helm chart, with and without TLS", func(t *testing.T) {
		for name, values := range map[string]string{"plain": "istio", "secret": "istio-sidecar"} {
			m.must(t, "helm template gate charts/claimgate --namespace claimgate --set fullnameOverride="+name+" --set istio.authorizationPolicy.namespace=claimgate"+
				" -s templates/service.yaml -s templates/istio.yaml -f charts/claimgate/ci/"+values+"-values.yaml | kubectl apply --validate=strict -f -")
			cluster := "outbound|9191||" + name + ".claimgate.svc.cluster.local"
			eventually(t, "the gateway has "+cluster, func(context.Context) error {
				for _, c := range m.gateway.clusters(t) {
					if c.Name == cluster {
						http2, tls := strings.Contains(string(c.Options), "http2_protocol_options"), c.TLS.Name == "envoy.transport_sockets.tls"
						if !http2 || tls != (name == "secret") {
							return fmt.Errorf("HTTP/2 %v, TLS %v", http2, tls)
						}
						return nil
					}
				}
				return errors.New("it has not")
			})
		}
	})
	t.Run("the access log has the gate's reason", func(t *testing.T) {
		m.gateway.want(t,
			asked{path: "/orders/logged?secret=1", status: 401, challenge: "Bearer"},
			asked{path: "/reports/logged", headers: with(carol), status: 403, body: denied},
		)
		m.gateway.logs(t, logLine{Path: "/orders/logged", Status: 401, Flags: "UAEX", Reason: "missing_token", Policy: "everything"})
		m.gateway.logs(t, logLine{Path: "/reports/logged", Status: 403, Flags: "-", Reason: "valid_token", Policy: "everything", Issuer: "customers"})
	})
	t.Run("the gate and the workload behind the gateway are asked by their own alone", func(t *testing.T) {
		for p, what := range map[*proxy]string{m.beside: "the gate", m.billing: "the workload"} {
			if err := (asked{path: "/", status: 200}).try(t.Context(), p.addr); err == nil || strings.Contains(err.Error(), "want 200") {
				t.Errorf("%s answers in the clear: %v", what, err)
			}
		}
		root := asked{path: "/", headers: with([2]string{"x-auth-subject", "root"}), status: 200, identity: map[string]string{"x-auth-subject": "root"}}
		for caller, want := range map[string]asked{
			"istio-ingressgateway.istio-ingress": root, // whom it believes
			"orders.shop":                        {path: "/", headers: root.headers, status: 403, body: denied},
		} {
			if err := want.tryWith(t.Context(), m.agent.clientOf(t, caller), "https://"+m.billing.addr); err != nil {
				t.Errorf("%s: %v", caller, err)
			}
		}
	})
	t.Run("each Envoy that is tested takes what istiod sends", func(t *testing.T) {
		usual, envoys := m.envoy, filepath.SplitList(os.Getenv("CLAIMGATE_ENVOYS"))
		if len(envoys) == 0 {
			t.Skip("skipped: make test-istio names them")
		}
		for _, envoy := range envoys {
			for _, p := range []*proxy{m.gateway, m.sidecar} {
				p.stop()
				m.envoy = envoy
				p.up(t)
				p.wantSoon(t, allowed)
				p.want(t,
					asked{path: "/orders/7", headers: forged(), status: 401, challenge: `Bearer realm="claimgate"`},
					asked{path: "/orders/7", headers: forged(carol), status: 200, identity: isCarol},
					asked{path: "/orders/7", headers: with(alice, carol), status: 400, challenge: `error="invalid_request"`},
					asked{path: "/orders/7", headers: with(alice, [2]string{"x_auth_subject", "root"}), status: 400},
					asked{path: "/orders%2f7", headers: with(alice), status: 400},
				)
			}
			m.gateway.want(t,
				asked{host: "admin.example.com", path: "/public/terms", status: 401, challenge: "Bearer"},
				asked{path: "/reports/1", headers: with(carol), status: 403, body: denied},
				asked{path: "/public/terms", headers: forged(), status: 200, identity: isNobody, upstream: "customers"},
			)
		}
		m.envoy = usual
	})
	t.Run("without a gate nobody gets in", func(t *testing.T) {
		m.gate.stop()
		m.gateway.wantSoon(t, asked{path: "/public/terms?gone", status: 503})
		m.gateway.logs(t, logLine{Path: "/public/terms", Status: 503, Flags: "UAEX"})
		m.sidecar.wantSoon(t, asked{path: "/orders/7", headers: with(alice), status: 503})
		m.gate.up(t)
		m.gateway.wantSoon(t, allowed)
		m.sidecar.wantSoon(t, allowed)
	})
	t.Run("without a gate nobody gets in, even where the provider fails open", func(t *testing.T) {
		m.gate.stop()
		m.writeConfig(t, "failOpen: false", "failOpen: true")
		for _, p := range []*proxy{m.gateway, m.sidecar} {
			p.wantSoon(t, asked{path: "/orders/7", headers: forged(alice), status: 403, body: denied})
		}
		m.writeConfig(t)
		m.gateway.wantSoon(t, asked{path: "/orders/7", headers: forged(alice), status: 503})
		m.gate.up(t)
		m.gateway.wantSoon(t, allowed)
		m.sidecar.wantSoon(t, allowed)
	})
	t.Run("a gate outside of the mesh is asked with the certificates of both sides", func(t *testing.T) {
		m.gate.stop()
		outside := m.startOutside(t)
		m.gateway.wantSoon(t, asked{path: "/orders/7", headers: with(alice), status: 503})
		m.apply(t, istioFile(t, "service-entry.yaml", "resolution: DNS", "resolution: STATIC\n  endpoints: [{address: 127.0.0.1, ports: {grpc: "+port(outside.addr)+"}}]"))
		m.writeConfig(t, "service: claimgate.claimgate.svc.cluster.local", "service: claimgate.example.com")
		m.gateway.wantSoon(t, allowed)
		m.sidecar.wantSoon(t, allowed)

		m.writeConfig(t)
		m.gateway.wantSoon(t, asked{path: "/orders/7", headers: with(alice), status: 503})
		m.gate.up(t)
		m.gateway.wantSoon(t, allowed)
	})
	t.Run("a host whose policy is named no more is closed", func(t *testing.T) {
		m.must(t, "kubectl -n istio-ingress delete envoyfilter claimgate-policy-admin")
		m.gateway.wantSoon(t, asked{host: "admin.example.com", path: "/public/terms", status: 403, body: denied})
		m.gateway.want(t, asked{host: "admin.example.com", path: "/orders/7", headers: with(alice), status: 403, body: denied})
		m.applyFiles(t)
		m.gateway.wantSoon(t, asked{host: "admin.example.com", path: "/orders/7", headers: with(alice), status: 200, identity: isAlice})
	})
	t.Run("an edited rule takes effect", func(t *testing.T) {
		m.apply(t, istioFile(t, "rules-on-identity.yaml", "notValues: [workforce]", "notValues: [customers]"))
		m.gateway.wantSoon(t, asked{path: "/reports/1", headers: with(carol), status: 200, identity: isCarol})
		m.gateway.want(t, asked{path: "/reports/1", headers: with(alice), status: 403, body: denied})
	})
	t.Run("what is checked no more is refused", func(t *testing.T) {
		m.apply(t, istioFile(t, "gateway.yaml", "rules: [{}]", `rules: [{to: [{operation: {paths: ["/api/*"]}}]}]`))
		m.gateway.wantSoon(t, asked{path: "/orders/7", headers: with(alice), status: 403, body: denied})
		m.gateway.want(t, asked{path: "/api/7", status: 401, challenge: "Bearer"})
		m.must(t, "kubectl -n istio-ingress delete authorizationpolicy claimgate")
		m.gateway.wantSoon(t, asked{path: "/api/7", status: 403, body: denied})
		m.applyFiles(t)
		m.gateway.wantSoon(t, allowed)
	})
	t.Run("an unknown provider lets nobody in", func(t *testing.T) {
		m.must(t, "kubectl -n istio-ingress delete authorizationpolicy claimgate-verdict claimgate-policy-admin identity")
		m.must(t, `kubectl -n istio-ingress patch authorizationpolicy claimgate --type=merge -p '{"spec": {"provider": {"name": "else"}}}'`)
		m.gateway.wantSoon(t, asked{path: "/orders/7", headers: with(alice), status: 403, body: denied})
	})
	t.Run("without any policy identities are still not forged", func(t *testing.T) {
		m.must(t, "kubectl -n istio-ingress delete authorizationpolicy claimgate")
		m.gateway.wantSoon(t, asked{path: "/orders/7", headers: forged(), status: 200, identity: isNobody, upstream: "customers"})
	})
}
