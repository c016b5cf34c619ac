package checks

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// repeats is how many runs of fresh tokens may be done again, of each variant.
const repeats = 2

// tokens are all that are sent, made before any clock runs.
type tokens struct {
	one, thousand, many, missing, forged []load.Check
	fresh                                map[string][][]load.Check // by algorithm: a set for each run
	request, forgedRequest               []load.Check              // through Envoy
}

var freshAlgorithms = []string{"RS256", "ES256", "EdDSA"}

func mintAll(issuer *oidctest.Issuer, o Options) (*tokens, error) {
	t := &tokens{fresh: map[string][][]load.Check{}}
	hot := mint(issuer, "RS256", "hot")
	forged := make([]string, 1000)
	for i := range forged {
		forged[i] = issuer.Token(claims("mallory"), oidctest.Alg("RS256"), oidctest.SignFunc(noise))
	}
	t.request, t.forgedRequest = load.Requests([]string{hot}), load.Requests(forged[:1])
	var err error
	mintMany := func(n int, alg, subject string) []load.Check {
		list := make([]string, n)
		parallel(n, func(i int) { list[i] = mint(issuer, alg, fmt.Sprintf("%s-%d", subject, i)) })
		checks, failed := load.Checks(list)
		if failed != nil {
			err = failed
		}
		return checks
	}
	t.thousand = mintMany(1000, "RS256", "user")
	t.many = mintMany(o.Many, "ES256", "customer") // RS256 takes a minute to sign
	for _, alg := range freshAlgorithms {
		for set := range o.Rounds + 1 + repeats {
			t.fresh[alg] = append(t.fresh[alg], mintMany(o.Cold, alg, fmt.Sprintf("%s-%d", strings.ToLower(alg), set)))
		}
	}
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		to     *[]load.Check
		tokens []string
	}{{&t.one, []string{hot}}, {&t.missing, []string{""}}, {&t.forged, forged}} {
		if *part.to, err = load.Checks(part.tokens); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// noise is a signature that has the form of an RSA signature of 2048 bits, so that it
// must be looked at, and is none.
func noise([]byte) []byte {
	b := make([]byte, 256)
	_, _ = rand.Read(b[1:]) // never fails
	return b
}

// parallel does something n times, on all processors.
func parallel(n int, do func(i int)) {
	var workers sync.WaitGroup
	step := runtime.GOMAXPROCS(0)
	for w := range step {
		workers.Go(func() {
			for i := w; i < n; i += step {
				do(i)
			}
		})
	}
	workers.Wait()
}

func claims(subject string) map[string]any {
	return map[string]any{
		"sub": subject, "exp": time.Now().Add(2 * time.Hour).Unix(), "scope": "orders.read orders.write",
		"email": subject + "@example.com", "roles": []string{"customer", "reviewer"},
	}
}

func mint(issuer *oidctest.Issuer, alg, subject string) string {
	return issuer.Token(claims(subject), oidctest.Alg(alg))
}
