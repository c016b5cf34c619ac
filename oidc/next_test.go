package oidc_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// next makes the validator after v, for one issuer named shop, with changes.
func next(t *testing.T, v *oidc.Validator, issuer *oidctest.Issuer, change func(*oidc.Config)) *oidc.Validator {
	t.Helper()
	cfg := oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"api"}}},
		Cache:   oidc.CacheConfig{MaxEntries: 100, MaxBytes: 1 << 20},
	}
	if change != nil {
		change(&cfg)
	}
	n, err := v.Next(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func wantReason(t *testing.T, what string, v *oidc.Validator, token string, want oidc.Reason) {
	t.Helper()
	if reason := reasonOf(t, v, token); reason != want {
		t.Errorf("%s: %q, want %q", what, reason, want)
	}
}

func TestNextKeepsKeysAndVerifiedTokens(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	other := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	token := issuer.Token(nil)
	wantReason(t, "before", v, token, "")
	asked := issuer.Requests()
	n := next(t, v, issuer, func(cfg *oidc.Config) {
		cfg.Issuers = append(cfg.Issuers, oidc.IssuerConfig{Issuer: other.URL, Name: "other", AnyAudience: true})
	})
	v.Close()
	hits := n.CacheStats().Hits
	wantReason(t, "after", n, token, "")
	if got := n.CacheStats().Hits; got != hits+1 {
		t.Errorf("%d hits after %d: a token of an issuer that has not changed is verified again", got, hits)
	}
	issuer.Down()
	wantReason(t, "another token, with the keys at hand", n, issuer.Token(map[string]any{"sub": "bob"}), "")
	wantReason(t, "an issuer that was added", n, other.Token(nil), "")
	if got := issuer.Requests(); got != asked {
		t.Errorf("%d requests after %d: the keys are fetched again", got, asked)
	}
}

// What was verified under another configuration is not believed, whatever part of
// it has changed.
func TestNextForgetsWhatChanged(t *testing.T) { // E4
	c := newClock()
	issuer := newIssuer(t, c)
	hd, err := oidc.ParseClaimName("hd")
	if err != nil {
		t.Fatal(err)
	}
	at := c.Now()
	token := issuer.Token(map[string]any{"exp": at.Add(2 * time.Minute).Unix(), "iat": at.Unix()})
	for name, change := range map[string]struct {
		change func(*oidc.Config)
		want   oidc.Reason
	}{
		"audience":     {func(cfg *oidc.Config) { cfg.Issuers[0].Audiences = []string{"other"} }, oidc.WrongAudience},
		"require":      {func(cfg *oidc.Config) { cfg.Issuers[0].Require = []oidc.ClaimRule{{Name: hd}} }, oidc.InvalidClaim},
		"max lifetime": {func(cfg *oidc.Config) { cfg.Issuers[0].MaxLifetime = time.Minute }, oidc.InvalidClaim},
		"algorithms":   {func(cfg *oidc.Config) { cfg.Issuers[0].Algorithms = []oidc.Algorithm{oidc.RS256} }, oidc.UnsupportedAlgorithm},
		"token types":  {func(cfg *oidc.Config) { cfg.Issuers[0].TokenTypes = []string{"none"} }, oidc.WrongTokenType},
		"keys": {func(cfg *oidc.Config) {
			cfg.Issuers[0].JWKSURL = issuer.URL + "/nowhere"
		}, oidc.KeysUnavailable},
		"removed":    {func(cfg *oidc.Config) { cfg.Issuers = nil }, oidc.UnknownIssuer},
		"other name": {func(cfg *oidc.Config) { cfg.Issuers[0].Name = "renamed" }, ""},
		"no cache":   {func(cfg *oidc.Config) { cfg.Cache = oidc.CacheConfig{} }, ""},
		"subject": {func(cfg *oidc.Config) {
			cfg.Issuers[0].Mappings.Subject = []oidc.ClaimName{hd}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := newValidator(t, issuer, c, nil)
			wantReason(t, "before", v, token, "")
			wantReason(t, "before, cached", v, token, "")
			n := next(t, v, issuer, change.change)
			hits := v.CacheStats().Hits
			wantReason(t, "after", n, token, change.want)
			if got := v.CacheStats().Hits; got != hits {
				t.Error("an entry of the configuration before is believed")
			}
			wantReason(t, "the one before, still in use", v, token, "")
			v.Close()
			wantReason(t, "after the close", n, token, change.want)
			if got, err := n.Validate(t.Context(), token, oidc.Requirement{}); err == nil {
				if name == "other name" && got.IssuerName != "renamed" || name == "subject" && got.Subject != "" {
					t.Errorf("token %+v has facts of the configuration before", got)
				}
			}
		})
	}
}

// An issuer whose name another one has taken over is not that issuer.
func TestNextWithSwappedNames(t *testing.T) {
	c := newClock()
	a, b := newIssuer(t, c), newIssuer(t, c)
	config := func(first, second string) func(*oidc.Config) {
		return func(cfg *oidc.Config) {
			cfg.Issuers = []oidc.IssuerConfig{{Issuer: a.URL, Name: first, AnyAudience: true}, {Issuer: b.URL, Name: second, AnyAudience: true}}
		}
	}
	v := newValidator(t, a, c, config("x", "y"))
	token := a.Token(nil)
	wantReason(t, "before", v, token, "")
	n := next(t, v, a, config("y", "x"))
	got, err := n.Validate(t.Context(), token, oidc.Requirement{})
	if err != nil || got.IssuerName != "y" || got.Issuer != a.URL {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRunGoesOnAcrossConfigurations(t *testing.T) {
	issuer, other := oidctest.NewIssuer(), oidctest.NewIssuer()
	defer issuer.Close()
	defer other.Close()
	first, err := oidc.NewValidator(oidc.Config{})
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, "without issuers", first, issuer.Token(nil), oidc.UnknownIssuer)
	ended := make(chan error)
	go func() { ended <- first.Run(context.Background()) }()
	v := next(t, first, issuer, nil)
	first.Close()
	first.Close()
	v.Warm(t.Context())
	if s := v.Status(); len(s) != 1 || !s[0].Usable {
		t.Errorf("status after Warm: %+v", s)
	}
	n := next(t, v, other, nil)
	v.Close()
	n.Warm(t.Context())
	other.Down()
	wantReason(t, "keys that Run fetched", n, other.Token(nil), "")
	select {
	case err := <-ended:
		t.Fatalf("Run ended: %v", err)
	default:
	}
	n.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	n.Warm(t.Context())
	if _, err := n.Next(oidc.Config{}); err == nil {
		t.Error("a validator after the last one was closed")
	}
}

func TestWarmEndsWithItsContext(t *testing.T) {
	c := newClock()
	v := newValidator(t, newIssuer(t, c), c, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v.Warm(ctx) // nothing runs that would fetch
	if s := v.Status(); s[0].FirstFetchEnded {
		t.Error("Warm has fetched")
	}
}

func TestAFaultyNextChangesNothing(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	token := issuer.Token(nil)
	wantReason(t, "before", v, token, "")
	_, err := v.Next(oidc.Config{Issuers: []oidc.IssuerConfig{
		{Issuer: issuer.URL, Name: "shop", Audiences: []string{"api"}},
		{Issuer: "https://new.example", Name: "new"},
		{Issuer: "no url", Name: "bad"},
	}})
	if err == nil || !strings.Contains(err.Error(), `issuer "bad"`) {
		t.Fatalf("error %v", err)
	}
	hits := v.CacheStats().Hits
	wantReason(t, "after", v, token, "")
	if got := v.CacheStats().Hits; got != hits+1 {
		t.Error("the token is forgotten")
	}
}

func TestNextOfTheZeroValidatorIsANewOne(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	v := next(t, &oidc.Validator{}, issuer, nil)
	wantReason(t, "next of zero", v, issuer.Token(nil), "")
}
