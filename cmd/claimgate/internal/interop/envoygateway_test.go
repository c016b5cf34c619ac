package interop_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

var update = flag.Bool("update", false, "write what egctl makes of the shipped files into testdata")

const envoyGatewayFiles = "../../../../envoy-config/envoy-gateway/"

// envoyGateway is an Envoy Gateway without a cluster: the files of
// envoy-config/envoy-gateway are its objects, and it starts an Envoy of this machine.
// The gate that they lead to runs with the policies of their values.yaml.
type envoyGateway struct {
	server
	dir                 string // with the folder objects, which is watched
	addr                string // of the Gateway's listener
	ca                  *authority
	gate                *gate
	certificate         string // of the gate: a name of files, as issue returns it
	workforce, partners *oidctest.Issuer

	http1, http2 *http.Client
}

// alone waits until no other test runs an Envoy Gateway: its ports, 18000 for one, are
// always the same.
func alone(t *testing.T, folder string) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(folder), "running"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
}

func startEnvoyGateway(t *testing.T) *envoyGateway {
	t.Helper()
	folder := part(t, "envoy-gateway")
	alone(t, folder)
	envoy, err := lab.FindEnvoy(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	g := &envoyGateway{
		dir: t.TempDir(), addr: "127.0.0.1:" + freePort(t),
		workforce: oidctest.NewIssuer(oidctest.WithAudience(lab.Audience)),
		partners:  oidctest.NewIssuer(oidctest.WithAudience(lab.Audience)),
	}
	t.Cleanup(g.workforce.Close)
	t.Cleanup(g.partners.Close)
	secrets := t.TempDir()
	g.ca = newAuthority(t, filepath.Join(secrets, "ca.crt"))
	edge := g.ca.issue(t, filepath.Join(secrets, "edge"), "shop.example.com")
	client := g.ca.issue(t, filepath.Join(secrets, "client"), "envoy.example.com")
	g.certificate = g.ca.issue(t, filepath.Join(secrets, "gate"), gateName)
	gatePort := freePort(t)
	g.gate = startGateWith(t, fmt.Sprintf("listen: %q, tls: {certFile: %q, keyFile: %q, clientCAFile: %q, clientNames: [envoy.example.com]}",
		"127.0.0.1:"+gatePort, g.certificate+".crt", g.certificate+".key", g.ca.file), g.policies(t))

	surroundings, err := os.ReadFile("envoy-gateway/surroundings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"objects", "data/envoy-versions/1.0.0/bin"} {
		if err := os.MkdirAll(filepath.Join(g.dir, sub), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(envoy, filepath.Join(g.dir, "data/envoy-versions/1.0.0/bin/envoy")); err != nil {
		t.Fatal(err)
	}
	g.put(t, "surroundings.yaml", strings.NewReplacer(
		"@GATE_PORT@", gatePort, "@ORDERS_PORT@", port(application(t, "orders")), "@PARTNERS_PORT@", port(application(t, "orders-partners")),
		"@CA@", quoted(t, g.ca.file), "@EDGE_CERTIFICATE@", encoded(t, edge+".crt"), "@EDGE_KEY@", encoded(t, edge+".key"),
		"@CLIENT_CERTIFICATE@", encoded(t, client+".crt"), "@CLIENT_KEY@", encoded(t, client+".key"),
	).Replace(string(surroundings)))
	for _, name := range []string{"gateway.yaml", "routes.yaml", "gate.yaml"} {
		g.putFile(t, name)
	}

	template, err := os.ReadFile("envoy-gateway/envoy-gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(g.dir, "envoy-gateway.yaml")
	if err := os.WriteFile(config, []byte(strings.NewReplacer("@DIR@", g.dir, "@ADMIN_PORT@", freePort(t)).Replace(string(template))), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(folder, "envoy-gateway")
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Dir, cmd.Env = g.dir, append(os.Environ(), "HOME="+g.dir)
		return cmd
	}
	if out, err := command("certgen", "--local", "--config-home", filepath.Join(g.dir, "config")).CombinedOutput(); err != nil {
		t.Fatalf("certgen: %v\n%s", err, out)
	}
	g.http1, g.http2 = g.client(false), g.client(true)
	g.server = server{
		name:    "envoy-gateway",
		command: func() *exec.Cmd { return command("server", "--config-path", config) },
		ready:   func(ctx context.Context) error { return g.try(ctx, asked{path: "/status", status: 200}) },
	}
	g.server.start(t)
	return g
}

// gateName is what Envoy calls the gate.
const gateName = "claimgate.claimgate.svc"

// restartGate gives the gate a certificate for another name.
func (g *envoyGateway) restartGate(t *testing.T, name string) {
	t.Helper()
	g.gate.stop()
	g.ca.issue(t, g.certificate, name)
	g.gate.up(t)
}

// client speaks to the Gateway's listener, whatever the name that it asks for.
func (g *envoyGateway) client(http2 bool) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: http2,
		TLSClientConfig: &tls.Config{RootCAs: g.ca.roots(), ServerName: "shop.example.com"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, g.addr)
		},
	}}
}

// policies are those of the shipped values, with the test's issuers.
func (g *envoyGateway) policies(t *testing.T) string {
	t.Helper()
	var values struct {
		Config map[string]any `yaml:"config"`
	}
	text := replaced(t, envoyGatewayFiles+"values.yaml",
		"https://login.example.com/realms/workforce", g.workforce.URL, "https://partners.example.com", g.partners.URL)
	if err := yaml.Load([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	config, err := yaml.Dump(values.Config)
	if err != nil {
		t.Fatal(err)
	}
	return string(config)
}

// putFile makes objects of a shipped file, with further changes.
func (g *envoyGateway) putFile(t *testing.T, name string, changes ...string) {
	t.Helper()
	g.put(t, name, replaced(t, envoyGatewayFiles+name, append(map[string][]string{
		"gateway.yaml": {"port: 443", "port: " + port(g.addr)},
		"routes.yaml": {
			"{name: orders, port: 8080}", "{group: gateway.envoyproxy.io, kind: Backend, name: orders}",
			"{name: orders-partners, port: 8080}", "{group: gateway.envoyproxy.io, kind: Backend, name: orders-partners}",
		},
		"gate.yaml": {
			"{name: claimgate, namespace: claimgate, port: 9191}", "{group: gateway.envoyproxy.io, kind: Backend, name: claimgate}",
			`group: "", kind: Service,`, "group: gateway.envoyproxy.io, kind: Backend,",
			"namespace: claimgate\n", "namespace: shop\n",
			// A busy machine must not change what the test sees.
			"timeout: 500ms", "timeout: 10s", "connectTimeout: 250ms", "connectTimeout: 10s",
		},
	}[name], changes...)...))
}

// put writes objects in one step, as an editor does.
func (g *envoyGateway) put(t *testing.T, name, objects string) {
	t.Helper()
	file := filepath.Join(g.dir, "objects", name)
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(objects), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(g.dir, name), file); err != nil {
		t.Fatal(err)
	}
}

func (g *envoyGateway) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(g.dir, "objects", name)); err != nil {
		t.Fatal(err)
	}
}

func (g *envoyGateway) try(ctx context.Context, a asked) error {
	return a.tryWith(ctx, g.http1, "https://shop.example.com")
}

// want asks each of list in HTTP/1.1 and HTTP/2.
func (g *envoyGateway) want(t *testing.T, list ...asked) {
	t.Helper()
	for _, a := range list {
		for version, client := range map[string]*http.Client{"HTTP/1.1": g.http1, "HTTP/2": g.http2} {
			if err := a.tryWith(t.Context(), client, "https://shop.example.com"); err != nil {
				t.Errorf("%s: %v", version, err)
			}
		}
	}
}

// wantSoon asks until the answer is right: an edit is with Envoy a moment later.
func (g *envoyGateway) wantSoon(t *testing.T, a asked) {
	t.Helper()
	eventually(t, "the new answer", func(ctx context.Context) error { return g.try(ctx, a) })
}

// replaced reads a file and replaces texts, each of which must be there.
func replaced(t *testing.T, file string, changes ...string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("%s has no %q", file, changes[i])
		}
		text = strings.ReplaceAll(text, changes[i], changes[i+1])
	}
	return text
}

// quoted is a file's text as YAML has it in one line, encoded as Secrets have it.
func quoted(t *testing.T, file string) string {
	t.Helper()
	text, err := json.Marshal(replaced(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func encoded(t *testing.T, file string) string {
	t.Helper()
	return base64.StdEncoding.EncodeToString([]byte(replaced(t, file)))
}

func TestEnvoyGateway(t *testing.T) {
	t.Parallel()
	g := startEnvoyGateway(t)

	bearer := func(issuer *oidctest.Issuer, claims map[string]any, options ...oidctest.TokenOption) [2]string {
		return lab.Bearer(issuer.Token(claims, options...))
	}
	alice := bearer(g.workforce, map[string]any{"sub": "alice", "client_id": "intranet", "scope": "orders.read"})
	admin := bearer(g.workforce, map[string]any{"sub": "alice", "client_id": "intranet", "scope": "orders.read", "roles": []string{"admin"}})
	carol := bearer(g.partners, map[string]any{"sub": "carol", "client_id": "buyer", "roles": []string{"admin"}})
	isAlice := map[string]string{"x-auth-issuer": "workforce", "x-auth-subject": "alice", "x-auth-client": "intranet", "x-auth-scopes": "orders.read"}
	isCarol := map[string]string{"x-auth-issuer": "partners", "x-auth-subject": "carol", "x-auth-client": "buyer"}
	with := func(headers ...[2]string) [][2]string { return headers }
	forged := func(headers ...[2]string) [][2]string {
		return append(headers, [2]string{"x-auth-subject", "root"}, [2]string{"X-Auth-Issuer", "partners"}, [2]string{"x-auth-subject", "admin"},
			[2]string{"x.auth.subject", "root"}, [2]string{"x-auth-scopes", "everything"}, [2]string{"x-route", "HTTPRoute/shop/status"})
	}
	allowed := asked{path: "/orders/7", headers: forged(alice), status: 200, upstream: "orders", identity: isAlice}
	open := asked{path: "/status", headers: forged(), status: 200, upstream: "orders"}
	refused := asked{path: "/orders/7", headers: forged(), status: 401, challenge: `Bearer realm="claimgate"`}

	t.Run("the route chooses the policy, and nothing else does", func(t *testing.T) {
		g.want(t, open, refused, allowed,
			asked{path: "/orders/status", headers: forged(), status: 401, challenge: "Bearer"},
			asked{path: "/orders/7?route=HTTPRoute/shop/status", status: 401, challenge: "Bearer"},
			asked{path: "/nowhere", status: 404},
		)
	})
	t.Run("a bad token gets the gate's challenge", func(t *testing.T) {
		g.want(t,
			asked{path: "/orders/7", headers: forged(bearer(g.workforce, nil, oidctest.Forged())), status: 401, challenge: `error="invalid_token"`},
			asked{path: "/orders/7", headers: with(bearer(g.workforce, map[string]any{"exp": 1})), status: 401, challenge: "The access token expired"},
			asked{path: "/orders/7", headers: with(bearer(g.workforce, map[string]any{"aud": "else"})), status: 401, challenge: `error="invalid_token"`},
			asked{path: "/orders/7", headers: with(alice, carol), status: 400, challenge: `error="invalid_request"`},
		)
	})
	t.Run("the verified issuer chooses the backend", func(t *testing.T) {
		g.want(t,
			asked{path: "/orders/7", headers: forged(carol), status: 200, upstream: "orders-partners", identity: isCarol},
			asked{path: "/orders/7", headers: with(alice, [2]string{"x-auth-issuer", "partners"}), status: 200, upstream: "orders", identity: isAlice},
		)
	})
	t.Run("a route names its policy", func(t *testing.T) {
		g.want(t,
			asked{path: "/admin/users", headers: forged(admin), status: 200, upstream: "orders", identity: isAlice},
			asked{path: "/admin/users", headers: forged(alice), status: 403, body: "access_denied"},
			asked{path: "/admin/users", headers: forged(carol), status: 401, challenge: `error="invalid_token"`},
			asked{path: "/admin/users", status: 401, challenge: "Bearer"},
		)
	})
	t.Run("what could be read in two ways does not get in", func(t *testing.T) {
		g.want(t, asked{path: "/orders%2f7", headers: with(alice), status: 400})
		twin := asked{path: "/orders/7", headers: with(alice, [2]string{"x_auth_subject", "root"}), status: 400}
		if err := g.try(t.Context(), twin); err != nil {
			t.Error(err)
		}
		// In HTTP/2 Envoy answers nothing and ends the stream.
		if err := twin.tryWith(t.Context(), g.http2, "https://shop.example.com"); err == nil || !strings.Contains(err.Error(), "stream error") {
			t.Errorf("HTTP/2: %v, want an error of the stream", err)
		}
	})
	t.Run("a name that is edited is another policy", func(t *testing.T) {
		g.putFile(t, "gate.yaml", "value: admin", "value: status")
		g.wantSoon(t, asked{path: "/admin/users", headers: forged(), status: 200, upstream: "orders"})
		g.putFile(t, "gate.yaml", "value: admin", "value: nobody")
		g.wantSoon(t, asked{path: "/admin/users", headers: with(admin), status: 403, body: "access_denied"})
		g.putFile(t, "gate.yaml")
		g.wantSoon(t, asked{path: "/admin/users", headers: with(admin), status: 200, identity: isAlice})
	})
	t.Run("a new route is closed until a policy has it", func(t *testing.T) {
		g.putFile(t, "routes.yaml", "name: status", "name: state")
		g.wantSoon(t, asked{path: "/status", headers: with(alice), status: 403, body: "access_denied"})
		g.putFile(t, "routes.yaml")
		g.wantSoon(t, open)
	})
	t.Run("without the metadata no policy has a route", func(t *testing.T) {
		g.putFile(t, "gate.yaml", "includeRouteMetadata: true", "includeRouteMetadata: false")
		g.wantSoon(t, asked{path: "/status", status: 403, body: "access_denied"})
		g.want(t, asked{path: "/orders/7", headers: with(alice), status: 403, body: "access_denied"})
		g.putFile(t, "gate.yaml")
		g.wantSoon(t, open)
	})
	t.Run("a policy of a route takes the place of the Gateway's unless it is merged", func(t *testing.T) {
		policy := `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: cors, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: orders}]
  cors: {allowOrigins: ["https://shop.example.com"]}
`
		g.put(t, "cors.yaml", policy)
		g.wantSoon(t, asked{path: "/orders/7", status: 200}) // nobody asks the gate
		g.put(t, "cors.yaml", policy+"  mergeType: StrategicMerge\n")
		g.wantSoon(t, refused)
		g.want(t, allowed)
		g.remove(t, "cors.yaml")
	})
	t.Run("a second look at the routes asks nobody else", func(t *testing.T) {
		// Carol's second route, and a policy of its own that would refuse her.
		g.put(t, "carol.yaml", `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: carol, namespace: shop}
spec:
  parentRefs: [{name: edge}]
  hostnames: [shop.example.com]
  rules:
  - matches: [{path: {type: PathPrefix, value: /orders}, headers: [{name: x-auth-issuer, value: partners}, {name: x-auth-subject, value: carol}]}]
    backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: orders}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: carol, namespace: shop}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: carol}]
  mergeType: StrategicMerge
  extAuth:
    grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: claimgate}]}
    contextExtensions: [{name: policy, type: Value, value: nobody}]
`)
		g.wantSoon(t, asked{path: "/orders/7", headers: with(carol), status: 200, upstream: "orders", identity: isCarol})
		g.remove(t, "carol.yaml")
		g.wantSoon(t, asked{path: "/orders/7", headers: with(carol), status: 200, upstream: "orders-partners", identity: isCarol})
	})
	t.Run("Envoy believes no other gate", func(t *testing.T) {
		g.restartGate(t, "other.claimgate.svc")
		g.wantSoon(t, asked{path: "/status", status: 503})
		g.want(t, asked{path: "/orders/7", headers: with(alice), status: 503})
		g.restartGate(t, gateName)
		g.wantSoon(t, open)
	})
	t.Run("without a gate nobody gets in", func(t *testing.T) {
		g.gate.stop()
		for _, path := range []string{"/status", "/orders/7", "/admin/users"} {
			g.wantSoon(t, asked{path: path, headers: with(admin), status: 503})
		}
		g.gate.up(t)
		g.wantSoon(t, allowed)
		g.want(t, open, refused)
	})
}

// What Envoy gets of the shipped files is in testdata, so that a new Envoy Gateway
// shows what it makes of them in another way.
func TestEnvoyGatewayTranslation(t *testing.T) {
	t.Parallel()
	egctl := filepath.Join(part(t, "envoy-gateway"), "egctl")
	dir := t.TempDir()
	ca := newAuthority(t, filepath.Join(dir, "ca.crt"))
	edge := ca.issue(t, filepath.Join(dir, "edge"), "shop.example.com")
	objects := replaced(t, "envoy-gateway/cluster.yaml",
		"@CA@", quoted(t, ca.file), "@EDGE_CERTIFICATE@", encoded(t, edge+".crt"), "@EDGE_KEY@", encoded(t, edge+".key"))
	for _, name := range []string{"gateway.yaml", "routes.yaml", "gate.yaml"} {
		objects += "---\n" + replaced(t, envoyGatewayFiles+name)
	}
	translate := func(t *testing.T, objects, kind string) string {
		file := filepath.Join(t.TempDir(), "objects.yaml")
		if err := os.WriteFile(file, []byte(objects), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), egctl, "x", "translate", "--from", "gateway-api", "--to", "xds", "-t", kind, "-o", "yaml", "-f", file)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("egctl: %v\n%s", err, stderr.String())
		}
		return stdout.String()
	}

	t.Run("listeners, routes and clusters are as they were", func(t *testing.T) {
		for _, kind := range []string{"listener", "route", "cluster"} {
			got, file := translate(t, objects, kind), "testdata/envoy-gateway/"+kind+".yaml"
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if want := replaced(t, file); got != want {
				t.Errorf("egctl makes another %s than %s has: look at what go test -update changes in it\n%s", kind, file, got)
			}
		}
	})
	t.Run("without the grant of the gate's namespace every route is closed", func(t *testing.T) {
		const grant = "kind: SecurityPolicy, namespace: shop}"
		if !strings.Contains(objects, grant) {
			t.Fatal("there is no grant")
		}
		routes := translate(t, strings.Replace(objects, grant, "kind: SecurityPolicy, namespace: other}", 1), "route")
		if open, closed := strings.Count(routes, "cluster: httproute"), strings.Count(routes, "status: 500"); open != 0 || closed != 4 {
			t.Errorf("%d routes lead somewhere, %d answer 500:\n%s", open, closed, routes)
		}
	})
}

// The objects are good to the API server and the definitions of their kinds.
func TestEnvoyGatewayObjects(t *testing.T) {
	t.Parallel()
	crds := part(t, "crds")
	c := startAPI(t)
	c.must(t, "kubectl apply --server-side -f "+filepath.Join(crds, "gatewayapi-crds.yaml"))
	c.must(t, "for file in "+crds+"/gateway.envoyproxy.io_*.yaml; do kubectl apply --server-side -f $file; done")
	c.must(t, "kubectl wait --for=condition=Established crd --all --timeout=60s")
	c.must(t, "kubectl create namespace shop; kubectl create namespace claimgate")

	t.Run("strict validation by the API server finds nothing in any file", func(t *testing.T) {
		out := c.must(t, `for file in envoy-config/envoy-gateway/*.yaml envoy-config/gateway-api/*.yaml; do
			[ "$file" = envoy-config/envoy-gateway/values.yaml ] || kubectl apply --dry-run=server --validate=strict -f "$file"
		done`)
		if strings.Contains(out, "Warning") || strings.Count(out, "(server dry run)") != 12 {
			t.Error(out)
		}
	})
	t.Run("strict validation finds what is no field", func(t *testing.T) {
		for _, wrong := range []string{
			"sed 's/includeRouteMetadata:/includeRouteMetadatas:/' envoy-config/envoy-gateway/gate.yaml",
			"sed 's/externalAuth:/externalAuths:/' envoy-config/gateway-api/orders.yaml",
		} {
			if out, err := c.run(wrong + " | kubectl apply --dry-run=server --validate=strict -f -"); err == nil || !strings.Contains(out, "unknown field") {
				t.Errorf("%s: %v\n%s", wrong, err, out)
			}
		}
	})
}
