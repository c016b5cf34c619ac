package interop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cluster is an API server with the programs that make its objects come to life, but
// for nodes: kwok pretends to be one, which says of each pod that it runs. So it is
// about objects: what is made of them, in which order, and when it counts as done.
type cluster struct {
	*kubernetes
	env []string // with KUBECONFIG, and with kubectl and maybe helm on PATH
	dir string   // where commands run; charts and envoy-config are in it

	home, config string // HOME of the programs, and their KUBECONFIG
	control      string // the program that is all of the control plane
}

// startAPI starts an API server alone, and prepares commands to it: kubectl, and the
// programs of further folders.
func startAPI(t *testing.T, folders ...string) *cluster {
	t.Helper()
	control := filepath.Join(part(t, "kube-apiserver"), "kube-apiserver")
	c := &cluster{kubernetes: startKubernetes(t), dir: t.TempDir(), home: t.TempDir(), control: control}
	c.config = filepath.Join(c.home, "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
`, c.url, c.caFile, adminToken)
	kubectl := fmt.Sprintf("#!/bin/sh\nexec %q kubectl \"$@\"\n", control)
	bin := filepath.Join(c.home, "bin")
	root, err := filepath.Abs("../../../..")
	if err := errors.Join(err, os.Mkdir(bin, 0o750), os.WriteFile(c.config, []byte(text), 0o600),
		os.WriteFile(filepath.Join(bin, "kubectl"), []byte(kubectl), 0o700),
		os.Symlink(filepath.Join(root, "charts"), filepath.Join(c.dir, "charts")),
		os.Symlink(filepath.Join(root, "envoy-config"), filepath.Join(c.dir, "envoy-config"))); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "HOME="+c.home, "XDG_CACHE_HOME="+c.home, "XDG_CONFIG_HOME="+c.home, "XDG_DATA_HOME="+c.home, "KUBECONFIG="+c.config,
		"PATH="+strings.Join(append(append([]string{bin}, folders...), os.Getenv("PATH")), ":"))
	return c
}

// startCluster adds the controllers, the scheduler and nodes.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	helm, kwok := part(t, "helm"), part(t, "kwok")
	c := startAPI(t, helm)
	start := func(name string, ready func() error, command ...string) {
		s := &server{
			name: name,
			command: func() *exec.Cmd {
				cmd := exec.Command(command[0], command[1:]...)
				cmd.Env, cmd.Dir = c.env, c.home
				return cmd
			},
			ready: func(context.Context) error { return ready() },
		}
		s.start(t)
	}
	asAdmin := func(program string, flags ...string) []string {
		return append([]string{c.control, program, "--kubeconfig", c.config, "--authentication-kubeconfig", c.config,
			"--authorization-kubeconfig", c.config, "--secure-port", "0", "--leader-elect=false"}, flags...)
	}
	start("kube-controller-manager", func() error {
		_, err := c.run("kubectl get serviceaccount default")
		return err
	}, asAdmin("kube-controller-manager", "--service-account-private-key-file", c.signing, "--root-ca-file", c.caFile)...)
	start("kube-scheduler", func() error { return nil }, asAdmin("kube-scheduler")...)

	// Three nodes in two zones, to be spread over.
	for i, zone := range []string{"a", "a", "b"} {
		c.must(t, fmt.Sprintf(`kubectl create -f - <<'E'
{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n%d", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": "n%d", "topology.kubernetes.io/zone": "%s"}}}
E`, i, i, zone))
	}
	// With an etcd that knows no progress requests, Debian's for one, the API server ends
	// kwok's watches, and kwok asks again ever later: a rolling update takes two minutes.
	flags := []string{filepath.Join(kwok, "kwok"), "--kubeconfig", c.config, "--manage-all-nodes=true", "--server-address", "127.0.0.1:" + freePort(t)}
	for _, kind := range []string{"node/fast/node-*.yaml", "node/heartbeat/node-*.yaml", "pod/fast/pod-*.yaml"} {
		files, err := filepath.Glob(filepath.Join(kwok, "stage", kind))
		if err != nil || len(files) == 0 {
			t.Fatal("kwok has no stages", kind, err)
		}
		for _, file := range files {
			flags = append(flags, "--config", file)
		}
	}
	start("kwok", func() error {
		_, err := c.run("kubectl wait --for=condition=Ready node --all --timeout=1s")
		return err
	}, flags...)
	return c
}

// run runs a script in the cluster's folder, which ends where a command of it fails.
func (c *cluster) run(script string) (string, error) {
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script) //nolint:gosec // of the tests and of docs/
	cmd.Env, cmd.Dir = c.env, c.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s\n%w\n%s", script, err, out.String())
	}
	return out.String(), nil
}

func (c *cluster) must(t *testing.T, script string) string {
	t.Helper()
	out, err := c.run(script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}
