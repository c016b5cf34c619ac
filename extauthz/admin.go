package extauthz

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/claimgate/claimgate/oidc"
)

// AdminHandler returns the operator's endpoints: /livez, /readyz, /metrics of
// gatherer, and for people the status page /, /config and profiles, if the
// configuration in force serves them on the listener that it names. It is
// read-only, and tells nothing of tokens or of who sent them.
func (g *Gate) AdminHandler(gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", g.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	people := func(pattern string, wanted func(AdminConfig) bool, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			switch cfg := g.set.Load().config.Admin; {
			case !wanted(cfg) || !cfg.forPeople():
				http.NotFound(w, r)
			case !cfg.Expose && !namesThisMachine(r.Host):
				http.Error(w, "ask by an IP address or as localhost, or set admin.expose: true", http.StatusMisdirectedRequest)
			default:
				h(w, r)
			}
		})
	}
	page := newStatusPage()
	always := func(AdminConfig) bool { return true }
	people("GET /{$}", always, func(w http.ResponseWriter, _ *http.Request) { g.statusPage(w, page) })
	people("GET /config", always, g.configPage)
	profiles := func(pattern string, h http.HandlerFunc) {
		people(pattern, func(c AdminConfig) bool { return c.PProf }, h)
	}
	profiles("GET /debug/pprof/", pprof.Index)
	profiles("GET /debug/pprof/cmdline", pprof.Cmdline)
	profiles("GET /debug/pprof/profile", pprof.Profile)
	profiles("GET /debug/pprof/symbol", pprof.Symbol)
	profiles("GET /debug/pprof/trace", pprof.Trace)
	return withSecurityHeaders(mux)
}

// withSecurityHeaders sets what holds for every answer; a page for people adds to
// it.
func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// namesThisMachine reports whether a Host header is one that no page from
// elsewhere can have a browser send: its own name may be made to lead to this
// machine (DNS rebinding), an address or localhost cannot.
func namesThisMachine(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}

func (g *Gate) statusPage(w http.ResponseWriter, page *statusPage) {
	var b bytes.Buffer
	if err := page.write(&b, g.status()); err != nil {
		http.Error(w, "the page cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Security-Policy", page.policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w) // whoever asked may be gone
}

// configPage serves text, which a browser shows where it would store YAML.
func (g *Gate) configPage(w http.ResponseWriter, _ *http.Request) {
	data, err := encodeConfig(g.set.Load().config)
	if err != nil {
		http.Error(w, "the configuration cannot be written: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(data) // whoever asked may be gone
}

// forPeople reports whether the listener serves more than machines ask for: only
// on this machine, unless the operator exposes it.
func (c AdminConfig) forPeople() bool {
	address, err := parseListenAddress(c.Listen)
	return c.Expose || err == nil && address.local()
}

func newAdminServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

func (g *Gate) readyz(w http.ResponseWriter, r *http.Request) {
	problems := g.problems()
	status := http.StatusOK
	if len(problems) > 0 {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	for _, p := range problems {
		fmt.Fprintln(w, p)
	}
	if r.URL.Query().Has("verbose") {
		now := g.clock()
		for _, s := range g.set.Load().validator.Status() {
			fmt.Fprintln(w, issuerLine(s, now))
		}
	}
	if len(problems) == 0 {
		fmt.Fprintln(w, "ok")
	}
}

// problems says why the gate is not ready, one text each; nil if it is.
func (g *Gate) problems() []string {
	var list []string
	if g.draining.Load() {
		list = append(list, "shutting down")
	}
	set := g.set.Load()
	for _, s := range set.validator.Status() {
		switch {
		case !s.FirstFetchEnded:
			list = append(list, fmt.Sprintf("issuer %s: the first fetch of its keys has not ended", s.Name))
		case set.required[s.Name] && !s.Usable:
			list = append(list, fmt.Sprintf("issuer %s: required, and has no usable keys: %s", s.Name, s.LastError))
		}
	}
	return list
}

// issuerLine is the state of an issuer, and below it a line for each key that is
// not used.
func issuerLine(s oidc.IssuerStatus, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "issuer %s: %d usable keys, %d skipped", s.Name, s.UsableKeys, len(s.SkippedKeys))
	if s.Tenants > 0 {
		fmt.Fprintf(&b, " of %d tenants, %d of them in trouble", s.Tenants, s.TenantsInTrouble)
	}
	if !s.LastSuccess.IsZero() {
		fmt.Fprintf(&b, ", fetched %s ago", now.Sub(s.LastSuccess).Round(time.Second))
	}
	switch {
	case s.Stale:
		b.WriteString(", stale")
	case s.FirstFetchEnded && !s.Usable:
		b.WriteString(", its tokens get 503")
	}
	if s.LastError != "" {
		fmt.Fprintf(&b, ", last error: %s", s.LastError)
	}
	for _, k := range s.SkippedKeys {
		fmt.Fprintf(&b, "\n  skipped %s", k)
	}
	return b.String()
}
