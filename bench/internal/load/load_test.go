package load

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
)

// picky allows the token "good", refuses "bad" with 401 and fails otherwise.
type picky struct {
	authv3.UnimplementedAuthorizationServer
}

func (picky) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	switch token := r.GetAttributes().GetRequest().GetHttp().GetHeaders()["authorization"]; token {
	case "Bearer good":
		return &authv3.CheckResponse{
			Status:       &rpcstatus.Status{},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
		}, nil
	case "Bearer bad":
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(codes.Unauthenticated)},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status: &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized},
			}},
		}, nil
	case "Bearer neither":
		return &authv3.CheckResponse{Status: &rpcstatus.Status{}}, nil
	default:
		return nil, grpcstatus.Error(codes.Internal, "broken")
	}
}

func dialPicky(t *testing.T) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, picky{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	c, err := Dial(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func mustChecks(t *testing.T, tokens string) []Check {
	t.Helper()
	checks, err := Checks(strings.Fields(tokens))
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// Every check of an open loop is sent and has its own answer, whatever the others
// are answered.
func TestOpenLoopAsksAllInTurn(t *testing.T) {
	c := dialPicky(t)
	checks := mustChecks(t, "good bad neither broken")
	want := []int{Allowed, 401, Failed, Failed}
	answers := Open(t.Context(), c, checks, 1, 1000, 50*time.Millisecond)
	if len(answers) != 50 {
		t.Fatalf("%d answers, want 50", len(answers))
	}
	for i, a := range answers {
		if n := (i + 1) % len(checks); a.Check != n || a.Status != want[n] || a.Due != time.Duration(i)*time.Millisecond || a.Took <= 0 {
			t.Errorf("answer %d: %+v, want check %d and status %d", i, a, n, want[n])
		}
	}
	if n := Without(answers, Allowed); n != 38 {
		t.Errorf("%d were not allowed, want 38", n)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	c := dialPicky(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if answers := Open(ctx, c, mustChecks(t, "good"), 0, 1000, time.Hour); len(answers) != 0 {
		t.Errorf("%d answers", len(answers))
	}
	Closed(ctx, c, mustChecks(t, "good"), 32, 1_000_000, Allowed)
}

func TestClosedLoopCountsWhatIsNotAllowed(t *testing.T) {
	c := dialPicky(t)
	latencies, bad := Closed(t.Context(), c, mustChecks(t, "good bad"), 32, 100, Allowed)
	if len(latencies) != 100 || bad != 50 {
		t.Errorf("%d latencies, %d bad; want 100, 50", len(latencies), bad)
	}
	for i, d := range latencies {
		if d <= 0 {
			t.Errorf("check %d took %s", i, d)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * time.Millisecond
	}
	for part, want := range map[float64]float64{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := Percentile(hundred, part); got != want {
			t.Errorf("percentile %v: %v, want %v", part, got, want)
		}
	}
	if got := Percentile(nil, 0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
