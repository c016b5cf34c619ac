package extauthz

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/claimgate/claimgate/internal/regularfile"
)

// maxPEMFile bounds what is read of a certificate, key or CA file.
const maxPEMFile = 4 << 20

// serverTLS is the certificate that the gate shows and what it wants of clients.
// Its files are looked at again and again; a handshake uses those that were good
// last. A nil serverTLS is a gate without TLS.
type serverTLS struct {
	gate   *Gate
	logger *slog.Logger

	current atomic.Pointer[tls.Config]

	loaded  digest // guarded by gate.reloading: of the settings and files that current is made of
	trouble string // guarded by gate.reloading: why the files on disk are not used, "" if they are

	refused atomic.Int64 // unix second in which a refused client was logged last
}

// serveTLS reads the files of server.tls, which the gate uses from then on. It
// returns nil if there are none.
func (g *Gate) serveTLS() (*serverTLS, error) {
	g.reloading.Lock()
	defer g.reloading.Unlock()
	files := g.set.Load().config.Server.TLS
	if files == nil {
		return nil, nil
	}
	s := &serverTLS{gate: g, logger: g.logger}
	first, err := s.read(files)
	if err != nil {
		return nil, err
	}
	s.current.Store(first.config)
	s.loaded = first.sum
	g.certificates = s
	g.serverCertificate.Store(first.leaf())
	if leaf := first.leaf(); !validAt(leaf, g.clock()) {
		s.logger.Error("the server certificate is not valid now: no client will accept it", slog.Time("notBefore", leaf.NotBefore), slog.Time("notAfter", leaf.NotAfter))
	}
	return s, nil
}

// listenerConfig is the configuration to listen with. What matters is decided
// for each connection, by the files of then.
func (s *serverTLS) listenerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current.Load(), nil
		},
	}
}

// look takes changed files over. Files that cannot be used leave the old ones in
// force, and so does a certificate that is not valid now while the old one is: a
// renewal gone wrong must not end the service.
func (s *serverTLS) look() {
	if s == nil {
		return
	}
	s.gate.reloading.Lock()
	defer s.gate.reloading.Unlock()
	next, err := s.next(s.gate.set.Load().config.Server.TLS)
	if err != nil {
		if text := err.Error(); text != s.trouble {
			s.trouble = text
			s.gate.tlsTrouble.Store(newReloadTrouble(err, s.gate.clock()))
			s.logger.Error("server.tls could not be reloaded: the old certificate and client CA stay in force", slog.String("error", text))
		}
		return
	}
	s.take(next)
}

// changed returns what the files of a new configuration make, nil if it names
// the same ones as that before: then look finds out whether they have changed,
// and a renewal gone wrong does not hold up the rest of the configuration.
func (s *serverTLS) changed(before, next *ServerTLSConfig) (*tlsFiles, error) {
	if s == nil || reflect.DeepEqual(before, next) {
		return nil, nil
	}
	return s.next(next)
}

// next reads files and says why they do not replace those in force.
func (s *serverTLS) next(files *ServerTLSConfig) (*tlsFiles, error) {
	next, err := s.read(files)
	if err != nil {
		return nil, err
	}
	if next.sum != s.loaded {
		if err := s.worse(next.leaf()); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// take puts files in force; nil and those that are already change nothing.
func (s *serverTLS) take(next *tlsFiles) {
	if next == nil {
		return
	}
	s.trouble = ""
	s.gate.tlsTrouble.Store(nil)
	if next.sum == s.loaded {
		return
	}
	s.current.Store(next.config)
	s.loaded = next.sum
	s.gate.serverCertificate.Store(next.leaf())
	s.logger.Info("server.tls was reloaded", slog.Time("notAfter", next.leaf().NotAfter))
}

// worse says why a certificate is no improvement.
func (s *serverTLS) worse(next *x509.Certificate) error {
	now, old := s.gate.clock(), s.gate.serverCertificate.Load()
	if validAt(next, now) || !validAt(old, now) {
		return nil
	}
	return fmt.Errorf("server.tls.certFile: the certificate is valid from %s to %s, which is not now",
		next.NotBefore.UTC().Format(time.RFC3339), next.NotAfter.UTC().Format(time.RFC3339))
}

func validAt(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

// tlsFiles is what the files of server.tls make.
type tlsFiles struct {
	config *tls.Config
	sum    digest // of all that config is made of
}

func (f *tlsFiles) leaf() *x509.Certificate { return f.config.Certificates[0].Leaf }

// read reads the files that server.tls names.
func (s *serverTLS) read(files *ServerTLSConfig) (*tlsFiles, error) {
	h := sha256.New()
	file := func(field, path string) ([]byte, error) {
		data, err := regularfile.Read(path, maxPEMFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		fmt.Fprintf(h, "%d %x", len(data), sha256.Sum256(data))
		return data, nil
	}
	cert, err := file("server.tls.certFile", files.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := file("server.tls.keyFile", files.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key) // its errors quote nothing of the key
	if err != nil {
		return nil, fmt.Errorf("server.tls: %s and %s are no certificate with its key: %w", files.CertFile, files.KeyFile, err)
	}
	cfg := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2"},
		Certificates: []tls.Certificate{pair},
	}
	if files.ClientCAFile != "" {
		roots, err := file("server.tls.clientCAFile", files.ClientCAFile)
		if err != nil {
			return nil, err
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(roots) {
			return nil, fmt.Errorf("server.tls.clientCAFile: %s has no certificate in PEM form", files.ClientCAFile)
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
		// A resumed session would pass by a CA that has been replaced.
		cfg.SessionTicketsDisabled = true
		names := files.ClientNames
		cfg.VerifyConnection = func(state tls.ConnectionState) error { return s.acceptClient(state, names) }
		fmt.Fprintf(h, "%q", names)
	}
	return &tlsFiles{cfg, digest(h.Sum(nil))}, nil
}

// errClientName is what a client of another name gets to know: nothing.
var errClientName = errors.New("the client certificate is not accepted")

// acceptClient holds a verified client certificate to the list of names; nil
// accepts any.
func (s *serverTLS) acceptClient(state tls.ConnectionState, names []string) error {
	if names == nil {
		return nil
	}
	var have []string
	if len(state.PeerCertificates) > 0 {
		leaf := state.PeerCertificates[0]
		have = append(have, leaf.DNSNames...)
		for _, u := range leaf.URIs {
			have = append(have, u.String())
		}
	}
	if containsAny(have, names) {
		return nil
	}
	// One line a second: clients must not fill disks.
	if now := s.gate.clock().Unix(); s.refused.Swap(now) != now {
		s.logger.Warn("a client was refused: none of its certificate's URI and DNS names is in server.tls.clientNames",
			slog.String("names", logField(strings.Join(have[:min(len(have), 4)], " "))))
	}
	return errClientName
}

// validate judges server.tls.
func (c *ServerTLSConfig) validate(f *faults, p fieldPath) {
	if c == nil || f.broken(p) {
		return
	}
	for _, field := range []struct{ name, value, advice string }{
		{"certFile", c.CertFile, "name the PEM file of the server's certificate"},
		{"keyFile", c.KeyFile, "name the PEM file of the certificate's key"},
	} {
		if field.value == "" {
			f.missing(p.field(field.name), "%s", field.advice)
		}
	}
	if c.ClientNames != nil && c.ClientCAFile == "" && !f.broken(p.field("clientCAFile")) {
		f.add(p.field("clientNames"), "has no effect without clientCAFile: only a verified certificate has a name")
	}
	for i, name := range c.ClientNames {
		if name != strings.TrimSpace(name) || strings.ContainsAny(name, "*\x00") {
			f.add(p.field("clientNames").index(i), "%s can never fit: names are compared exactly, without patterns", quote(name))
		}
	}
}

// files lists the fields that name files, to be made absolute.
func (c *ServerTLSConfig) files() []*string {
	if c == nil {
		return nil
	}
	return slices.Clip([]*string{&c.CertFile, &c.KeyFile, &c.ClientCAFile})
}
