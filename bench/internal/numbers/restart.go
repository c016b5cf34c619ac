package numbers

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/claimgate/claimgate/bench/internal/envoy"
	"github.com/claimgate/claimgate/bench/internal/load"
)

const (
	restartRate  = 500.0 // requests a second
	replicaCount = 3
)

const (
	restartsDone    = "restarts of a replica"
	restartTook     = "a rolling restart takes"
	restartRequests = "requests"
	restartFailed   = "requests that failed"
	restartRetried  = "checks that Envoy sent again"
	restartP99      = "p99 of a request"
	killsFailed     = "requests that failed while the gates were killed instead (SIGKILL)"
)

func restarts() Measurement {
	return Measurement{
		Name:  "restart",
		Title: "Rolling restarts behind Envoy",
		About: `Three gates behind a real Envoy with the shipped envoy.yaml: its retry policy, time-outs, circuit breakers, and its
cluster with three addresses instead of one. 500 requests a second go through it in an open loop while all three are restarted twenty
times, one after the other: SIGTERM, and when the process has ended, a new one at the same address; the next when that is ready. This is
harsher than Kubernetes, which starts a new pod first and takes the old one's address away: here Envoy knows nothing, and asks an
address where nobody listens. ` + "`server.drainDelay` is 500 ms" + ` to save time. A request has failed if it is not answered 200 by an upstream that
insists on the identity header. At the end each gate is killed and started again a few times, which breaks checks off that are under way.`,
		Figures: []Figure{
			{restartsDone, "", nil},
			{restartTook, "s", nil},
			{restartRequests, "", nil},
			{restartFailed, "", each(0)},
			{restartRetried, "", nil},
			{restartP99, "ms", nil},
			{killsFailed, "", nil},
		},
		run: runRestarts,
	}
}

func runRestarts(ctx context.Context, r *recorder, s Scale) error {
	site, err := newSite()
	if err != nil {
		return err
	}
	defer site.close()
	for range replicaCount {
		if _, err := site.add(ctx, s.Gate, ", drainDelay: 500ms"+patience(s.Patient)); err != nil {
			return err
		}
	}
	config, err := envoy.Shipped(envoy.Static(site.addresses()...), site.address, s.Patient)
	if err != nil {
		return err
	}
	e, err := envoy.Start(ctx, s.Envoy, config, 1)
	if err != nil {
		return err
	}
	defer e.Stop()
	client := load.DialHTTP(e.Listeners["edge"], 64)
	defer client.Close()
	answers, err := during(ctx, client, site.requests, s.rate(restartRate), func(ctx context.Context) error {
		for i := range s.Restarts {
			r.say("rolling restart %d of %d", i+1, s.Restarts)
			began := time.Now()
			if err := site.restartAll(ctx, syscall.SIGTERM); err != nil {
				return err
			}
			r.add(restartTook, time.Since(began).Seconds())
		}
		return nil
	})
	if err != nil {
		return err
	}
	retried, err := e.Counter(ctx, "cluster.claimgate.upstream_rq_retry")
	if err != nil {
		return err
	}
	r.add(restartsDone, float64(s.Restarts*len(site.replicas)))
	r.add(restartRequests, float64(len(answers)))
	r.add(restartFailed, float64(r.failed(answers)))
	r.add(restartRetried, retried)
	r.add(restartP99, load.Percentile(load.Times(answers), 0.99))
	answers, err = during(ctx, client, site.requests, s.rate(restartRate), func(ctx context.Context) error {
		for i := range s.Kills {
			r.say("killing all, %d of %d", i+1, s.Kills)
			if err := site.restartAll(ctx, syscall.SIGKILL); err != nil {
				return err
			}
			if err := pause(ctx, 300*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
	r.add(killsFailed, float64(r.failed(answers)))
	return err
}

// restartAll restarts one replica after the other.
func (s *site) restartAll(ctx context.Context, by os.Signal) error {
	for _, g := range s.replicas {
		if err := g.restart(ctx, by); err != nil {
			return err
		}
	}
	return nil
}

// failed counts the requests that were not allowed, and says how they were answered.
func (r *recorder) failed(answers []load.Answer) int {
	n := load.Without(answers, load.Allowed)
	if n > 0 {
		counts, seconds := map[int]int{}, map[int]int{}
		for _, a := range answers {
			counts[a.Status]++
			if a.Status != load.Allowed {
				seconds[int(a.Due.Seconds())]++
			}
		}
		r.say("answers by status: %v; failures by second: %v", counts, seconds)
	}
	return n
}
