package envoyconfig_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/claimgate/claimgate/extauthz"
)

// istioFiles are the shipped objects. make test-istio gives them to Istio.
func istioFiles(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("istio/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal("no files:", err)
	}
	files := map[string][]byte{}
	for _, name := range names {
		if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// lines are all documents of a file as [flatten] has them.
func lines(t *testing.T, file []byte) []string {
	t.Helper()
	var all []string
	for d := yaml.NewDecoder(bytes.NewReader(file)); ; {
		var v any
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, flatten(v)...)
	}
}

func TestEachIstioFileSaysWhenToUseIt(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range istioFiles(t) {
		want := []string{"# When to use it: "}
		if name != "mesh-config.yaml" { // values, no objects
			want = append(want, "kubectl apply --dry-run=server -f "+name+"\n")
		}
		for _, text := range want {
			if !strings.Contains(string(file), text) {
				t.Errorf("istio/%s lacks %q", name, text)
			}
		}
		if !strings.Contains(string(readme), "["+name+"](istio/"+name+")") {
			t.Errorf("README.md does not list istio/%s", name)
		}
	}
}

// docs/istio.md shows parts of the files as they are.
func TestIstioPageShowsTheFiles(t *testing.T) {
	page, err := os.ReadFile("../docs/istio.md")
	if err != nil {
		t.Fatal(err)
	}
	files := istioFiles(t)
	parts := regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if marks := bytes.Count(page, []byte("<!-- file:")); len(parts) != marks || marks < 5 {
		t.Errorf("docs/istio.md has %d marks and %d parts of files", marks, len(parts))
	}
	for _, part := range parts {
		if !bytes.Contains(files[string(part[1])], part[2]) {
			t.Errorf("istio/%s does not have what docs/istio.md shows:\n%s", part[1], part[2])
		}
	}
	for name := range files {
		if !bytes.Contains(page, []byte("(../envoy-config/istio/"+name+")")) {
			t.Errorf("docs/istio.md does not name %s", name)
		}
	}
}

// The gateway and the sidecar are as safe as envoy.yaml.
func TestIstioSafetySettingsAreThere(t *testing.T) {
	var removals []string
	cfg, err := extauthz.ParseConfig("gate.yaml", []byte("policies: [{name: p, access: public}]"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range cfg.Headers {
		removals = append(removals, "mutations.remove="+name)
	}
	// The gate's four words for an allow, and no other.
	allows := []string{
		`.spec.rules.when.key=experimental.envoy.filters.http.ext_authz[reason]`, ".spec.rules.when.notValues=valid_token",
		".spec.rules.when.notValues=anonymous", ".spec.rules.when.notValues=public", ".spec.rules.when.notValues=cors_preflight",
	}
	door := append([]string{
		"validate_mutations=true", "encode_raw_headers=true", "include_peer_certificate=true",
		"retry_policy.retry_on=unavailable,reset,connect-failure,refused-stream", "retry_policy.retry_back_off.max_interval=0.2s",
		"retry_policy.retry_host_predicate.name=envoy.retry_host_predicates.previous_hosts",
		"headers_with_underscores_action=REJECT_REQUEST", "normalize_path=true", "merge_slashes=true", "path_with_escaped_slashes_action=REJECT_REQUEST",
		"spec.action=CUSTOM", "spec.action=DENY",
	}, removals...)
	files := istioFiles(t)
	for name, settings := range map[string][]string{
		"mesh-config.yaml":        {"failOpen=false", "statusOnError='503'", "timeout=0.5s"},
		"gateway.yaml":            append([]string{"clear_route_cache=true"}, door...),
		"sidecar.yaml":            door,
		"policy-by-name.yaml":     {"context_extensions.policy=admin", "notValues=admin", "context_extensions.policy=orders", "notValues=orders"},
		"service-entry.yaml":      {"tls.mode=MUTUAL", "ports.protocol=GRPC", "subjectAltNames=claimgate.example.com"},
		"behind-the-gateway.yaml": {"mtls.mode=STRICT", "spec.action=ALLOW"},
	} {
		flat := lines(t, files[name])
		for _, setting := range settings {
			if !slices.ContainsFunc(flat, func(line string) bool { return strings.HasSuffix(line, setting) }) {
				t.Errorf("istio/%s lacks %s", name, setting)
			}
		}
		var got []string
		for _, line := range flat {
			if strings.Contains(line, "mutations.remove=") {
				got = append(got, line)
			}
		}
		if strings.HasPrefix(name, "gateway") || strings.HasPrefix(name, "sidecar") {
			if len(got) != len(removals) {
				t.Errorf("istio/%s removes %v, the gate's default headers are %v", name, got, removals)
			}
			for _, line := range allows {
				if !slices.Contains(flat, line) {
					t.Errorf("istio/%s lacks %s", name, line)
				}
			}
			if n := len(regexp.MustCompile(`(?m)\.notValues=`).FindAllString(strings.Join(flat, "\n"), -1)); n != len(allows)-1 {
				t.Errorf("istio/%s lets %d reasons in", name, n)
			}
		}
	}
}
