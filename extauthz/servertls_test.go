package extauthz

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// pair is a certificate with its key, signed by itself, so that it is its own
// authority.
type pair struct {
	certPEM, keyPEM []byte
	tls             tls.Certificate
}

// serverPair makes a pair that is valid for this machine and, if names are
// given, for those: DNS names, or URIs if they have a colon.
func serverPair(t *testing.T, name string, names ...string) pair {
	t.Helper()
	return makePair(t, name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), names...)
}

func makePair(t *testing.T, name string, from, until time.Time, names ...string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	for _, n := range names {
		if strings.Contains(n, ":") {
			u, err := url.Parse(n)
			must(t, err)
			template.URIs = append(template.URIs, u)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	p := pair{
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	p.tls, err = tls.X509KeyPair(p.certPEM, p.keyPEM)
	must(t, err)
	return p
}

// tlsGate serves gRPC with TLS whose files a test can replace and then have
// looked at.
type tlsGate struct {
	*testing.T
	dir   string
	gate  *Gate
	files *serverTLS
	log   lockedBuffer
	addr  string

	registry *prometheus.Registry
}

func newTLSGate(t *testing.T, server pair, tlsFields string, files map[string][]byte) *tlsGate {
	t.Helper()
	g := &tlsGate{T: t, dir: t.TempDir(), registry: prometheus.NewRegistry()}
	g.put("server.pem", server.certPEM)
	g.put("server.key", server.keyPEM)
	for name, data := range files {
		g.put(name, data)
	}
	cfg, err := ParseConfig(filepath.Join(g.dir, "gate.yaml"), []byte(
		"server: {tls: {certFile: server.pem, keyFile: server.key"+tlsFields+"}}\npolicies: [{name: all, access: public}]"))
	must(t, err)
	logger := slog.New(slog.NewTextHandler(&g.log, nil))
	gate, err := NewGate(cfg, Options{Logger: logger, Registerer: g.registry})
	must(t, err)
	t.Cleanup(gate.Close)
	g.gate = gate
	g.files, err = gate.serveTLS()
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := newGRPCServer(context.Background(), cfg, g.files)
	gate.registerWire(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	t.Cleanup(func() {
		s.Stop()
		<-served
	})
	g.addr = listener.Addr().String()
	return g
}

func (g *tlsGate) put(name string, data []byte) {
	g.Helper()
	must(g.T, os.WriteFile(filepath.Join(g.dir, name), data, 0o600))
}

// look has the files looked at and returns what was logged.
func (g *tlsGate) look() string {
	g.log.take()
	g.files.look()
	return g.log.take()
}

// onDisk reports whether the files on disk are those in force, by the metric, and
// until when the certificate is valid.
func (g *tlsGate) onDisk() (bool, time.Time) {
	g.Helper()
	families, err := g.registry.Gather()
	must(g.T, err)
	values := map[string]float64{}
	for _, f := range families {
		if len(f.GetMetric()) == 1 {
			values[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return values["claimgate_config_last_reload_successful"] == 1,
		time.Unix(int64(values["claimgate_server_certificate_not_after_timestamp_seconds"]), 0)
}

// check asks once over a connection of its own and returns how it ended, "ok"
// for an answer.
func (g *tlsGate) check(trust pair, client ...tls.Certificate) string {
	g.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trust.certPEM)
	conn, err := grpc.NewClient(g.addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: roots, Certificates: client, MinVersion: tls.VersionTLS12,
	})))
	must(g.T, err)
	defer conn.Close() //nolint:errcheck // the test is over
	if _, err := authv3.NewAuthorizationClient(conn).Check(g.Context(), checkRequest("/")); err != nil {
		return err.Error()
	}
	return "ok"
}

func TestACertificateIsReplacedWhileServing(t *testing.T) {
	first, second := serverPair(t, "first"), serverPair(t, "second")
	g := newTLSGate(t, first, "", nil)
	if got := g.check(first); got != "ok" {
		t.Fatal(got)
	}
	if got := g.check(second); got == "ok" {
		t.Fatal("a client that trusts another certificate got an answer")
	}
	if out := g.look(); out != "" {
		t.Errorf("unchanged files are news: %s", out)
	}
	// The certificate is written before its key: for a moment the two do not fit.
	g.put("server.pem", second.certPEM)
	if out := g.look(); !strings.Contains(out, "the old certificate and client CA stay in force") || !strings.Contains(out, "are no certificate with its key") {
		t.Errorf("log: %s", out)
	}
	if out := g.look(); out != "" {
		t.Errorf("the same trouble is news again: %s", out)
	}
	if inForce, _ := g.onDisk(); inForce {
		t.Error("the metric does not tell of the trouble")
	}
	if page := g.gate.status(); page.State != severityWarn || page.Headline != "Ready, with an old certificate" || len(page.Reloads) != 1 {
		t.Errorf("the page says %q, %+v", page.Headline, page.Reloads)
	}
	if got := g.check(first); got != "ok" {
		t.Fatal(got)
	}
	g.put("server.key", second.keyPEM)
	if out := g.look(); !strings.Contains(out, "server.tls was reloaded") {
		t.Errorf("log: %s", out)
	}
	if got := g.check(second); got != "ok" {
		t.Fatal(got)
	}
	if inForce, until := g.onDisk(); !inForce || !until.Equal(second.tls.Leaf.NotAfter) {
		t.Errorf("the metrics say %v, %s", inForce, until)
	}
	if page := g.gate.status(); len(page.Reloads) != 0 {
		t.Errorf("the page says %+v", page.Reloads)
	}
}

func TestAnExpiredCertificateDoesNotReplaceAGoodOne(t *testing.T) {
	good := serverPair(t, "good")
	expired := makePair(t, "expired", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	g := newTLSGate(t, good, "", nil)
	g.put("server.pem", expired.certPEM)
	g.put("server.key", expired.keyPEM)
	if out := g.look(); !strings.Contains(out, "which is not now") {
		t.Errorf("log: %s", out)
	}
	if got := g.check(good); got != "ok" {
		t.Error(got)
	}
	// But it replaces another one that is of no more use.
	old := newTLSGate(t, makePair(t, "old", time.Now().Add(-3*time.Hour), time.Now().Add(-2*time.Hour)), "", nil)
	if out := old.log.take(); !strings.Contains(out, "the server certificate is not valid now") {
		t.Errorf("an expired certificate at the start is not reported: %s", out)
	}
	old.put("server.pem", expired.certPEM)
	old.put("server.key", expired.keyPEM)
	if out := old.look(); !strings.Contains(out, "server.tls was reloaded") {
		t.Errorf("log: %s", out)
	}
}

// A configuration whose server.tls names files that cannot be used is a bad one:
// nothing of it is put in force.
func TestAConfigurationWithUnusableTLSFilesChangesNothing(t *testing.T) {
	good, next := serverPair(t, "good"), serverPair(t, "next")
	expired := makePair(t, "expired", time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	config := func(tlsFields, access string) *Config {
		return &Config{
			Server:   ServerConfig{TLS: parseTLSFields(t, tlsFields)},
			Policies: []PolicyConfig{{Name: "all", Access: Access(access)}},
		}
	}
	for name, tc := range map[string]struct {
		fields string
		want   string
	}{
		"no such certificate": {"certFile: gone.pem, keyFile: server.key", "server.tls.certFile: "},
		"no such key":         {"certFile: server.pem, keyFile: gone.key", "server.tls.keyFile: "},
		"a pipe":              {"certFile: pipe, keyFile: server.key", "is no regular file"},
		"not a pair":          {"certFile: next.pem, keyFile: server.key", "are no certificate with its key"},
		"no client CA":        {"certFile: server.pem, keyFile: server.key, clientCAFile: gone.pem", "server.tls.clientCAFile: "},
		"no CA in it":         {"certFile: server.pem, keyFile: server.key, clientCAFile: server.key", "has no certificate in PEM form"},
		"expired":             {"certFile: expired.pem, keyFile: expired.key", "which is not now"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newTLSGate(t, good, "", map[string][]byte{
				"next.pem": next.certPEM, "next.key": next.keyPEM, "expired.pem": expired.certPEM, "expired.key": expired.keyPEM,
			})
			must(t, syscall.Mkfifo(filepath.Join(g.dir, "pipe"), 0o600))
			hash := g.gate.set.Load().hash
			bad := config(tc.fields, "deny")
			bad.resolvePaths(g.dir)
			g.log.take()
			if err := g.gate.Reload(t.Context(), bad); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Reload: %v, want %q", err, tc.want)
			}
			if out := g.log.take(); out != "" {
				t.Errorf("log: %s", out)
			}
			if g.gate.set.Load().hash != hash {
				t.Error("a part of it is in force")
			}
			if got := g.check(good); got != "ok" {
				t.Error(got)
			}
			// A good one takes over in the same step as the rest.
			better := config("certFile: next.pem, keyFile: next.key", "deny")
			better.resolvePaths(g.dir)
			must(t, g.gate.Reload(t.Context(), better))
			if out := g.log.take(); !strings.Contains(out, "server.tls was reloaded") {
				t.Errorf("log: %s", out)
			}
			if got := g.check(next); got != "ok" {
				t.Error(got)
			}
		})
	}
}

func parseTLSFields(t *testing.T, fields string) *ServerTLSConfig {
	t.Helper()
	cfg, err := ParseConfig("gate.yaml", []byte("server: {tls: {"+fields+"}}\npolicies: [{name: all, access: deny}]"))
	must(t, err)
	return cfg.Server.TLS
}

// A renewal that is half-way on disk does not hold up a change of the rest.
func TestABrokenRenewalDoesNotHoldUpTheConfiguration(t *testing.T) {
	server := serverPair(t, "server")
	g := newTLSGate(t, server, "", nil)
	g.put("server.key", serverPair(t, "other").keyPEM)
	cfg := &Config{
		Server:   ServerConfig{TLS: g.gate.set.Load().config.Server.TLS},
		Policies: []PolicyConfig{{Name: "all", Access: AccessDeny}},
	}
	must(t, g.gate.Reload(t.Context(), cfg))
	if got := g.gate.set.Load().config.Policies[0].Access; got != AccessDeny {
		t.Errorf("access %s", got)
	}
	if got := g.check(server); got != "ok" {
		t.Error(got)
	}
}

func TestFilesThatVanishLeaveTheOldOnes(t *testing.T) {
	server := serverPair(t, "server")
	g := newTLSGate(t, server, "", nil)
	must(t, os.Remove(filepath.Join(g.dir, "server.key")))
	if out := g.look(); !strings.Contains(out, "server.tls.keyFile: ") {
		t.Errorf("log: %s", out)
	}
	if got := g.check(server); got != "ok" {
		t.Error(got)
	}
}

func TestClientsMustShowACertificateOfAnAcceptedName(t *testing.T) {
	server := serverPair(t, "server")
	envoy := serverPair(t, "envoy", "envoy.mesh")
	spiffe := serverPair(t, "spiffe", "spiffe://mesh.example/ns/edge/sa/envoy")
	other := serverPair(t, "envoy.mesh", "other.mesh") // the common name counts for nothing
	foreign := serverPair(t, "foreign", "envoy.mesh")  // of no trusted authority
	ca := bytes.Join([][]byte{envoy.certPEM, spiffe.certPEM, other.certPEM}, nil)
	g := newTLSGate(t, server, ", clientCAFile: ca.pem, clientNames: [envoy.mesh, 'spiffe://mesh.example/ns/edge/sa/envoy']", map[string][]byte{"ca.pem": ca})
	for _, tc := range []struct {
		name   string
		client []tls.Certificate
		ok     bool
	}{
		{"a DNS name", []tls.Certificate{envoy.tls}, true},
		{"a URI", []tls.Certificate{spiffe.tls}, true},
		{"another name", []tls.Certificate{other.tls}, false},
		{"another authority", []tls.Certificate{foreign.tls}, false},
		{"none", nil, false},
	} {
		if got := g.check(server, tc.client...); (got == "ok") != tc.ok {
			t.Errorf("%s: %s", tc.name, got)
		}
	}
	if out := g.log.take(); !strings.Contains(out, "a client was refused") || !strings.Contains(out, "other.mesh") {
		t.Errorf("log: %s", out)
	}
	// The authority is replaced: the clients of the old one are out.
	g.put("ca.pem", spiffe.certPEM)
	g.look()
	if got := g.check(server, envoy.tls); got == "ok" {
		t.Error("a client of an authority that is gone got an answer")
	}
	if got := g.check(server, spiffe.tls); got != "ok" {
		t.Error(got)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	server := serverPair(t, "server")
	g := newTLSGate(t, server, "", nil)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.certPEM)
	for version, ok := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: roots, MinVersion: version, MaxVersion: version, NextProtos: []string{"h2"}}) //nolint:gosec // meant
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close() //nolint:errcheck // nothing was written
		}
	}
}

func TestATLSGateDoesNotStartWithoutItsFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"no certificate": {nil, "server.tls.certFile: "},
		"no key":         {map[string][]byte{"c.pem": serverPair(t, "a").certPEM}, "server.tls.keyFile: "},
		"not a pair": {map[string][]byte{"c.pem": serverPair(t, "a").certPEM, "k.pem": serverPair(t, "b").keyPEM},
			"are no certificate with its key"},
		"no PEM": {map[string][]byte{"c.pem": []byte("hello"), "k.pem": []byte("a secret")}, "are no certificate with its key"},
	} {
		dir := t.TempDir()
		for file, data := range tc.files {
			must(t, os.WriteFile(filepath.Join(dir, file), data, 0o600))
		}
		cfg, err := ParseConfig(filepath.Join(dir, "gate.yaml"), []byte(
			"server: {listen: '127.0.0.1:0', tls: {certFile: c.pem, keyFile: k.pem}}\nadmin: {listen: off}\npolicies: [{name: all, access: public}]"))
		must(t, err)
		err = Serve(t.Context(), cfg, ServeOptions{})
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
