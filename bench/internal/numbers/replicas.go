package numbers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// site is what stands behind and beside several gates that one Envoy asks: an
// issuer, its tokens, and an upstream.
type site struct {
	issuer   *oidctest.Issuer
	requests []load.Check // of HTTP
	upstream *http.Server
	address  string // of the upstream
	ended    chan struct{}

	replicas []*gate
}

// siteSubject is whom all tokens name.
const siteSubject = "alice"

func newSite() (*site, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &site{issuer: oidctest.NewIssuer(oidctest.WithAudience("bench")), address: l.Addr().String(), ended: make(chan struct{})}
	// A request that arrives without the identity that the gate has verified is as bad
	// as one that does not.
	s.upstream = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Equal(r.Header.Values("X-Auth-Subject"), []string{siteSubject}) {
			w.WriteHeader(http.StatusTeapot)
		}
	})}
	go func() {
		defer close(s.ended)
		_ = s.upstream.Serve(l) // it is closed at the end
	}()
	tokens := make([]string, 100)
	for i := range tokens {
		tokens[i] = s.issuer.Token(map[string]any{"sub": siteSubject, "n": i, "exp": time.Now().Add(time.Hour).Unix()})
	}
	s.requests = load.Requests(tokens)
	return s, nil
}

func (s *site) close() {
	for _, g := range s.replicas {
		g.stop()
	}
	_ = s.upstream.Close() // nothing is left to lose
	<-s.ended
	s.issuer.Close()
}

// add starts a gate at an address of its own, which it has again after a restart.
// more is added to server.
func (s *site) add(ctx context.Context, path, more string) (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	g, err := startGateWith(ctx, path, fmt.Sprintf(`server: {listen: %q%s}
%sissuers:
- {issuer: %q, name: bench, audiences: [bench]}
policies:
- name: everything
`, address, more, quietGate, s.issuer.URL))
	if err != nil {
		return nil, err
	}
	s.replicas = append(s.replicas, g)
	_, err = g.awaitReady(ctx, time.Minute, 10*time.Millisecond)
	return g, err
}

// addresses are where the replicas serve.
func (s *site) addresses() []string {
	var list []string
	for _, g := range s.replicas {
		list = append(list, g.Addr)
	}
	return list
}

// restart ends a gate by a signal, and starts it again when it has gone.
func (g *gate) restart(ctx context.Context, by os.Signal) error {
	g.Signal(by)
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	select {
	case <-g.Ended():
	case <-limit.C:
		return errors.New("the gate does not end: " + g.Log())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	g.http.CloseIdleConnections()
	if err := g.start(ctx); err != nil {
		return err
	}
	_, err := g.awaitReady(ctx, time.Minute, 10*time.Millisecond)
	return err
}

// during sends requests to a target in an open loop while do runs.
func during(ctx context.Context, to load.Target, requests []load.Check, rate float64, do func(context.Context) error) ([]load.Answer, error) {
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		defer stop()
		done <- do(ctx)
	}()
	answers := load.Open(loadCtx, waited{to}, requests, 0, rate, time.Hour)
	return answers, <-done
}

// waited is a target whose answers are waited for when the load is stopped.
type waited struct{ to load.Target }

// Ask implements [load.Target].
func (w waited) Ask(ctx context.Context, n int, check *load.Check) (int, time.Time) {
	return w.to.Ask(context.WithoutCancel(ctx), n, check)
}
