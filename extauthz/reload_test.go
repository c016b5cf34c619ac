package extauthz

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// reloadable is a gate whose configuration is in a file that a test writes and
// then has looked at, by hand.
type reloadable struct {
	*testing.T
	dir      string
	issuer   *oidctest.Issuer
	gate     *Gate
	watch    *configWatch
	log      lockedBuffer
	registry *prometheus.Registry
	applied  []string // hashes
}

// lockedBuffer is written by the goroutines of a gate and read by the test.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take returns what was written since the last call.
func (b *lockedBuffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.buf.Reset()
	return b.buf.String()
}

const reloadIssuer = "server: {checkTimeout: 10s}\nissuers: [{issuer: $ISSUER, name: main, audiences: [api]}]\n"

func newReloadable(t *testing.T, config string) *reloadable {
	t.Helper()
	r := &reloadable{T: t, dir: t.TempDir(), issuer: oidctest.NewIssuer(), registry: prometheus.NewRegistry()}
	t.Cleanup(r.issuer.Close)
	r.write(config)
	cfg, err := LoadConfig(r.file())
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(&r.log, nil))
	if r.gate, err = NewGate(cfg, Options{Logger: logger, Registerer: r.registry}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.gate.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		r.gate.Close()
	})
	r.watch = newConfigWatch(r.file(), r.gate, logger, func(c *Config) { r.applied = append(r.applied, c.Log.Level) })
	r.watch.look(t.Context())
	return r
}

func (r *reloadable) file() string { return filepath.Join(r.dir, "gate.yaml") }

func (r *reloadable) write(config string) {
	r.Helper()
	config = strings.ReplaceAll(config, "$ISSUER", r.issuer.URL)
	if err := os.WriteFile(r.file(), []byte(config), 0o600); err != nil {
		r.Fatal(err)
	}
}

// look has the file looked at and returns what was logged.
func (r *reloadable) look() string {
	r.log.take()
	r.watch.look(r.Context())
	var lines []string
	for line := range strings.Lines(r.log.take()) {
		if !strings.Contains(line, `msg="keys changed"`) { // comes when it comes
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func (r *reloadable) reason(token string) string {
	r.Helper()
	resp, err := (&server{gate: r.gate}).Check(r.Context(), checkRequest("/", "authorization", "Bearer "+token))
	if err != nil {
		r.Fatal(err)
	}
	return resp.GetDynamicMetadata().GetFields()["reason"].GetStringValue()
}

// reloads returns the counters of successes and failures, and whether what is on
// disk is in force.
func (r *reloadable) reloads() string {
	r.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.Fatal(err)
	}
	counts, last := map[string]float64{}, ""
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "claimgate_config_reloads_total":
				counts[label(m, "result")] = m.GetCounter().GetValue()
			case "claimgate_config_last_reload_successful":
				last = map[float64]string{0: ", old", 1: ", in force"}[m.GetGauge().GetValue()]
			}
		}
	}
	return fmt.Sprintf("success %v, failure %v%s", counts["success"], counts["failure"], last)
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func TestAChangedFileTakesOverAndKeepsKeys(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	token := r.issuer.Token(nil)
	if got := r.reason(token); got != "valid_token" {
		t.Fatalf("reason %s", got)
	}
	if out := r.look(); out != "" {
		t.Errorf("an unchanged file is news: %s", out)
	}
	fetches := r.issuer.Requests()
	r.write(reloadIssuer + "log: {level: debug}\npolicies: [{name: all, scopes: [orders]}]")
	out := r.look()
	if !strings.Contains(out, `msg="the configuration was reloaded"`) || strings.Contains(out, "lets more through") {
		t.Errorf("log: %s", out)
	}
	if got := r.reason(token); got != "insufficient_scope" {
		t.Errorf("reason %s", got)
	}
	if got := r.issuer.Requests(); got != fetches {
		t.Errorf("%d fetches more, though the issuer has not changed", got-fetches)
	}
	if got := r.reloads(); got != "success 1, failure 0, in force" {
		t.Error(got)
	}
	if got := strings.Join(r.applied, " "); got != "debug" {
		t.Errorf("told of %q", got)
	}
}

func TestAGoneIssuersCachedTokensAreRefusedAtOnce(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	other := oidctest.NewIssuer()
	defer other.Close()
	token := r.issuer.Token(nil)
	for range 2 { // the second one is a cached one
		if got := r.reason(token); got != "valid_token" {
			t.Fatalf("reason %s", got)
		}
	}
	r.write(strings.ReplaceAll(reloadIssuer, "$ISSUER", other.URL) + "policies: [{name: all}]")
	out := r.look()
	if got := r.reason(token); got != "unknown_issuer" {
		t.Errorf("reason %s", got)
	}
	if !strings.Contains(out, "the new configuration lets more through") {
		t.Errorf("another issuer under the same name is not reported: %s", out)
	}
	// The new issuer's keys were there before it took over.
	if got := r.reason(other.Token(nil)); got != "valid_token" {
		t.Errorf("reason %s", got)
	}
}

func TestAChangedAudienceAppliesToCachedTokens(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	token := r.issuer.Token(nil)
	r.reason(token)
	r.write(strings.ReplaceAll(reloadIssuer, "[api]", "[other]") + "policies: [{name: all}]")
	r.look()
	if got := r.reason(token); got != "wrong_audience" {
		t.Errorf("reason %s", got)
	}
}

// TestABadFileChangesNothing: more than twenty ways to break a configuration, and each
// leaves the old one in force, with one line in the log and one more failure.
func TestABadFileChangesNothing(t *testing.T) {
	const good = reloadIssuer + "policies: [{name: all}]"
	for name, tc := range map[string]struct {
		breakIt func(r *reloadable)
		want    string
	}{
		"syntax":        {func(r *reloadable) { r.write("issuers: [") }, "not valid YAML"},
		"unknown field": {func(r *reloadable) { r.write(good + "\nserve: {}\n") }, `unknown field \"serve\"`},
		"wrong type":    {func(r *reloadable) { r.write(good + "\nlog: loud\n") }, "log: "},
		"half written":  {func(r *reloadable) { r.write(good[:len(good)-8]) }, "not valid YAML"},
		"empty":         {func(r *reloadable) { r.write("") }, "empty"},
		"no policies":   {func(r *reloadable) { r.write(reloadIssuer) }, "policies: "},
		"two documents": {func(r *reloadable) { r.write(good + "\n---\n" + good) }, "document"},
		"duplicate key": {func(r *reloadable) { r.write(good + "\npolicies: [{name: b}]\n") }, "policies"},
		"not UTF-8":     {func(r *reloadable) { r.write(good + "\n# \xff\n") }, "UTF-8"},
		"too large":     {func(r *reloadable) { r.write(good + "\n#" + strings.Repeat("x", maxConfigSize)) }, "larger than"},
		"duration out of range": {func(r *reloadable) {
			r.write(strings.Replace(good, "10s", "1h", 1))
		}, "server.checkTimeout: "},
		"no such policy issuer": {func(r *reloadable) { r.write(reloadIssuer + "policies: [{name: all, issuers: [nobody]}]") }, "nobody"},
		"two issuers of a name": {func(r *reloadable) {
			r.write("issuers: [{issuer: $ISSUER, name: a, audiences: [x]}, {issuer: 'https://b.example', name: a, audiences: [x]}]\npolicies: [{name: all}]")
		}, "one name"},
		"bad CEL":  {func(r *reloadable) { r.write(reloadIssuer + "policies: [{name: all, when: 'token.'}]") }, "when: "},
		"bad path": {func(r *reloadable) { r.write(reloadIssuer + "policies: [{name: all, match: [{paths: [a]}]}]") }, "paths"},
		"secret in URL": {func(r *reloadable) {
			r.write("issuers: [{issuer: 'https://u:p@a.example', audiences: [x]}]\npolicies: [{name: all}]")
		}, "user or password"},
		"missing key": {func(r *reloadable) {
			must(r.T, os.WriteFile(filepath.Join(r.dir, "c.pem"), serverPair(r.T, "c").certPEM, 0o600))
			r.write(strings.Replace(good, "audiences", "http: {certFile: c.pem, keyFile: k.pem}, audiences", 1))
		}, "k.pem: there is no such file"},
		"missing key set": {func(r *reloadable) { r.write(strings.Replace(good, "audiences", "jwksFile: keys.json, audiences", 1)) }, "keys.json: there is no such file"},
		"missing file": {func(r *reloadable) {
			r.write(strings.Replace(good, "audiences", "http: {caFile: ca.pem}, audiences", 1))
		}, "ca.pem"},
		"vanished":       {func(r *reloadable) { must(r.T, os.Remove(r.file())) }, "there is no such file"},
		"a directory":    {func(r *reloadable) { must(r.T, os.Remove(r.file())); must(r.T, os.Mkdir(r.file(), 0o700)) }, "is a directory"},
		"a pipe":         {func(r *reloadable) { must(r.T, os.Remove(r.file())); must(r.T, syscall.Mkfifo(r.file(), 0o600)) }, "is no regular file"},
		"a device":       {func(r *reloadable) { must(r.T, os.Remove(r.file())); must(r.T, os.Symlink("/dev/zero", r.file())) }, "is no regular file"},
		"dangling link":  {func(r *reloadable) { must(r.T, os.Remove(r.file())); must(r.T, os.Symlink("nowhere", r.file())) }, "there is no such file"},
		"link to itself": {func(r *reloadable) { must(r.T, os.Remove(r.file())); must(r.T, os.Symlink("gate.yaml", r.file())) }, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReloadable(t, good)
			hash := r.gate.set.Load().hash
			tc.breakIt(r)
			out := r.look()
			if n := strings.Count(out, "\n"); n != 1 || !strings.Contains(out, "the old one stays in force") || !strings.Contains(out, tc.want) {
				t.Errorf("%d lines, want 1 with %q: %s", n, tc.want, out)
			}
			if out := r.look(); out != "" {
				t.Errorf("the same content is news again: %s", out)
			}
			if got := r.reloads(); got != "success 0, failure 1, old" {
				t.Error(got)
			}
			if r.gate.set.Load().hash != hash || r.reason(r.issuer.Token(nil)) != "valid_token" {
				t.Error("the old configuration is not in force any more")
			}
			// And back: no reload, since it never went away.
			must(t, os.RemoveAll(r.file()))
			r.write(good)
			if out := r.look(); !strings.Contains(out, "is again the one that is in force") {
				t.Errorf("log: %s", out)
			}
			if got := r.reloads(); got != "success 0, failure 1, in force" {
				t.Error(got)
			}
		})
	}
}

// The same for the files of server.tls, which only a gate that listens reads.
func TestAFileThatNamesAnUnusableCertificateChangesNothing(t *testing.T) {
	server := serverPair(t, "server")
	g := newTLSGate(t, server, "", nil)
	r := &reloadable{T: t, dir: g.dir, gate: g.gate, registry: g.registry}
	file := func(certFile, access string) []byte {
		return []byte("server: {tls: {certFile: " + certFile + ", keyFile: server.key}}\npolicies: [{name: all, access: " + access + "}]")
	}
	g.put("gate.yaml", file("server.pem", "public"))
	r.watch = newConfigWatch(r.file(), g.gate, slog.New(slog.NewTextHandler(&r.log, nil)), nil)
	r.watch.look(t.Context())
	hash := g.gate.set.Load().hash

	g.put("gate.yaml", file("renewed.pem", "deny"))
	out := r.look()
	if n := strings.Count(out, "\n"); n != 1 || !strings.Contains(out, "the old one stays in force") || !strings.Contains(out, "server.tls.certFile: ") {
		t.Errorf("log: %s", out)
	}
	if out := r.look(); out != "" {
		t.Errorf("still missing is news again: %s", out)
	}
	if got := r.reloads(); got != "success 0, failure 1, old" {
		t.Error(got)
	}
	if g.gate.set.Load().hash != hash {
		t.Error("a part of it is in force")
	}
	// The certificate comes a moment after the configuration that names it.
	g.put("renewed.pem", server.certPEM)
	if out := r.look(); !strings.Contains(out, "the configuration was reloaded") {
		t.Errorf("log: %s", out)
	}
	if got := g.gate.set.Load().config.Policies[0].Access; got != AccessDeny {
		t.Errorf("access %s", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFileWithoutPermissionChangesNothing(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	must(t, os.Chmod(r.file(), 0))
	withoutRoot(t, func() {
		if out := r.look(); !strings.Contains(out, "no permission to read the file") {
			t.Errorf("log: %s", out)
		}
	})
	if got := r.reloads(); got != "success 0, failure 1, old" {
		t.Error(got)
	}
}

// Kubernetes mounts a ConfigMap as a link to a directory, and swaps the link.
func TestASwappedLinkIsAChange(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	for _, version := range []string{"..1", "..2"} {
		must(t, os.Mkdir(filepath.Join(r.dir, version), 0o700))
	}
	config := func(policy string) []byte {
		return []byte(strings.ReplaceAll(reloadIssuer, "$ISSUER", r.issuer.URL) + "policies: [" + policy + "]")
	}
	must(t, os.WriteFile(filepath.Join(r.dir, "..1", "gate.yaml"), config("{name: all}"), 0o600))
	must(t, os.WriteFile(filepath.Join(r.dir, "..2", "gate.yaml"), config("{name: all, access: deny}"), 0o600))
	must(t, os.Symlink("..1", filepath.Join(r.dir, "..data")))
	must(t, os.Remove(r.file()))
	must(t, os.Symlink("..data/gate.yaml", r.file()))
	if out := r.look(); out != "" {
		t.Errorf("the same content behind a link is news: %s", out)
	}
	must(t, os.Symlink("..2", filepath.Join(r.dir, "..next")))
	must(t, os.Rename(filepath.Join(r.dir, "..next"), filepath.Join(r.dir, "..data")))
	r.look()
	if got := r.reason("x.y.z"); got != "denied_by_policy" {
		t.Errorf("reason %s", got)
	}
}

// A file that the configuration names can come a moment after it.
func TestAFileThatComesLateIsWaitedFor(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	r.write(strings.Replace(reloadIssuer, "audiences", "http: {caFile: ca.pem}, audiences", 1) + "policies: [{name: late}]")
	r.look()
	if out := r.look(); out != "" {
		t.Errorf("still missing is news again: %s", out)
	}
	must(t, os.WriteFile(filepath.Join(r.dir, "ca.pem"), serverPair(t, "ca").certPEM, 0o600))
	if out := r.look(); !strings.Contains(out, "the configuration was reloaded") {
		t.Errorf("log: %s", out)
	}
}

func TestWhatOnlyARestartChangesIsReportedAndKept(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	r.write(strings.Replace(reloadIssuer, "{checkTimeout: 10s}", `{listen: "127.0.0.1:1", maxConnectionAge: 1h, tls: {certFile: a, keyFile: b}}`, 1) +
		`policies: [{name: all, realm: new}]
admin: {listen: "127.0.0.1:2"}
`)
	out := r.look()
	for _, field := range []string{"server.listen", "server.tls", "server.maxConnectionAge", "admin.listen"} {
		if !strings.Contains(out, "a restart is needed") || !strings.Contains(out, "field="+field+"\n") {
			t.Errorf("%s is not reported: %s", field, out)
		}
	}
	set := r.gate.set.Load()
	if set.policies[0].challenge.Realm != "new" {
		t.Error("the rest does not apply")
	}
	if set.config.Server.Listen != defaultListen || set.config.Server.TLS != nil || set.config.Admin.Listen != defaultAdminListen {
		t.Errorf("what is in force is told wrongly: %+v", set.config.Server)
	}
}

func TestSeriesOfWhatIsGoneAreGone(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: old}]")
	r.reason(r.issuer.Token(nil))
	r.write("policies: [{name: new, access: public}]")
	r.look()
	families, err := r.registry.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if label(m, "issuer") == "main" || label(m, "policy") == "old" {
				t.Errorf("%s still has %v", f.GetName(), m.GetLabel())
			}
		}
	}
}

// Every check gets the verdict of one configuration or the other, while they
// take turns.
func TestChecksGoOnWhileConfigurationsChange(t *testing.T) {
	r := newReloadable(t, reloadIssuer+"policies: [{name: all}]")
	token := r.issuer.Token(nil)
	r.reason(token)
	done := make(chan struct{})
	var checkers sync.WaitGroup
	for range 4 {
		checkers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := r.reason(token); got != "valid_token" && got != "role_missing" {
					t.Errorf("reason %s", got)
					return
				}
			}
		})
	}
	for i := range 40 {
		if i%2 == 0 {
			r.write(reloadIssuer + "policies: [{name: all, roles: [admin]}]")
		} else {
			r.write(reloadIssuer + "policies: [{name: all}]")
		}
		r.look()
	}
	close(done)
	checkers.Wait()
	if got := r.reloads(); got != "success 40, failure 0, in force" {
		t.Error(got)
	}
}
