package extauthz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// ServeOptions are what [Serve] takes besides a configuration.
type ServeOptions struct {
	// Logger gets everything that the gate has to say; nil discards.
	Logger *slog.Logger
	// LogLost, if set, returns how many lines Logger has lost by itself so far, for
	// claimgate_log_dropped_total.
	LogLost func() uint64
	// Version is shown in claimgate_build_info; "" means what the Go tool
	// recorded in the binary.
	Version string
	// Ready, if set, is called once when both listeners accept connections;
	// admin is nil if it is off.
	Ready func(listen, admin net.Addr)
	// ConfigFile is where the configuration is from: it is read again every
	// server.reloadInterval, and when Reload says. "" means that it never changes.
	ConfigFile string
	// Reload asks to look at the files now; nil is allowed.
	Reload <-chan struct{}
	// Reloaded, if set, is called with each configuration that was put in force
	// after the first, for what is outside the gate, such as the log's level. It is
	// to be read only.
	Reloaded func(*Config)
	// Tracing, if set, is asked with the configuration of the start, and with each
	// that was put in force later, where spans go from now on; nil means nowhere. A
	// provider of before is not used for checks that begin after the call.
	Tracing func(TracingConfig) trace.TracerProvider
}

const (
	// Envoy multiplexes up to 1024 streams over a connection by default; fewer
	// would only make it open more connections.
	maxConcurrentStreams = 1024
	// Operators let Envoy ping idle connections; grpc-go's default of five
	// minutes would answer that with GOAWAY too_many_pings.
	minPingInterval = 10 * time.Second
	// For each stream one kilobyte, of which most checks have not much more.
	connectionWindow = maxConcurrentStreams << 10
	// A check ends within server.checkTimeout, so this leaves no stream behind.
	connectionGrace = 30 * time.Second
)

// Serve runs a gate as a daemon until ctx ends and the drain after that is over.
// It returns nil then, and otherwise says what is wrong in one line, or in a line
// for each problem of cfg.
func Serve(ctx context.Context, cfg *Config, opts ServeOptions) error {
	logger := opts.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	cfg, err := cfg.validated()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	gate, err := newGate(cfg, Options{Logger: logger, Registerer: registry, Version: opts.Version})
	if err != nil {
		return err
	}
	defer gate.Close()
	gate.logLost = opts.LogLost
	traceTo := func(c TracingConfig) {
		if opts.Tracing != nil {
			gate.tracing.Store(newTracing(opts.Tracing(c)))
		}
	}
	traceTo(cfg.Tracing)
	applied := func(c *Config) {
		traceTo(c.Tracing)
		if opts.Reloaded != nil {
			opts.Reloaded(c)
		}
	}
	certificates, err := gate.serveTLS()
	if err != nil {
		return err
	}

	listener, err := listen("server.listen", cfg.Server.Listen)
	if err != nil {
		return err
	}
	defer listener.Close() //nolint:errcheck // the servers close it first
	var adminListener net.Listener
	var adminAddr net.Addr
	admin := adminOff
	if cfg.Admin.Listen != adminOff {
		if adminListener, err = listen("admin.listen", cfg.Admin.Listen); err != nil {
			return err
		}
		defer adminListener.Close() //nolint:errcheck // the servers close it first
		adminAddr = adminListener.Addr()
		admin = adminAddr.String()
	}

	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	grpcServer := newGRPCServer(streams, cfg, certificates)
	gate.registerWire(grpcServer)
	healthServer := health.NewServer()
	healthv1.RegisterHealthServer(grpcServer, healthServer)
	services := []string{"", authv3.Authorization_ServiceDesc.ServiceName}
	for _, s := range services {
		healthServer.SetServingStatus(s, healthv1.HealthCheckResponse_SERVING)
	}
	adminServer := newAdminServer(gate.AdminHandler(registry))

	// Everything started here is awaited before Serve returns.
	var running sync.WaitGroup
	defer running.Wait()
	gateCtx, stopGate := context.WithCancel(context.WithoutCancel(ctx))
	defer stopGate()
	failed := make(chan error, 2)
	running.Go(func() { _ = gate.Run(gateCtx) })
	running.Go(func() {
		watchFiles(gateCtx, newConfigWatch(opts.ConfigFile, gate, logger, applied), certificates, opts.Reload)
	})
	running.Go(func() {
		if err := grpcServer.Serve(listener); err != nil {
			failed <- fmt.Errorf("serving gRPC on %s: %w", listener.Addr(), err)
		}
	})
	defer grpcServer.Stop()
	if adminListener != nil {
		running.Go(func() {
			if err := adminServer.Serve(adminListener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serving HTTP on %s: %w", adminListener.Addr(), err)
			}
		})
		defer adminServer.Close() //nolint:errcheck // nothing is left to lose
	}
	logger.Info("claimgate serves", slog.String("listen", listener.Addr().String()), slog.String("admin", admin),
		slog.Int("issuers", len(cfg.Issuers)), slog.Int("policies", len(cfg.Policies)))
	if opts.Ready != nil {
		opts.Ready(listener.Addr(), adminAddr)
	}

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	gate.draining.Store(true)
	for _, s := range services {
		healthServer.SetServingStatus(s, healthv1.HealthCheckResponse_NOT_SERVING)
	}
	last := gate.set.Load().config.Server
	drain(grpcServer, endStreams, last.drainDelay(), last.drainTimeout(), logger)
	return nil
}

// drain keeps serving for delay, so that whoever balances load has seen that the
// gate is going, and then lets what runs finish within timeout.
func drain(s *grpc.Server, endStreams func(), delay, timeout time.Duration, logger *slog.Logger) {
	logger.Info("claimgate drains", slog.String("delay", delay.String()), slog.String("timeout", timeout.String()))
	time.Sleep(delay)
	endStreams()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.GracefulStop()
	}()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	select {
	case <-stopped:
	case <-limit.C:
		logger.Warn("checks were still running at the end of the drain timeout and were cut off")
		s.Stop()
		<-stopped
	}
}

// endingWith ends streams when ctx does. The only ones are those that watch the
// health; they would last for ever and hold up every drain.
func endingWith(ctx context.Context) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		both, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return handler(srv, &endingStream{stream, both})
	}
}

type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *endingStream) Context() context.Context { return s.ctx }

// newGRPCServer returns a server whose streams end with ctx; checks are no
// streams. Without certificates it speaks plain HTTP/2.
func newGRPCServer(ctx context.Context, cfg *Config, certificates *serverTLS) *grpc.Server {
	transport := grpc.Creds(insecure.NewCredentials())
	if certificates != nil {
		transport = grpc.Creds(credentials.NewTLS(certificates.listenerConfig()))
	}
	return grpc.NewServer(
		transport,
		grpc.ForceServerCodecV2(newWireCodec()),
		grpc.StreamInterceptor(endingWith(ctx)),
		grpc.WaitForHandlers(true), // checks use the gate, which is closed next
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		// Goroutines that are kept have grown their stacks already; when all are
		// busy (waiting for keys, say), grpc-go starts others as usual. Measured with
		// 32 checks in flight on 2 processors, as a ratio to the reference of bench:
		// 0.77 without workers, 0.73 with 4 for each processor, 0.65 with 32, 0.71
		// with 128.
		//
		// The other options stay as they are. Buffers of 8 or 64 KiB, for reading and
		// for writing, and SharedWriteBuffer made no difference beyond the noise; the
		// buffer pool of grpc-go is there already.
		grpc.NumStreamWorkers(uint32(32*runtime.GOMAXPROCS(0))), //nolint:gosec // a small number
		// All streams of a connection may have their check under way at once: with the
		// default of 64 KiB some fifty have, and under load the others wait for leave to
		// send. A fixed window also ends the pings that measure the line, one for nearly
		// each check at a low rate: 12 % of the processor time there, and 6 % of Envoy's.
		grpc.StaticConnWindowSize(connectionWindow),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			// grpc-go adds a jitter of ±10 %; zero means never to both.
			MaxConnectionAge:      cfg.Server.maxConnectionAge(),
			MaxConnectionAgeGrace: connectionGrace,
		}),
	)
}

// listen opens a listener at host:port or unix:/path. Errors say how to mend it.
func listen(field, address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(field, path)
	}
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is in use by another process: stop that one, or choose another port", field, address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: no permission to listen on %s: choose a port above 1023", field, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine has no address %s: choose one that it has, or 0.0.0.0 for all", field, address)
	case err != nil:
		return nil, fmt.Errorf("%s: cannot listen on %s: %w", field, address, errors.Unwrap(err))
	}
	return l, nil
}

func listenUnix(field, path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s: %s exists and is not a socket: remove it, or choose another path", field, path)
	case err == nil:
		// A socket that nobody answers was left behind by a process that died.
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close() //nolint:errcheck // nothing was written
			return nil, fmt.Errorf("%s: another process listens on the socket %s: stop that one, or choose another path", field, path)
		} else if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s: the socket %s exists and cannot be tried: %w", field, path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("%s: cannot remove the stale socket: %w", field, err)
		}
	}
	l, err := net.Listen("unix", path)
	switch dir := filepath.Dir(path); {
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("%s: there is no directory %s for the socket: make it first", field, dir)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: no permission to make a socket in %s: let the user that runs claimgate write there", field, dir)
	case err != nil:
		return nil, fmt.Errorf("%s: cannot listen on the socket %s: %w", field, path, errors.Unwrap(err))
	}
	// For the owner and its group: Envoy often runs as another user.
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // meant, see above
		l.Close() //nolint:errcheck // the other error says more
		return nil, fmt.Errorf("%s: cannot set the mode of the socket: %w", field, err)
	}
	return l, nil
}
