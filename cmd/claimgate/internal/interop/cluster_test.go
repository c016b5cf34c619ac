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
	env []string // with KUBECONFIG, and with helm and kubectl on PATH
	dir string   // where commands run; the chart is in it as charts/claimgate
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	helm, kwok, control := part(t, "helm"), part(t, "kwok"), filepath.Join(part(t, "kube-apiserver"), "kube-apiserver")
	c := &cluster{kubernetes: startKubernetes(t), dir: t.TempDir()}
	home := t.TempDir()
	config := filepath.Join(home, "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: admin, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
`, c.url, c.caFile, adminToken)
	kubectl := fmt.Sprintf("#!/bin/sh\nexec %q kubectl \"$@\"\n", control)
	charts, err := filepath.Abs("../../../../charts")
	if err := errors.Join(err, os.Mkdir(filepath.Join(home, "bin"), 0o750), os.WriteFile(config, []byte(text), 0o600),
		os.WriteFile(filepath.Join(home, "bin", "kubectl"), []byte(kubectl), 0o700), os.Symlink(charts, filepath.Join(c.dir, "charts"))); err != nil {
		t.Fatal(err)
	}
	c.env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "KUBECONFIG="+config,
		"PATH="+filepath.Join(home, "bin")+":"+helm+":"+os.Getenv("PATH"))

	start := func(name string, ready func() error, command ...string) {
		s := &server{
			name: name,
			command: func() *exec.Cmd {
				cmd := exec.Command(command[0], command[1:]...)
				cmd.Env, cmd.Dir = c.env, home
				return cmd
			},
			ready: func(context.Context) error { return ready() },
		}
		s.start(t)
	}
	asAdmin := func(program string, flags ...string) []string {
		return append([]string{control, program, "--kubeconfig", config, "--authentication-kubeconfig", config,
			"--authorization-kubeconfig", config, "--secure-port", "0", "--leader-elect=false"}, flags...)
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
	flags := []string{filepath.Join(kwok, "kwok"), "--kubeconfig", config, "--manage-all-nodes=true", "--server-address", "127.0.0.1:" + freePort(t)}
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
