package realms

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// A validator finds the keys of each realm and accepts its tokens and no other's.
func TestEachRealmIsAnIssuer(t *testing.T) {
	p, err := Start(3, func(i int) bool { return i == 1 })
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{
		{Issuer: p.Issuer(0), Name: "r0", Audiences: []string{"bench"}},
		{Issuer: p.Issuer(1), Name: "r1", Audiences: []string{"bench"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	began := time.Now()
	for i, want := range []bool{true, true, false} {
		_, err := v.Validate(context.Background(), p.Token(i, "alice"), oidc.Requirement{})
		if (err == nil) != want {
			t.Errorf("token of realm %d: %v", i, err)
		}
	}
	counts := p.Take()
	if n := p.Served(); n != 2 || len(counts.KeySets) != 2 || counts.AtOnce != 1 || counts.AtOnceQuiet != 1 {
		t.Errorf("%d realms served, %+v", n, counts)
	}
	if again := p.Take(); len(again.KeySets) != 0 || again.AtOnce != 0 {
		t.Errorf("counted twice: %+v", again)
	}
	if got := PerSecond(counts.KeySets, began, 60); got[0]+got[1] != 2 {
		t.Errorf("per second: %v", got)
	}
	for _, path := range []string{"", "/r/3/keys", "/r/-1/keys", "/r/x/keys", "/r/0/other"} {
		resp, err := http.Get(p.origin + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestBusiestSecond(t *testing.T) {
	if got, err := Busiest([]int{1, 3, 2, 2}); err != nil || got != 1.5 {
		t.Errorf("%v, %v; want 1.5", got, err)
	}
	if _, err := Busiest([]int{0, 0}); err == nil {
		t.Error("the busiest of nothing")
	}
}
