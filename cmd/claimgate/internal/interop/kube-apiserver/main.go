// Kube-apiserver is the control plane of Kubernetes in one binary, built from its
// published modules: the API server and, by first argument, the programs that make
// objects of it come to life (kube-controller-manager, kube-scheduler) and kubectl.
//
// The module k8s.io/kubernetes replaces its parts by folders of its own tree; go.mod
// here replaces them by the versions that are published with each release, so that
// nothing but the Go module proxy is needed. To move to another release, change the
// two versions throughout go.mod and run go mod tidy.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // registers client metrics, as the released binary does
	_ "k8s.io/component-base/metrics/prometheus/version"  // and the version metric
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() { os.Exit(cli.Run(program())) }

// program is the one that the first argument names, which it takes away.
func program() *cobra.Command {
	if len(os.Args) > 1 {
		name := os.Args[1]
		rest := append(os.Args[:1:1], os.Args[2:]...)
		switch name {
		case "kube-controller-manager":
			os.Args = rest
			return controllers.NewControllerManagerCommand()
		case "kube-scheduler":
			os.Args = rest
			return scheduler.NewSchedulerCommand()
		case "kubectl":
			os.Args = rest
			return kubectl.NewDefaultKubectlCommand()
		}
	}
	return apiserver.NewAPIServerCommand()
}
