package numbers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/bench/internal/realms"
)

const (
	answerAfter = 10 * time.Millisecond  // what the provider takes for an answer
	slowAnswer  = 200 * time.Millisecond // and when it is slow
	hotRate     = 500.0                  // checks a second while something else is watched
	compareRate = 1000.0                 // checks a second where many issuers are compared with few
)

func issuers() Measurement {
	const s, mib = "s", "MiB"
	return Measurement{
		Name:  "issuers",
		Title: "Ten thousand issuers",
		About: `One provider with 10,000 realms, each an issuer with its own metadata and key, on the same machine; it takes 10 ms
for an answer. The gate is the real program with a configuration file that names them all, a line for each. As soon as it
listens, one token of each of 500 issuers, spread over the file, is checked at once, and then 500 checks a second go through
these tokens until all issuers have keys. This is done twice. The first gate has the defaults; beside it stands a second one
with 20 of the issuers, and both are sent 500 tokens in an open loop, 1,000 checks a second, in alternating rounds. The gate
after that has ` + "`keys.refresh: 1m`" + `, so that each issuer's metadata and keys are fetched every 48 s, and is watched for a minute;
then the provider takes 200 ms for an answer, with which 16 at once cannot keep up.

"At once" counts requests at the provider. The limit of 16 is one of refreshes. First fetches are paced instead, 200 a second,
so how many run at once depends on how long the provider takes; and a check that has no keys to go by never waits behind
another issuer's fetch, which is why the second figure of the start is larger. That refreshes spread out with the default of an hour
too, from the first one on, is the subject of a test with a clock of its own (TestRefreshesOfManyIssuersSpreadOut).`,
		Figures: []Figure{
			{"configuration file", "KiB", median(1024)},
			{"serves after", s, nil},
			{"tokens of the 500 hot issuers are all allowed after", s, each(10)},
			{"all issuers have keys after", s, each(60)},
			{"checks refused after a first allow of their token", "", each(0)},
			{"checks answered 503 before it", "", nil},
			{"start: fetches at once, of issuers that nobody asks for", "", each(16)},
			{"start: fetches at once, with those that checks wait for", "", nil},
			{"resident memory with all keys", mib, nil},
			{"resident memory at most", mib, each(512)},
			{"refreshes a second, mean", "", nil},
			{"refreshes in the busiest second, as a multiple of the mean", "", each(2)},
			{"refreshes at once", "", each(16)},
			{"refreshes at once, the provider slow", "", each(16)},
			{"checks refused meanwhile", "", each(0)},
			{"Check p99, 20 issuers", "ms", nil},
			{"Check p99, 10,000 issuers", "ms", nil},
			{"Check p99, 10,000 issuers to 20", "", median(1.10)},
		},
		run: runIssuers,
	}
}

// crowd is the provider with the tokens of its popular realms.
type crowd struct {
	*realms.Provider
	scale  Scale
	checks []load.Check // one for each popular realm
}

func newCrowd(s Scale) (*crowd, error) {
	every := s.Issuers / s.Hot
	popular := func(i int) bool { return i%every == 0 && i/every < s.Hot }
	p, err := realms.Start(s.Issuers, popular)
	if err != nil {
		return nil, err
	}
	p.SetDelay(answerAfter)
	tokens := make([]string, s.Hot)
	for i := range tokens {
		tokens[i] = p.Token(i*every, fmt.Sprintf("user-%d", i))
	}
	checks, err := load.Checks(tokens)
	return &crowd{p, s, checks}, err
}

// configured names the first n realms.
func (c *crowd) configured(n int) []configuredIssuer {
	list := make([]configuredIssuer, n)
	for i := range list {
		list[i] = configuredIssuer{c.Issuer(i), fmt.Sprintf("r%d", i)}
	}
	return list
}

func runIssuers(ctx context.Context, r *recorder, s Scale) error {
	c, err := newCrowd(s)
	if err != nil {
		return err
	}
	defer c.Close()

	many, err := c.start(ctx, r, "")
	if err != nil {
		return err
	}
	defer func() { many.stop() }()
	few, err := startGate(ctx, s.Gate, c.configured(s.Few), "")
	if err != nil {
		return err
	}
	defer few.stop()
	if err := c.compare(ctx, r, few, many); err != nil {
		return err
	}
	if err := memory(r, many); err != nil {
		return err
	}
	few.stop()
	many.stop()

	if many, err = c.start(ctx, r, fmt.Sprintf(", keys: {refresh: %s}", s.Refresh)); err != nil {
		return err
	}
	if err := c.watchRefreshes(ctx, r, many); err != nil {
		return err
	}
	return memory(r, many)
}

// start starts a gate for all realms under load, and returns when all have keys.
func (c *crowd) start(ctx context.Context, r *recorder, more string) (*gate, error) {
	r.say("starting with %d issuers", c.scale.Issuers)
	c.Take()
	g, err := startGate(ctx, c.scale.Gate, c.configured(c.scale.Issuers), more)
	if err != nil {
		return nil, err
	}
	listens := time.Since(g.Began)
	first, err := c.firstMinute(ctx, g)
	if err != nil {
		g.stop()
		return nil, err
	}
	m, err := g.metrics(ctx)
	if err == nil && m.sum("claimgate_keys", `state="usable"`) < float64(c.scale.Issuers) {
		err = fmt.Errorf("the gate is ready and has %.0f keys only", m.sum("claimgate_keys", `state="usable"`))
	}
	if err != nil {
		g.stop()
		return nil, err
	}
	counts := c.Take()
	r.add("configuration file", float64(g.configSize)/1024)
	r.add("serves after", listens.Seconds())
	r.add("tokens of the 500 hot issuers are all allowed after", first.allAllowed.Seconds())
	r.add("all issuers have keys after", first.ready.Seconds())
	r.add("checks refused after a first allow of their token", float64(first.refusedLater))
	r.add("checks answered 503 before it", float64(first.refusedFirst))
	r.add("start: fetches at once, of issuers that nobody asks for", float64(counts.AtOnceQuiet))
	r.add("start: fetches at once, with those that checks wait for", float64(counts.AtOnce))
	r.say("hot tokens allowed after %s, all keys after %s", first.allAllowed.Round(time.Millisecond), first.ready.Round(time.Millisecond))
	return g, nil
}

// firstMinute is how a start went; times are from the start of the program.
type firstMinute struct {
	ready, allAllowed          time.Duration
	refusedFirst, refusedLater int // before and after a token was allowed for the first time
}

// firstMinute checks the hot tokens until all issuers have keys.
func (c *crowd) firstMinute(ctx context.Context, g *gate) (firstMinute, error) {
	client, err := load.Dial(g.Addr)
	if err != nil {
		return firstMinute{}, err
	}
	defer client.Close()
	loadCtx, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	var f firstMinute
	allowed := make([]bool, len(c.checks))
	missing := len(allowed)
	take := func(began time.Duration, answers []load.Answer) {
		for _, a := range answers {
			switch {
			case a.Status == load.Allowed && !allowed[a.Check]:
				allowed[a.Check] = true
				missing--
				f.allAllowed = max(f.allAllowed, began+a.Due+a.Took)
			case a.Status == load.Allowed:
			case allowed[a.Check]:
				f.refusedLater++
			default:
				f.refusedFirst++
			}
		}
	}
	var loading sync.WaitGroup
	loading.Go(func() {
		take(time.Since(g.Began), load.Open(loadCtx, client, c.checks, 0, 1e6, time.Duration(len(c.checks))*time.Microsecond))
		for n := 0; loadCtx.Err() == nil; n += int(hotRate) {
			take(time.Since(g.Began), load.Open(context.WithoutCancel(loadCtx), client, c.checks, n, hotRate, time.Second))
		}
	})
	f.ready, err = g.awaitReady(ctx, 3*time.Minute, 500*time.Millisecond)
	stopLoad()
	loading.Wait()
	if err == nil && missing > 0 {
		err = fmt.Errorf("tokens of %d hot issuers were never allowed", missing)
	}
	return f, err
}

// compare sends two gates the same number of tokens, in turn.
func (c *crowd) compare(ctx context.Context, r *recorder, few, many *gate) error {
	if _, err := few.awaitReady(ctx, time.Minute, 50*time.Millisecond); err != nil {
		return err
	}
	tokens := make([]string, len(c.checks))
	for i := range tokens {
		tokens[i] = c.Token(i%c.scale.Few, fmt.Sprintf("user-%d", i))
	}
	fewChecks, err := load.Checks(tokens)
	if err != nil {
		return err
	}
	p99 := func(g *gate, checks []load.Check, d time.Duration) (float64, error) {
		client, err := load.Dial(g.Addr)
		if err != nil {
			return 0, err
		}
		defer client.Close()
		load.Open(ctx, client, checks, 0, compareRate, time.Second) // connections, and the tokens in the cache
		answers := load.Open(ctx, client, checks, 0, compareRate, d)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if n := load.Without(answers, load.Allowed); n > 0 {
			return 0, fmt.Errorf("%d checks were not answered with an allow", n)
		}
		return load.Percentile(load.Times(answers), 0.99), nil
	}
	for round := range c.scale.Rounds {
		r.say("few against many issuers, round %d of %d", round+1, c.scale.Rounds)
		var with [2]float64
		for i := range with {
			which := (i + round) % 2
			g, checks := few, fewChecks
			if which == 1 {
				g, checks = many, c.checks
			}
			if with[which], err = p99(g, checks, c.scale.Round); err != nil {
				return err
			}
		}
		r.add("Check p99, 20 issuers", with[0])
		r.add("Check p99, 10,000 issuers", with[1])
		r.add("Check p99, 10,000 issuers to 20", with[1]/with[0])
	}
	return nil
}

// watchRefreshes counts refreshes, with the provider as usual and then slow.
func (c *crowd) watchRefreshes(ctx context.Context, r *recorder, g *gate) error {
	client, err := load.Dial(g.Addr)
	if err != nil {
		return err
	}
	defer client.Close()
	r.say("counting refreshes for %s", c.scale.Watch)
	c.Take()
	began := time.Now()
	answers := load.Open(ctx, client, c.checks, 0, hotRate, c.scale.Watch)
	counts := c.Take()
	r.say("a slow provider for %s", c.scale.Slow)
	c.SetDelay(slowAnswer)
	defer c.SetDelay(answerAfter)
	answers = append(answers, load.Open(ctx, client, c.checks, 0, hotRate, c.scale.Slow)...)
	slow := c.Take()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	seconds := int(c.scale.Watch / time.Second)
	busiest, err := realms.Busiest(realms.PerSecond(counts.KeySets, began, seconds))
	if err != nil {
		return err
	}
	r.add("refreshes a second, mean", float64(len(counts.KeySets))/float64(seconds))
	r.add("refreshes in the busiest second, as a multiple of the mean", busiest)
	r.add("refreshes at once", float64(counts.AtOnce))
	r.add("refreshes at once, the provider slow", float64(slow.AtOnce))
	r.add("checks refused meanwhile", float64(load.Without(answers, load.Allowed)))
	return nil
}

func memory(r *recorder, g *gate) error {
	now, peak, err := g.Memory()
	if err != nil {
		return err
	}
	r.add("resident memory with all keys", now)
	r.add("resident memory at most", peak)
	return nil
}
