package extauthz

import (
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/claimgate/claimgate/oidc"
)

// wireAnswer asks the daemon's way and compares with the plain one.
func wireAnswer(t *testing.T, g *testGate, req *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	wire, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	resp := &authv3.CheckResponse{}
	if err := proto.Unmarshal(g.server.checkWire(t.Context(), wire), resp); err != nil {
		t.Fatal(err)
	}
	plain := g.check(t, req)
	sortRemovals(plain)
	sortRemovals(resp)
	if !proto.Equal(plain, resp) {
		t.Errorf("the plain answer is\n%v\nthe daemon's\n%v", plain, resp)
	}
	return resp
}

// One token under many policies and in many requests: what was prepared for one of
// them never becomes the answer to another.
func TestAPreparedAnswerIsOfOnePolicyAndNothingOfTheRequest(t *testing.T) {
	g := newTestGate(t, oneIssuer+`
policies:
- {name: when, match: [{paths: [/when]}], when: 'request.method == "POST"'}
- {name: scope, match: [{paths: [/scope]}], scopes: [none.such]}
- {name: mail, match: [{paths: [/mail]}], headers: {x-mail: email, x-policy: "@policy"}}
- {name: raw, match: [{paths: [/raw]}], headers: {x-token: "@token"}}
- {name: never, match: [{paths: [/never]}], forwardToken: false}
- {name: query, match: [{paths: [/query]}], tokenFrom: [{query: t}, {header: authorization, scheme: Bearer}]}
- {name: audience, match: [{paths: [/audience]}], audiences: [other]}
- {name: optional, match: [{paths: [/optional]}], access: optional}
- {name: public, match: [{paths: [/public]}], access: public}
- name: rest
`)
	token := g.issuer.Token(map[string]any{"email": "alice@example.com"})
	bearer := []string{"authorization", "Bearer " + token}
	requests := map[string]*authv3.CheckRequest{
		"rest": checkRequest("/", bearer...), "rest, another path": checkRequest("/x?y=1", bearer...),
		"an alias": checkRequest("/", append([]string{"X_Auth_Subject", "root"}, bearer...)...),
		"when":     checkRequest("/when", bearer...), "scope": checkRequest("/scope", bearer...),
		"mail": checkRequest("/mail", bearer...), "raw": checkRequest("/raw", bearer...), "never": checkRequest("/never", bearer...),
		"query": checkRequest("/query?a=b&t=" + token), "query, by the header": checkRequest("/query?a=b", bearer...),
		"both": checkRequest("/query?t="+token, bearer...), "audience": checkRequest("/audience", bearer...),
		"optional": checkRequest("/optional", bearer...), "optional, none": checkRequest("/optional"),
		"public": checkRequest("/public", bearer...), "nothing": checkRequest("/"),
		"a gRPC client": checkRequest("/", append([]string{"content-type", "application/grpc"}, bearer...)...),
	}
	for range 3 {
		for name, req := range requests { // in another order each time
			resp := wireAnswer(t, g, req)
			checkInvariants(t, resp)
			policy := resp.GetDynamicMetadata().GetFields()["policy"].GetStringValue()
			if want, _, _ := strings.Cut(name, ","); requests[want] != nil && want != "an alias" && want != "both" && want != "nothing" && want != "a gRPC client" && policy != want {
				t.Errorf("%s: decided by %s", name, policy)
			}
		}
	}
	verdicts := map[string]string{
		"rest": "valid_token", "an alias": "valid_token", "when": "condition_false", "scope": "insufficient_scope", "both": "multiple_credentials",
		"audience": "wrong_audience", "optional, none": "anonymous", "public": "public", "nothing": "missing_token",
	}
	for name, want := range verdicts {
		if got := wireAnswer(t, g, requests[name]).GetDynamicMetadata().GetFields()["reason"].GetStringValue(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(wireAnswer(t, g, requests["an alias"]).String(), "x_auth_subject") {
		t.Error("an alias of an identity header goes upstream")
	}
}

// What is kept with a token is bounded, and never the token itself.
func TestWhatIsPreparedIsBoundedAndNoToken(t *testing.T) {
	g := newTestGate(t, oneIssuer+`
policies:
- {name: raw, match: [{paths: [/raw]}], headers: {x-token: "@token"}}
- {name: large, match: [{paths: [/large]}], headers: {x-large: large}}
- name: rest
`)
	token := g.issuer.Token(map[string]any{"large": strings.Repeat("x", maxPreparedAnswer)})
	kept := func() *preparedAllow {
		verified, err := g.set.Load().validator.Validate(t.Context(), token, oidc.Requirement{})
		if err != nil {
			t.Fatal(err)
		}
		p, _ := verified.Kept().(*preparedAllow)
		return p
	}
	ask := func(path string) {
		for range 3 { // the first one is not from the cache
			wireAnswer(t, g, checkRequest(path, "authorization", "Bearer "+token))
		}
	}
	ask("/raw")
	ask("/large")
	if p := kept(); p != nil {
		t.Errorf("kept for policy %s", p.policy.name)
	}
	ask("/")
	p := kept()
	if p == nil || p.policy.name != "rest" || p.answer.Load() == nil || strings.Contains(string(*p.answer.Load()), token) {
		t.Errorf("kept is %+v", p)
	}
	if room := cap(*p.answer.Load()) - len(*p.answer.Load()); room != 0 {
		t.Errorf("%d bytes are kept for nothing", room)
	}
}

// A reload may change what an allow says: the answers of before are over with it.
func TestAReloadEndsPreparedAnswers(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	token := g.issuer.Token(map[string]any{"email": "alice@example.com"})
	req := checkRequest("/", "authorization", "Bearer "+token)
	for range 3 {
		wireAnswer(t, g, req)
	}
	changed := *g.set.Load().config
	changed.Headers = map[string]string{"x-mail": "email"}
	changed.Metadata.Claims = []string{"email"}
	set, err := g.build(&changed, g.set.Load().validator)
	if err != nil {
		t.Fatal(err)
	}
	defer g.set.Swap(set).validator.Close()
	for range 3 {
		resp := wireAnswer(t, g, req)
		if !strings.Contains(resp.String(), "x-mail") || resp.GetDynamicMetadata().GetFields()["claims"] == nil {
			t.Errorf("the answer of before the reload: %v", resp)
		}
	}
}

// What a check allocates besides gRPC: budgets, so that nobody spends them
// unnoticed.
func TestAllocationsOfACheck(t *testing.T) {
	if raceDetector {
		t.Skip("skipped: the race detector empties pools")
	}
	g := newTestGate(t, oneIssuer+"policies: [{name: public, match: [{paths: [/public]}], access: public}, {name: all}]")
	for _, tt := range []struct {
		name, path string
		headers    []string
		want       float64
	}{
		{"a cached token", "/orders?page=2", []string{"authorization", "Bearer " + g.issuer.Token(nil)}, 0},
		{"a path in capitals", "/orders/%c3%a9", []string{"authorization", "Bearer " + g.issuer.Token(nil)}, 3},
		{"public", "/public", nil, 1},
		{"a denial", "/", nil, 12},
		{"junk", "/", []string{"authorization", "Bearer a.b.c"}, 20},
	} {
		headers := append([]string{":method", "GET", "user-agent", "x", "accept", "*/*", "cookie", "theme=dark"}, tt.headers...)
		wire, err := proto.Marshal(checkRequest(tt.path, headers...))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			g.server.checkWire(t.Context(), wire)
		}
		ctx := t.Context()
		got := testing.AllocsPerRun(200, func() { g.server.checkWire(ctx, wire) })
		t.Logf("%s: %v", tt.name, got)
		if got > tt.want {
			t.Errorf("%s: %v allocations, want %v at most", tt.name, got, tt.want)
		}
	}
}
