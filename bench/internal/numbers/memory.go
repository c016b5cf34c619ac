package numbers

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const (
	// Signatures are not kept, and those of ES256 are made more quickly: 86 characters,
	// where RS256 has 342.
	rs256Longer = 342 - 86
	tokenSize   = 1024 - rs256Longer
	churnRate   = 1000.0 // never-seen tokens a second
)

const (
	idleMemory   = "resident memory, idle"
	tokenBytes   = "a token, if RS256 had signed it"
	claimBytes   = "claims of a token"
	cachedTokens = "tokens cached"
	fullMemory   = "resident memory with 100,000 tokens"
	besideClaims = "live heap a cached token, besides its claims"
	churnTokens  = "never-seen tokens then"
	churnRefused = "of these not allowed, for want of processor time"
	churnMost    = "resident memory meanwhile, at most"
	churnGrows   = "resident memory in the last quarter, more than in the second"
)

func memoryUse() Measurement {
	return Measurement{
		Name:  "memory",
		Title: "Memory",
		About: `A gate with the defaults, and one issuer. Idle is after ten checks. Then 100,000 tokens are sent, with the claims of RS256 tokens of 1 KB, but signed by ES256 to save time; the cache's default
has room for just as many. What a token costs is the live heap after forced garbage collections, less what it was before, less the decoded
claims of all tokens. Resident memory is read when all have been sent again, in turn, until at least half a minute has passed. Then 1,000 tokens a second that were never seen before are sent for ten minutes, each of which
drives another one out.`,
		Figures: []Figure{
			{idleMemory, "MiB", each(30)},
			{tokenBytes, "B", nil},
			{claimBytes, "B", nil},
			{cachedTokens, "", nil},
			{fullMemory, "MiB", each(150)},
			{besideClaims, "B", each(1024)},
			{churnTokens, "", nil},
			{churnRefused, "", nil},
			{churnMost, "MiB", nil},
			{churnGrows, "MiB", each(15)},
		},
		run: runMemory,
	}
}

func runMemory(ctx context.Context, r *recorder, s Scale) error {
	issuer := oidctest.NewIssuer(oidctest.WithAlgorithms("ES256"), oidctest.WithAudience("bench"))
	defer issuer.Close()
	config := fmt.Sprintf("server: {listen: \"127.0.0.1:0\", checkTimeout: 10s}\n%sissuers:\n- {issuer: %q, name: bench, audiences: [bench]}\npolicies:\n- name: everything\n",
		profiledGate, issuer.URL)
	g, err := startGateWith(ctx, s.Gate, config)
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
	send := func(checks []load.Check) error {
		if _, bad := load.Closed(ctx, client, checks, 32, len(checks), load.Allowed); bad > 0 && ctx.Err() == nil {
			return fmt.Errorf("%d of %d tokens were not allowed", bad, len(checks))
		}
		return context.Cause(ctx)
	}
	checks, err := coldTokens(issuer, s.Cached, tokenSize)
	if err != nil {
		return err
	}
	if err := send(checks[:10]); err != nil {
		return err
	}
	idle, _, err := g.Memory()
	if err != nil {
		return err
	}
	r.add(idleMemory, idle)
	token, claims, err := sizes(issuer)
	if err != nil {
		return err
	}
	r.add(tokenBytes, token+rs256Longer)
	r.add(claimBytes, claims)

	before, _, err := g.heap(ctx)
	if err != nil {
		return err
	}
	r.say("%d tokens", s.Cached)
	for began := time.Now(); time.Since(began) < s.Settle; {
		if err := send(checks); err != nil {
			return err
		}
	}
	full, _, err := g.Memory()
	if err != nil {
		return err
	}
	r.add(fullMemory, full)
	after, _, err := g.heap(ctx)
	if err != nil {
		return err
	}
	m, err := g.metrics(ctx)
	if err != nil {
		return err
	}
	entries := m["claimgate_token_cache_entries"]
	if entries == 0 {
		return errors.New("no token is in the cache")
	}
	r.add(cachedTokens, entries)
	r.add(besideClaims, (after-before)*(1<<20)/entries-claims)
	return r.churn(ctx, g, client, issuer, s)
}

// churn sends tokens that drive others out of the cache.
func (r *recorder) churn(ctx context.Context, g *gate, client *load.Client, issuer *oidctest.Issuer, s Scale) error {
	var seen []float64
	sent, refused := 0, 0
	for began := time.Now(); time.Since(began) < s.Churn; {
		checks, err := coldTokens(issuer, int(5*churnRate), tokenSize)
		if err != nil {
			return err
		}
		r.say("never-seen tokens, %s of %s", time.Since(began).Round(time.Second), s.Churn)
		refused += load.Without(load.Open(ctx, client, checks, 0, churnRate, 5*time.Second), load.Allowed)
		sent += len(checks)
		now, _, err := g.Memory()
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		seen = append(seen, now)
	}
	r.add(churnTokens, float64(sent))
	r.add(churnRefused, float64(refused))
	r.add(churnMost, slices.Max(seen))
	quarter := max(1, len(seen)/4)
	second := seen[min(quarter, len(seen)-1):min(2*quarter, len(seen))]
	r.add(churnGrows, slices.Max(seen[len(seen)-quarter:])-slices.Max(append(second, seen[0])))
	return nil
}

// sizes are those of a token and of its claims, decoded.
func sizes(issuer *oidctest.Issuer) (token, claims float64, err error) {
	checks, err := coldTokens(issuer, 1, tokenSize)
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := bytes.Cut(checks[0], []byte("Bearer "))
	end := bytes.IndexFunc(rest, func(c rune) bool {
		return c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
	if end < 0 {
		end = len(rest)
	}
	parts := bytes.Split(rest[:end], []byte("."))
	if len(parts) != 3 {
		return 0, 0, errors.New("no token is in a check")
	}
	return float64(end), float64(base64.RawURLEncoding.DecodedLen(len(parts[1]))), nil
}
