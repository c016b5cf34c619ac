package numbers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const (
	capacityOf   = "capacity: never-seen ES384 tokens a second, closed loop"
	goodput      = "twice the capacity: allowed, of the capacity"
	refusedShare = "twice the capacity: answered 503, of all"
	refusedAfter = "twice the capacity: p99 of the answers 503"
	allowedAfter = "twice the capacity: p99 of the allows"
	unanswered   = "twice the capacity: no answer within 0.5 s, of all"
	loadLate     = "twice the capacity: p99 of how late a check is sent"
	otherAnswers = "answers that are neither an allow nor 503"
	recoversIn   = "half the capacity afterwards: last 503 after"
)

func overload() Measurement {
	return Measurement{
		Name:  "overload",
		Title: "Twice the load that it can take",
		About: `A gate with one processor (` + "`GOMAXPROCS=1`" + `), so that the load has the other one, and otherwise with the defaults. All tokens are sent
once. They are ES384: of signatures that are checked more quickly, one processor cannot send twice as many as the other one takes. First a closed loop of 64 at a time for three seconds finds the capacity. Then an open loop sends twice as many a
second for ten seconds, of which the first does not count; then half as many for six. As with the shipped envoy.yaml, who asks gives up
after half a second. Times run from when a check was due, so a load that is late counts against the gate.`,
		Figures: []Figure{
			{capacityOf, "", nil},
			{goodput, "%", atLeast(70)},
			{refusedShare, "%", nil},
			{refusedAfter, "ms", each(150)},
			{allowedAfter, "ms", nil},
			{unanswered, "%", each(1)},
			{loadLate, "ms", nil},
			{otherAnswers, "", each(0)},
			{recoversIn, "s", each(5)},
		},
		run: runOverload,
	}
}

// hasty is a target that is given up after a while.
type hasty struct {
	load.Target
	limit time.Duration
}

// Ask implements [load.Target].
func (h hasty) Ask(ctx context.Context, n int, check *load.Check) (int, time.Time) {
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	return h.Target.Ask(ctx, n, check)
}

// envoyTimeout is grpc_service.timeout of envoy.yaml.
const envoyTimeout = 500 * time.Millisecond

// coldTokens makes n checks with a token each that nobody has seen, of about this
// size at least.
func coldTokens(issuer *oidctest.Issuer, n, size int) ([]load.Check, error) {
	tokens := make([]string, n)
	var workers sync.WaitGroup
	step := runtime.GOMAXPROCS(0)
	for w := range step {
		workers.Go(func() {
			for i := w; i < n; i += step {
				tokens[i] = issuer.Token(map[string]any{
					"exp": time.Now().Add(time.Hour).Unix(), "note": fmt.Sprintf("%0*d", max(0, (size-342)*3/4), 0),
				})
			}
		})
	}
	workers.Wait()
	return load.Checks(tokens)
}

func runOverload(ctx context.Context, r *recorder, s Scale) error {
	issuer := oidctest.NewIssuer(oidctest.WithAlgorithms("ES384"), oidctest.WithAudience("bench"))
	defer issuer.Close()
	g, err := startGate(ctx, s.Gate, []configuredIssuer{{issuer.URL, "bench"}}, "", "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	defer g.stop()
	if _, err := g.awaitReady(ctx, time.Minute, 20*time.Millisecond); err != nil {
		return err
	}
	client, err := load.Dial(g.Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	for round := range s.Overloads {
		r.say("the capacity, round %d of %d", round+1, s.Overloads)
		capacity, err := r.capacity(ctx, issuer, client, s)
		if err != nil {
			return err
		}
		r.add(capacityOf, capacity)
		double, err := coldTokens(issuer, int(2*capacity*s.Over.Seconds()), 0)
		if err != nil {
			return err
		}
		half, err := coldTokens(issuer, int(capacity/2*s.After.Seconds()), 0)
		if err != nil {
			return err
		}
		r.say("twice that, %.0f tokens a second", 2*capacity)
		asked := hasty{client, envoyTimeout}
		answers := load.Open(ctx, asked, double, 0, 2*capacity, s.Over)
		after := load.Open(ctx, asked, half, 0, capacity/2, s.After)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.overloaded(answers, capacity)
		recovered, others := 0.0, 0
		for _, a := range after {
			if a.Status != load.Allowed {
				recovered = (a.Due + a.Took).Seconds()
			}
			if a.Status != load.Allowed && a.Status != http.StatusServiceUnavailable && a.Status != load.Failed {
				others++
			}
		}
		r.add(otherAnswers, float64(others))
		r.add(recoversIn, recovered)
	}
	return nil
}

// capacity is how many never-seen tokens a second are verified at most.
func (r *recorder) capacity(ctx context.Context, issuer *oidctest.Issuer, client *load.Client, s Scale) (float64, error) {
	const atOnce = 64
	n, rate := 2000, 0.0
	for range 2 { // the first gives an idea
		tokens, err := coldTokens(issuer, n, 0)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		_, bad := load.Closed(ctx, client, tokens, atOnce, n, load.Allowed)
		rate = float64(n-bad) / time.Since(began).Seconds()
		n = max(2000, int(rate*s.Capacity.Seconds()))
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if rate < 1 {
		return 0, errors.New("no token was allowed")
	}
	return rate, nil
}

// overloaded records what became of twice the load.
func (r *recorder) overloaded(answers []load.Answer, capacity float64) {
	var allowed, refused, late []time.Duration
	others, silent, first, last := 0, 0, time.Second, time.Duration(0)
	for _, a := range answers {
		last = max(last, a.Due)
		late = append(late, a.Late)
		switch {
		case a.Due < first:
		case a.Status == load.Allowed:
			allowed = append(allowed, a.Took)
		case a.Status == http.StatusServiceUnavailable:
			refused = append(refused, a.Took)
		case a.Status == load.Failed:
			silent++
		default:
			others++
		}
	}
	r.add(goodput, 100*float64(len(allowed))/(capacity*(last-first).Seconds()))
	all := float64(len(allowed) + len(refused) + silent + others)
	r.add(refusedShare, 100*float64(len(refused))/all)
	r.add(unanswered, 100*float64(silent)/all)
	r.add(refusedAfter, load.Percentile(refused, 0.99))
	r.add(allowedAfter, load.Percentile(allowed, 0.99))
	r.add(loadLate, load.Percentile(late, 0.99))
	r.add(otherAnswers, float64(others))
}
