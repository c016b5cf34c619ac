package oidc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// estate is a provider with many tenants, which all have the key a, and a store
// with their template.
type estate struct {
	*testing.T
	store   *keyStore
	tenants *tenantKeys
	try     func(crypto.PublicKey) bool
	listed  bool // the tenants that acquire is asked for

	mu      sync.Mutex
	set     *keySet
	exist   func(tenant string) bool
	hold    chan struct{}
	fetched map[string]int // by tenant
	flying  int
	most    int // flying at once
}

var errNoTenant = errors.New("the provider has no such tenant")

func inEstate(t *testing.T, most int, f func(e *estate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &estate{T: t, store: quietStore(), exist: func(string) bool { return true }, fetched: map[string]int{}}
		defer e.store.close()
		_, a := ecJWK(t, "a", elliptic.P256())
		e.set, e.try = mustSet(t, a), signedBy(t, a)
		e.store.origin = e.origin
		e.tenants = e.acquire(issuerKeysConfig{issuer: "https://id.example.com/{tenant}", name: "test"}, most)
		f(e)
	})
}

func (e *estate) acquire(cfg issuerKeysConfig, most int) *tenantKeys {
	e.Helper()
	tenants, err := e.store.acquireTenants(cfg, most, e.listed)
	if err != nil {
		e.Fatal(err)
	}
	return tenants
}

func (e *estate) origin(cfg issuerKeysConfig) (keyOrigin, error) {
	if want := "https://id.example.com/" + cfg.tenant; cfg.issuer != want {
		e.Errorf("the issuer is %s, want %s", cfg.issuer, want)
	}
	return keyOrigin{fetch: func(ctx context.Context, _ bool) (fetched, error) {
		e.mu.Lock()
		e.fetched[cfg.tenant]++
		e.flying++
		e.most = max(e.most, e.flying)
		hold := e.hold
		e.mu.Unlock()
		defer func() {
			e.mu.Lock()
			e.flying--
			e.mu.Unlock()
		}()
		if hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				return fetched{}, ctx.Err()
			}
		}
		if !e.exist(cfg.tenant) {
			return fetched{}, errNoTenant
		}
		return fetched{set: e.set, life: time.Hour}, nil
	}}, nil
}

func (e *estate) fetches() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, of := range e.fetched {
		n += of
	}
	return n
}

// ask verifies a token of a tenant: a good one, or a forged one.
func (e *estate) ask(tenant string, good bool) Reason {
	e.Helper()
	try := e.try
	if !good {
		try = never
	}
	ctx, cancel := context.WithTimeout(e.Context(), 150*time.Millisecond)
	defer cancel()
	_, _, reason, err := e.tenants.verify(ctx, tenant, keyHint{alg: ES256, kid: "a", hasKID: true}, try, nil)
	if (reason == "") != (err == nil) {
		e.Errorf("reason %q with error %v", reason, err)
	}
	return reason
}

func (e *estate) want(what string, got, want Reason) {
	e.Helper()
	if got != want {
		e.Errorf("%s: reason %q, want %q", what, got, want)
	}
}

func (e *estate) wantFetches(want int) {
	e.Helper()
	synctest.Wait()
	if got := e.fetches(); got != want {
		e.Errorf("%d fetches, want %d", got, want)
	}
}

func TestTenantsAreFetchedWhenTheyAreNeeded(t *testing.T) {
	inEstate(t, 10, func(e *estate) {
		e.wantFetches(0)
		for range 3 {
			e.want("acme", e.ask("acme", true), "")
			e.want("shop", e.ask("shop", true), "")
		}
		e.wantFetches(2)
		if s := e.tenants.status(); s.Tenants != 2 || s.TenantsInTrouble != 0 || !s.Usable || s.UsableKeys != 2 || s.Issuer != "https://id.example.com/{tenant}" {
			e.Errorf("status %+v", s)
		}
	})
}

// A tenant whose first fetch fails leaves a short memory and nothing else.
func TestATenantThatDoesNotExistIsNotTriedAgainAtOnce(t *testing.T) {
	inEstate(t, 10, func(e *estate) {
		e.exist = func(string) bool { return false }
		fetches := 0
		for _, pause := range []time.Duration{0, 5, 10, 20, 40, 60, 60} {
			time.Sleep(pause*time.Second - 1)
			if fetches > 0 {
				e.want("too early", e.ask("acme", true), KeysUnavailable)
			}
			e.wantFetches(fetches)
			time.Sleep(1)
			fetches++
			for range 5 {
				e.want("once", e.ask("acme", true), KeysUnavailable)
			}
			e.wantFetches(fetches)
		}
		if s := e.tenants.status(); s.Tenants != 0 || len(e.tenants.trials) != 0 || len(e.store.issuers) != 0 {
			e.Errorf("%+v, %d trials, %d issuers in the store: they leave something", s, len(e.tenants.trials), len(e.store.issuers))
		}
		e.exist = func(string) bool { return true }
		time.Sleep(time.Minute)
		e.want("when it exists", e.ask("acme", true), "")
	})
}

// F3 with tenants for keys: a thousand made-up names are neither a thousand
// fetches nor many at once, they are answered at once, and they do not remain.
func TestMadeUpTenantsCauseFewFetches(t *testing.T) {
	inEstate(t, 10, func(e *estate) {
		e.want("a real one", e.ask("acme", true), "")
		e.exist = func(string) bool { return false }
		hold := make(chan struct{})
		e.hold = hold
		var crowd sync.WaitGroup
		for i := range 1000 {
			crowd.Go(func() { e.want("made up", e.ask(fmt.Sprint("x", i), true), KeysUnavailable) })
		}
		synctest.Wait()
		e.wantFetches(1 + maxTenantTrials)
		start := time.Now()
		e.want("one more", e.ask("one-more", true), KeysUnavailable)
		if took := time.Since(start); took != 0 {
			e.Errorf("took %s", took)
		}
		e.want("the real one", e.ask("acme", true), "")
		close(hold)
		crowd.Wait()
		e.mu.Lock()
		e.hold = nil
		e.mu.Unlock()
		for i := range 1000 {
			e.want("made up", e.ask(fmt.Sprint("y", i), true), KeysUnavailable)
		}
		e.wantFetches(tenantTrialBurst)
		time.Sleep(time.Minute) // the bucket does not hold more
		for i := range 1000 {
			e.want("made up", e.ask(fmt.Sprint("z", i), true), KeysUnavailable)
		}
		e.wantFetches(2 * tenantTrialBurst)
		time.Sleep(time.Second)
		for i := range 1000 {
			e.want("made up", e.ask(fmt.Sprint("q", i), true), KeysUnavailable)
		}
		e.wantFetches(2*tenantTrialBurst + tenantTrialRate)
		if e.most > maxTenantTrials {
			e.Errorf("%d fetches at once", e.most)
		}
		if len(e.store.issuers) != 1 || e.tenants.failures.Len() > maxTenantMemory {
			e.Errorf("%d issuers, %d failures are remembered", len(e.store.issuers), e.tenants.failures.Len())
		}
	})
}

// After a restart all tenants of a list come at once, and nobody can add to them.
func TestListedTenantsDoNotWaitForEachOther(t *testing.T) {
	inEstate(t, 1000, func(e *estate) {
		e.listed = true
		e.tenants = e.acquire(issuerKeysConfig{issuer: "https://id.example.com/{tenant}", name: "test"}, 1000)
		for i := range 10 * tenantTrialBurst {
			e.want("listed", e.ask(fmt.Sprint("t", i), true), "")
		}
		// The list becomes a pattern, and the same names could be anybody's.
		e.listed = false
		e.acquire(issuerKeysConfig{issuer: "https://id.example.com/{tenant}", name: "test"}, 1000)
		for i := range tenantTrialBurst {
			e.want("new", e.ask(fmt.Sprint("n", i), true), "")
		}
		e.want("one more", e.ask("m", true), KeysUnavailable)
	})
}

// Names that the provider answers for, whatever they are, drive out each other
// and no tenant that had a valid token.
func TestJunkEvictsNoTenantInUse(t *testing.T) { // E6
	inEstate(t, 3, func(e *estate) {
		for _, tenant := range []string{"a", "b", "c"} {
			e.want(tenant, e.ask(tenant, true), "")
		}
		for i := range 3 * maxUnprovenKeys {
			time.Sleep(time.Second / tenantTrialRate)
			e.want("junk", e.ask(fmt.Sprint("junk", i), false), BadSignature)
		}
		fetches := e.fetches()
		for _, tenant := range []string{"a", "b", "c"} {
			e.want(tenant, e.ask(tenant, true), "")
		}
		e.wantFetches(fetches)
		if s := e.tenants.status(); s.Tenants != 3 || len(e.store.issuers) != 3+maxUnprovenKeys {
			e.Errorf("%d tenants, %d issuers in the store", s.Tenants, len(e.store.issuers))
		}
		// A valid token takes the place of the one whose own is the oldest.
		e.want("b again", e.ask("b", true), "")
		e.want("d", e.ask("d", true), "")
		fetches = e.fetches()
		for _, tenant := range []string{"b", "c", "d"} {
			e.want(tenant, e.ask(tenant, true), "")
		}
		e.wantFetches(fetches)
		if e.tenants.proven.Contains("a") {
			e.Error("the oldest is still there")
		}
	})
}

// Only tenants that had a valid token are kept fresh.
func TestProvenTenantsAreKeptFresh(t *testing.T) {
	inEstate(t, 10, func(e *estate) {
		ctx, cancel := context.WithCancel(e.Context())
		done := make(chan error)
		go func() { done <- e.store.run(ctx) }()
		e.want("acme", e.ask("acme", true), "")
		e.want("junk", e.ask("junk", false), BadSignature)
		time.Sleep(48 * time.Minute)
		e.wantFetches(3)
		if e.fetched["acme"] != 2 {
			e.Errorf("fetches %v", e.fetched)
		}
		e.mu.Lock()
		e.exist = func(string) bool { return false }
		e.mu.Unlock()
		time.Sleep(48 * time.Minute)
		synctest.Wait()
		e.want("acme, with the last good keys", e.ask("acme", true), "")
		if s := e.tenants.status(); s.Tenants != 1 || s.TenantsInTrouble != 1 || !s.Stale || !s.Usable || s.LastError == "" {
			e.Errorf("status %+v", s)
		}
		cancel()
		if err := <-done; err != nil {
			e.Error(err)
		}
	})
}

func TestTenantsAreSharedByContent(t *testing.T) {
	inEstate(t, 10, func(e *estate) {
		e.want("acme", e.ask("acme", true), "")
		e.want("shop", e.ask("shop", true), "")
		again := e.acquire(e.tenants.cfg, 1)
		if again != e.tenants || again.proven.Len() != 1 {
			e.Errorf("%d tenants under a lower bound", again.proven.Len())
		}
		changed := e.tenants.cfg
		changed.keys.Refresh = time.Minute
		next := e.acquire(changed, 10)
		e.store.releaseTenants(again)
		e.store.releaseTenants(again)
		before := e.tenants
		e.tenants = next
		e.want("shop, under other times", e.ask("shop", true), "")
		e.wantFetches(2)
		e.tenants = before
		e.want("the one before", e.ask("shop", true), "")
		e.want("a new one for the one before", e.ask("new", true), KeysUnavailable)
		e.wantFetches(2)
		e.store.releaseTenants(next)
		if len(e.store.issuers) != 0 || len(e.store.tenants) != 0 {
			e.Errorf("%d issuers and %d templates are left", len(e.store.issuers), len(e.store.tenants))
		}
	})
}

func TestReleaseEndsTrials(t *testing.T) {
	inEstate(t, 10, func(e *estate) {
		e.hold = make(chan struct{})
		answer := make(chan Reason)
		go func() { answer <- e.ask("acme", true) }()
		synctest.Wait()
		e.store.releaseTenants(e.tenants)
		e.want("given up", <-answer, KeysUnavailable)
		if e.flying != 0 || e.tenants.failures.Len() != 0 {
			e.Errorf("%d fetches under way, %d failures", e.flying, e.tenants.failures.Len())
		}
	})
}

// A made-up name is no line in the log at its usual level.
func TestTrialsAreQuiet(t *testing.T) {
	inEstate(t, 10, func(e *estate) {
		var logged bytes.Buffer
		e.store.logger = slog.New(slog.NewTextHandler(&logged, nil))
		e.want("acme", e.ask("acme", true), "")
		e.exist = func(string) bool { return false }
		e.want("junk", e.ask("junk", true), KeysUnavailable)
		if logged.Len() > 0 {
			e.Errorf("log:\n%s", &logged)
		}
		time.Sleep(48 * time.Minute)
		e.want("acme", e.ask("acme", true), "") // and a refresh
		synctest.Wait()
		if got := logged.String(); !strings.Contains(got, "issuer=test tenant=acme") || strings.Count(got, "\n") != 1 {
			e.Errorf("log:\n%s", got)
		}
	})
}
