package interop_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// agent gives proxies their certificates (SDS), as pilot-agent does beside each: those
// of the mesh, whose authority it has itself, and those of files that are mounted.
type agent struct {
	secretv3.UnimplementedSecretDiscoveryServiceServer
	port    string
	mesh    string // folder: ca.crt, and NAME.NAMESPACE.crt of each workload
	outside string // folder: what is mounted as /etc/claimgate-client, and more of that authority
}

// startAgent serves the workloads, each NAME.NAMESPACE.
func startAgent(t *testing.T, workloads ...string) *agent {
	t.Helper()
	a := &agent{mesh: t.TempDir(), outside: t.TempDir()}
	mesh := newAuthority(t, filepath.Join(a.mesh, "ca.crt"))
	for _, workload := range workloads {
		name, namespace, _ := strings.Cut(workload, ".")
		// The name of a workload is that of its service account.
		mesh.issue(t, filepath.Join(a.mesh, workload), "spiffe://cluster.local/ns/"+namespace+"/sa/"+name)
	}
	outside := newAuthority(t, filepath.Join(a.outside, "ca.crt"))
	outside.issue(t, filepath.Join(a.outside, "tls"), "gateway.example.com")
	outside.issue(t, filepath.Join(a.outside, "gate"), "claimgate.example.com")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.port = port(l.Addr().String())
	s := grpc.NewServer()
	secretv3.RegisterSecretDiscoveryServiceServer(s, a)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(l) }) //nolint:errcheck // until it is stopped
	t.Cleanup(func() {
		s.Stop()
		serving.Wait()
	})
	return a
}

// StreamSecrets answers each request once. A repeated one, with a version, acknowledges
// the answer.
func (a *agent) StreamSecrets(stream secretv3.SecretDiscoveryService_StreamSecretsServer) error {
	var node string // is told once
	for {
		request, err := stream.Recv()
		if err != nil {
			return err // the proxy has gone
		}
		if id := request.GetNode().GetId(); id != "" {
			node = id
		}
		if request.GetVersionInfo() != "" {
			continue
		}
		answer := &discoveryv3.DiscoveryResponse{VersionInfo: "1", Nonce: "1", TypeUrl: request.GetTypeUrl()}
		for _, name := range request.GetResourceNames() {
			secret, err := a.secret(node, name)
			if err != nil {
				return err
			}
			resource, err := anypb.New(secret)
			if err != nil {
				return err
			}
			answer.Resources = append(answer.Resources, resource)
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// secret is what istiod has proxies ask for by name. A node is ROLE~IP~NAME.NAMESPACE~…
func (a *agent) secret(node, name string) (*tlsv3.Secret, error) {
	switch name {
	case "ROOTCA":
		return trust(name, filepath.Join(a.mesh, "ca.crt")), nil
	case "default":
		parts := strings.Split(node, "~")
		if len(parts) != 4 {
			return nil, fmt.Errorf("a node is called %q", node)
		}
		return certificate(name, filepath.Join(a.mesh, parts[2])), nil
	case "file-root:/etc/claimgate-client/ca.crt":
		return trust(name, filepath.Join(a.outside, "ca.crt")), nil
	case "file-cert:/etc/claimgate-client/tls.crt~/etc/claimgate-client/tls.key":
		return certificate(name, filepath.Join(a.outside, "tls")), nil
	}
	return nil, fmt.Errorf("nobody mounts %s", name)
}

func source(file string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: file}}
}

func trust(name, file string) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: source(file)},
	}}
}

func certificate(name, file string) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{
		TlsCertificate: &tlsv3.TlsCertificate{CertificateChain: source(file + ".crt"), PrivateKey: source(file + ".key")},
	}}
}

// clientOf is a caller of the mesh, with the certificate of a workload.
func (a *agent) clientOf(t *testing.T, workload string) *http.Client {
	t.Helper()
	file := filepath.Join(a.mesh, workload)
	pair, err := tls.LoadX509KeyPair(file+".crt", file+".key")
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		Certificates:       []tls.Certificate{pair},
		InsecureSkipVerify: true, //nolint:gosec // who is asked is no question here
		NextProtos:         []string{"istio-http/1.1", "istio"},
	}}}
}
