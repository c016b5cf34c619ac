package browser_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// TestMain skips where there is no browser, with the reason; in CI that is a
// failure. No goleak here: the browser is a process, and each test waits for it.
func TestMain(m *testing.M) {
	if os.Getenv("CLAIMGATE_PAGE") == "" {
		fmt.Fprintln(os.Stderr, "skipped: set CLAIMGATE_PAGE=1, or run make test-page")
		return
	}
	if findChromium() == "" {
		fmt.Fprintln(os.Stderr, "skipped: there is no chromium on PATH (apt-get install chromium), and the variable CHROMIUM names none")
		if os.Getenv("CI") != "" {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func findChromium() string {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	return ""
}

// startGate runs a gate with issuers in several states and some traffic behind it,
// and returns the URL of its admin listener.
func startGate(t *testing.T) string {
	t.Helper()
	shop, partner, down := oidctest.NewIssuer(), oidctest.NewIssuer(), oidctest.NewIssuer()
	for _, issuer := range []*oidctest.Issuer{shop, partner, down} {
		t.Cleanup(issuer.Close)
	}
	partner.PublishRaw(`{"kty": "odd", "kid": "\"><script>alert(1)</script>"}`)
	down.Down()
	cfg, err := extauthz.ParseConfig("gate.yaml", []byte(`
server: {listen: "127.0.0.1:0", drainDelay: 0s}
admin: {listen: "127.0.0.1:0"}
issuers:
- {issuer: `+shop.URL+`, name: shop, audiences: [api]}
- {issuer: `+partner.URL+`, name: partner-with-a-name-that-is-long-for-the-screen-of-a-phone, audiences: [api]}
- {issuer: `+down.URL+`, name: down, audiences: [api]}
policies:
- {name: health, match: [{paths: [/healthz]}], access: public}
- {name: all}
`))
	if err != nil {
		t.Fatal(err)
	}
	type addresses struct{ listen, admin net.Addr }
	ready, ended := make(chan addresses, 1), make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		ended <- extauthz.Serve(ctx, cfg, extauthz.ServeOptions{Version: "v1.0.0", Ready: func(l, a net.Addr) { ready <- addresses{l, a} }})
	}()
	t.Cleanup(func() { stop(); <-ended })
	at := <-ready
	conn, err := grpc.NewClient(at.listen.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // nothing is left to send
	check := func(times int, path, token string) {
		headers := map[string]string{}
		if token != "" {
			headers["authorization"] = "Bearer " + token
		}
		for range times {
			if _, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
				Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
					Method: "GET", Host: "api.example.com", Path: path, Headers: headers,
				}},
			}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	check(250, "/orders", shop.Token(nil))
	check(40, "/orders", partner.Token(nil))
	check(30, "/healthz", "")
	check(12, "/orders", "")
	check(9, "/orders", shop.Token(nil, oidctest.Forged()))
	check(3, "/orders", shop.Token(map[string]any{"aud": "other"}))
	check(2, "/orders", down.Token(nil))
	return "http://" + at.admin.String()
}

// contrast is the lowest contrast of a text with what is behind it, after WCAG 2.2
// (1.4.3), and which text it is.
const contrast = `(() => {
  const rgb = c => (c.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length == 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  let worst = {ratio: 21, text: ""};
  for (const e of document.body.querySelectorAll("*")) {
    const text = [...e.childNodes].filter(n => n.nodeType == 3).map(n => n.data.trim()).join("");
    if (!text) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst.ratio) worst = {ratio, text};
  }
  return worst;
})()`

// Each picture is kept in the directory that the variable CLAIMGATE_SCREENSHOTS
// names, if there is one.
func TestTheStatusPageInABrowser(t *testing.T) {
	url := startGate(t)
	browser := startChromium(t, findChromium())
	for _, c := range []struct {
		name, scheme string
		width        int
	}{{"light", "light", 1000}, {"dark", "dark", 1000}, {"phone", "light", 360}, {"phone-dark", "dark", 360}} {
		t.Run(c.name, func(t *testing.T) {
			browser.t = t
			page := browser.open(url+"/", c.width, c.scheme)
			var text string
			browser.evaluate(page, "document.body.innerText", &text)
			for _, want := range []string{
				"Ready, but some tokens get 503", "v1.0.0", "1 without usable keys, 2 in order", "no keys: 503", "connection refused",
				"partner-with-a-name-that-is-long", `<script>alert(1)</script>`, "missing_token", "bad_signature", "keys_unavailable", "290", "Tokens cached",
			} {
				if !strings.Contains(text, want) {
					t.Errorf("nobody can read %q in\n%s", want, text)
				}
			}
			var wide []string
			browser.evaluate(page, `[...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName + " " + e.textContent.slice(0, 40))`, &wide)
			var scroll [2]int
			browser.evaluate(page, "[document.documentElement.scrollWidth, innerWidth]", &scroll)
			if len(wide) > 0 || scroll[0] > c.width || scroll[1] != c.width {
				t.Errorf("at a width of %d the page is %d of %d wide: %v", c.width, scroll[0], scroll[1], wide)
			}
			var ground string
			browser.evaluate(page, "getComputedStyle(document.body).backgroundColor", &ground)
			if light := ground == "rgb(255, 255, 255)"; light != (c.scheme == "light") {
				t.Errorf("with %s the ground is %s", c.scheme, ground)
			}
			var worst struct {
				Ratio float64
				Text  string
			}
			browser.evaluate(page, contrast, &worst)
			if worst.Ratio < 4.5 {
				t.Errorf("the contrast of %q is %.2f, want 4.5", worst.Text, worst.Ratio)
			}
			var scripts int
			browser.evaluate(page, "document.scripts.length", &scripts)
			if scripts != 0 {
				t.Errorf("the page has %d scripts", scripts)
			}
			picture := browser.screenshot(page)
			if config, err := png.DecodeConfig(bytes.NewReader(picture)); err != nil || config.Width != c.width {
				t.Errorf("the picture: %+v, %v", config, err)
			}
			if dir := os.Getenv("CLAIMGATE_SCREENSHOTS"); dir != "" {
				if err := os.WriteFile(filepath.Join(dir, c.name+".png"), picture, 0o644); err != nil { //nolint:gosec // for everybody to see
					t.Fatal(err)
				}
			}
		})
	}
	browser.t = t
	urls, complaints := browser.requests()
	for _, u := range urls {
		if u != url+"/" && u != "data:," {
			t.Errorf("the browser asked for %s", u)
		}
	}
	if len(urls) < 4 || complaints != nil {
		t.Errorf("%d requests, complaints: %v", len(urls), complaints)
	}

	resp, err := http.Get(url + "/") //nolint:gosec,noctx // a gate of ours
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil || len(body) > 100<<10 {
		t.Errorf("the page has %d bytes, %v", len(body), err)
	}
	t.Logf("the page has %d bytes", len(body))
}
