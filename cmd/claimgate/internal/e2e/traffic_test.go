package e2e_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// A gRPC client gets a gRPC status and a sentence, not JSON.
func TestGRPCRequestIsAnsweredInPlainText(t *testing.T) {
	l := start(t, lab.Options{})
	conn, err := grpc.NewClient("passthrough:///"+l.EnvoyAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing is in flight
	for method, want := range map[string]codes.Code{
		"/orders/Get": codes.Unauthenticated,
		"/other/Get":  codes.PermissionDenied,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
		cancel()
		s := status.Convert(err)
		if s.Code() != want {
			t.Errorf("%s: %v, want %v", method, err, want)
		}
		if s.Message() == "" || strings.ContainsAny(s.Message(), "{}<>") {
			t.Errorf("%s: the message is %q, want a plain sentence", method, s.Message())
		}
	}
}

// Without the gate nothing passes, public paths included, and the answer says
// "later".
func TestGateDownIs503(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		good := token(l)
		if a := do(t, l, lab.Request{Path: "/orders/7", Headers: []header{good}}); a.Status != 200 {
			t.Fatalf("before: status %d", a.Status)
		}
		l.StopGate()
		for _, r := range []lab.Request{
			{Path: "/orders/7", Headers: []header{good}}, {Path: "/orders/7"}, {Path: "/public/terms"},
			{Host: "admin.example.com", Path: "/"},
		} {
			a := do(t, l, r)
			if want := fact(t, "no gate"); a.Status != want || a.Echo.Upstream != "" {
				t.Errorf("%s%s: %d at %q, want %d and no upstream", r.Host, r.Path, a.Status, a.Echo.Upstream, want)
			}
		}
	})
}

// upgrade asks for a WebSocket.
func upgrade(path, connection string, more ...header) lab.Request {
	return lab.Request{Path: path, Headers: append([]header{
		{"Connection", connection}, {"Upgrade", "websocket"},
		{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
	}, more...)}
}

// A WebSocket is checked at its upgrade, and its upstream told who comes.
func TestWebSocketUpgradeIsChecked(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		if a := do(t, l, upgrade("/orders/7", "Upgrade")); a.Status != 401 {
			t.Errorf("without a token: status %d, want 401", a.Status)
		}
		for _, connection := range []string{"Upgrade", "Upgrade, x-auth-subject"} {
			a := do(t, l, upgrade("/orders/7", connection, token(l), header{"x-auth-subject", "root"}))
			if a.Status != http.StatusSwitchingProtocols || !maps.Equal(seen(a), alice) {
				t.Errorf("Connection: %s: %d, the upstream sees %v, want 101 and %v", connection, a.Status, seen(a), alice)
			}
		}
	})
}

// CONNECT has no path. It must crash nothing and reach nobody.
func TestConnectReachesNobody(t *testing.T) {
	inBothEncodings(t, func(t *testing.T, l *lab.Lab) {
		for _, headers := range [][]header{nil, {token(l)}} {
			a := do(t, l, lab.Request{Method: http.MethodConnect, Path: "shop.example.com:443", Host: "shop.example.com:443", Headers: headers})
			if a.Status < 400 || a.Echo.Upstream != "" {
				t.Errorf("%d headers: %d at %q, want a refusal", len(headers), a.Status, a.Echo.Upstream)
			}
		}
		if a := do(t, l, lab.Request{Path: "/public/terms"}); a.Status != 200 {
			t.Errorf("afterwards: status %d, want 200", a.Status)
		}
	})
}

// The access log of envoy.yaml tells the reason, and no log tells a token.
func TestAccessLogSaysWhyAndNoToken(t *testing.T) {
	l := start(t, lab.Options{})
	good := token(l)
	do(t, l, lab.Request{Path: "/orders/7?access_token=canary-query", Headers: []header{good}})
	do(t, l, lab.Request{Path: "/orders/7", Headers: []header{lab.Bearer("canary-header")}})

	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond) // Envoy writes its log every 100 ms
	defer tick.Stop()
	for {
		log := l.EnvoyLog()
		if strings.Contains(log, `"reason":"valid_token"`) && strings.Contains(log, `"reason":"malformed_token"`) {
			for _, secret := range []string{"canary", "eyJ"} {
				if strings.Contains(log, secret) {
					t.Errorf("the log has %q:\n%s", secret, log)
				}
			}
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("the reasons are not in the access log:\n%s", log)
		case <-tick.C:
		}
	}
}
