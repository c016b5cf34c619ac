package numbers

import (
	"context"
	"fmt"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const (
	startListens = "it listens after"
	startAllows  = "the first allow is there after"
	startRefused = "answers before that were not an allow"
)

func start() Measurement {
	return Measurement{
		Name:  "start",
		Title: "From start to the first correct answer",
		About: `The gate is started, with an issuer on the same machine, and as soon as it says where it listens, it is asked about a good token,
again and again until the answer is an allow. Time runs from the start of the process; keys are fetched on the way.`,
		Figures: []Figure{
			{startListens, "ms", nil},
			{startAllows, "ms", each(200)},
			{startRefused, "", nil},
		},
		run: runStart,
	}
}

func runStart(ctx context.Context, r *recorder, s Scale) error {
	issuer := oidctest.NewIssuer(oidctest.WithAudience("bench"))
	defer issuer.Close()
	checks, err := load.Checks([]string{issuer.Token(map[string]any{"exp": time.Now().Add(time.Hour).Unix()})})
	if err != nil {
		return err
	}
	r.say("%d starts", s.Starts)
	for range s.Starts {
		listens, allows, refused, err := startOnce(ctx, s, issuer.URL, &checks[0])
		if err != nil {
			return err
		}
		r.add(startListens, listens.Seconds()*1000)
		r.add(startAllows, allows.Seconds()*1000)
		r.add(startRefused, float64(refused))
	}
	return nil
}

func startOnce(ctx context.Context, s Scale, issuer string, check *load.Check) (listens, allows time.Duration, refused int, err error) {
	g, err := startGate(ctx, s.Gate, []configuredIssuer{{issuer, "bench"}}, "")
	if err != nil {
		return 0, 0, 0, err
	}
	defer g.stop()
	listens = time.Since(g.Began)
	client, err := load.DialMany(g.Addr, 1)
	if err != nil {
		return 0, 0, 0, err
	}
	defer client.Close()
	for {
		status, arrived := client.Ask(ctx, 0, check)
		if status == load.Allowed {
			return listens, arrived.Sub(g.Began), refused, nil
		}
		refused++
		if time.Since(g.Began) > time.Minute {
			return 0, 0, 0, fmt.Errorf("no allow within a minute: %s", g.Log())
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return 0, 0, 0, err
		}
	}
}
