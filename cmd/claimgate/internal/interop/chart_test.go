package interop_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestChart installs the Helm chart on a cluster without machines. That the gate runs
// where it is put is up to the test of the image, and up to those of the program.
func TestChart(t *testing.T) {
	t.Parallel()
	crds := part(t, "crds")
	c := startCluster(t)

	t.Run("strict validation by the API server finds nothing in any object", func(t *testing.T) {
		c.must(t, "kubectl apply --server-side -f "+crds)
		c.must(t, "kubectl wait --for=condition=Established crd --all --timeout=60s")
		for _, namespace := range []string{"dry", "istio-ingress", "shop"} {
			c.must(t, "kubectl create namespace "+namespace)
		}
		files, err := filepath.Glob("../../../../charts/claimgate/ci/*-values.yaml")
		if err != nil || len(files) == 0 {
			t.Fatal("no files with values:", err)
		}
		for _, file := range files {
			out := c.must(t, "helm template gate charts/claimgate --namespace dry -f charts/claimgate/ci/"+filepath.Base(file)+
				" | kubectl apply --dry-run=server --validate=strict -f -")
			if strings.Contains(out, "Warning") {
				t.Errorf("%s:\n%s", file, out)
			}
		}
	})

	t.Run("the API server refuses what is no field of an object", func(t *testing.T) {
		if out, err := c.run(`helm template gate charts/claimgate --namespace dry -f charts/claimgate/ci/istio-values.yaml |
			sed 's/action: CUSTOM/acton: CUSTOM/' | kubectl apply --dry-run=server --validate=strict -f -`); err == nil || !strings.Contains(out, "acton") {
			t.Errorf("%v\n%s", err, out)
		}
	})

	t.Run("the restricted Pod Security Standard lets the pods in", func(t *testing.T) {
		c.must(t, `kubectl create namespace restricted
			kubectl label namespace restricted pod-security.kubernetes.io/enforce=restricted
			helm install gate charts/claimgate --namespace restricted -f charts/claimgate/ci/minimal-values.yaml --wait
			helm uninstall gate --namespace restricted --wait`)
	})

	t.Run("install, upgrade and uninstall as docs/kubernetes.md has them", func(t *testing.T) {
		doc := readDoc(t, "../../../../docs/kubernetes.md")
		if err := os.WriteFile(filepath.Join(c.dir, "values.yaml"), []byte(doc.values), 0o600); err != nil {
			t.Fatal(err)
		}
		generation := func() string {
			return c.must(t, "kubectl -n claimgate get deployment claimgate -o jsonpath='{.metadata.generation}'")
		}

		c.must(t, doc.commands["install"])
		if got := c.must(t, "kubectl -n claimgate get deployment claimgate -o jsonpath='{.status.availableReplicas}'"); got != "2" {
			t.Errorf("%s replicas are available", got)
		}
		nodes := strings.Fields(c.must(t, "kubectl -n claimgate get pods -o jsonpath='{.items[*].spec.nodeName}'"))
		if len(nodes) != 2 || nodes[0] == nodes[1] {
			t.Errorf("the pods are on %v", nodes)
		}
		before := generation()

		c.must(t, doc.commands["configuration"])
		if got := c.must(t, "kubectl -n claimgate get configmap claimgate -o jsonpath='{.data}'"); !strings.Contains(got, "refunds") {
			t.Errorf("the new policy has not come: %s", got)
		}
		if after := generation(); after != before {
			t.Error("a change of the configuration made a new generation of pods")
		}

		c.must(t, doc.commands["upgrade"])
		if after := generation(); after == before {
			t.Error("the upgrade changed no pod")
		}

		c.must(t, doc.commands["uninstall"])
		if got := c.must(t, "kubectl -n claimgate get all,configmap,networkpolicy,poddisruptionbudget,serviceaccount -l app.kubernetes.io/instance=claimgate --no-headers --ignore-not-found=true -o name | grep -v ^pod/ || true"); got != "" {
			t.Errorf("this is left:\n%s", got)
		}
	})
}

// doc is what docs/kubernetes.md tells to do: values.yaml, and the commands by the
// comment before them.
type doc struct {
	values   string
	commands map[string]string
}

func readDoc(t *testing.T, name string) doc {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := doc{commands: map[string]string{}}
	if m := regexp.MustCompile("(?s)```yaml\n# values.yaml\n(.*?)```").FindSubmatch(b); m != nil {
		d.values = string(m[1])
	}
	for _, m := range regexp.MustCompile("(?s)<!-- test: (\\w+) -->\n```sh\n(.*?)```").FindAllSubmatch(b, -1) {
		d.commands[string(m[1])] = string(m[2])
	}
	for _, want := range []string{"install", "configuration", "upgrade", "uninstall"} {
		if d.values == "" || d.commands[want] == "" {
			t.Fatalf("%s has no values.yaml or no commands for %s", name, want)
		}
	}
	return d
}
