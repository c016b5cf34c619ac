package checks

import (
	"context"
	"fmt"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/bench/internal/server"
)

// calm is how many processors others may use while something is measured.
const calm = 0.15

// rounds runs every variant once a round, in rotating order. The first round warms
// up.
type rounds struct {
	options  Options
	bench    *bench
	patience time.Duration // left for waiting until others are calm, and for repeating what they disturbed
}

func (r *rounds) run(ctx context.Context) ([]Sample, error) {
	variants := r.bench.variants
	var samples []Sample
	done, all := 0, (r.options.Rounds+1)*len(variants)
	began := time.Now()
	for round := range r.options.Rounds + 1 {
		for i := range variants {
			v := &variants[(i+round*5)%len(variants)]
			left := "…"
			if done > 0 {
				left = (time.Since(began) / time.Duration(done) * time.Duration(all-done)).Round(time.Second).String()
			}
			fmt.Fprintf(r.options.Progress, "\r\x1b[K%d of %d, %s left: %s, %s ", done+1, all, left, v.suite, v.name)
			s, err := r.calmSample(ctx, v, round)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", v.suite, v.name, err)
			}
			if round > 0 {
				samples = append(samples, s)
			}
			done++
		}
	}
	fmt.Fprint(r.options.Progress, "\r\x1b[K")
	return samples, nil
}

// calmSample measures a variant when others are calm, and again if they were not, as
// long as patience lasts. Runs are chosen by what others did and never by result.
func (r *rounds) calmSample(ctx context.Context, v *variant, round int) (Sample, error) {
	if err := r.awaitCalm(ctx); err != nil {
		return Sample{}, err
	}
	var best Sample
	for try := 0; ; try++ {
		checks := v.checks.next()
		if checks == nil {
			return best, nil // none left to repeat it with
		}
		began := time.Now()
		s, err := r.sample(ctx, v, round, checks)
		if err != nil {
			return s, err
		}
		if try == 0 || s.Others < best.Others {
			best = s
		}
		if round == 0 || best.Others <= calm || try == repeats || r.patience <= 0 {
			return best, nil
		}
		r.patience -= time.Since(began)
	}
}

// awaitCalm waits until others use little, for two seconds at most.
func (r *rounds) awaitCalm(ctx context.Context) error {
	for range 20 {
		d, err := server.Watching(r.bench.processes...)
		if err != nil {
			return err
		}
		const look = 100 * time.Millisecond
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		others, err := d.Others()
		if err != nil || others <= calm || r.patience <= 0 {
			return err
		}
		r.patience -= look
	}
	return nil
}

// sample measures a variant once.
func (r *rounds) sample(ctx context.Context, v *variant, round int, checks []load.Check) (s Sample, err error) {
	s = Sample{Suite: v.suite, Variant: v.name, Round: round}
	client, err := v.dial()
	if err != nil {
		return s, err
	}
	defer client.Close()
	open := v.suite == DirectOpen || v.suite == ProxyOpen
	length, count := r.options.Open, r.options.Requests
	if v.checks.once {
		count = len(checks)
	} else {
		// Connections, on both sides; and a gate forgets a token after five minutes.
		load.Closed(ctx, client, checks, openConnections, max(2*openConnections, min(len(checks), count)), v.want)
	}
	if round == 0 { // it only warms up
		length, count = length/3, (count+2)/3
	}
	counters, err := v.read(ctx, r.bench)
	if err != nil {
		return s, err
	}
	began := time.Now()
	var latencies []time.Duration
	var bad int
	if open {
		answers := load.Open(ctx, client, checks, 0, r.options.Rate, length)
		latencies, bad = load.Times(answers), load.Without(answers, v.want)
	} else {
		latencies, bad = load.Closed(ctx, client, checks, inFlight, count, v.want)
	}
	took := time.Since(began)
	used, err := counters.since(ctx)
	switch {
	case ctx.Err() != nil:
		return s, context.Cause(ctx)
	case err != nil:
		return s, err
	case bad > 0:
		return s, fmt.Errorf("%d of %d checks were not answered %d", bad, len(latencies), v.want)
	}
	n := float64(len(latencies))
	s.CPU, s.EnvoyCPU, s.Allocs, s.Others = used.server/n, used.envoy/n, used.mallocs/n, used.others
	s.PerSecond = n / took.Seconds()
	s.P50, s.P90 = load.Percentile(latencies, 0.5), load.Percentile(latencies, 0.9)
	s.P99, s.P999 = load.Percentile(latencies, 0.99), load.Percentile(latencies, 0.999)
	if v.server != nil && v.server.process != nil {
		s.RSS, _, err = v.server.process.Memory()
	}
	return s, err
}

// target is what is asked, with its connections.
type target interface {
	load.Target
	Close()
}

func (v *variant) dial() (target, error) {
	switch v.suite {
	case Proxied:
		return load.DialHTTP(v.addr, inFlight), nil
	case ProxyOpen:
		return load.DialHTTP(v.addr, openConnections), nil
	default:
		return load.Dial(v.addr)
	}
}

// counters are those of the processes that a variant is made of.
type counters struct {
	variant     *variant
	envoy       *server.Process // nil: it is not asked
	disturbance *server.Disturbance

	serverCPU, envoyCPU time.Duration
	mallocs, oneLook    float64 // so far, and what a look at them costs
}

// used is what has been used since; times in µs.
type used struct{ server, envoy, mallocs, others float64 }

func (v *variant) read(ctx context.Context, b *bench) (c *counters, err error) {
	c = &counters{variant: v}
	if v.suite == Proxied || v.suite == ProxyOpen {
		c.envoy = b.envoy.Process
	}
	first, err := v.server.mallocs(ctx)
	if err != nil {
		return nil, err
	}
	if c.mallocs, err = v.server.mallocs(ctx); err != nil {
		return nil, err
	}
	c.oneLook = c.mallocs - first
	if c.disturbance, err = server.Watching(b.processes...); err != nil {
		return nil, err
	}
	c.serverCPU, c.envoyCPU, err = c.cpu()
	return c, err
}

func (c *counters) cpu() (ofServer, ofEnvoy time.Duration, err error) {
	if s := c.variant.server; s != nil && s.process != nil {
		if ofServer, err = s.process.CPU(); err != nil {
			return 0, 0, err
		}
	}
	if c.envoy != nil {
		ofEnvoy, err = c.envoy.CPU()
	}
	return ofServer, ofEnvoy, err
}

func (c *counters) since(ctx context.Context) (u used, err error) {
	ofServer, ofEnvoy, err := c.cpu()
	if err != nil {
		return u, err
	}
	if u.others, err = c.disturbance.Others(); err != nil {
		return u, err
	}
	mallocs, err := c.variant.server.mallocs(ctx)
	u.server = float64((ofServer - c.serverCPU).Nanoseconds()) / 1000
	u.envoy = float64((ofEnvoy - c.envoyCPU).Nanoseconds()) / 1000
	u.mallocs = max(0, mallocs-c.mallocs-c.oneLook)
	return u, err
}
