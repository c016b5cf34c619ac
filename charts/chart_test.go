package charts_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/extauthz"
)

func TestLint(t *testing.T) {
	run := helm(t)
	for _, file := range valueSets(t) {
		if out, err := run("lint", "--strict", "claimgate", "-f", file); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// What each set of values makes stands in testdata, to be read. With -update it is
// written anew.
func TestTemplates(t *testing.T) {
	run := helm(t)
	for _, file := range valueSets(t) {
		t.Run(setName(file), func(t *testing.T) {
			got, err := run("template", "gate", "claimgate", "--namespace", "claimgate", "-f", file)
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			golden := filepath.Join("testdata", setName(file)+".yaml")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil { //nolint:gosec // for everybody to read
					t.Fatal(err)
				}
			} else if want := string(readFile(t, golden)); got != want {
				t.Errorf("the chart makes something else than %s: see git diff after CLAIMGATE_HELM=... go test ./charts -update\n%s", golden, got)
			}
		})
	}
}

// The program takes each configuration file that is in the goldens, and has no
// warnings about any. It needs no helm.
func TestTheGateTakesTheConfigurationOfEachGolden(t *testing.T) {
	for _, file := range valueSets(t) {
		golden := filepath.Join("testdata", setName(file)+".yaml")
		found := 0
		for _, o := range objects(t, readFile(t, golden)) {
			if o.Kind != "ConfigMap" {
				continue
			}
			found++
			cfg, err := extauthz.ParseConfig(golden, []byte(o.Data["claimgate.yaml"]))
			if err != nil {
				t.Errorf("%v\n%s", err, o.Data["claimgate.yaml"])
				continue
			}
			if cfg.Server.Listen == "" || strings.HasPrefix(cfg.Server.Listen, "127.") {
				t.Errorf("%s: the gate listens on %s", golden, cfg.Server.Listen)
			}
		}
		if found != 1 {
			t.Errorf("%s has %d ConfigMaps", golden, found)
		}
	}
}

// Each container of the goldens is locked down as the restricted Pod Security Standard
// wants it, and more.
func TestPodsAreLockedDown(t *testing.T) {
	for _, file := range valueSets(t) {
		golden := string(readFile(t, filepath.Join("testdata", setName(file)+".yaml")))
		for _, line := range []string{
			"runAsNonRoot: true", "runAsUser: 65532", "seccompProfile: {type: RuntimeDefault}", "allowPrivilegeEscalation: false",
			"readOnlyRootFilesystem: true", "capabilities: {drop: [ALL]}", "automountServiceAccountToken: false",
		} {
			if !strings.Contains(golden, line) {
				t.Errorf("%s has no %q", file, line)
			}
		}
	}
}

// What is wrong is said before anything is installed: by the schema, or in words.
func TestWrongValuesAreRefused(t *testing.T) {
	run := helm(t)
	const minimal = "claimgate/ci/minimal-values.yaml"
	for name, test := range map[string]struct{ values, want string }{
		"no policies":                   {"config: {policies: null}", "policies"},
		"a misspelt field of config":    {"config: {server: {lisen: ':1'}}", "lisen"},
		"a misspelt value":              {"replica: 3", "replica"},
		"a number where a text belongs": {"config: {issuers: [{issuer: 7}]}", "issuer"},
		"a duration without a unit":     {"config: {server: {drainDelay: '5'}}", "drainDelay"},
		"no TLS and nobody said so":     {"config: {server: {insecure: false}}", "write config.server.insecure: true"},
		"loopback":                      {"config: {server: {listen: '127.0.0.1:9191'}}", `config.server.listen is "127.0.0.1:9191", where nobody outside of the pod reaches the gate`},
		"a socket":                      {"config: {server: {listen: 'unix:/run/gate.sock'}}", "config.server.listen"},
		"no admin listener":             {"config: {admin: {listen: 'off'}}", "config.admin.listen"},
		"killed while it drains":        {"terminationGracePeriodSeconds: 25", "write more than 25"},
		"a certificate of nobody":       {"tls: {certManager: {enabled: true}}", "tls.certManager.issuerRef.name is missing"},
		"client names without a CA":     {"tls: {secretName: s, clientNames: [a]}", "tls.clientNames needs tls.clientCAKey"},
		"a client CA without TLS":       {"tls: {clientCAKey: ca.crt}", "tls.secretName"},
		"a policy without rules":        {"istio: {authorizationPolicy: {enabled: true, rules: []}}", "istio.authorizationPolicy.rules is empty"},
		"a policy with null for rules":  {"istio: {authorizationPolicy: {enabled: true, rules: null}}", "istio.authorizationPolicy.rules is empty"},
		"a provider that Istio refuses": {"istio: {authorizationPolicy: {enabled: true, provider: Claimgate}}", "provider"},
		"a filter without a policy":     {"istio: {envoyFilter: {enabled: true}}", "istio.envoyFilter patches the filter that istio.authorizationPolicy makes"},
		"a filter nowhere":              {"istio: {authorizationPolicy: {enabled: true}, envoyFilter: {enabled: true, context: SIDECAR_OUTBOUND}}", "context"},
		"no target":                     {"envoyGateway: {securityPolicy: {enabled: true}}", "securityPolicy.targetRefs is empty"},
		"clients of nobody":             {"envoyGateway: {clientTrafficPolicy: {enabled: true}}", "clientTrafficPolicy.targetRefs is empty"},
		"TLS by no CA":                  {"{tls: {secretName: s}, envoyGateway: {backendTLSPolicy: {enabled: true}}}", "caConfigMap is empty"},
		"TLS to a gate without it":      {"envoyGateway: {backendTLSPolicy: {enabled: true, caConfigMap: ca}}", "a gate that has a certificate"},
		"the bounds of the autoscaler":  {"autoscaling: {enabled: true, minReplicas: 11}", "more than maxReplicas"},
		"no replica":                    {"replicas: 0", "replicas"},
		"a digest that is none":         {"image: {digest: latest}", "digest"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(file, []byte(test.values), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := run("template", "gate", "claimgate", "-f", minimal, "-f", file)
			if err == nil || !strings.Contains(out, test.want) {
				t.Errorf("%v, and no %q in\n%.2000s", err, test.want, out)
			}
		})
	}
}

func TestTimesAndMemoryAreComputed(t *testing.T) {
	run := helm(t)
	for values, want := range map[string]string{
		"config: {server: {}}": "terminationGracePeriodSeconds: 35\n",
		"config: {server: {drainDelay: 1m1.5s, drainTimeout: 500ms}}": "terminationGracePeriodSeconds: 73\n",
		"config: {server: {drainDelay: 0, drainTimeout: 0s}}":         "terminationGracePeriodSeconds: 10\n",
		"resources: {limits: {memory: 1Gi}}":                          `{name: GOMEMLIMIT, value: "966367641"}`,
		"resources: {limits: {memory: 500M}}":                         `{name: GOMEMLIMIT, value: "450000000"}`,
		"resources: {limits: {memory: 1000000000}}":                   `{name: GOMEMLIMIT, value: "900000000"}`,
	} {
		file := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := run("template", "gate", "claimgate", "-f", "claimgate/ci/minimal-values.yaml", "-f", file)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, no %q in\n%s", values, err, want, out)
		}
	}
}

// What the chart makes for Istio is what envoy-config/istio has, where the reasons stand.
func TestIstioObjectsAreThoseOfEnvoyConfig(t *testing.T) {
	for set, files := range map[string][]string{
		"istio": {"gateway.yaml", "destination-rule.yaml"}, "istio-sidecar": {"sidecar.yaml"},
	} {
		golden := readFile(t, filepath.Join("testdata", set+".yaml"))
		for _, header := range []string{"x-roles", "x-user"} { // of its values
			golden = regexp.MustCompile(`(?m)^ +- remove: `+header+`\n`).ReplaceAll(golden, nil)
		}
		made := map[string]any{}
		for _, o := range objects(t, golden) {
			made[fmt.Sprint(o.Kind, o.APIVersion, o.Metadata)] = o.Spec
		}
		for _, file := range files {
			for _, o := range objects(t, readFile(t, filepath.Join("../envoy-config/istio", file))) {
				if set == "istio-sidecar" && o.Kind != "EnvoyFilter" {
					continue // its values have rules of their own
				}
				if got := made[fmt.Sprint(o.Kind, o.APIVersion, o.Metadata)]; !reflect.DeepEqual(got, o.Spec) {
					t.Errorf("%s: the chart makes of %s %s\n%v, the file has\n%v", file, o.Kind, o.Metadata.Name, got, o.Spec)
				}
			}
		}
	}
}

// The chart takes the values of docs/istio.md, and makes all of the objects of them.
func TestIstioPageHasGoodValues(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n((?:# values.yaml|istio:)\n.*?)```").FindAllSubmatch(readFile(t, "../docs/istio.md"), -1)
	if len(blocks) != 2 {
		t.Fatalf("docs/istio.md has %d blocks of values", len(blocks))
	}
	run := helm(t)
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, slices.Concat(blocks[0][1], blocks[1][1]), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run("template", "claimgate", "claimgate", "--namespace", "claimgate", "-f", file)
	if err != nil || strings.Count(out, "istio.io/v1") != 4 {
		t.Errorf("%v\n%s", err, out)
	}
}

// What the chart makes for Envoy Gateway is what envoy-config/envoy-gateway has, where the
// reasons stand; but for the policy by name, which is a second SecurityPolicy.
func TestEnvoyGatewayObjectsAreThoseOfEnvoyConfig(t *testing.T) {
	made := map[string]any{}
	for _, o := range objects(t, readFile(t, "testdata/envoy-gateway.yaml")) {
		made[fmt.Sprint(o.Kind, o.APIVersion, o.Metadata.Namespace)] = o.Spec
	}
	compared := 0
	for _, file := range []string{"gateway.yaml", "gate.yaml"} {
		for _, o := range objects(t, readFile(t, filepath.Join("../envoy-config/envoy-gateway", file))) {
			if o.Kind == "Gateway" || o.Metadata.Name == "admin" {
				continue
			}
			compared++
			if got := made[fmt.Sprint(o.Kind, o.APIVersion, o.Metadata.Namespace)]; !reflect.DeepEqual(got, o.Spec) {
				t.Errorf("%s: the chart makes of %s %s\n%v, the file has\n%v", file, o.Kind, o.Metadata.Name, got, o.Spec)
			}
		}
	}
	if compared != 4 {
		t.Errorf("%d objects were compared", compared)
	}
}

// The values that docs/envoy-gateway.md shows are good to the chart, and to the gate.
func TestTheValuesForEnvoyGatewayAreGood(t *testing.T) {
	const file = "../envoy-config/envoy-gateway/values.yaml"
	var values struct {
		Config map[string]any `yaml:"config"`
	}
	if err := yaml.Load(readFile(t, file), &values); err != nil {
		t.Fatal(err)
	}
	config, err := yaml.Dump(values.Config)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := extauthz.ParseConfig("claimgate.yaml", config)
	if err != nil {
		t.Fatal(err)
	}
	if w := cfg.Warnings(); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
	run := helm(t)
	if out, err := run("lint", "--strict", "claimgate", "-f", file); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := run("template", "claimgate", "claimgate", "--namespace", "claimgate", "-f", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, o := range objects(t, []byte(out)) {
		if o.Kind == "Service" && (o.Metadata.Name != "claimgate" || o.Metadata.Namespace != "claimgate") {
			t.Errorf("the Service is %v, and gate.yaml has claimgate in claimgate", o.Metadata)
		}
	}
}

// object is what tests ask of a Kubernetes object.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name, Namespace string }
	Data       map[string]string
	Spec       any
}

func objects(t *testing.T, manifest []byte) []object {
	t.Helper()
	var list []object
	for d := yaml.NewDecoder(bytes.NewReader(manifest)); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(fmt.Errorf("%w in\n%s", err, manifest))
		}
		list = append(list, o)
	}
}
