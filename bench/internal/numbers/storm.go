package numbers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const (
	stormRate    = 1000.0 // tokens with a made-up kid a second
	stormIssuers = 20
	goodTokens   = 500
)

func storm() Measurement {
	return Measurement{
		Name:  "storm",
		Title: "A storm of made-up key IDs",
		About: `20 issuers; 500 good checks a second go through 500 tokens of all of them, in an open loop. First, 1,000 tokens a second
come for a minute that name one of the issuers and a random ` + "`kid`" + `, each another. Then rounds with and without such a storm take
turns; here its tokens name all issuers. The load makes the storm on the same two processors, so what it costs there is in the
ratio.`,
		Figures: []Figure{
			{"one issuer, a minute: tokens with a random kid", "", nil},
			{"one issuer: fetches of its keys", "", each(3)},
			{"all issuers, in turns: fetches of the keys of one, at most", "", each(3)},
			{"random kids answered 401", "%", nil},
			{"random kids answered 503", "%", nil},
			{"random kids allowed", "", each(0)},
			{"good tokens not allowed", "", each(0)},
			{"Check p99 of good tokens, no storm", "ms", nil},
			{"Check p99 of good tokens, storm", "ms", nil},
			{"Check p99 of good tokens, storm to none", "", median(1.2)},
		},
		run: runStorm,
	}
}

// target is a gate with the issuers that it trusts, and good tokens of theirs.
type target struct {
	*gate
	issuers []*oidctest.Issuer
	good    []load.Check
	client  *load.Client
}

func newTarget(ctx context.Context, gatePath string) (t *target, err error) {
	t = &target{}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	var configured []configuredIssuer
	for i := range stormIssuers {
		issuer := oidctest.NewIssuer(oidctest.WithAudience("bench"))
		t.issuers = append(t.issuers, issuer)
		configured = append(configured, configuredIssuer{issuer.URL, fmt.Sprintf("i%d", i)})
	}
	tokens := make([]string, goodTokens)
	for i := range tokens {
		tokens[i] = t.issuers[i%stormIssuers].Token(map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
	}
	if t.good, err = load.Checks(tokens); err != nil {
		return t, err
	}
	if t.gate, err = startGate(ctx, gatePath, configured, ""); err != nil {
		return t, err
	}
	if _, err = t.awaitReady(ctx, 10*time.Second, 50*time.Millisecond); err != nil {
		return t, err
	}
	t.client, err = load.Dial(t.Addr)
	return t, err
}

func (t *target) close() {
	if t.client != nil {
		t.client.Close()
	}
	if t.gate != nil {
		t.stop()
	}
	for _, issuer := range t.issuers {
		issuer.Close()
	}
}

// fetches counts the requests for each issuer's keys so far.
func (t *target) fetches() []int {
	list := make([]int, len(t.issuers))
	for i, issuer := range t.issuers {
		list[i] = issuer.Requests(oidctest.JWKS)
	}
	return list
}

// mostSince returns the largest number of fetches of one issuer since before.
func (t *target) mostSince(before []int) float64 {
	now := t.fetches()
	for i := range now {
		now[i] -= before[i]
	}
	return float64(slices.Max(now))
}

// randomKIDs makes checks of tokens that name these issuers in turn and keys that
// nobody has. Only the header differs: the signature is never looked at.
func randomKIDs(issuers []*oidctest.Issuer, n int) ([]load.Check, error) {
	tokens := make([]string, n)
	noSignature := oidctest.SignFunc(func([]byte) []byte { return make([]byte, 64) })
	for i := range tokens {
		tokens[i] = issuers[i%len(issuers)].Token(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}, oidctest.KeyID(rand.Text()), noSignature)
	}
	return load.Checks(tokens)
}

func runStorm(ctx context.Context, r *recorder, s Scale) error {
	t, err := newTarget(ctx, s.Gate)
	if err != nil {
		return err
	}
	defer t.close()
	load.Open(ctx, t.client, t.good, 0, hotRate, 2*time.Second) // the tokens are in the cache from now on

	var wild, good []load.Answer
	blow := func(checks []load.Check, d time.Duration) (times []time.Duration, err error) {
		other, err := load.Dial(t.Addr)
		if err != nil {
			return nil, err
		}
		defer other.Close()
		var storm sync.WaitGroup
		if len(checks) > 0 {
			storm.Go(func() { wild = append(wild, load.Open(ctx, other, checks, 0, stormRate, d)...) })
		}
		calm := load.Open(ctx, t.client, t.good, 0, hotRate, d)
		storm.Wait()
		good = append(good, calm...)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return load.Times(calm), nil
	}

	checks, err := randomKIDs(t.issuers[:1], int(stormRate*s.Storm.Seconds()))
	if err != nil {
		return err
	}
	r.say("one issuer, for %s", s.Storm)
	before := t.fetches()
	if _, err := blow(checks, s.Storm); err != nil {
		return err
	}
	r.add("one issuer, a minute: tokens with a random kid", float64(len(wild)))
	r.add("one issuer: fetches of its keys", t.mostSince(before))

	// As many seconds in all as the storm before: half of them stormy.
	if checks, err = randomKIDs(t.issuers, int(stormRate*s.Round.Seconds())*s.Rounds); err != nil {
		return err
	}
	before = t.fetches()
	for round := range s.Rounds {
		r.say("all issuers, round %d of %d", round+1, s.Rounds)
		part := len(checks) / s.Rounds
		var with [2]float64
		for i := range with {
			which := (i + round) % 2
			var send []load.Check
			if which == 1 {
				send = checks[round*part : (round+1)*part]
			}
			times, err := blow(send, s.Round)
			if err != nil {
				return err
			}
			with[which] = load.Percentile(times, 0.99)
		}
		r.add("Check p99 of good tokens, no storm", with[0])
		r.add("Check p99 of good tokens, storm", with[1])
		r.add("Check p99 of good tokens, storm to none", with[1]/with[0])
	}
	r.add("all issuers, in turns: fetches of the keys of one, at most", t.mostSince(before))
	share := func(status int) float64 {
		return 100 * float64(len(wild)-load.Without(wild, status)) / float64(len(wild))
	}
	r.add("random kids answered 401", share(http.StatusUnauthorized))
	r.add("random kids answered 503", share(http.StatusServiceUnavailable))
	r.add("random kids allowed", float64(len(wild)-load.Without(wild, load.Allowed)))
	r.add("good tokens not allowed", float64(load.Without(good, load.Allowed)))
	return nil
}
