// Package realms is one identity provider with many issuers, as a multi-tenant
// provider has: one server, a realm for each tenant, each with its own metadata and
// its own key.
package realms

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// Provider is the running provider.
type Provider struct {
	origin string
	realms []realm
	signer *oidctest.Issuer
	server *http.Server
	ended  chan struct{} // closed when the server has ended
	delay  atomic.Int64

	mu     sync.Mutex
	counts Counts       // guarded by mu
	now    [2]int       // requests in flight, those of popular realms second; guarded by mu
	served map[int]bool // realms whose keys were sent; guarded by mu
}

type realm struct {
	key            *oidctest.Key
	metadata, keys []byte
	popular        bool
}

// Counts is what arrived in a while.
type Counts struct {
	AtOnce      int         // most requests at once
	AtOnceQuiet int         // most requests at once of realms that are not popular
	KeySets     []time.Time // when key sets were asked for
}

// Start starts a provider with n realms. Popular are those that tokens are made of;
// requests of the others can only come from a gate that keeps its keys fresh.
func Start(n int, popular func(i int) bool) (*Provider, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Provider{
		origin: "http://" + l.Addr().String(), signer: oidctest.NewIssuer(oidctest.WithAudience("bench")),
		ended: make(chan struct{}), served: map[int]bool{},
	}
	for i := range n {
		key := oidctest.NewKey("ES256", "key-1")
		metadata, err := json.Marshal(map[string]any{
			"issuer": p.Issuer(i), "jwks_uri": p.Issuer(i) + "/keys",
			"authorization_endpoint": p.Issuer(i) + "/authorize", "token_endpoint": p.Issuer(i) + "/token",
			"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{key.Algorithm},
		})
		if err != nil {
			return nil, err
		}
		keys, err := json.Marshal(map[string]any{"keys": []any{key.JWK()}})
		if err != nil {
			return nil, err
		}
		p.realms = append(p.realms, realm{key, metadata, keys, popular(i)})
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		defer close(p.ended)
		_ = p.server.Serve(l) // until Close
	}()
	return p, nil
}

// Close ends the provider.
func (p *Provider) Close() {
	_ = p.server.Close() // nothing is left to lose
	<-p.ended
	p.signer.Close()
}

// Issuer is the identifier of a realm.
func (p *Provider) Issuer(i int) string { return p.origin + "/r/" + strconv.Itoa(i) }

// Token makes a token of a realm that is good for an hour.
func (p *Provider) Token(i int, subject string) string {
	return p.signer.Token(map[string]any{
		"iss": p.Issuer(i), "sub": subject, "exp": time.Now().Add(time.Hour).Unix(), "scope": "orders.read",
	}, oidctest.SignWith(p.realms[i].key))
}

// SetDelay lets every answer take a time, as one from another place does.
func (p *Provider) SetDelay(d time.Duration) { p.delay.Store(int64(d)) }

// Take returns what arrived since the last call.
func (p *Provider) Take() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	p.counts = Counts{}
	return c
}

// Forget begins a new count of realms whose keys were sent.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served = map[int]bool{}
}

// Served is how many realms have sent their keys.
func (p *Provider) Served() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.served)
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	number, document, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/r/"), "/")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(p.realms) {
		http.NotFound(w, r)
		return
	}
	isKeys := document == "keys"
	if !isKeys && document != ".well-known/openid-configuration" {
		http.NotFound(w, r)
		return
	}
	realm := &p.realms[i]
	p.arrive(realm, isKeys)
	defer p.leave(realm)
	select {
	case <-time.After(time.Duration(p.delay.Load())):
	case <-r.Context().Done():
		return
	}
	body := realm.metadata
	if isKeys {
		body = realm.keys
		p.mu.Lock()
		p.served[i] = true
		p.mu.Unlock()
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (p *Provider) arrive(r *realm, isKeys bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now[index(r)]++
	p.counts.AtOnce = max(p.counts.AtOnce, p.now[0]+p.now[1])
	p.counts.AtOnceQuiet = max(p.counts.AtOnceQuiet, p.now[0])
	if isKeys {
		p.counts.KeySets = append(p.counts.KeySets, time.Now())
	}
}

func (p *Provider) leave(r *realm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now[index(r)]--
}

func index(r *realm) int {
	if r.popular {
		return 1
	}
	return 0
}

// PerSecond counts times in the seconds of a while that began then.
func PerSecond(times []time.Time, began time.Time, seconds int) []int {
	n := make([]int, seconds)
	for _, at := range times {
		if s := int(at.Sub(began) / time.Second); at.After(began) && s < seconds {
			n[s]++
		}
	}
	return n
}

// Busiest returns the largest of the counts, divided by their mean.
func Busiest(counts []int) (float64, error) {
	total := 0
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0, fmt.Errorf("nothing arrived in %d s", len(counts))
	}
	return float64(slices.Max(counts)) * float64(len(counts)) / float64(total), nil
}
