package charts_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// Kubernetes' own objects in the goldens are such in each release that the chart
// supports: a field that one of them does not know is an error. The schemas are those
// of the Python package kubernetes-validate. (Custom resources are for the API server.)
func TestEachKubernetesReleaseKnowsTheObjects(t *testing.T) {
	schemas := os.Getenv("CLAIMGATE_KUBERNETES_SCHEMAS")
	if schemas == "" {
		t.Skip("skipped: make test-chart runs it, with the schemas of Kubernetes' objects")
	}
	for _, release := range []string{"v1.27.0", "v1.31.0", "v1.37.0"} {
		compiler := jsonschema.NewCompiler()
		compiler.UseLoader(loader{filepath.Join(schemas, release)})
		known := 0
		for _, file := range valueSets(t) {
			golden := filepath.Join("testdata", setName(file)+".yaml")
			manifest := readFile(t, golden)
			for i, o := range objects(t, manifest) {
				group, version, _ := strings.Cut(o.APIVersion, "/")
				if strings.Contains(group, ".") && !strings.HasSuffix(group, ".k8s.io") || group == "gateway.networking.k8s.io" {
					continue
				}
				name := []string{o.Kind}
				for _, part := range []string{strings.TrimSuffix(group, ".k8s.io"), version} {
					if part != "" {
						name = append(name, part)
					}
				}
				schema, err := compiler.Compile("file:///api/" + strings.ToLower(strings.Join(name, "-")) + ".json")
				if err != nil {
					t.Fatalf("%s: %v", release, err)
				}
				if err := schema.Validate(document(t, manifest, i)); err != nil {
					t.Errorf("%s, %s %s of %s: %v", release, o.Kind, o.Metadata.Name, golden, err)
				}
				known++
			}
		}
		if known < 20 {
			t.Errorf("%s: only %d objects were looked at", release, known)
		}
	}
}

// loader finds the schemas of a release, which name each other by /api/NAME.
type loader struct{ dir string }

func (l loader) Load(url string) (any, error) {
	_, name, ok := strings.Cut(url, "/api/")
	if !ok || strings.Contains(name, "/") {
		return nil, errors.New("no schema at " + url)
	}
	f, err := os.Open(filepath.Join(l.dir, name))
	if err != nil {
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	defer f.Close()
	return jsonschema.UnmarshalJSON(f)
}

// document is one of a manifest, as a schema sees it.
func document(t *testing.T, manifest []byte, index int) any {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(manifest))
	var v any
	for range index + 1 {
		v = nil
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
	}
	return v
}
