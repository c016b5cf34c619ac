package e2e_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// What an Envoy makes of the two fields that say "overwrite". The gate sends both,
// so that it matters to nobody which one is read: see docs/envoy.md.
func TestAppendDecidesWhetherAHeaderIsReplaced(t *testing.T) {
	const overwrite, add = corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
	forged := []header{{"x-auth-subject", "root"}, {"x-auth-subject", "admin"}}
	for name, test := range map[string]struct {
		append *wrapperspb.BoolValue
		action corev3.HeaderValueOption_HeaderAppendAction
		want   []string
	}{
		"as the gate says it":      {wrapperspb.Bool(false), overwrite, []string{"alice"}},
		"append alone":             {wrapperspb.Bool(false), add, []string{"alice"}},
		"neither":                  {nil, add, []string{"alice"}},
		"append against an action": {wrapperspb.Bool(true), overwrite, []string{"root,alice", "admin"}},
	} {
		t.Run(name, func(t *testing.T) {
			edit := func(l *lab.Lab) [][2]string { return append(open(l), moreTime(l)...) }
			l := startWith(t, lab.Options{Edit: edit}, func(context.Context, authv3.AuthorizationClient, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
				return &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
					Headers: []*corev3.HeaderValueOption{{
						Header: &corev3.HeaderValue{Key: "x-auth-subject", Value: "alice"},
						Append: test.append, AppendAction: test.action,
					}},
				}}}, nil
			})
			a := do(t, l, lab.Request{Path: "/", Headers: forged})
			if got := a.Echo.Identity["x-auth-subject"]; a.Status != 200 || !slices.Equal(got, test.want) {
				t.Errorf("status %d, the upstream sees %q, want %q", a.Status, got, test.want)
			}
		})
	}
}

// Envoy's own shadow mode, where there is one, lets through what the gate denies
// and still applies what an allow changes: no base for comparing with jwt_authn.
func TestShadowModeStillAppliesAnAllow(t *testing.T) {
	shadow := func(l *lab.Lab) [][2]string {
		const setting = "clear_route_cache: true"
		return append(open(l), [2]string{setting, setting + "\n              shadow_mode: true"})
	}
	if cell(t, "`shadow_mode`") == "no" {
		l, err := lab.Start(t.Context(), lab.Options{Envoy: envoy, Edit: shadow})
		if err == nil {
			l.Close()
			t.Fatal("an Envoy that is said to have no shadow_mode takes it")
		}
		if !strings.Contains(err.Error(), "shadow_mode") {
			t.Errorf("refused for another reason: %v", err)
		}
		return
	}
	l := start(t, lab.Options{Edit: shadow})
	forged := header{"x-auth-subject", "root"}
	if a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{forged}}); a.Status != 200 || a.Echo.Identity["x-auth-subject"][0] != "root" {
		t.Errorf("a denial: status %d, the upstream sees %v; want 200 and the forged header", a.Status, seen(a))
	}
	if a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{forged, token(l)}}); a.Status != 200 || !maps.Equal(seen(a), alice) {
		t.Errorf("an allow: status %d, the upstream sees %v, want %v", a.Status, seen(a), alice)
	}
	if a := do(t, l, lab.Request{Path: "/public/terms", Headers: []header{token(l)}}); a.Status != 200 || len(a.Echo.Authorization) != 0 {
		t.Errorf("an allow takes the token away: status %d, the upstream sees %q", a.Status, a.Echo.Authorization)
	}
}

// Whatever a claim holds, Envoy takes the header for valid and the upstream gets
// exactly one value. validate_mutations is on, as shipped.
func TestOddClaimsArriveEncoded(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		for subject, want := range map[string]string{
			"alice":                   "alice",
			"Ålice":                   "%C3%85lice",
			"a\r\nx-auth-issuer: b":   "a%0D%0Ax-auth-issuer: b",
			"a, b":                    "a, b",
			"100%":                    "100%25",
			"\u00a0nul\x00":           "%C2%A0nul%00",
			strings.Repeat("é", 2000): "", // 12 KB, once it is encoded: too much
		} {
			bearer := lab.Bearer(l.Workforce.Token(map[string]any{"typ": "Bearer", "azp": "intranet", "sub": subject}))
			a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{{"x-auth-subject", "root"}, bearer}})
			if want == "" {
				if a.Status < 400 || a.Status >= 500 {
					t.Errorf("a subject of %d bytes: status %d, want a refusal", len(subject), a.Status)
				}
				continue
			}
			if got := a.Echo.Identity["x-auth-subject"]; a.Status != 200 || !slices.Equal(got, []string{want}) {
				t.Errorf("%q: status %d, the upstream sees %q, want %q", subject, a.Status, got, want)
			}
		}
	})
}

// An identity of the greatest size that the gate sends fits into what Envoy
// takes.
func TestLargestIdentityFits(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		scopes := strings.TrimSpace(strings.Repeat("orders.read-and-then-some ", 280)) // 7 KiB, a value may have 8
		bearer := lab.Bearer(l.Workforce.Token(map[string]any{"typ": "Bearer", "azp": "intranet", "scope": scopes}))
		a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{bearer, {"x-auth-scopes", "root"}}})
		if got := a.Echo.Identity["x-auth-scopes"]; a.Status != 200 || !slices.Equal(got, []string{scopes}) {
			t.Errorf("status %d, the upstream sees %d values", a.Status, len(got))
		}
	})
}
