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
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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

// grpcRequest is a call as Envoy recognises it.
func grpcRequest(headers ...header) lab.Request {
	return lab.Request{
		Method: http.MethodPost, Path: "/orders/Get", HTTP2: true, Body: "\x00\x00\x00\x00\x00",
		Headers: append([]header{{"Content-Type", "application/grpc"}, {"Te", "trailers"}}, headers...),
	}
}

// speakHTTP2 has Envoy speak HTTP/2 to the upstream of the workforce, as one
// does for gRPC.
func speakHTTP2(*lab.Lab) [][2]string {
	const cluster = "  - name: upstream_workforce\n    type: STATIC\n"
	return [][2]string{{cluster, cluster + `    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
`}}
}

// A gRPC call is allowed with a clean identity, or denied with a grpc-status, by
// the reasons that deny other requests.
func TestGRPCCallsAreCheckedLikeOthers(t *testing.T) {
	for encoding, joined := range encodings {
		t.Run(encoding, func(t *testing.T) {
			l := start(t, lab.Options{Edit: speakHTTP2, JoinedHeaders: joined})
			a := do(t, l, grpcRequest(header{"x-auth-subject", "root"}, token(l), header{"x-auth-subject", "admin"}))
			if a.Status != 200 || a.Echo.Upstream != lab.Workforce || !maps.Equal(seen(a), alice) {
				t.Errorf("allowed: %d at %q, which sees %v, want 200, %q and %v", a.Status, a.Echo.Upstream, seen(a), lab.Workforce, alice)
			}
			for _, test := range []struct {
				name    string
				headers []header
				want    string // grpc-status, by the HTTP status
			}{
				{"no token", nil, "16"},
				{"a bad token", []header{lab.Bearer("x.y.z")}, "16"},
				{"two tokens", []header{token(l), token(l)}, "13"},
			} {
				a := do(t, l, grpcRequest(test.headers...))
				if got := a.Header.Get("Grpc-Status"); a.Status != 200 || got != test.want || a.Echo.Upstream != "" {
					t.Errorf("%s: HTTP %d, grpc-status %q, upstream %q; want grpc-status %s and no upstream", test.name, a.Status, got, a.Echo.Upstream, test.want)
				}
			}
			elsewhere := grpcRequest(token(l))
			elsewhere.Path = "/other/Get"
			if got := do(t, l, elsewhere).Header.Get("Grpc-Status"); got != "7" {
				t.Errorf("no policy: grpc-status %q, want 7", got)
			}
		})
	}
}

// Trailers come when the check is long done. They pass as trailers, and nothing
// in them becomes a header.
func TestTrailersAreNoIdentity(t *testing.T) {
	for door, edit := range map[string]lab.Edit{"to HTTP/1.1": nil, "to HTTP/2": speakHTTP2} {
		t.Run(door, func(t *testing.T) {
			l := start(t, lab.Options{Edit: edit})
			for _, name := range []string{"X-Auth-Subject", "X-Auth-Scopes"} {
				a := do(t, l, lab.Request{
					Method: http.MethodPost, Path: "/orders/7", Headers: []header{token(l)},
					HTTP2: true, Body: "body", Trailer: [2]string{name, "root"},
				})
				if a.Status != 200 || !maps.Equal(seen(a), alice) {
					t.Errorf("%s: status %d, the upstream sees %v, want 200 and %v", name, a.Status, seen(a), alice)
				}
			}
			// A token in a trailer is none.
			a := do(t, l, lab.Request{
				Method: http.MethodPost, Path: "/orders/7", HTTP2: true, Body: "body", Trailer: token(l),
			})
			if a.Status != 401 {
				t.Errorf("a token in a trailer: status %d, want 401", a.Status)
			}
		})
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
			for _, http2 := range []bool{false, true} {
				// A reset stream is as good a refusal as a status.
				a, err := l.Do(t.Context(), lab.Request{
					Method: http.MethodConnect, Path: "shop.example.com:443", Host: "shop.example.com:443", Headers: headers, HTTP2: http2,
				})
				if err == nil && (a.Status < 400 || a.Echo.Upstream != "") {
					t.Errorf("%d headers, HTTP/2 %v: %d at %q, want a refusal", len(headers), http2, a.Status, a.Echo.Upstream)
				}
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

	deadline := time.NewTimer(time.Minute)
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
