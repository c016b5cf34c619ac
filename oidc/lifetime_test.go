package oidc

import (
	"crypto/elliptic"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestLifetimeOfAnAnswer(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	type header = http.Header
	var unset KeysConfig
	tests := []struct {
		name   string
		cfg    KeysConfig
		header http.Header
		want   time.Duration
	}{
		{"nothing said", unset, header{}, time.Hour},
		{"max-age", unset, header{"Cache-Control": {"public, max-age=1200"}}, 20 * time.Minute},
		{"max-age quoted, in another case", unset, header{"Cache-Control": {`Max-Age="1200"`}}, 20 * time.Minute},
		{"max-age in a second field", unset, header{"Cache-Control": {"public", "max-age=1200"}}, 20 * time.Minute},
		{"max-age short", unset, header{"Cache-Control": {"max-age=1"}}, 5 * time.Minute},
		{"max-age zero", unset, header{"Cache-Control": {"max-age=0"}}, 5 * time.Minute},
		{"max-age long", unset, header{"Cache-Control": {"max-age=31536000"}}, 24 * time.Hour},
		{"max-age huge", unset, header{"Cache-Control": {"max-age=18446744073709551615"}}, 24 * time.Hour},
		{"max-age over 64 bits", unset, header{"Cache-Control": {"max-age=99999999999999999999"}}, time.Hour},
		{"max-age negative", unset, header{"Cache-Control": {"max-age=-1"}}, time.Hour},
		{"max-age twice", unset, header{"Cache-Control": {"max-age=1200, max-age=2400"}}, 20 * time.Minute},
		{"s-maxage is not for us", unset, header{"Cache-Control": {"s-maxage=1200"}}, time.Hour},
		{"no-store", unset, header{"Cache-Control": {"no-store, max-age=7200"}}, 5 * time.Minute},
		{"no-cache", unset, header{"Cache-Control": {"max-age=7200, no-cache"}}, 5 * time.Minute},
		{"Expires", unset, header{"Expires": {at(20 * time.Minute)}}, 20 * time.Minute},
		{"Expires by the issuer's clock", unset, header{"Expires": {at(80 * time.Minute)}, "Date": {at(time.Hour)}}, 20 * time.Minute},
		{"Expires in the past", unset, header{"Expires": {at(-time.Hour)}}, 5 * time.Minute},
		{"Expires 0", unset, header{"Expires": {"0"}}, 5 * time.Minute},
		{"max-age before Expires", unset, header{"Cache-Control": {"max-age=1200"}, "Expires": {"0"}}, 20 * time.Minute},

		{"configured", KeysConfig{Refresh: 2 * time.Hour}, header{}, 2 * time.Hour},
		{"configured 5 s is used", KeysConfig{Refresh: 5 * time.Second}, header{}, 5 * time.Second},
		{"configured 5 s bounds max-age", KeysConfig{Refresh: 5 * time.Second}, header{"Cache-Control": {"max-age=1200"}}, 5 * time.Second},
		{"configured 5 s bounds no-store", KeysConfig{Refresh: 5 * time.Second}, header{"Cache-Control": {"no-store"}}, 5 * time.Second},
		{"max-age below the configured", KeysConfig{Refresh: 2 * time.Hour}, header{"Cache-Control": {"max-age=1200"}}, 20 * time.Minute},
		{"never past maxStale", KeysConfig{MaxStale: 2 * time.Hour}, header{"Cache-Control": {"max-age=86400"}}, 2 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.cfg.lifetime(tt.header, 0, now); got != tt.want {
				t.Errorf("lifetime %s, want %s", got, tt.want)
			}
		})
	}
}

func TestKeysConfigRange(t *testing.T) {
	for _, good := range []KeysConfig{
		{},
		{Refresh: time.Second, MaxStale: time.Second, UnknownKeyInterval: time.Second},
		{Refresh: 24 * time.Hour, MaxStale: 720 * time.Hour, UnknownKeyInterval: time.Hour},
	} {
		if err := good.check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []KeysConfig{
		{Refresh: time.Millisecond}, {Refresh: -1}, {Refresh: 25 * time.Hour},
		{MaxStale: time.Minute}, {MaxStale: 721 * time.Hour}, {Refresh: time.Minute, MaxStale: time.Second},
		{UnknownKeyInterval: time.Millisecond}, {UnknownKeyInterval: 2 * time.Hour}, {UnknownKeyInterval: -1},
	} {
		if bad.check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestRefreshComesAtFourFifthsOfTheLifetime(t *testing.T) {
	for _, tt := range []struct {
		jitter            float64
		lifetime, refresh time.Duration
	}{
		{0, 100 * time.Minute, 80 * time.Minute},
		{1, 110 * time.Minute, 88 * time.Minute},
		{-1, 90 * time.Minute, 72 * time.Minute},
	} {
		lifetime, refresh := freshness(100*time.Minute, tt.jitter)
		if lifetime != tt.lifetime || refresh != tt.refresh {
			t.Errorf("jitter %v: %s, %s; want %s, %s", tt.jitter, lifetime, refresh, tt.lifetime, tt.refresh)
		}
	}
}

func TestRetriesBackOff(t *testing.T) {
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
	for i, seconds := range want {
		if got := retryDelay(i+1, 0); got != seconds*time.Second {
			t.Errorf("after %d failures: %s, want %d s", i+1, got, seconds)
		}
	}
	if got := retryDelay(1<<40, 1); got != 72*time.Second {
		t.Errorf("at most %s, want 72 s", got)
	}
	if got := retryDelay(1, -1); got != 800*time.Millisecond {
		t.Errorf("at least %s, want 0.8 s", got)
	}
}

// A SPIFFE bundle says itself how often to look for a new one; the bounds hold for
// it as for what headers say.
func TestTheRefreshHintOfABundleCounts(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	_, key := ecJWK(t, "a", elliptic.P256())
	hour := http.Header{"Cache-Control": {"max-age=3600"}}
	for _, tt := range []struct {
		members string
		cfg     KeysConfig
		want    time.Duration
	}{
		{`"spiffe_refresh_hint": 600,`, KeysConfig{}, 10 * time.Minute},
		{`"spiffe_refresh_hint": 10,`, KeysConfig{}, minLifetime},
		{`"spiffe_refresh_hint": 10,`, KeysConfig{Refresh: time.Minute}, time.Minute},
		{`"spiffe_refresh_hint": 99999999999999,`, KeysConfig{}, maxLifetime},
		{`"spiffe_refresh_hint": 0,`, KeysConfig{}, time.Hour},
		{`"spiffe_refresh_hint": -5,`, KeysConfig{}, time.Hour},
		{`"spiffe_refresh_hint": "600",`, KeysConfig{}, time.Hour},
		{`"spiffe_sequence": 7,`, KeysConfig{}, time.Hour},
	} {
		set, err := parseKeySet([]byte("{" + tt.members + strings.TrimPrefix(setOf(key), "{")))
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.cfg.lifetime(hour, set.life, now); got != tt.want {
			t.Errorf("%s with Refresh %s: %s, want %s", tt.members, tt.cfg.Refresh, got, tt.want)
		}
	}
}
