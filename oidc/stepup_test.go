package oidc_test

import (
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// A claim that is missing or of another type does not do (RFC 9470 section 3).
func TestStepUp(t *testing.T) {
	c := newClock()
	issuer := newIssuer(t, c)
	v := newValidator(t, issuer, c, nil)
	type claims = map[string]any
	now := c.Now().Unix()
	gold := oidc.StepUp{ACRValues: []string{"gold", "platinum"}}
	recent := oidc.StepUp{MaxAge: 5 * time.Minute}
	for _, tt := range []struct {
		rule   string
		want   oidc.StepUp
		claims claims
		met    bool
	}{
		{"nothing is wanted", oidc.StepUp{}, claims{}, true},
		{"no value will do", oidc.StepUp{ACRValues: []string{}}, claims{"acr": ""}, false},
		{"one of the values", gold, claims{"acr": "platinum"}, true},
		{"another value", gold, claims{"acr": "Gold"}, false},
		{"a list of values", gold, claims{"acr": []string{"gold"}}, false},
		{"no acr", gold, claims{}, false},
		{"recent", recent, claims{"auth_time": now - 300}, true},
		{"a second too old", recent, claims{"auth_time": now - 301}, false},
		{"no auth_time", recent, claims{}, false},
		{"a string", recent, claims{"auth_time": "1800000000"}, false},
		{"negative", recent, claims{"auth_time": -1}, false},
		{"beyond all time", recent, claims{"auth_time": 1e300}, false},
		{"no acr, and an empty one would do", oidc.StepUp{ACRValues: []string{""}}, claims{}, false},
		{"acr is null, and an empty one would do", oidc.StepUp{ACRValues: []string{""}}, claims{"acr": nil}, false},
		{"a number that is written like a value", oidc.StepUp{ACRValues: []string{"2"}}, claims{"acr": 2}, false},
		{"no auth_time, whatever the age may be", oidc.StepUp{MaxAge: 200 * 365 * 24 * time.Hour}, claims{}, false},
		{"negative, whatever the age may be", oidc.StepUp{MaxAge: 200 * 365 * 24 * time.Hour}, claims{"auth_time": -1}, false},
		{"now, to the nanosecond", oidc.StepUp{MaxAge: 1}, claims{"auth_time": now - 1}, false},
		{"both, one met", oidc.StepUp{ACRValues: gold.ACRValues, MaxAge: time.Minute}, claims{"acr": "gold", "auth_time": now - 61}, false},
	} {
		token, err := v.Validate(t.Context(), issuer.Token(tt.claims), oidc.Requirement{})
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.want.MetBy(token, c.Now()); got != tt.met {
			t.Errorf("%s: met: %t", tt.rule, got)
		}
	}
}
