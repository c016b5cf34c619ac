// Package lab is a whole installation on loopback: two issuers, the gate, two
// upstreams, and a real Envoy with the envoy.yaml that users copy. The
// demonstration walks through it, the end-to-end tests attack it.
package lab

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	envoyconfig "github.com/claimgate/claimgate/envoy-config"
	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Names that the shipped envoy.yaml routes by.
const (
	Workforce = "workforce"
	Customers = "customers"
)

// Audience is what the gate's tokens are for.
const Audience = "shop-api"

// startTimeout bounds everything that has to come up. A loaded machine needs
// some seconds for Envoy.
const startTimeout = 60 * time.Second

// Options say what the lab is made of. The zero value is a lab without Envoy.
type Options struct {
	Envoy         string       // path of an Envoy binary; "" for none
	EnvoyConfig   []byte       // one of the shipped files; nil for envoy.yaml
	Edit          Edit         // other changes to it; nil for none
	JoinedHeaders bool         // encode_raw_headers off: the other encoding of a check
	Gate          string       // host:port that Envoy asks instead of the lab's gate; "" for none
	Patient       bool         // short time-outs are long, so that a busy machine changes no outcome
	Socket        bool         // the gate listens on a Unix socket
	Policies      string       // YAML of more policies, behind those of the demo
	Progress      func(string) // told what is being started; nil for nobody
	Version       string       // of the gate; "" for what the Go tool recorded
}

// Edit returns changes to Envoy's file as old and new text. Each old text must be
// there once. It is called when the issuers and the upstreams are up.
type Edit func(*Lab) [][2]string

// Lab is a running installation. Its fields are not changed after Start.
type Lab struct {
	Workforce, Customers *oidctest.Issuer

	Dir       string // configuration and logs, gone after Close
	GateAddr  string // gRPC: host:port, or the path of a socket
	AdminAddr string
	EnvoyAddr string // HTTP, "" without Envoy

	decisions chan Decision
	upstreams []*upstream
	envoy     *envoy
	stopGate  context.CancelFunc
	gateEnded chan struct{}
	gateErr   error // written before gateEnded is closed
	close     sync.Once
}

// shortTimeout is a time-out of less than a second in a shipped file; Envoy takes
// max_interval for one.
var shortTimeout = regexp.MustCompile(`\b((?:connect_)?timeout|max_interval): 0\.\d+s\b`)

//go:embed claimgate.yaml
var gateConfig string

// Start brings everything up and waits until the gate has its keys and Envoy
// serves. On an error nothing is left running.
func Start(ctx context.Context, opts Options) (_ *Lab, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	progress := opts.Progress
	if progress == nil {
		progress = func(string) {}
	}
	l := &Lab{decisions: make(chan Decision, 64)}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if l.Dir, err = os.MkdirTemp("", "claimgate-lab-"); err != nil {
		return nil, fmt.Errorf("no place for temporary files: %w; name a folder in the variable TMPDIR", err)
	}

	progress("starting two issuers")
	l.Workforce = oidctest.NewIssuer(oidctest.WithPath("/realms/"+Workforce), oidctest.WithAlgorithms("RS256"), oidctest.WithAudience(Audience))
	l.Customers = oidctest.NewIssuer(oidctest.WithAlgorithms("ES256"), oidctest.WithAudience(Audience))

	progress("starting the gate")
	if err := l.startGate(ctx, opts); err != nil {
		return nil, err
	}
	if opts.Envoy == "" {
		return l, nil
	}

	progress("starting two upstreams and Envoy")
	for _, name := range []string{Workforce, Customers} {
		u, err := startUpstream(name)
		if err != nil {
			return nil, err
		}
		l.upstreams = append(l.upstreams, u)
	}
	config, err := l.envoyConfig(opts)
	if err != nil {
		return nil, err
	}
	l.envoy, err = startEnvoy(ctx, opts.Envoy, l.Dir, config)
	if err != nil {
		return nil, err
	}
	l.EnvoyAddr = l.envoy.edge
	return l, nil
}

// envoyConfig is the shipped file with the changes of opts and the lab's addresses.
func (l *Lab) envoyConfig(opts Options) ([]byte, error) {
	config := opts.EnvoyConfig
	if config == nil {
		config = envoyconfig.Envoy
	}
	if opts.Edit != nil {
		for _, change := range opts.Edit(l) {
			old, with := []byte(change[0]), []byte(change[1])
			if n := bytes.Count(config, old); n != 1 {
				return nil, fmt.Errorf("Envoy's file holds %q %d times, not once", old, n)
			}
			config = bytes.Replace(config, old, with, 1)
		}
	}
	if opts.Patient {
		config = shortTimeout.ReplaceAll(config, []byte("${1}: 10s"))
	}
	issuer, err := url.Parse(l.Workforce.URL)
	if err != nil {
		return nil, err
	}
	return Rewire(config, Addresses{
		Edge: "127.0.0.1:0", Admin: "127.0.0.1:0", // Envoy chooses free ports and says which
		Gate: cmp.Or(opts.Gate, l.GateAddr), Workforce: l.upstreams[0].addr, Customers: l.upstreams[1].addr,
		Issuer: issuer.Host,
	}, !opts.JoinedHeaders)
}

func (l *Lab) startGate(ctx context.Context, opts Options) error {
	config := gateConfig + opts.Policies
	for _, issuer := range []struct{ shown, real string }{
		{"https://login.example.com/realms/workforce", l.Workforce.URL},
		{"https://customers.example.com", l.Customers.URL},
	} {
		if n := strings.Count(config, issuer.shown); n != 1 {
			return fmt.Errorf("claimgate.yaml names %s %d times, not once", issuer.shown, n)
		}
		config = strings.Replace(config, issuer.shown, issuer.real, 1)
	}
	if opts.Patient {
		const place = "\n  drainDelay: 0s\n"
		if !strings.Contains(config, place) {
			return errors.New("claimgate.yaml has no server.drainDelay to put checkTimeout beside")
		}
		config = strings.Replace(config, place, place+"  checkTimeout: 5s\n", 1)
	}
	if opts.Socket {
		const tcp = "  listen: 127.0.0.1:0\n  drainDelay"
		if !strings.Contains(config, tcp) {
			return errors.New("claimgate.yaml has no server.listen to change")
		}
		config = strings.Replace(config, tcp, "  listen: unix:"+filepath.Join(l.Dir, "gate.sock")+"\n  drainDelay", 1)
	}
	file := filepath.Join(l.Dir, "claimgate.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	cfg, err := extauthz.LoadConfig(file)
	if err != nil {
		return err
	}

	type addresses struct{ gate, admin net.Addr }
	ready := make(chan addresses, 1)
	gateCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stopGate = stop
	l.gateEnded = make(chan struct{})
	go func() {
		defer close(l.gateEnded)
		l.gateErr = extauthz.Serve(gateCtx, cfg, extauthz.ServeOptions{
			Logger:  slog.New(&recorder{decisions: l.decisions}),
			Version: opts.Version,
			Ready:   func(gate, admin net.Addr) { ready <- addresses{gate, admin} },
		})
	}()
	select {
	case a := <-ready:
		l.GateAddr, l.AdminAddr = a.gate.String(), a.admin.String()
	case <-l.gateEnded:
		return fmt.Errorf("the gate did not start: %w", l.gateErr)
	}
	return waitOK(ctx, "the gate", "http://"+l.AdminAddr+"/readyz")
}

// StopGate ends the gate and waits until its port is closed.
func (l *Lab) StopGate() {
	if l.stopGate != nil {
		l.stopGate()
		<-l.gateEnded
	}
}

// Close stops everything, waits for it, and removes the lab's folder.
func (l *Lab) Close() {
	l.close.Do(func() {
		if l.envoy != nil {
			l.envoy.Stop()
		}
		l.StopGate()
		for _, u := range l.upstreams {
			u.stop()
		}
		for _, i := range []*oidctest.Issuer{l.Workforce, l.Customers} {
			if i != nil {
				i.Close()
			}
		}
		if l.Dir != "" {
			_ = os.RemoveAll(l.Dir) // a folder in TMPDIR that stays harms nobody
		}
	})
}

// EnvoyLog is what Envoy has written so far, "" without Envoy.
func (l *Lab) EnvoyLog() string {
	if l.envoy == nil {
		return ""
	}
	return l.envoy.Log()
}

// waitOK asks url until it answers 200.
func waitOK(ctx context.Context, what, url string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var last error
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in time: %w", what, errors.Join(last, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
