package oidctest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Issuer is a running fake issuer. Make one with [NewIssuer], end it with
// [Issuer.Close]. All methods may be called from several goroutines.
type Issuer struct {
	// URL is the issuer identifier: what tokens carry in iss and discovery in
	// issuer. It does not change, and neither does the port behind it.
	URL string

	origin    string // scheme://127.0.0.1:port
	addr      string
	clock     func() time.Time
	audiences []string
	authority *authority // nil without TLS

	mu      sync.Mutex // guards all below
	state   state
	running *running // nil while down
	closed  bool
}

// running is one life of the HTTP server, between Up and Down.
type running struct {
	server *http.Server
	ended  chan struct{} // closed when handlers have to give up
	serve  sync.WaitGroup
	conns  sync.WaitGroup
}

// Option sets up an issuer. The zero set of options gives an issuer over HTTP
// at the root of a free loopback port, with one ES256 key, the audience "api"
// and the real clock.
type Option func(*settings)

type settings struct {
	addr       string
	path       string
	algorithms []string
	audiences  []string
	clock      func() time.Time
	tls        bool
}

// WithPath puts the issuer under a path, as realms are: "/realms/shop". A
// trailing slash becomes part of the issuer's identifier.
func WithPath(path string) Option { return func(s *settings) { s.path = path } }

// WithAddr listens on this loopback address, "127.0.0.1:9000", rather than on
// a free port.
func WithAddr(addr string) Option { return func(s *settings) { s.addr = addr } }

// WithAlgorithms gives the issuer one key for each of these algorithms. The
// first signs where a token does not ask for another. RSA keys take a tenth of
// a second to make, the others no time.
func WithAlgorithms(algs ...string) Option { return func(s *settings) { s.algorithms = algs } }

// WithAudience is the aud of tokens that do not say otherwise: a string if it
// is one, else a list.
func WithAudience(audiences ...string) Option { return func(s *settings) { s.audiences = audiences } }

// WithClock is the clock behind iat and exp. TLS certificates do not follow
// it: they are good from 1999 to 2100.
func WithClock(now func() time.Time) Option { return func(s *settings) { s.clock = now } }

// WithTLS serves https, with a certificate of a CA made for this issuer. See
// [Issuer.CertPool] and [Issuer.CertPEM].
func WithTLS() Option { return func(s *settings) { s.tls = true } }

// NewIssuer starts an issuer. It panics if it cannot listen on loopback or an
// option is impossible, as httptest.NewServer does.
func NewIssuer(opts ...Option) *Issuer {
	s := settings{
		addr:       "127.0.0.1:0",
		algorithms: []string{"ES256"},
		audiences:  []string{"api"},
		clock:      time.Now,
	}
	for _, o := range opts {
		o(&s)
	}
	if s.path != "" && !strings.HasPrefix(s.path, "/") {
		panic(fmt.Sprintf("oidctest: the path %q must begin with a slash", s.path))
	}
	listener, err := listen(s.addr)
	if err != nil {
		panic("oidctest: " + err.Error())
	}
	i := &Issuer{
		addr:      listener.Addr().String(),
		clock:     s.clock,
		audiences: s.audiences,
	}
	scheme := "http"
	if s.tls {
		scheme = "https"
		i.authority = newAuthority()
	}
	i.origin = scheme + "://" + i.addr
	i.URL = i.origin + s.path
	i.state.path = s.path
	i.state.grants = builtinGrants()
	for _, alg := range s.algorithms {
		i.state.addSigningKey(alg)
	}
	i.running = i.start(listener)
	return i
}

// listen refuses all but loopback: an issuer that gives tokens away must not be
// reachable.
func listen(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("listening on %s: not a loopback address", addr)
	}
	return net.Listen("tcp", addr)
}

func (i *Issuer) start(l net.Listener) *running {
	r := &running{ended: make(chan struct{})}
	r.server = &http.Server{
		Handler:           i.handler(r.ended),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // clients that give up are part of the play
		ConnState: func(c net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				r.conns.Add(1)
				select {
				case <-r.ended: // accepted while stopping: the server has missed it
					_ = c.Close()
				default:
				}
			case http.StateClosed, http.StateHijacked:
				r.conns.Done()
			}
		},
	}
	if i.authority != nil {
		r.server.TLSConfig = &tls.Config{
			Certificates: []tls.Certificate{i.authority.leaf},
			MinVersion:   tls.VersionTLS12,
			ClientAuth:   tls.RequestClientCert, // any: whose it is, is for the client's registration
		}
	}
	r.serve.Go(func() {
		if i.authority != nil {
			_ = r.server.ServeTLS(l, "", "")
		} else {
			_ = r.server.Serve(l)
		}
	})
	return r
}

// stop cuts every connection and waits until all goroutines have gone.
func (r *running) stop() {
	close(r.ended)
	_ = r.server.Close()
	r.serve.Wait()
	r.conns.Wait()
}

// Close stops the issuer and waits until its goroutines have ended. Requests
// that hang are cut. A second Close does nothing.
func (i *Issuer) Close() {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.Down()
}

// Down closes the port and cuts every connection: from now on the connection
// is refused. Nothing happens if the issuer is down already.
func (i *Issuer) Down() {
	i.mu.Lock()
	r := i.running
	i.running = nil
	i.mu.Unlock()
	if r != nil {
		r.stop()
	}
}

// Up listens on the same port again. It panics if somebody else has taken it,
// or after Close.
func (i *Issuer) Up() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		panic("oidctest: Up after Close")
	}
	if i.running != nil {
		return
	}
	l, err := listen(i.addr)
	if err != nil {
		panic("oidctest: " + err.Error())
	}
	i.running = i.start(l)
}

// CertPool has the issuer's CA: what its clients have to trust. It is nil
// without [WithTLS].
func (i *Issuer) CertPool() *x509.CertPool {
	if i.authority == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(i.authority.root)
	return pool
}

// CertPEM is the issuer's CA certificate as a PEM file has it, nil without
// [WithTLS].
func (i *Issuer) CertPEM() []byte {
	if i.authority == nil {
		return nil
	}
	return i.authority.pem
}
