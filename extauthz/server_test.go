package extauthz

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// testGate is a gate before a fake issuer, at a time that stands still.
type testGate struct {
	*Gate
	issuer   *oidctest.Issuer
	server   *server
	log      *syncBuffer
	registry *prometheus.Registry
}

// syncBuffer is a log that several goroutines write to.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newTestGate makes a gate of config, in which $issuer is the issuer's URL.
func newTestGate(t testing.TB, config string) *testGate {
	t.Helper()
	now := time.Unix(1_800_000_000, 0)
	clock := func() time.Time { return now }
	issuer := oidctest.NewIssuer(oidctest.WithClock(clock))
	t.Cleanup(issuer.Close)
	cfg, err := ParseConfig("config.yaml", []byte(strings.ReplaceAll(config, "$issuer", issuer.URL)))
	if err != nil {
		t.Fatal(err)
	}
	bePatient(cfg)
	g := &testGate{issuer: issuer, log: &syncBuffer{}, registry: prometheus.NewRegistry()}
	logger := slog.New(slog.NewJSONHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if g.Gate, err = NewGate(cfg, Options{Clock: clock, Logger: logger, Registerer: g.registry, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	g.server = &server{gate: g.Gate}
	return g
}

// bePatient gives checks more time than the default, unless cfg says how much: how
// fast the machine is that runs the tests is not their subject.
func bePatient(cfg *Config) {
	if cfg.Server.checkTimeout() == defaultCheckTimeout {
		cfg.Server.CheckTimeout = Duration(10 * time.Second)
	}
}

const oneIssuer = `
issuers: [{issuer: $issuer, name: shop, audiences: [api]}]
`

// checkRequest makes a CheckRequest for GET path, with headers in pairs.
func checkRequest(path string, headers ...string) *authv3.CheckRequest {
	m := map[string]string{}
	for i := 0; i+1 < len(headers); i += 2 {
		m[headers[i]] = headers[i+1]
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: path, Host: "api.example.com", Scheme: "https", Headers: m,
		}},
	}}
}

func (g *testGate) check(t testing.TB, req *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	resp, err := g.server.Check(t.Context(), req)
	if err != nil {
		t.Fatalf("Check returned an error, which Envoy takes for a failure: %v", err)
	}
	return resp
}

// flushLog writes the queued decision records and returns all lines.
func (g *testGate) flushLog() string {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	g.Gate.log.run(ctx)
	return g.log.String()
}

// To Envoy an answer that cannot be sent is a failed call, which may let the
// request pass.
func TestAnAnswerCanBeSentWhateverTheCookie(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all, tokenFrom: [{cookie: session}], forwardToken: false}]")
	req := checkRequest("/")
	http := req.GetAttributes().GetRequest().GetHttp()
	http.Headers, http.HeaderMap = nil, &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "cookie", RawValue: []byte("a=\xff; session=" + g.issuer.Token(nil))},
	}}
	resp := g.check(t, req)
	checkInvariants(t, resp)
	if reason := resp.GetDynamicMetadata().GetFields()["reason"].GetStringValue(); reason != "valid_token" {
		t.Errorf("reason %s", reason)
	}
}

func TestAPanicIsADenial(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	g.set.Load().policies[0].identity = nil // so that an allow panics
	resp := g.check(t, checkRequest("/", "authorization", "Bearer "+g.issuer.Token(nil)))
	if code := resp.GetDeniedResponse().GetStatus().GetCode(); code != 500 {
		t.Errorf("status %d, want 500: %v", code, resp)
	}
	checkInvariants(t, resp)
	resp = g.check(t, checkRequest("/", "authorization", "Bearer "+g.issuer.Token(nil), "content-type", "application/grpc"))
	if body := resp.GetDeniedResponse().GetBody(); body != oidc.Internal.Description() {
		t.Errorf("a gRPC client gets %s", body)
	}
	g.panicked("a secret of the client")
	log := g.flushLog()
	if !strings.Contains(log, "a check panicked") || !strings.Contains(log, "decide.go") {
		t.Errorf("the log does not say where: %s", log)
	}
	if strings.Contains(log, "a secret of the client") {
		t.Errorf("the log repeats the value of a panic: %s", log)
	}
	if n := g.metric(t, "claimgate_checks_total", "reason", "internal"); n != 2 {
		t.Errorf("%v denials counted as internal, want 2", n)
	}
}

func TestNothingIsAnAllowByAccident(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	for name, req := range map[string]*authv3.CheckRequest{
		"nil":           nil,
		"empty":         {},
		"no request":    {Attributes: &authv3.AttributeContext{}},
		"no HTTP":       {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}},
		"no headers":    {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{}}}},
		"nil in a list": {Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Host: "a", Path: "/", HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{nil}}}}}},
	} {
		t.Run(name, func(t *testing.T) { // C12
			resp := g.check(t, req)
			checkInvariants(t, resp)
			if resp.GetDeniedResponse() == nil {
				t.Errorf("not denied: %v", resp)
			}
		})
	}
	var zero Decision
	checkInvariants(t, respond(zero, nil))
	if zero.Allowed() || zero.Status() != 500 || respond(zero, nil).GetDeniedResponse() == nil {
		t.Error("the zero Decision does not deny with 500")
	}
	noToken := Decision{reason: oidc.ValidToken}
	if noToken.Allowed() || noToken.Reason() != oidc.Internal {
		t.Error("valid_token without a token is an allow")
	}
}

// TestRecordsHoldNoSecrets sends tokens and other secrets in every place of a
// request and looks for them in everything that the gate writes (J1, J2).
func TestRecordsHoldNoSecrets(t *testing.T) {
	g := newTestGate(t, "log: {level: debug, decisions: all}\n"+oneIssuer+`
policies:
- {name: query, match: [{paths: [/q]}], tokenFrom: [{query: access_token}, {cookie: session}]}
- name: all
`)
	good := g.issuer.Token(map[string]any{"email": "canary-claim@example.com"})
	bad := []string{
		good, g.issuer.Token(nil, oidctest.Forged()), g.issuer.Token(nil, oidctest.Unsigned()), good + "x", "canary-opaque", "canary." + good,
	}
	for _, token := range bad {
		for _, req := range []*authv3.CheckRequest{
			checkRequest("/x?secret=canary-query", "authorization", "Bearer "+token, "cookie", "a=canary-cookie", "x-api-key", "canary-key"),
			checkRequest("/q?access_token=" + token),
			checkRequest("/q", "cookie", "session="+token),
			checkRequest("/x", "authorization", token),
			checkRequest("/x", "authorization", "Basic canary-basic"),
		} {
			g.check(t, req)
		}
	}
	out := g.flushLog() + g.scrape(t)
	for _, secret := range append(bad, "canary") {
		for _, part := range strings.Split(secret, ".") {
			if len(part) > 5 && strings.Contains(out, part) {
				t.Errorf("%q is in the log or the metrics", part)
			}
		}
	}
	if strings.Count(out, `"msg":"check"`) != len(bad)*5 {
		t.Errorf("%d records, want %d", strings.Count(out, `"msg":"check"`), len(bad)*5)
	}
}

func TestARecordSaysWhatWasDecided(t *testing.T) {
	g := newTestGate(t, "log: {decisions: all}\n"+oneIssuer+"policies: [{name: all}]")
	token := g.issuer.Token(nil)
	req := checkRequest("/orders?q=1", "authorization", "Bearer "+token, "x-request-id", "r-1")
	req.Attributes.Source = &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "10.1.2.3"}}}}
	g.check(t, req)
	g.check(t, checkRequest("/orders\x1b[31m", "authorization", "Bearer "+g.issuer.Token(nil, oidctest.Forged())))
	var lines []map[string]any
	for line := range strings.Lines(g.flushLog()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("a line that is no JSON: %s", line)
		}
		if m["msg"] == "check" {
			lines = append(lines, m)
		}
	}
	if len(lines) != 2 {
		t.Fatalf("%d records, want 2", len(lines))
	}
	want := map[string]any{
		"level": "INFO", "verdict": "allow", "reason": "valid_token", "status": 200.0, "policy": "all", "issuer": "shop",
		"client": "client", "subject": "alice", "method": "GET", "host": "api.example.com", "path": "/orders",
		"request_id": "r-1", "source": "10.1.2.3",
	}
	for key, value := range want {
		if lines[0][key] != value {
			t.Errorf("%s is %v, want %v", key, lines[0][key], value)
		}
	}
	if id, _ := lines[0]["token"].(string); len(id) != 8 || id == lines[1]["token"] {
		t.Errorf("tokens are named %v and %v", lines[0]["token"], lines[1]["token"])
	}
	for _, key := range []string{"subject", "client"} {
		if v, ok := lines[1][key]; ok {
			t.Errorf("%s %v of a token whose signature is bad", key, v)
		}
	}
	if lines[1]["path"] != `/orders\u{1b}[31m` {
		t.Errorf("path %q can disturb a terminal", lines[1]["path"])
	}
}

func TestSubjectsStayOutOfRecordsIfToldSo(t *testing.T) {
	g := newTestGate(t, "log: {decisions: all, subject: false}\n"+oneIssuer+"policies: [{name: all}]")
	g.check(t, checkRequest("/", "authorization", "Bearer "+g.issuer.Token(nil)))
	if out := g.flushLog(); strings.Contains(out, "alice") || !strings.Contains(out, `"msg":"check"`) {
		t.Errorf("records: %s", out)
	}
}

func TestDenialsAreHeldToARatePerReason(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	for range denialsASecond + 20 {
		g.check(t, checkRequest("/"))
	}
	g.check(t, checkRequest("/", "authorization", "Bearer x"))
	out := g.flushLog()
	if n := strings.Count(out, `"reason":"missing_token","status"`); n != denialsASecond {
		t.Errorf("%d records of one reason, want %d", n, denialsASecond)
	}
	if !strings.Contains(out, `"reason":"malformed_token","status"`) || !strings.Contains(out, `"reason":"missing_token","count":20`) {
		t.Errorf("another reason is missing, or the count of the rest: %s", out)
	}
	if n := g.metric(t, "claimgate_checks_total", "reason", "missing_token"); n != denialsASecond+20 {
		t.Errorf("%v counted, want all %d", n, denialsASecond+20)
	}
}

func TestARecordThatCannotBeWrittenCountsAsDropped(t *testing.T) {
	null, err := os.Open(os.DevNull) // for reading: each write fails
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close() //nolint:errcheck // nothing was written
	l := newDecisionLog(slog.New(slog.NewJSONHandler(null, nil)))
	l.write(decisionRecord{reason: oidc.MissingToken})
	if n := l.dropped.Load(); n != 1 {
		t.Errorf("%d records dropped, want 1", n)
	}
}

func TestASlowSinkDropsRecordsAndDelaysNothing(t *testing.T) {
	g := newTestGate(t, "log: {decisions: all}\n"+oneIssuer+"policies: [{name: all, access: public}]")
	for range logQueueSize + 7 { // nobody reads the queue
		g.check(t, checkRequest("/"))
	}
	if n := g.metric(t, "claimgate_log_dropped_total"); n != 7 {
		t.Errorf("%v records dropped, want 7", n)
	}
	g.flushLog()
}

func TestEveryReasonIsAMetricLabel(t *testing.T) {
	m := newMetrics()
	for _, reason := range oidc.Reasons() {
		d := Decision{reason: reason, policy: "p", issuer: "i"}
		if reason == oidc.ValidToken {
			d.token = &oidc.Token{}
		}
		m.checked(d, time.Now(), time.Millisecond)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "claimgate_checks_total" && len(f.GetMetric()) != len(oidc.Reasons()) {
			t.Errorf("%d series for %d reasons", len(f.GetMetric()), len(oidc.Reasons()))
		}
	}
}

// metric returns the sum of a metric's samples that have a label.
func (g *testGate) metric(t testing.TB, name string, label ...string) float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			fits := len(label) == 0
			for _, l := range m.GetLabel() {
				fits = fits || l.GetName() == label[0] && l.GetValue() == label[1]
			}
			if fits {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// scrape returns all metrics as text.
func (g *testGate) scrape(t testing.TB) string {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

// FuzzCheck sends arbitrary bytes as a CheckRequest: the answer keeps every
// promise that all answers make, and without a good token nothing is allowed but
// what the configuration calls public.
func FuzzCheck(f *testing.F) {
	g := newTestGate(f, oneIssuer+`
policies:
- {name: public, match: [{paths: [/public/**]}], access: public}
- {name: query, match: [{paths: [/query]}], tokenFrom: [{query: t}, {cookie: t}], forwardToken: false}
- {name: when, match: [{hosts: [when.example.com]}], when: 'request.path.startsWith("/x") && token.claims.a == 1'}
- {name: optional, match: [{paths: [/optional]}], access: optional, corsPreflight: true}
- name: all
`)
	// A word stands for the good token, since each process that fuzzes has
	// another one. It is as long as the token, so that lengths stay right.
	good := g.issuer.Token(nil)
	word := "TOKEN" + strings.Repeat("-", len(good)-5)
	for _, req := range []*authv3.CheckRequest{
		{}, checkRequest("/"), checkRequest("/public/a"), checkRequest("/", "authorization", "Bearer "+word),
		checkRequest("/query?t=" + word), checkRequest("/query", "cookie", "a=b; t="+word),
		checkRequest("/optional", "origin", "x"), checkRequest("/x;y", "x_auth_subject", "root"),
	} {
		wire, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		wire = bytes.ReplaceAll(wire, []byte(word), []byte(good))
		resp := &authv3.CheckResponse{}
		if err := proto.Unmarshal(g.server.checkWire(t.Context(), wire), resp); err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		checkInvariants(t, resp)
		req := &authv3.CheckRequest{}
		if proto.Unmarshal(wire, req) == nil {
			plain := g.check(t, req)
			sortRemovals(plain)
			sortRemovals(resp)
			if !proto.Equal(plain, resp) {
				t.Fatalf("the plain answer is\n%v\nthe daemon's\n%v", plain, resp)
			}
		}
		fields := resp.GetDynamicMetadata().GetFields()
		switch reason := oidc.Reason(fields["reason"].GetStringValue()); reason {
		case oidc.Internal:
			t.Fatalf("a panic: %s", g.log)
		case oidc.ValidToken:
			if fields["issuer"].GetStringValue() != "shop" || !bytes.Contains(wire, []byte(good[:40])) {
				t.Fatalf("valid_token without the one good token: %v", req)
			}
		case oidc.Public:
			if fields["policy"].GetStringValue() != "public" {
				t.Fatalf("public under policy %s", fields["policy"])
			}
		case oidc.Anonymous, oidc.CORSPreflight:
			if fields["policy"].GetStringValue() != "optional" {
				t.Fatalf("%s under policy %s", reason, fields["policy"])
			}
		}
	})
}
