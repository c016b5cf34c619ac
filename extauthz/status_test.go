package extauthz

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// ask sends a request to the gate's admin handler.
func (g *testGate) ask(method, target, host string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	w := httptest.NewRecorder()
	g.AdminHandler(g.registry).ServeHTTP(w, r)
	return w
}

func TestTheStatusPageSaysWhatIsWrongFirst(t *testing.T) {
	down := oidctest.NewIssuer(oidctest.WithClock(func() time.Time { return time.Unix(1_800_000_000, 0) }))
	defer down.Close()
	down.Down()
	g := newTestGate(t, `
issuers:
- {issuer: $issuer, name: a-good, audiences: [api]}
- {issuer: `+down.URL+`, name: z-gone, audiences: [api]}
policies: [{name: all}]
`)
	g.check(t, checkRequest("/secret-path", "authorization", "Bearer "+g.issuer.Token(nil)))
	g.check(t, checkRequest("/secret-path", "authorization", "Bearer "+down.Token(nil)))
	for range 3 {
		g.check(t, checkRequest("/secret-path"))
	}
	w := g.ask("GET", "/", "127.0.0.1:9190")
	page := w.Body.String()
	if w.Code != 200 || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	for _, want := range []string{
		"<strong>Ready, but some tokens get 503</strong>", "1 without usable keys, 1 in order",
		"<dd>test", g.set.Load().hash, "<dt>Tokens cached</dt><dd>1", "no keys: 503", "connection refused",
		"<code>keys_unavailable</code> <small>503</small>", "<code>valid_token</code> <small>200</small>",
		`<td class="n">3</td><td class="n">3</td><td class="n">3</td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if strings.Index(page, "z-gone") > strings.Index(page, "a-good") {
		t.Error("the issuer in order stands before the one that has no keys")
	}
	if denied := page[strings.Index(page, ">Denied<"):]; strings.Index(denied, "missing_token") > strings.Index(denied, "keys_unavailable") {
		t.Error("the most frequent reason does not stand first")
	}
	for _, secret := range []string{"secret-path", "alice", g.issuer.Token(nil)[:20], "<script"} {
		if strings.Contains(page, secret) {
			t.Errorf("the page has %q", secret)
		}
	}
}

func TestThePageSaysWhyTheFileIsNotInForceAndWhenItIsAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gate.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := "policies: [{name: all, access: public}]\n"
	g := newTestGate(t, good)
	watch := newConfigWatch(file, g.Gate, g.logger, nil)
	write(good)
	watch.look(t.Context())
	write("policies: [{name: <b>all, access: pubic}]\nnope: 1\n")
	watch.look(t.Context())
	page := g.ask("GET", "/", "localhost").Body.String()
	for _, want := range []string{"Ready, with an old configuration", "gate.yaml:1:35: policies[0].access: &#34;pubic&#34; is unknown", "gate.yaml:2:1: nope"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q in\n%s", want, page)
		}
	}
	write(good)
	watch.look(t.Context())
	if page := g.ask("GET", "/", "localhost").Body.String(); !strings.Contains(page, "<strong>Ready</strong>") {
		t.Error("the file is good again and the page does not say so")
	}
}

// Ten thousand issuers, all in trouble and each with the worst texts, make a page
// of the promised size, with nothing in it that a browser would run.
func TestThePageIsSmallWhateverIssuersSay(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	var all []oidc.IssuerStatus
	now := time.Unix(1_800_000_000, 0)
	for i := range 10_000 {
		worst := strings.Repeat(`"><script>alert('+')</script>`+"\u202e\x00", 100)
		s := oidc.IssuerStatus{
			Name: fmt.Sprintf("tenant-%05d", i), Issuer: worst, FirstFetchEnded: true, LastError: worst, SnapshotError: worst,
			Usable: i%10 != 9, UsableKeys: 1, LastSuccess: now.Add(-time.Hour),
		}
		if i%10 < 8 {
			s.LastError, s.SnapshotError = "", ""
		}
		all = append(all, s)
	}
	data := g.status()
	data.Issuers = nil
	data.addIssuers(all, now)
	for _, reason := range oidc.Reasons() {
		for minute := range recentMinutes {
			for range 1 << minute {
				g.metrics.recent.add(reason, now.Add(time.Duration(minute)*time.Minute))
			}
		}
	}
	g.clock = func() time.Time { return now.Add((recentMinutes - 1) * time.Minute) }
	other := g.status()
	data.Denied, data.Allowed = other.Denied, other.Allowed
	var b bytes.Buffer
	if err := newStatusPage().write(&b, data); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if len(page) > 100<<10 || !strings.HasSuffix(page, "</html>\n") {
		t.Errorf("the page has %d bytes", len(page))
	}
	if strings.Contains(page, "<script") || strings.ContainsAny(page, "\u202e\x00") {
		t.Error("something of an issuer is on the page as it is")
	}
	rows := strings.Count(page, `class="mark bad"`)
	if rows < 10 || !strings.Contains(page, fmt.Sprintf("Not shown: %d without usable keys, 1000 to look at, 8000 in order", 1000-rows)) {
		t.Errorf("%d issuers without keys are shown, and the rest is not counted", rows)
	}
}

// RFC 9110 section 9.1, and what keeps pages from elsewhere out.
func TestTheAdminListenerOnlyTells(t *testing.T) {
	g := newTestGate(t, "admin: {pprof: true}\n"+oneIssuer+"policies: [{name: all}]")
	for _, target := range []string{"/", "/config", "/livez", "/readyz", "/metrics", "/debug/pprof/cmdline"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"} {
			if w := g.ask(method, target, "localhost"); w.Code != 405 {
				t.Errorf("%s %s: %d", method, target, w.Code)
			}
		}
		w := g.ask("HEAD", target, "[::1]:9190")
		if w.Code != 200 && target != "/readyz" {
			t.Errorf("HEAD %s: %d", target, w.Code)
		}
		h := w.Header()
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; ") || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("headers of %s: %v", target, h)
		}
	}
}

// A page whose name leads to this machine (DNS rebinding) must not read what is
// for people.
func TestOnlyWhoNamesThisMachineReadsWhatIsForPeople(t *testing.T) {
	const rest = oneIssuer + "policies: [{name: all}]"
	for _, c := range []struct {
		admin, host string
		want        int
	}{
		{"{pprof: true}", "127.0.0.1:9190", 200},
		{"{pprof: true}", "localhost", 200},
		{"{pprof: true}", "LOCALHOST:8080", 200},
		{"{pprof: true}", "[::1]", 200},
		{"{pprof: true}", "evil.example", 421},
		{"{pprof: true}", "evil.example:9190", 421},
		{"{pprof: true}", "127.0.0.1.evil.example", 421},
		{"{pprof: true}", "localhost.evil.example:9190", 421},
		{"{pprof: true}", "", 421},
		{"{pprof: true, expose: true}", "gate.example", 200},
		{`{pprof: true, listen: "0.0.0.0:9190"}`, "127.0.0.1:9190", 404},
		{`{pprof: true, listen: ":9190", expose: true}`, "gate.example", 200},
	} {
		g := newTestGate(t, "admin: "+c.admin+"\n"+rest)
		for _, target := range []string{"/", "/config", "/debug/pprof/cmdline"} {
			if w := g.ask("GET", target, c.host); w.Code != c.want {
				t.Errorf("admin %s, Host %q: %s is %d, want %d", c.admin, c.host, target, w.Code, c.want)
			}
		}
		for _, target := range []string{"/livez", "/metrics"} { // machines ask by any name
			if w := g.ask("GET", target, c.host); w.Code != 200 {
				t.Errorf("admin %s, Host %q: %s is %d", c.admin, c.host, target, w.Code)
			}
		}
	}
}

// What /config shows can be loaded and then is the same configuration.
func TestTheConfigurationThatIsShownIsTheOneInForce(t *testing.T) {
	files, err := filepath.Glob("testdata/config/good/*")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		cfg, err := LoadConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		data, err := encodeConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseConfig("shown.yaml", data)
		if err != nil {
			t.Errorf("%s is shown as what cannot be loaded: %v\n%s", file, err, data)
		} else if configHash(again.withoutQueries()) != configHash(cfg.withoutQueries()) {
			t.Errorf("%s is shown as another configuration:\n%s", file, data)
		}
	}
}

func TestTheConfigurationIsShownWithoutSecrets(t *testing.T) {
	cfg, err := ParseConfig("gate.yaml", []byte(`
issuers: [{issuer: "urn:x", name: x, audiences: [api], jwksURL: "https://keys.example/jwks?appid=canary1&canary2&a=b=canary3", http: {bearerTokenFile: /run/token}}]
policies: [{name: all, claims: {sub: ["true", "0123", " x", "multi\nline"]}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	data, err := encodeConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	if strings.Contains(page, "canary") || !strings.Contains(page, "jwksURL: https://keys.example/jwks?appid=REDACTED&REDACTED&a=REDACTED\n") {
		t.Errorf("the page is\n%s", page)
	}
	if !strings.Contains(page, "bearerTokenFile: /run/token") || !strings.Contains(page, "checkTimeout: 150ms") {
		t.Errorf("a file's name or a default is missing:\n%s", page)
	}
}

func TestThePageCanBeReadWithoutSeeingIt(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	g.check(t, checkRequest("/"))
	page := g.ask("GET", "/", "localhost").Body.String()
	if tables := strings.Count(page, "<table"); tables != strings.Count(page, "<caption>") || tables != 2 {
		t.Errorf("%d tables, %d captions", tables, strings.Count(page, "<caption>"))
	}
	if bare := regexp.MustCompile(`<th( class="[^"]*")?>`).FindAllString(page, -1); bare != nil {
		t.Errorf("heads of a table without a scope: %v", bare)
	}
	for _, want := range []string{`<html lang="en">`, "<h1>", "<h2>", `name="viewport"`, `aria-label="checks a minute: 0 0`, "<main>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if away := regexp.MustCompile(`(href|src|action)="([a-ce-z]\w*:|//)`).FindAllString(page, -1); away != nil {
		t.Errorf("the page links elsewhere: %v", away)
	}
}
