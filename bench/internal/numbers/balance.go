package numbers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/claimgate/claimgate/bench/internal/envoy"
	"github.com/claimgate/claimgate/bench/internal/load"
)

const (
	connectionAge  = 10 * time.Second // the least that server.maxConnectionAge may be
	balanceRate    = 240.0            // requests a second
	balanceWorkers = 24               // threads of the Envoy, each with a connection
	replicasBefore = 2
)

// The two ways in which an Envoy finds several gates; figures are called after them.
const (
	headless = "headless service"
	oneIP    = "one address"
)

func shareOff(way string) string { return way + ": share of the new replica, off a third by" }
func shareAfter(way string) string {
	return way + ": first second in which its share is within 20 % of a third"
}
func shareLost(way string) string { return way + ": requests that failed" }

func balance() Measurement {
	m := Measurement{
		Name:  "balance",
		Title: "A replica joins",
		About: `Two gates behind a real Envoy with the shipped envoy.yaml and 24 threads, each of which keeps a connection to what it takes
for a gate; 240 requests a second, ` + "`server.maxConnectionAge: 10s`" + `. Then a third gate joins. In the first way Envoy follows the
addresses of the gates themselves, as it does with a headless service (a file stands in for DNS), and asks them in turn. In the second
it knows one address only, as of an ordinary service, behind which connections are handed to the gates in turn: there nothing but the
end of old connections brings any to the new gate. Its share is counted by its own metrics, from twice the age on for five seconds. Both ways run
beside each other.`,
		run: runBalance,
	}
	for _, way := range []string{headless, oneIP} {
		m.Figures = append(m.Figures,
			Figure{shareOff(way), "%", each(20)},
			Figure{shareAfter(way), "s", nil},
			Figure{shareLost(way), "", each(0)})
	}
	return m
}

func runBalance(ctx context.Context, r *recorder, s Scale) error {
	dir, err := os.MkdirTemp("", "claimgate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	endpoints := filepath.Join(dir, "endpoints.json")
	tell := func(addresses []string) error {
		content, err := envoy.EndpointsFile("claimgate", addresses...)
		if err != nil {
			return err
		}
		if err := os.WriteFile(endpoints+".new", content, 0o600); err != nil {
			return err
		}
		return os.Rename(endpoints+".new", endpoints) // Envoy watches for this
	}
	service, err := newService()
	if err != nil {
		return err
	}
	defer service.close()
	failed := make(chan error, 2) // the two ways, beside each other
	go func() { failed <- r.join(ctx, s, headless, envoy.InFile(endpoints), tell) }()
	go func() { failed <- r.join(ctx, s, oneIP, envoy.Static(service.listener.Addr().String()), service.set) }()
	return errors.Join(<-failed, <-failed)
}

// join has a third gate join two; tell makes it known.
func (r *recorder) join(ctx context.Context, s Scale, way string, where envoy.Endpoints, tell func(addresses []string) error) error {
	site, err := newSite()
	if err != nil {
		return err
	}
	defer site.close()
	more := fmt.Sprintf(", maxConnectionAge: %s, drainDelay: 0s%s", connectionAge, patience(s.Patient))
	for range replicasBefore {
		if _, err := site.add(ctx, s.Gate, more); err != nil {
			return err
		}
	}
	if err := tell(site.addresses()); err != nil {
		return err
	}
	config, err := envoy.Shipped(where, site.address, s.Patient)
	if err != nil {
		return err
	}
	e, err := envoy.Start(ctx, s.Envoy, config, balanceWorkers)
	if err != nil {
		return err
	}
	defer e.Stop()
	client := load.DialHTTP(e.Listeners["edge"], 10*balanceWorkers)
	defer client.Close()
	r.say("%s: two gates", way)
	answers, err := during(ctx, client, site.requests, s.rate(balanceRate), func(ctx context.Context) error {
		if err := pause(ctx, connectionAge/2); err != nil { // connections are of different ages
			return err
		}
		added, err := site.add(ctx, s.Gate, more)
		if err != nil {
			return err
		}
		if err := tell(site.addresses()); err != nil {
			return err
		}
		r.say("%s: a third gate", way)
		return r.watchShare(ctx, way, site, added)
	})
	if err != nil {
		return err
	}
	r.add(shareLost(way), float64(r.failed(answers)))
	return nil
}

// watchShare follows the share of a new gate, second by second.
func (r *recorder) watchShare(ctx context.Context, way string, site *site, added *gate) error {
	counts := func() (mine, all float64, err error) {
		for _, g := range site.replicas {
			m, err := g.metrics(ctx)
			if err != nil {
				return 0, 0, err
			}
			n := m.sum("claimgate_checks_total")
			all += n
			if g == added {
				mine = n
			}
		}
		return mine, all, nil
	}
	off := func(mine, all float64) float64 {
		return 100 * math.Abs(mine/all*float64(len(site.replicas))-1)
	}
	joined := time.Now()
	first := math.NaN()
	var windowMine, windowAll float64
	beforeMine, beforeAll, err := counts()
	if err != nil {
		return err
	}
	const from, till = int(2 * connectionAge / time.Second), int(2*connectionAge/time.Second) + 5
	for second := 1; second <= till; second++ {
		if err := pause(ctx, time.Until(joined.Add(time.Duration(second)*time.Second))); err != nil {
			return err
		}
		mine, all, err := counts()
		if err != nil {
			return err
		}
		if math.IsNaN(first) && off(mine-beforeMine, all-beforeAll) <= 20 {
			first = float64(second)
		}
		if second > from {
			windowMine += mine - beforeMine
			windowAll += all - beforeAll
		}
		beforeMine, beforeAll = mine, all
	}
	if math.IsNaN(first) {
		return fmt.Errorf("%s: the new gate has never had its share: %.0f of %.0f checks at the end", way, windowMine, windowAll)
	}
	r.add(shareOff(way), off(windowMine, windowAll))
	r.add(shareAfter(way), first)
	return nil
}

// service is one address for several servers: each connection is handed to the next
// of them, as the virtual address of a Kubernetes service does.
type service struct {
	listener net.Listener
	serving  sync.WaitGroup

	mu      sync.Mutex
	to      []string          // guarded by mu
	next    int               // guarded by mu
	open    map[net.Conn]bool // guarded by mu
	closing bool              // guarded by mu
}

func newService() (*service, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &service{listener: l, open: map[net.Conn]bool{}}
	s.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { s.forward(conn) })
		}
	})
	return s, nil
}

func (s *service) set(addresses []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = addresses
	return nil
}

// take chooses the server for a new connection.
func (s *service) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.to[s.next%len(s.to)]
}

// keep remembers a connection, or closes it if all is over.
func (s *service) keep(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = true
	if s.closing {
		_ = c.Close() // nothing is left to lose
	}
}

func (s *service) forward(client net.Conn) {
	s.keep(client)
	defer client.Close() //nolint:errcheck // nothing is left to lose
	server, err := net.Dial("tcp", s.take())
	if err != nil {
		return
	}
	s.keep(server)
	defer server.Close() //nolint:errcheck // nothing is left to lose
	var both sync.WaitGroup
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)           // it ends when one of them does
		_ = to.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // net's own
	}
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
}

func (s *service) close() {
	_ = s.listener.Close() // nothing is left to lose
	s.mu.Lock()
	s.closing = true
	for c := range s.open {
		_ = c.Close() // nothing is left to lose
	}
	s.mu.Unlock()
	s.serving.Wait()
}
