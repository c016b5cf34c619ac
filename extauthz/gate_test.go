package extauthz

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/claimgate/claimgate/oidc"
)

func handBuilt() *Config {
	return &Config{
		Admin:    AdminConfig{Listen: "off"},
		Issuers:  []IssuerConfig{{Issuer: "https://id.example.com", Audiences: []string{"api"}}},
		Policies: []PolicyConfig{{Name: "all", Match: []MatchConfig{{Methods: []string{"GET"}}}}},
	}
}

// A configuration built by hand is held to the same rules as a file.
func TestAGateIsMadeOfAValidConfigurationOnly(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"identity in a header with a meaning": func(c *Config) { c.Headers = map[string]string{"host": "@subject"} },
		"conditions under public": func(c *Config) {
			c.Policies[0].Access, c.Policies[0].Scopes = AccessPublic, []string{"orders.read"}
		},
		"a field that does not work yet": func(c *Config) { c.Issuers[0].JWKSFile = "keys.json" },
		"no policies":                    func(c *Config) { c.Policies = nil },
		"an address for everybody":       func(c *Config) { c.Server.Listen = "0.0.0.0:9191" },
	} {
		cfg := handBuilt()
		spoil(cfg)
		if _, err := NewGate(cfg, Options{}); err == nil {
			t.Errorf("%s: a gate was made of it", name)
		}
		if err := Serve(t.Context(), cfg, ServeOptions{}); err == nil {
			t.Errorf("%s: it is served", name)
		}
	}
}

func TestAGateKeepsNothingOfItsConfiguration(t *testing.T) {
	cfg := handBuilt()
	g, err := NewGate(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if cfg.Headers != nil || cfg.Policies[0].Access != "" {
		t.Error("the caller's configuration was changed")
	}
	cfg.Policies[0].Match[0].Methods[0] = "POST"
	cfg.Issuers[0].Audiences[0] = "other"
	d := g.Decide(t.Context(), &Request{Method: "GET", Host: "api.example.com", Path: "/"})
	if d.Reason() != oidc.MissingToken {
		t.Errorf("after a change of the configuration that it was made from, the gate says %s", d.Reason())
	}
}

// One Request may be decided about by several goroutines, whatever it lacks.
func TestARequestIsNotWrittenTo(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	r := &Request{Method: "GET", Host: "api.example.com", Path: "/"}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if d := g.Decide(context.Background(), r); d.Reason() != oidc.MissingToken || d.Allowed() {
				t.Errorf("reason %s", d.Reason())
			}
		})
	}
	group.Wait()
	if r.Headers != nil {
		t.Error("the caller's request was changed")
	}
}

func TestASecondRunIsRefusedAtOnce(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- g.Run(ctx) }()
	for g.issuer.Requests() == 0 { // it runs
		time.Sleep(time.Millisecond)
	}
	go func() { second <- g.Run(ctx) }()
	select {
	case err := <-second:
		if err == nil {
			t.Error("two Runs at once are no error")
		}
	case <-time.After(time.Minute):
		t.Error("the second Run waits")
	}
	cancel()
	if err := <-first; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestBuildInfoHasTheVersionThatWasGiven(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	if n := g.metric(t, "claimgate_build_info", "version", "test"); n != 1 {
		t.Errorf("no claimgate_build_info with the given version: %s", g.scrape(t))
	}
}

// Who could not make a gate can try again with the same registry.
func TestAFailedGateLeavesNoMetricsBehind(t *testing.T) {
	registry := prometheus.NewRegistry()
	taken := newMetrics().fetches
	registry.MustRegister(taken)
	if _, err := NewGate(handBuilt(), Options{Registerer: registry}); err == nil || !strings.Contains(err.Error(), "metrics") {
		t.Fatalf("a metric that is there twice: %v", err)
	}
	registry.Unregister(taken)
	g, err := NewGate(handBuilt(), Options{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	g.Close()
}
