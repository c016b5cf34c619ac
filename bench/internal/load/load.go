// Package load sends checks to a server, encoded beforehand, so that while the
// clock runs the load costs as little as it can.
package load

import (
	"context"
	"slices"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// Connections is how many connections a load opens, as an Envoy with so many
// worker threads does.
const Connections = 2

// browserHeaders are what a request carries beside its token.
var browserHeaders = map[string]string{
	":method": "GET", ":path": "/orders?page=2", ":authority": "api.example.com", ":scheme": "https",
	"user-agent":        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
	"accept":            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	"accept-language":   "en-GB,en;q=0.7,de;q=0.3",
	"accept-encoding":   "gzip, deflate, br, zstd",
	"referer":           "https://app.example.com/orders",
	"sec-fetch-dest":    "empty",
	"sec-fetch-mode":    "cors",
	"sec-fetch-site":    "same-site",
	"x-request-id":      "0f0f0f0f-0000-4000-8000-000000000000",
	"x-forwarded-proto": "https",
	"cookie":            "theme=dark; consent=1",
}

// Check is a check in its wire form: of gRPC, or a request of HTTP that a proxy has
// checked.
type Check []byte

// Target is what checks are sent to.
type Target interface {
	// Ask sends a check over the n-th connection, counted round. It returns the status
	// that it is answered with, or Failed, and when the answer had arrived: to read it
	// is the load's own work, which takes the longer the more the answer says.
	Ask(ctx context.Context, n int, check *Check) (status int, arrived time.Time)
}

// Checks makes one check for each token, without credentials for "".
func Checks(tokens []string) ([]Check, error) {
	list := make([]Check, len(tokens))
	for i, token := range tokens {
		headers := make(map[string]string, len(browserHeaders)+1)
		for k, v := range browserHeaders {
			headers[k] = v
		}
		if token != "" {
			headers["authorization"] = "Bearer " + token
		}
		wire, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Id: "1", Method: "GET", Path: "/orders?page=2", Host: "api.example.com", Scheme: "https", Protocol: "HTTP/2", Headers: headers,
			}},
		}})
		if err != nil {
			return nil, err
		}
		list[i] = wire
	}
	return list, nil
}

// rawCodec passes bytes through, so that the load encodes nothing while the clock
// runs.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*Check))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// Client sends checks to one server, over several connections in turn.
type Client struct {
	// Judge makes a status of an answer. It is [Status] at first, and may be set before
	// the first check.
	Judge func(*authv3.CheckResponse) int

	conns []*grpc.ClientConn
}

// Dial prepares a client; it connects by itself.
func Dial(addr string) (*Client, error) { return DialMany(addr, Connections) }

// DialMany prepares a client with another number of connections.
func DialMany(addr string, connections int) (*Client, error) {
	c := &Client{Judge: Status}
	for range connections {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			c.Close()
			return nil, err
		}
		conn.Connect()
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// Close ends the connections.
func (c *Client) Close() {
	for _, conn := range c.conns {
		_ = conn.Close() // nothing is left to lose
	}
}

// Failed is the status of a check that got no answer at all.
const Failed = 0

// Allowed is the status of an allow.
const Allowed = 200

// Ask implements [Target].
func (c *Client) Ask(ctx context.Context, n int, check *Check) (status int, arrived time.Time) {
	var answer []byte
	err := c.conns[n%len(c.conns)].Invoke(ctx, authv3.Authorization_Check_FullMethodName, check, &answer, grpc.ForceCodecV2(rawCodec{}))
	arrived = time.Now()
	var resp authv3.CheckResponse
	if err != nil || proto.Unmarshal(answer, &resp) != nil {
		return Failed, arrived
	}
	return c.Judge(&resp), arrived
}

// Status is the HTTP status of an answer, or Failed if it is none that Envoy could
// follow.
func Status(resp *authv3.CheckResponse) int {
	switch {
	case resp.GetStatus() == nil:
		return Failed
	case resp.GetStatus().GetCode() == 0 && resp.GetOkResponse() != nil:
		return Allowed
	default:
		return int(resp.GetDeniedResponse().GetStatus().GetCode())
	}
}

// Percentile returns the value below which a part of the durations lies, in
// milliseconds, 0 if there are none. It sorts them.
func Percentile(d []time.Duration, part float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(float64(len(d))*part), len(d)-1)].Seconds() * 1000
}
