package numbers

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// hostileSet is what an issuer sends in place of its keys.
type hostileSet struct {
	name string
	want oidc.FetchResult
	send http.HandlerFunc // nil: its keys
}

// The names of the key sets; figures are called after them.
const (
	ordinary    = "its own keys"
	fiftyMB     = "50 MB of keys"
	gzipBomb    = "256 MiB in 256 KiB of gzip"
	manyKeys    = "100,000 keys"
	manySmall   = "100,000 keys in 300 KB"
	giantRSA    = "an RSA key of 16,384 bits"
	neverEnding = "a byte every 10 ms, without end"
)

const (
	wrongResult = "fetches with another result than the one named"
	refusedGood = "good tokens refused afterwards"
)

func growth(name string, want oidc.FetchResult) string {
	return fmt.Sprintf("memory grows by, %s (`%s`)", name, want)
}

func hostile() Measurement {
	m := Measurement{
		Name:  "hostile",
		Title: "Hostile key sets",
		About: `An issuer whose keys the gate has sends something else at the next refresh. Each time a new gate is started, so that no
memory is left over from the time before; then one fetch is made and the greatest resident memory of the process since just
before it is read (the kernel's VmHWM, set back before). The first row is the yardstick: a fetch of the issuer's own keys.
Afterwards a token that was never seen before must be allowed with the old keys. The result of the fetch as the metrics have
it stands in brackets.`,
		run: runHostile,
	}
	for _, s := range hostileSets("") {
		f := Figure{growth(s.name, s.want), "MiB", each(8)}
		if s.send == nil {
			f.Goal = nil
		}
		m.Figures = append(m.Figures, f)
	}
	m.Figures = append(m.Figures, Figure{wrongResult, "", each(0)}, Figure{refusedGood, "", each(0)})
	return m
}

// hostileSets are all that are sent; jwk is a good key to fill them with.
func hostileSets(jwk string) []hostileSet {
	many := func(size int, sizes func(i int) string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"keys":[`)
			sent := 0
			for i := 0; sent < size; i++ {
				n, err := io.WriteString(w, sizes(i)+",")
				if err != nil {
					return // the gate has had enough
				}
				sent += n
			}
			_, _ = io.WriteString(w, jwk+"]}")
		}
	}
	return []hostileSet{
		{ordinary, oidc.FetchOK, nil},
		{fiftyMB, oidc.FetchTooLarge, many(50e6, func(int) string { return jwk })},
		{gzipBomb, oidc.FetchTooLarge, bomb},
		{manyKeys, oidc.FetchTooLarge, many(100e3*(len(jwk)+1), func(int) string { return jwk })},
		{manySmall, oidc.FetchTooLarge, many(100e3*3, func(int) string { return "{}" })},
		{giantRSA, oidc.FetchEmpty, sendGiantRSA},
		{neverEnding, oidc.FetchTimeout, drip},
	}
}

// bomb sends zeros. They are compressed while they are sent: the gate reads them
// only as fast as it wants.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	block := make([]byte, 1<<20)
	for range 256 {
		if _, err := z.Write(block); err != nil {
			return // the gate has had enough
		}
	}
	_ = z.Close()
}

func sendGiantRSA(w http.ResponseWriter, _ *http.Request) {
	modulus := make([]byte, 16384/8)
	_, _ = rand.Read(modulus) // never fails
	modulus[0] |= 0x80
	modulus[len(modulus)-1] |= 1
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"keys":[{"kty":"RSA","kid":"key-1","use":"sig","e":"AQAB","n":%q}]}`, base64.RawURLEncoding.EncodeToString(modulus))
}

func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"keys":[`)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, _ = w.Write([]byte(" "))
		w.(http.Flusher).Flush() //nolint:forcetypeassert // net/http's are
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func runHostile(ctx context.Context, r *recorder, s Scale) error {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("bench"))
	defer issuer.Close()
	jwk, err := json.Marshal(issuer.SigningKey().JWK())
	if err != nil {
		return err
	}
	sets := hostileSets(string(jwk))
	wrong, refused := 0, 0
	for round := range s.Fetches {
		for i := range sets {
			set := sets[(i+round)%len(sets)]
			r.say("fetch %d of %d, %s", round+1, s.Fetches, set.name)
			got, err := fetchHostile(ctx, s, issuer, set)
			if err != nil {
				return fmt.Errorf("%s: %w", set.name, err)
			}
			r.add(growth(set.name, set.want), got.growth)
			if got.result != set.want {
				r.say("result %s instead of %s", got.result, set.want)
				wrong++
			}
			if !got.allowed {
				refused++
			}
		}
	}
	r.add(wrongResult, float64(wrong))
	r.add(refusedGood, float64(refused))
	return nil
}

// hostileFetch is what one fetch has done.
type hostileFetch struct {
	growth  float64 // of resident memory, in MiB
	result  oidc.FetchResult
	allowed bool // a good token afterwards
}

// fetchHostile has a new gate, with good keys, fetch a hostile set once.
func fetchHostile(ctx context.Context, s Scale, issuer *oidctest.Issuer, set hostileSet) (hostileFetch, error) {
	var f hostileFetch
	issuer.Recover()
	g, err := startGate(ctx, s.Gate, []configuredIssuer{{issuer.URL, "bench"}}, ", keys: {refresh: 2s}, http: {timeout: 1s}")
	if err != nil {
		return f, err
	}
	defer g.stop()
	client, err := load.Dial(g.Addr)
	if err != nil {
		return f, err
	}
	defer client.Close()
	allows := func() (bool, error) {
		checks, err := load.Checks([]string{issuer.Token(nil)})
		if err != nil {
			return false, err
		}
		status, _ := client.Ask(ctx, 0, &checks[0])
		return status == load.Allowed, nil
	}
	if _, err := g.awaitReady(ctx, 10*time.Second, 20*time.Millisecond); err != nil {
		return f, err
	}
	if ok, err := allows(); err != nil || !ok {
		return f, fmt.Errorf("a good token is refused before anything has happened: %w", err)
	}
	before, err := fetchesByResult(ctx, g)
	if err != nil {
		return f, err
	}
	if set.send != nil {
		issuer.Respond(set.send, oidctest.JWKS)
	}
	if err := g.ResetPeak(); err != nil {
		return f, err
	}
	least, _, err := g.Memory()
	if err != nil {
		return f, err
	}
	if f.result, err = nextResult(ctx, g, before); err != nil {
		return f, err
	}
	_, peak, err := g.Memory()
	if err != nil {
		return f, err
	}
	f.growth = peak - least
	f.allowed, err = allows()
	return f, err
}

// fetchesByResult counts fetches of key sets.
func fetchesByResult(ctx context.Context, g *gate) (map[oidc.FetchResult]float64, error) {
	m, err := g.metrics(ctx)
	counts := map[oidc.FetchResult]float64{}
	for name, n := range m {
		if _, result, ok := strings.Cut(name, `kind="jwks",result="`); ok && strings.HasPrefix(name, "claimgate_key_fetches_total{") {
			counts[oidc.FetchResult(strings.TrimSuffix(result, `"}`))] += n
		}
	}
	return counts, err
}

// nextResult waits for one more fetch of a key set.
func nextResult(ctx context.Context, g *gate, before map[oidc.FetchResult]float64) (oidc.FetchResult, error) {
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return "", err
		}
		now, err := fetchesByResult(ctx, g)
		if err != nil {
			return "", err
		}
		for result, n := range now {
			if n > before[result] {
				return result, nil
			}
		}
	}
	return "", fmt.Errorf("no fetch within 10 s: %s", g.Log())
}
