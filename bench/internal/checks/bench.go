package checks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/claimgate/claimgate/bench/internal/envoy"
	"github.com/claimgate/claimgate/bench/internal/load"
	"github.com/claimgate/claimgate/bench/internal/server"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// audience is whom the tokens are for.
const audience = "bench"

// bench is all that runs, and the variants to measure on it.
type bench struct {
	variants     []variant
	processes    []*server.Process // of ours and of peers
	envoy        *envoy.Envoy
	envoyVersion string
	stop         []func() // in the order of the starts
}

func (b *bench) close() {
	for i := len(b.stop) - 1; i >= 0; i-- {
		b.stop[i]()
	}
}

// build starts everything, mints the tokens, and sees that who should refuse does.
func build(ctx context.Context, o Options) (_ *bench, err error) {
	b := &bench{}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	options := []oidctest.Option{oidctest.WithAlgorithms(freshAlgorithms...), oidctest.WithAudience(audience)}
	if o.Issuer != "" {
		options = append(options, oidctest.WithAddr(o.Issuer))
	}
	issuer := oidctest.NewIssuer(options...)
	b.stop = append(b.stop, issuer.Close)
	dir, err := os.MkdirTemp("", "claimgate-bench-")
	if err != nil {
		return nil, err
	}
	b.stop = append(b.stop, func() { _ = os.RemoveAll(dir) }) // a temporary directory

	o.say("starting the servers")
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	idle, err := b.start(server.Start(ctx, self, nil, "reference"))
	if err != nil {
		return nil, fmt.Errorf("starting the reference: %w", err)
	}
	gate := func(name, listen, more string) (*server.Server, error) {
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, []byte(gateConfig(listen, more, issuer.URL)), 0o600); err != nil {
			return nil, err
		}
		s, err := b.start(server.Start(ctx, o.Gate, nil, "serve", "--config", file))
		if err != nil {
			return nil, fmt.Errorf("starting %s (make build makes it): %w", o.Gate, err)
		}
		return s, nil
	}
	tcp, err := gate("gate", "127.0.0.1:0", "")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "gate.sock")
	unix, err := gate("socket", "unix:"+socket, "")
	if err != nil {
		return nil, err
	}
	// The default cache has room for 100,000 tokens in all, not for them and others.
	many, err := gate("many", "127.0.0.1:0", "tokenCache: {maxEntries: 200000, maxBytes: 512MiB}\n")
	if err != nil {
		return nil, err
	}
	peers := map[string]*subject{}
	for _, p := range o.Peers {
		s := &subject{addr: p.Addr}
		if p.PID != 0 {
			if s.process, err = server.Watch(p.PID); err != nil {
				return nil, fmt.Errorf("peer %s: %w", p.Name, err)
			}
			b.processes = append(b.processes, s.process)
		}
		peers[p.Name] = s
	}

	o.say("minting tokens, which takes a while")
	t, err := mintAll(issuer, o)
	if err != nil {
		return nil, err
	}
	answering, verifying, err := b.references(ctx, dir, self, issuer, tcp.Addr, &t.one[0])
	if err != nil {
		return nil, err
	}
	direct := func(name string, s *subject, want int, checks source) {
		b.variants = append(b.variants, variant{Direct, name, s, checks, want, s.addr})
	}
	const ok = load.Allowed
	direct(reference, ours(idle), ok, same(t.one))
	direct(gateOne, ours(tcp), ok, same(t.one))
	direct(gateThousand, ours(tcp), ok, same(t.thousand))
	direct(gateMany, ours(many), ok, rotating(t.many, o.Requests))
	direct(gateMissing, ours(tcp), http.StatusUnauthorized, same(t.missing))
	direct(gateForged, ours(tcp), http.StatusUnauthorized, same(t.forged))
	direct(referenceFresh, ours(idle), ok, fresh(t.fresh["RS256"]))
	direct(bareRS256, ours(verifying), ok, fresh(t.fresh["RS256"]))
	direct(gateRS256, ours(tcp), ok, fresh(t.fresh["RS256"]))
	direct(bareES256, ours(verifying), ok, fresh(t.fresh["ES256"]))
	direct(gateES256, ours(tcp), ok, fresh(t.fresh["ES256"]))
	direct(gateEdDSA, ours(tcp), ok, fresh(t.fresh["EdDSA"]))
	for _, p := range o.Peers {
		direct(peerOne(p.Name), peers[p.Name], ok, same(t.one))
		direct(peerFresh(p.Name, "RS256"), peers[p.Name], ok, fresh(t.fresh["RS256"]))
		direct(peerFresh(p.Name, "ES256"), peers[p.Name], ok, fresh(t.fresh["ES256"]))
	}
	b.variants = append(b.variants,
		variant{DirectOpen, reference, ours(idle), same(t.one), ok, idle.Addr},
		variant{DirectOpen, sameAnswer, ours(answering), same(t.one), ok, answering.Addr},
		variant{DirectOpen, gateOne, ours(tcp), same(t.one), ok, tcp.Addr})
	for _, p := range o.Peers {
		b.variants = append(b.variants, variant{DirectOpen, peerOne(p.Name), peers[p.Name], same(t.one), ok, p.Addr})
	}

	o.say("starting Envoy, and looking whether everything refuses what it should")
	keySet, err := json.Marshal(map[string]any{"keys": []any{issuer.SigningKey().JWK()}})
	if err != nil {
		return nil, err
	}
	jwt := envoy.JWTAuthn{Issuer: issuer.URL, Audience: audience, KeySet: string(keySet)}
	cached := jwt
	cached.Cache = true
	filters := map[string]envoy.Filter{
		noFilter: {}, jwtUncached: envoy.WithJWTAuthn(jwt), jwtCached: envoy.WithJWTAuthn(cached),
		viaReference: envoy.WithExtAuthz(idle.Addr), viaSame: envoy.WithExtAuthz(answering.Addr), viaGate: envoy.WithExtAuthz(tcp.Addr), viaSocket: envoy.WithExtAuthz(socket),
	}
	servers := map[string]*subject{viaReference: ours(idle), viaSame: ours(answering), viaGate: ours(tcp), viaSocket: ours(unix)}
	names := []string{noFilter, jwtCached, jwtUncached, viaReference, viaSame, viaGate, viaSocket}
	for _, p := range o.Peers {
		filters[viaPeer(p.Name)], servers[viaPeer(p.Name)] = envoy.WithExtAuthz(p.Addr).Joined(), peers[p.Name]
		names = append(names, viaPeer(p.Name))
	}
	config, err := envoy.SideBySide(filters)
	if err != nil {
		return nil, err
	}
	if b.envoy, err = envoy.Start(ctx, o.Envoy, config, 1); err != nil {
		return nil, err
	}
	b.stop = append(b.stop, b.envoy.Stop)
	b.processes = append(b.processes, b.envoy.Process)
	b.envoyVersion = version(ctx, o.Envoy)
	for _, suite := range []Suite{Proxied, ProxyOpen} {
		for _, name := range names {
			b.variants = append(b.variants, variant{suite, name, servers[name], same(t.request), ok, b.envoy.Listeners[name]})
		}
	}
	for _, name := range names {
		if err := verdicts(ctx, b.envoy.Listeners[name], t, name != noFilter && name != viaReference && name != viaSame); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return b, b.fill(ctx, many.Addr, t.many)
}

// references starts two more references: one answers what the gate answers to a good
// check, the other verifies bare signatures.
func (b *bench) references(ctx context.Context, dir, self string, issuer *oidctest.Issuer, gate string, good *load.Check) (answering, verifying *server.Server, err error) {
	answer, err := answerOf(ctx, gate, good)
	if err != nil {
		return nil, nil, err
	}
	keys, err := keysOf(ctx, issuer)
	if err != nil {
		return nil, nil, err
	}
	files := map[string][]byte{"answer": answer, "keys": keys}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, nil, err
		}
	}
	if answering, err = b.start(server.Start(ctx, self, nil, "reference", "-answer", filepath.Join(dir, "answer"))); err != nil {
		return nil, nil, err
	}
	verifying, err = b.start(server.Start(ctx, self, nil, "reference", "-keys", filepath.Join(dir, "keys")))
	return answering, verifying, err
}

// answerOf is what a gate answers to a check with a good token.
func answerOf(ctx context.Context, gate string, good *load.Check) (answer []byte, err error) {
	client, err := load.DialMany(gate, 1)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	client.Judge = func(resp *authv3.CheckResponse) int {
		answer, err = proto.Marshal(resp)
		return load.Status(resp)
	}
	if status, _ := client.Ask(ctx, 0, good); status != load.Allowed {
		return nil, fmt.Errorf("the gate answers %d to a good token", status)
	}
	return answer, err
}

// keysOf is the issuer's key set.
func keysOf(ctx context.Context, issuer *oidctest.Issuer) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer.URLOf(oidctest.JWKS), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	return io.ReadAll(io.LimitReader(resp.Body, 1<<20))
}

// start remembers a server that was started.
func (b *bench) start(s *server.Server, err error) (*server.Server, error) {
	if err != nil {
		return nil, err
	}
	b.stop = append(b.stop, s.Stop)
	b.processes = append(b.processes, s.Process)
	return s, nil
}

// verdicts sees that a good request passes, and that a forged one does not where it
// should not. A server may need some seconds for its keys.
func verdicts(ctx context.Context, addr string, t *tokens, verifies bool) error {
	client := load.DialHTTP(addr, 1)
	defer client.Close()
	limit := time.Now().Add(20 * time.Second)
	for {
		good, _ := client.Ask(ctx, 0, &t.request[0])
		forged, _ := client.Ask(ctx, 0, &t.forgedRequest[0])
		if good == load.Allowed && (!verifies || forged == http.StatusUnauthorized || forged == http.StatusForbidden) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(limit) {
			return fmt.Errorf("a good token is answered %d and a forged one %d", good, forged)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// fill has a gate verify all tokens once.
func (b *bench) fill(ctx context.Context, addr string, checks []load.Check) error {
	client, err := load.Dial(addr)
	if err != nil {
		return err
	}
	defer client.Close()
	if _, bad := load.Closed(ctx, client, checks, inFlight, len(checks), load.Allowed); bad > 0 {
		return fmt.Errorf("%d of %d tokens were not allowed", bad, len(checks))
	}
	return context.Cause(ctx)
}

var versionInText = regexp.MustCompile(`/(\d+\.\d+\.\d+[^/]*)/`)

// version asks an Envoy. "" if it does not tell.
func version(ctx context.Context, binary string) string {
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if found := versionInText.FindSubmatch(out); err == nil && found != nil {
		return string(found[1])
	}
	return ""
}

func gateConfig(listen, more, issuer string) string {
	// A machine that stands still for a moment is to be seen in the latencies.
	return fmt.Sprintf(`server: {listen: %q, checkTimeout: 10s}
admin: {listen: "127.0.0.1:0"}
log: {decisions: none, format: json}
%sissuers:
- {issuer: %q, name: bench, audiences: [%s]}
policies:
- name: everything
`, listen, more, issuer, audience)
}

// ParsePeer reads NAME=HOST:PORT or NAME=HOST:PORT,PID.
func ParsePeer(text string) (Peer, error) {
	name, rest, ok := bytes.Cut([]byte(text), []byte("="))
	addr, pid, counted := bytes.Cut(rest, []byte(","))
	p := Peer{Name: string(name), Addr: string(addr)}
	if !ok || p.Name == "" || p.Addr == "" {
		return p, errors.New("a peer is NAME=HOST:PORT or NAME=HOST:PORT,PID")
	}
	if counted {
		if _, err := fmt.Sscan(string(pid), &p.PID); err != nil || p.PID < 1 {
			return p, fmt.Errorf("%q is no process", pid)
		}
	}
	return p, nil
}
