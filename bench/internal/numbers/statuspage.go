package numbers

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const (
	pageFew     = "the page with three issuers, one of them down"
	pageMany    = "the page with 1,000 issuers that are down, with names as long as they may be"
	pageLoads   = "things that the pages load"
	pagePolicy  = "pages whose Content-Security-Policy would let them load more than their own style"
	pageIssuers = 1000
)

func statusPage() Measurement {
	return Measurement{
		Name:  "page",
		Title: "The status page",
		About: `What the admin listener answers to ` + "`GET /`" + ` after some allows and denials, uncompressed. What a page loads is counted in
its text: attributes and style rules that name anything to be fetched or sent to. That a real browser asks for nothing but the page is the
subject of ` + "`make test-page`.",
		Figures: []Figure{
			{pageFew, "kB", each(100)},
			{pageMany, "kB", each(100)},
			{pageLoads, "", each(0)},
			{pagePolicy, "", each(0)},
		},
		run: runStatusPage,
	}
}

// loads finds what makes a browser ask for something. A link is none: it is followed
// by hand.
var loads = regexp.MustCompile(`(?i)<(?:script|link|img|iframe|frame|object|embed|audio|video|source|form|base)\b|\b(?:src|srcset|action|poster|background|ping)\s*=|\burl\(|@import|http-equiv\s*=\s*["']?refresh`)

// noIcon keeps a browser from asking for one.
const noIcon = `<link rel="icon" href="data:,">`

func runStatusPage(ctx context.Context, r *recorder, s Scale) error {
	shop, partner, down := oidctest.NewIssuer(oidctest.WithAudience("bench")), oidctest.NewIssuer(oidctest.WithAudience("bench")), oidctest.NewIssuer()
	for _, issuer := range []*oidctest.Issuer{shop, partner, down} {
		defer issuer.Close()
	}
	down.Down()
	few := []configuredIssuer{{shop.URL, "shop"}, {partner.URL, "partner"}, {down.URL, "down"}}
	var many []configuredIssuer
	for i := range pageIssuers {
		many = append(many, configuredIssuer{fmt.Sprintf("http://127.0.0.1:1/realms/%s-%d", strings.Repeat("a-long-path/", 8), i), fmt.Sprintf("%s-%03d", strings.Repeat("n", 59), i)})
	}
	tokens := []string{
		shop.Token(nil), partner.Token(nil), shop.Token(nil, oidctest.Forged()), shop.Token(map[string]any{"aud": "other"}),
		partner.Token(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), down.Token(nil), "x", "<script>alert(1)</script>",
	}
	checks, err := load.Checks(tokens)
	if err != nil {
		return err
	}
	found, lax := 0, 0
	for _, p := range []struct {
		figure  string
		issuers []configuredIssuer
	}{{pageFew, few}, {pageMany, many}} {
		r.say("%s", p.figure)
		page, policy, err := fetchPage(ctx, s, p.issuers, checks)
		if err != nil {
			return err
		}
		r.add(p.figure, float64(len(page))/1000)
		for _, reference := range loads.FindAllString(strings.ReplaceAll(page, noIcon, ""), -1) {
			r.say("it has %s", reference)
			found++
		}
		if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
			r.say("its policy is %q", policy)
			lax++
		}
	}
	r.add(pageLoads, float64(found))
	r.add(pagePolicy, float64(lax))
	return nil
}

// fetchPage starts a gate, sends it some checks, and reads its page.
func fetchPage(ctx context.Context, s Scale, issuers []configuredIssuer, checks []load.Check) (page, policy string, err error) {
	g, err := startGate(ctx, s.Gate, issuers, "")
	if err != nil {
		return "", "", err
	}
	defer g.stop()
	client, err := load.Dial(g.Addr)
	if err != nil {
		return "", "", err
	}
	defer client.Close()
	load.Closed(ctx, client, checks, 8, 20*len(checks), load.Allowed)
	if _, err := g.awaitReady(ctx, time.Minute, 50*time.Millisecond); err != nil {
		return "", "", err
	}
	resp, err := g.get(ctx, "/")
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || !strings.Contains(string(body), "</html>")) {
		err = fmt.Errorf("the status page: %s", resp.Status)
	}
	return string(body), resp.Header.Get("Content-Security-Policy"), err
}
