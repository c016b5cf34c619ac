package extauthz

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// daemon is a gate that Serve runs.
type daemon struct {
	client *grpc.ClientConn
	admin  string // URL, "" if it is off
	stop   context.CancelFunc
	ended  chan error
}

func startDaemon(t *testing.T, config string) *daemon {
	t.Helper()
	cfg, err := ParseConfig("config.yaml", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	return serveDaemon(t, cfg, ServeOptions{})
}

// serveDaemon runs Serve with opts until the test is over.
func serveDaemon(t *testing.T, cfg *Config, opts ServeOptions) *daemon {
	t.Helper()
	bePatient(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{stop: cancel, ended: make(chan error, 1)}
	type addresses struct{ listen, admin net.Addr }
	ready := make(chan addresses, 1)
	opts.Ready = func(l, a net.Addr) { ready <- addresses{l, a} }
	go func() { d.ended <- Serve(ctx, cfg, opts) }()
	select {
	case err := <-d.ended:
		cancel()
		t.Fatalf("Serve: %v", err)
	case a := <-ready:
		target := a.listen.String()
		if a.listen.Network() == "unix" {
			target = "unix:" + target
		}
		if a.admin != nil {
			d.admin = "http://" + a.admin.String()
		}
		var err error
		if d.client, err = grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		cancel()
		d.client.Close() //nolint:errcheck // the test is over
		<-d.ended
		http.DefaultClient.CloseIdleConnections()
	})
	return d
}

func (d *daemon) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := http.Get(d.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (d *daemon) reason(t *testing.T, req *authv3.CheckRequest) string {
	t.Helper()
	resp, err := authv3.NewAuthorizationClient(d.client).Check(t.Context(), req, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetDynamicMetadata().GetFields()["reason"].GetStringValue()
}

func TestLinesThatTheLoggerLosesAreCounted(t *testing.T) {
	cfg, err := ParseConfig("config.yaml", []byte("server: {listen: '127.0.0.1:0', drainDelay: 0s}\nadmin: {listen: '127.0.0.1:0'}\npolicies: [{name: all, access: public}]"))
	must(t, err)
	d := serveDaemon(t, cfg, ServeOptions{LogLost: func() uint64 { return 7 }})
	if _, body := d.get(t, "/metrics"); !strings.Contains(body, "\nclaimgate_log_dropped_total 7\n") {
		t.Errorf("/metrics: %s", body)
	}
}

func TestTheDaemonServesHealthReadinessAndMetrics(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.PublishRaw(`{"kty": "odd", "kid": "new"}`)
	down := oidctest.NewIssuer()
	defer down.Close()
	down.Down()
	d := startDaemon(t, `
server: {listen: "127.0.0.1:0", drainDelay: 0s}
admin: {listen: "127.0.0.1:0"}
issuers:
- {issuer: `+issuer.URL+`, name: good, audiences: [api], required: true}
- {issuer: `+down.URL+`, name: gone, audiences: [api]}
policies: [{name: all}]
`)
	if reason := d.reason(t, checkRequest("/", "authorization", "Bearer "+issuer.Token(nil))); reason != "valid_token" {
		t.Errorf("reason %s", reason)
	}
	if reason := d.reason(t, checkRequest("/", "authorization", "Bearer "+down.Token(nil))); reason != "keys_unavailable" {
		t.Errorf("reason %s for an issuer that is down", reason)
	}
	for _, service := range []string{"", "envoy.service.auth.v3.Authorization"} {
		resp, err := healthv1.NewHealthClient(d.client).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, resp, err)
		}
	}
	if status, body := d.get(t, "/livez"); status != 200 || body != "ok\n" {
		t.Errorf("/livez: %d %s", status, body)
	}
	// Both first fetches have ended, one of them badly: an issuer that is down
	// must not keep the gate from being ready.
	if status, body := d.get(t, "/readyz"); status != 200 || body != "ok\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	_, body := d.get(t, "/readyz?verbose")
	if !strings.Contains(body, "issuer good: 1 usable keys, 1 skipped, fetched") ||
		!strings.Contains(body, "\n  skipped \"new\": unknown kty\n") || !strings.Contains(body, "issuer gone: 0 usable keys, 0 skipped, its tokens get 503, last error: ") {
		t.Errorf("/readyz?verbose: %s", body)
	}
	_, body = d.get(t, "/metrics")
	for _, want := range []string{
		`claimgate_checks_total{issuer="good",policy="all",reason="valid_token",verdict="allow"} 1`,
		`claimgate_checks_total{issuer="gone",policy="all",reason="keys_unavailable",verdict="deny"} 1`,
		`claimgate_check_duration_seconds_count{verdict="allow"} 1`,
		`claimgate_token_cache_total{result="miss"} 2`,
		`claimgate_token_cache_entries 1`,
		`claimgate_key_fetches_total{issuer="good",kind="discovery",result="ok"} 1`,
		`claimgate_key_fetches_total{issuer="good",kind="jwks",result="ok"} 1`,
		`claimgate_key_fetches_total{issuer="gone",kind="discovery",result="connect"}`,
		`claimgate_keys{issuer="good",state="usable"} 1`,
		`claimgate_config_info{hash="`, `claimgate_build_info{goversion="go`, `go_goroutines`, `process_cpu_seconds_total`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/nope"} {
		if status, _ := d.get(t, path); status != 404 {
			t.Errorf("%s: %d, want 404", path, status)
		}
	}
}

func TestARequiredIssuerKeepsTheGateFromBeingReady(t *testing.T) {
	down := oidctest.NewIssuer()
	defer down.Close()
	down.Down()
	d := startDaemon(t, `
server: {listen: "127.0.0.1:0", drainDelay: 0s}
admin: {listen: "127.0.0.1:0", pprof: true}
issuers: [{issuer: `+down.URL+`, name: gone, audiences: [api], required: true}]
policies: [{name: all}]
`)
	d.reason(t, checkRequest("/", "authorization", "Bearer "+down.Token(nil))) // after the first fetch
	status, body := d.get(t, "/readyz")
	if status != 503 || !strings.HasPrefix(body, "issuer gone: required, and has no usable keys: ") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _ := d.get(t, "/debug/pprof/"); status != 200 {
		t.Errorf("/debug/pprof/: %d", status)
	}
}

// Keys are at hand, so nobody needs the issuers: neither tokens that were seen
// before nor new ones, and the gate stays ready.
func TestAnOutageOfAllIssuersChangesNoVerdict(t *testing.T) {
	config := "server: {listen: '127.0.0.1:0', drainDelay: 0s}\nadmin: {listen: '127.0.0.1:0'}\npolicies: [{name: all}]\nissuers:\n"
	issuers := map[string]*oidctest.Issuer{"a": oidctest.NewIssuer(), "b": oidctest.NewIssuer()}
	for name, issuer := range issuers {
		defer issuer.Close()
		config += "- {issuer: " + issuer.URL + ", name: " + name + ", audiences: [api], required: true}\n"
	}
	d := startDaemon(t, config)
	verdicts := func() string {
		var list []string
		for _, name := range []string{"a", "b"} {
			list = append(list, d.reason(t, checkRequest("/", "authorization", "Bearer "+issuers[name].Token(nil))),
				d.reason(t, checkRequest("/", "authorization", "Bearer "+issuers[name].Token(map[string]any{"aud": "other"}))))
		}
		return strings.Join(list, " ")
	}
	const want = "valid_token wrong_audience valid_token wrong_audience"
	if got := verdicts(); got != want {
		t.Fatalf("before: %s", got)
	}
	for _, issuer := range issuers {
		issuer.Down()
	}
	if got := verdicts(); got != want {
		t.Errorf("meanwhile: %s", got)
	}
	if status, body := d.get(t, "/readyz"); status != 200 {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// An Envoy that goes away takes its checks with it, those too that wait for keys.
func TestAClientThatGoesAwayLeavesNoCheckBehind(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	hang := issuer.Hang()
	d := startDaemon(t, "server: {listen: '127.0.0.1:0', drainDelay: 0s}\nadmin: {listen: '127.0.0.1:0'}\n"+
		"policies: [{name: all}]\nissuers: [{issuer: "+issuer.URL+", name: slow, audiences: [api], http: {timeout: 60s}}]")
	defer hang.Release()
	ended := make(chan error, 1)
	go func() {
		_, err := authv3.NewAuthorizationClient(d.client).Check(context.Background(), checkRequest("/", "authorization", "Bearer "+issuer.Token(nil)))
		ended <- err
	}()
	inFlight := func(n string) bool {
		_, body := d.get(t, "/metrics")
		return strings.Contains(body, "\nclaimgate_checks_in_flight "+n+"\n")
	}
	for !inFlight("1") { // it waits for keys
	}
	d.client.Close()     //nolint:errcheck // that is how it goes away
	for !inFlight("0") { // the server notices when it does
	}
	if err := <-ended; err == nil {
		t.Error("an answer without keys")
	}
}

func TestTheDaemonDrains(t *testing.T) {
	d := startDaemon(t, `
server: {listen: "127.0.0.1:0", drainDelay: 300ms, drainTimeout: 10m}
admin: {listen: "127.0.0.1:0"}
policies: [{name: all, access: public}]
`)
	watch, err := healthv1.NewHealthClient(d.client).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func() healthv1.HealthCheckResponse_ServingStatus {
		resp, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetStatus()
	}
	if s := next(); s != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health at first: %s", s)
	}
	d.stop()
	if s := next(); s != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health while draining: %s", s)
	}
	if status, body := d.get(t, "/readyz"); status != 503 || body != "shutting down\n" {
		t.Errorf("/readyz while draining: %d %s", status, body)
	}
	if reason := d.reason(t, checkRequest("/")); reason != "public" {
		t.Errorf("a check while draining: %s", reason)
	}
	// Neither the open connection nor the open watch holds the drain up.
	select {
	case err := <-d.ended:
		if err != nil {
			t.Errorf("Serve after a drain: %v", err)
		}
		d.ended <- nil
	case <-time.After(time.Minute):
		t.Fatal("Serve does not end")
	}
}

func TestTheDaemonListensOnASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.sock")
	config := `
server: {listen: "unix:` + path + `", drainDelay: 0s}
admin: {listen: "off"}
policies: [{name: all, access: public}]
`
	// A socket that a dead process left behind.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close() //nolint:errcheck // that is the point

	d := startDaemon(t, config)
	if reason := d.reason(t, checkRequest("/")); reason != "public" {
		t.Errorf("reason %s", reason)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
	}
	if _, err := listen("server.listen", "unix:"+path); err == nil || !strings.Contains(err.Error(), "another process listens on the socket") {
		t.Errorf("a live socket: %v", err)
	}
}

func TestListenErrorsSayHowToMendThem(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() //nolint:errcheck // the test is over
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		busy.Addr().String():                  "is in use by another process: stop that one, or choose another port",
		"unix:" + file:                        "exists and is not a socket: remove it, or choose another path",
		"unix:" + filepath.Join(file, "sock"): "",
		"unix:/no/such/folder/sock":           "server.listen: there is no directory /no/such/folder for the socket: ",
		"192.0.2.1:1":                         "server.listen: this machine has no address 192.0.2.1:1: ",
	} {
		_, err := listen("server.listen", address)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("listen %s: %v, want one line with %q", address, err, want)
		}
	}
}

func TestServeReportsWhatItCannotOpen(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() //nolint:errcheck // the test is over
	for _, config := range []string{
		`{server: {listen: "` + busy.Addr().String() + `"}, policies: [{name: all, access: public}]}`,
		`{server: {listen: "127.0.0.1:0"}, admin: {listen: "` + busy.Addr().String() + `"}, policies: [{name: all, access: public}]}`,
	} {
		cfg, err := ParseConfig("config.yaml", []byte(config))
		if err != nil {
			t.Fatal(err)
		}
		if err := Serve(t.Context(), cfg, ServeOptions{}); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	}
}
