package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

const (
	connections = 2
	inFlight    = 32
)

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

// encode makes the wire form of a check with this token.
func encode(token string) ([]byte, error) {
	headers := make(map[string]string, len(browserHeaders)+1)
	for k, v := range browserHeaders {
		headers[k] = v
	}
	headers["authorization"] = "Bearer " + token
	return proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id: "1", Method: "GET", Path: "/orders?page=2", Host: "api.example.com", Scheme: "https", Protocol: "HTTP/2", Headers: headers,
		}},
	}})
}

// rawCodec passes bytes through, so that the load generator encodes nothing
// while the clock runs.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// measure sends a variant's checks in a closed loop and reads the server's CPU
// counters around it.
func measure(v variant, round int) (sample, error) {
	tokens := v.tokens(round)
	wires := make([][]byte, len(tokens))
	for i, t := range tokens {
		var err error
		if wires[i], err = encode(t); err != nil {
			return sample{}, err
		}
	}
	clients := make([]*grpc.ClientConn, connections)
	for i := range clients {
		c, err := grpc.NewClient(v.server.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return sample{}, err
		}
		defer c.Close() //nolint:errcheck // nothing is left to lose
		c.Connect()
		clients[i] = c
	}
	before, err := v.server.cpu()
	if err != nil {
		return sample{}, err
	}
	var next, bad atomic.Int64
	latencies := make([]time.Duration, v.count)
	start := time.Now()
	var workers sync.WaitGroup
	for w := range inFlight {
		client := clients[w%connections]
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= v.count {
					return
				}
				begin := time.Now()
				var answer []byte
				err := client.Invoke(context.Background(), authv3.Authorization_Check_FullMethodName, &wires[i%len(wires)], &answer, grpc.ForceCodecV2(rawCodec{}))
				latencies[i] = time.Since(begin)
				if err != nil || !allows(answer) {
					bad.Add(1)
				}
			}
		})
	}
	workers.Wait()
	took := time.Since(start)
	after, err := v.server.cpu()
	if err != nil {
		return sample{}, err
	}
	slices.Sort(latencies)
	return sample{
		Variant: v.name, Round: round,
		CPUMicros: float64((after - before).Microseconds()) / float64(v.count),
		PerSecond: float64(v.count) / took.Seconds(),
		P50:       latencies[v.count/2].Seconds() * 1000, P99: latencies[v.count*99/100].Seconds() * 1000,
		Bad: int(bad.Load()), RSSMiB: v.server.rss(),
	}, nil
}

// allows reads an answer far enough to know that it is an allow: decoding is the
// load's own work, but a benchmark of denials would be worthless.
func allows(answer []byte) bool {
	var resp authv3.CheckResponse
	if err := proto.Unmarshal(answer, &resp); err != nil {
		return false
	}
	return resp.GetStatus() != nil && resp.GetStatus().GetCode() == 0 && resp.GetOkResponse() != nil
}
