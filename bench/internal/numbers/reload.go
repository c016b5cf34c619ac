package numbers

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const (
	reloadRate  = 1000.0                 // checks a second
	reloadEvery = 600 * time.Millisecond // a hundred a minute
	warmReloads = 10                     // before anything is compared
)

const (
	reloadsDone     = "reloads that took effect"
	reloadTook      = "a reload takes effect after"
	reloadChecks    = "checks"
	reloadUnasked   = "calls that failed"
	reloadNoTime    = "checks answered 503, because their time was up"
	reloadWrong     = "answers that neither configuration gives"
	reloadLate      = "answers of the old configuration after the new one was in force"
	reloadP99       = "Check p99"
	reloadRoutines  = "goroutines before, with the same connections"
	reloadMore      = "goroutines afterwards, more than before"
	reloadMostMore  = "goroutines meanwhile, at most, more than before"
	reloadHeap      = "live heap before"
	reloadHeapGrows = "live heap afterwards, more than before"
)

func reloads() Measurement {
	return Measurement{
		Name:  "reload",
		Title: "A storm of reloads",
		About: `Two configurations differ in a policy's name, the scope it wants, the header it sets and whether a second issuer is
trusted, whose keys are fetched anew each time. A hundred times a minute the file is replaced by the other one, and the gate told by
SIGHUP, for two minutes, while 1,000 checks a second go on in an open loop: good tokens, tokens that one of the two configurations
refuses, forged, expired and foreign ones. An allow must carry the header of one configuration and nothing of the other's. An
answer is wrong if neither configuration gives it; and late if its check was sent when the gate had counted the reload (in its
metrics) and was answered before the next change of the file, and is yet of the old one.

Goroutines are the gate's own count. The live heap is what is allocated right after three garbage collections that the profiling port
has forced, with no load; before is after ten reloads under load, afterwards after all.`,
		Figures: []Figure{
			{reloadsDone, "", nil},
			{reloadTook, "ms", nil},
			{reloadChecks, "", nil},
			{reloadUnasked, "", each(0)},
			{reloadNoTime, "", each(0)},
			{reloadWrong, "", each(0)},
			{reloadLate, "", each(0)},
			{reloadP99, "ms", nil},
			{reloadRoutines, "", nil},
			{reloadMostMore, "", each(100)},
			{reloadMore, "", each(2)},
			{reloadHeap, "MiB", nil},
			{reloadHeapGrows, "MiB", each(1)},
		},
		run: runReloads,
	}
}

// The two configurations take turns.
const (
	evenConfig = iota
	oddConfig
)

// What an answer of the two says, beside the HTTP statuses: who has allowed it.
const (
	byEven = 2000 + evenConfig
	byOdd  = 2000 + oddConfig
	torn   = 2002 // an allow with something of both, or of none
)

// whose tells who allowed a check, by the headers that the answer sets.
func whose(resp *authv3.CheckResponse) int {
	status := load.Status(resp)
	if status != load.Allowed {
		return status
	}
	set := map[string]string{}
	for _, h := range resp.GetOkResponse().GetHeaders() {
		set[h.GetHeader().GetKey()] = string(h.GetHeader().GetRawValue()) + h.GetHeader().GetValue()
	}
	even, odd := set["x-bench-even"], set["x-bench-odd"]
	switch {
	case even == "even" && odd == "" && set["x-auth-subject"] != "":
		return byEven
	case odd == "odd" && even == "" && set["x-auth-subject"] != "":
		return byOdd
	default:
		return torn
	}
}

// kind is a kind of token, and what the two configurations answer.
type kind struct {
	name  string
	token func(first, second *oidctest.Issuer) string
	want  [2]int
}

func reloadKinds() []kind {
	claims := func(more ...any) map[string]any {
		m := map[string]any{"exp": time.Now().Add(time.Hour).Unix(), "scope": "both"}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1] //nolint:forcetypeassert // ours, below
		}
		return m
	}
	const refused, forbidden = http.StatusUnauthorized, http.StatusForbidden
	return []kind{
		{"good", func(a, _ *oidctest.Issuer) string { return a.Token(claims()) }, [2]int{byEven, byOdd}},
		{"with the scope of one", func(a, _ *oidctest.Issuer) string { return a.Token(claims("scope", "even")) }, [2]int{byEven, forbidden}},
		{"with the scope of the other", func(a, _ *oidctest.Issuer) string { return a.Token(claims("scope", "odd")) }, [2]int{forbidden, byOdd}},
		{"of the second issuer", func(_, b *oidctest.Issuer) string { return b.Token(claims()) }, [2]int{refused, byOdd}},
		{"forged", func(a, _ *oidctest.Issuer) string { return a.Token(claims(), oidctest.Forged()) }, [2]int{refused, refused}},
		{"forged, of the second issuer", func(_, b *oidctest.Issuer) string { return b.Token(claims(), oidctest.Forged()) }, [2]int{refused, refused}},
		{"expired", func(a, _ *oidctest.Issuer) string {
			return a.Token(claims("exp", time.Now().Add(-time.Hour).Unix()))
		}, [2]int{refused, refused}},
		{"for somebody else", func(a, _ *oidctest.Issuer) string { return a.Token(claims("aud", "other")) }, [2]int{refused, refused}},
	}
}

// reloadConfigs are the two configurations.
func reloadConfigs(first, second string, patient bool) [2]string {
	head := "server: {listen: \"127.0.0.1:0\"" + patience(patient) + "}\n" + profiledGate
	one := fmt.Sprintf("issuers:\n- {issuer: %q, name: first, audiences: [bench]}\n", first)
	both := one + fmt.Sprintf("- {issuer: %q, name: second, audiences: [bench]}\n", second)
	policy := func(name string) string {
		return fmt.Sprintf("policies:\n- {name: %s, anyScope: [%s, both], headers: {x-bench-%s: \"@policy\"}}\n", name, name, name)
	}
	return [2]string{head + one + policy("even"), head + both + policy("odd")}
}

// patience is a setting of server for machines that are busy with something else.
func patience(patient bool) string {
	if patient {
		return ", checkTimeout: 10s"
	}
	return ""
}

// storming is a gate whose configuration changes under load. It is the load's target
// too, and judges each answer.
type storming struct {
	*gate
	configs [2]string
	client  *load.Client
	kinds   []kind // of the tokens, in turn
	say     func(string, ...any)
	rate    float64 // of checks, a second

	// turn counts changes twice: once before the file is replaced and once when the
	// gate has counted the reload. So it is even while one configuration decides.
	turn atomic.Int64

	took  []time.Duration // of each change
	most  float64         // goroutines
	count struct{ unasked, noTime, wrong, late atomic.Int64 }
}

// Ask implements [load.Target]: the n-th token in turn. What was sent is waited for
// when the load is stopped.
func (s *storming) Ask(ctx context.Context, n int, check *load.Check) (status int, arrived time.Time) {
	k := s.kinds[n%len(s.kinds)]
	before := s.turn.Load()
	status, arrived = s.client.Ask(context.WithoutCancel(ctx), n, check)
	settled := before%2 == 0 && before == s.turn.Load()
	switch {
	case status == load.Failed:
		s.count.unasked.Add(1)
	case status == http.StatusServiceUnavailable:
		s.count.noTime.Add(1)
	case status != k.want[evenConfig] && status != k.want[oddConfig]:
		if s.count.wrong.Add(1) <= 5 {
			s.say("a token %s was answered %d", k.name, status)
		}
	case settled && status != k.want[before/2%2]:
		if s.count.late.Add(1) <= 5 {
			s.say("a token %s was answered %d, by the configuration before", k.name, status)
		}
	}
	return status, arrived
}

// change puts the other configuration in force and returns when the gate has counted
// that.
func (s *storming) change(ctx context.Context) error {
	before, err := s.metrics(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	next := (s.turn.Add(1) + 1) / 2 % 2
	if err := s.configure(s.configs[next]); err != nil {
		return err
	}
	s.Signal(syscall.SIGHUP)
	for {
		now, err := s.metrics(ctx)
		if err != nil {
			return err
		}
		s.most = max(s.most, now["go_goroutines"])
		if failed := now.sum(reloadCounter, `"failure"`) - before.sum(reloadCounter, `"failure"`); failed > 0 {
			return fmt.Errorf("a reload failed: %s", s.Log())
		}
		if now.sum(reloadCounter, `"success"`) > before.sum(reloadCounter, `"success"`) {
			break
		}
		if time.Since(begun) > 30*time.Second {
			return fmt.Errorf("no reload within 30 s: %s", s.Log())
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	s.turn.Add(1)
	s.took = append(s.took, time.Since(begun))
	return nil
}

const reloadCounter = "claimgate_config_reloads_total"

func runReloads(ctx context.Context, r *recorder, s Scale) error {
	first, second := oidctest.NewIssuer(oidctest.WithAudience("bench")), oidctest.NewIssuer(oidctest.WithAudience("bench"))
	defer first.Close()
	defer second.Close()
	kinds := reloadKinds()
	tokens := make([]string, 50*len(kinds))
	for i := range tokens {
		tokens[i] = kinds[i%len(kinds)].token(first, second)
	}
	checks, err := load.Checks(tokens)
	if err != nil {
		return err
	}
	storm := &storming{configs: reloadConfigs(first.URL, second.URL, s.Patient), kinds: kinds, say: r.say, rate: s.rate(reloadRate)}
	if storm.gate, err = startGateWith(ctx, s.Gate, storm.configs[evenConfig]); err != nil {
		return err
	}
	defer storm.stop()
	if _, err := storm.awaitReady(ctx, time.Minute, 20*time.Millisecond); err != nil {
		return err
	}
	if storm.client, err = load.Dial(storm.Addr); err != nil {
		return err
	}
	defer storm.client.Close()
	storm.client.Judge = whose

	r.say("ten reloads to warm up")
	if _, err := storm.blow(ctx, checks, warmReloads); err != nil {
		return err
	}
	heap, goroutines, err := storm.heap(ctx)
	if err != nil {
		return err
	}
	r.say("%d reloads", s.Reloads)
	storm.took, storm.most = nil, 0
	answers, err := storm.blow(ctx, checks, s.Reloads)
	if err != nil {
		return err
	}
	heapAfter, goroutinesAfter, err := storm.heap(ctx)
	if err != nil {
		return err
	}
	r.add(reloadsDone, float64(len(storm.took)))
	for _, t := range storm.took {
		r.add(reloadTook, t.Seconds()*1000)
	}
	r.add(reloadChecks, float64(len(answers)))
	r.add(reloadUnasked, float64(storm.count.unasked.Load()))
	r.add(reloadNoTime, float64(storm.count.noTime.Load()))
	r.add(reloadWrong, float64(storm.count.wrong.Load()))
	r.add(reloadLate, float64(storm.count.late.Load()))
	r.add(reloadP99, load.Percentile(load.Times(answers), 0.99))
	r.add(reloadRoutines, goroutines)
	r.add(reloadMostMore, storm.most-goroutines)
	r.add(reloadMore, goroutinesAfter-goroutines)
	r.add(reloadHeap, heap)
	r.add(reloadHeapGrows, heapAfter-heap)
	return nil
}

// blow changes the configuration n times under load.
func (s *storming) blow(ctx context.Context, checks []load.Check, n int) (answers []load.Answer, failed error) {
	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	var changing sync.WaitGroup
	changing.Go(func() {
		defer stop()
		for i := range n {
			if failed = pause(ctx, time.Until(began.Add(time.Duration(i)*reloadEvery))); failed != nil {
				return
			}
			if failed = s.change(ctx); failed != nil {
				return
			}
		}
		failed = pause(ctx, time.Until(began.Add(time.Duration(n)*reloadEvery)))
	})
	answers = load.Open(loadCtx, s, checks, 0, s.rate, time.Duration(n)*reloadEvery+time.Minute)
	changing.Wait()
	return answers, failed
}
