// Kube-apiserver is the API server of Kubernetes, built from its published modules.
// The module k8s.io/kubernetes replaces its parts by folders of its own tree; go.mod
// here replaces them by the versions that are published with each release, so that
// nothing but the Go module proxy is needed. To move to another release, change the
// two versions throughout go.mod and run go mod tidy.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // registers client metrics, as the released binary does
	_ "k8s.io/component-base/metrics/prometheus/version"  // and the version metric
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
