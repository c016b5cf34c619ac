package extauthz

import (
	"context"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// The daemon's own way between gRPC's bytes and the gate. Half of what a check
// costs in stock gRPC is the making of objects from the request and of bytes from
// the answer; wireRequest and encodeAnswer do without most of it. [Gate.Register]
// is the plain way, for servers of other people, and answers the same.

// wireCodec is gRPC's codec for protobuf, with a way around it for checks.
type wireCodec struct{ encoding.CodecV2 }

func newWireCodec() wireCodec { return wireCodec{encoding.GetCodecV2(protocodec.Name)} }

// wireMessage is a message as bytes.
type wireMessage struct{ data []byte }

// Marshal implements encoding.CodecV2.
func (c wireCodec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*wireMessage); ok {
		return mem.BufferSlice{mem.SliceBuffer(m.data)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2. The bytes are copied: gRPC uses its
// buffers again.
func (c wireCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*wireMessage); ok {
		m.data = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// registerWire puts the gate on a server that has wireCodec.
func (g *Gate) registerWire(s grpc.ServiceRegistrar) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: authv3.Authorization_ServiceDesc.ServiceName,
		HandlerType: (*wireServer)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: checkWire}},
		Metadata:    authv3.Authorization_ServiceDesc.Metadata,
	}, &server{gate: g})
}

type wireServer interface {
	checkWire(ctx context.Context, data []byte) []byte
}

// checkWire is the handler that the generated code would have. The daemon has no
// interceptors.
func checkWire(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is gRPC's
	m := &wireMessage{}
	if err := decode(m); err != nil {
		return nil, err
	}
	m.data = srv.(wireServer).checkWire(ctx, m.data)
	return m, nil
}
