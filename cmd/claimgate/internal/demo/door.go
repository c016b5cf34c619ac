package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/ask"
	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
	"github.com/claimgate/claimgate/extauthz"
)

// Door is a way into the lab: through Envoy, or straight to the gate's port.
type Door interface {
	// Try sends a request and says what was seen. With decided, the gate is
	// expected to have decided.
	Try(ctx context.Context, r lab.Request, decided bool) (seen Want, challenged bool, err error)
	// AtGate reports that there is no Envoy on the way.
	AtGate() bool
}

// EnvoyDoor goes through Envoy.
type EnvoyDoor struct{ Lab *lab.Lab }

// AtGate is false.
func (d EnvoyDoor) AtGate() bool { return false }

// Try sends the request over HTTP/1.1 and takes the reason from the gate's log.
func (d EnvoyDoor) Try(ctx context.Context, r lab.Request, decided bool) (Want, bool, error) {
	d.Lab.Forget()
	answer, err := d.Lab.Do(ctx, r)
	if err != nil {
		return Want{}, false, err
	}
	seen := Want{Status: answer.Status, Upstream: answer.Echo.Upstream, Identity: map[string]string{}}
	for name, values := range answer.Echo.Identity {
		seen.Identity[name] = strings.Join(values, ",")
	}
	if decided {
		decision, ok := d.Lab.Decision()
		if !ok {
			return Want{}, false, fmt.Errorf("the gate was not asked; the answer was %d", answer.Status)
		}
		seen.Reason = decision.Reason
	}
	return seen, len(answer.Challenge) > 0, nil
}

// GateDoor asks the gate as Envoy would.
type GateDoor struct {
	conn *grpc.ClientConn
}

// NewGateDoor connects to a lab's gate. Close it.
func NewGateDoor(l *lab.Lab) (*GateDoor, error) {
	conn, err := grpc.NewClient("passthrough:///"+l.GateAddr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &GateDoor{conn}, nil
}

// Close ends the connection.
func (d *GateDoor) Close() error { return d.conn.Close() }

// AtGate is true.
func (d *GateDoor) AtGate() bool { return true }

// gateTimeout bounds a check. The gate itself is quicker.
const gateTimeout = 5 * time.Second

// Try asks the gate and applies the answer to the request's headers, as Envoy
// does: first what is set, then what is removed.
func (d *GateDoor) Try(ctx context.Context, r lab.Request, _ bool) (Want, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	answer, err := ask.Check(ctx, d.conn, checkRequest(r))
	if err != nil {
		return Want{}, false, err
	}
	seen := Want{Status: answer.Status, Reason: answer.Reason, Identity: map[string]string{}}
	if !answer.Allowed {
		return seen, len(answer.Challenges()) > 0, nil
	}

	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[strings.ToLower(h[0])] = h[1]
	}
	for _, h := range answer.Set {
		headers[h.Name] = h.Value
	}
	for _, name := range answer.Remove {
		delete(headers, strings.ToLower(name))
	}
	for name, value := range headers {
		if lab.IsIdentity(name) {
			seen.Identity[name] = value
		}
	}
	// What envoy.yaml routes by.
	seen.Upstream = lab.Customers
	if headers["x-auth-issuer"] == lab.Workforce {
		seen.Upstream = lab.Workforce
	}
	return seen, false, nil
}

// checkRequest is the request as envoy.yaml asks about it.
func checkRequest(r lab.Request) ask.Request {
	r = r.WithDefaults()
	out := ask.Request{Method: r.Method, Host: r.Host, Path: r.Path, Scheme: "http"}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, extauthz.Header{Name: h[0], Value: h[1]})
	}
	if r.Host == "admin.example.com" {
		out.Context = map[string]string{"policy": "admin"}
	}
	return out
}
