package envoyconfig_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/extauthz"
)

// gatewayFiles are the shipped objects for Gateway API. make test-envoy-gateway gives
// them to Envoy Gateway.
func gatewayFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, folder := range []string{"envoy-gateway", "gateway-api"} {
		names, err := filepath.Glob(folder + "/*.yaml")
		if err != nil || len(names) == 0 {
			t.Fatal("no files:", err)
		}
		for _, name := range names {
			if files[name], err = os.ReadFile(name); err != nil { //nolint:gosec // ours
				t.Fatal(err)
			}
		}
	}
	return files
}

func TestEachGatewayFileSaysWhenToUseIt(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range gatewayFiles(t) {
		check := "kubectl apply --dry-run=server -f " + filepath.Base(name) + "\n"
		if name == "envoy-gateway/values.yaml" {
			check = "helm template claimgate charts/claimgate -f values.yaml\n"
		}
		for _, text := range []string{"# When to use it: ", check} {
			if !strings.Contains(string(file), text) {
				t.Errorf("%s lacks %q", name, text)
			}
		}
		if !strings.Contains(string(readme), "["+filepath.Base(name)+"]("+name+")") {
			t.Errorf("README.md does not list %s", name)
		}
	}
}

// The files are as safe as envoy.yaml, as far as Envoy Gateway has words for it.
func TestGatewaySafetySettingsAreThere(t *testing.T) {
	cfg, err := extauthz.ParseConfig("gate.yaml", []byte("policies: [{name: p, access: public}]"))
	if err != nil {
		t.Fatal(err)
	}
	var removals []string
	for name := range cfg.Headers {
		removals = append(removals, "earlyRequestHeaders.remove="+name)
	}
	files := gatewayFiles(t)
	for name, settings := range map[string][]string{
		"envoy-gateway/gateway.yaml": append([]string{
			"listeners.protocol=HTTPS", "withUnderscoresAction=RejectRequest", "xForwardedClientCert.mode=Sanitize", "escapedSlashesAction=RejectRequest",
		}, removals...),
		"envoy-gateway/gate.yaml": {
			"failOpen=false", "statusOnError=503", "timeout=500ms", "connectTimeout=250ms", "includeRouteMetadata=true", "recomputeRoute=true",
			"triggers=unavailable", "triggers=reset", "triggers=connect-failure", "triggers=refused-stream", "maxParallelRequests=16384",
			"targetRefs.kind=Gateway", "mergeType=StrategicMerge", "contextExtensions.value=admin", "validation.hostname=claimgate.claimgate.svc",
		},
		"gateway-api/orders.yaml": {"externalAuth.protocol=GRPC", "validation.hostname=claimgate.claimgate.svc"},
	} {
		flat := lines(t, files[name])
		for _, setting := range settings {
			if !slices.ContainsFunc(flat, func(line string) bool { return strings.HasSuffix(line, setting) }) {
				t.Errorf("%s lacks %s", name, setting)
			}
		}
		if name != "envoy-gateway/gateway.yaml" {
			continue
		}
		if n := strings.Count(strings.Join(flat, "\n"), "earlyRequestHeaders.remove="); n != len(removals) {
			t.Errorf("%s removes %d headers, the gate's default headers are %d", name, n, len(removals))
		}
	}
}

// The routes of the gate's policies are those of the files, and a route without a
// policy has none that is open.
func TestGatePoliciesAreOfTheRoutes(t *testing.T) {
	files := gatewayFiles(t)
	var routes, policies []string
	for _, m := range regexp.MustCompile(`(?m)^kind: HTTPRoute\nmetadata:\n  name: (\w+)\n  namespace: (\w+)$`).FindAllSubmatch(files["envoy-gateway/routes.yaml"], -1) {
		routes = append(routes, "HTTPRoute/"+string(m[2])+"/"+string(m[1]))
	}
	values := string(files["envoy-gateway/values.yaml"])
	for _, m := range regexp.MustCompile(`routes: \[(.*)\]`).FindAllStringSubmatch(values, -1) {
		policies = append(policies, m[1])
	}
	slices.Sort(routes)
	slices.Sort(policies)
	if len(routes) == 0 || !slices.Equal(routes, policies) {
		t.Errorf("values.yaml has policies for %v, routes.yaml the routes %v", policies, routes)
	}
	if !strings.HasSuffix(values, "  - name: rest\n    access: deny\n") {
		t.Error("the last policy of values.yaml is not one that refuses")
	}
}

// docs/envoy-gateway.md shows the files as they are.
func TestGatewayPageShowsTheFiles(t *testing.T) {
	page, err := os.ReadFile("../docs/envoy-gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		shown[string(m[1])] = string(m[2])
	}
	for name, file := range gatewayFiles(t) {
		if shown[name] != string(file) {
			t.Errorf("docs/envoy-gateway.md shows of %s\n%s", name, shown[name])
		}
		delete(shown, name)
	}
	for name := range shown {
		t.Errorf("docs/envoy-gateway.md shows %s, which is no file", name)
	}
	const certificate = "\n  backendTLS:\n    clientCertificateRef: {kind: Secret, name: envoy-client}\n"
	surroundings, err := os.ReadFile("../cmd/claimgate/internal/interop/envoy-gateway/surroundings.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), certificate) || !strings.Contains(string(surroundings), certificate) {
		t.Error("the test's Envoy does not show its certificate as docs/envoy-gateway.md says")
	}
}
