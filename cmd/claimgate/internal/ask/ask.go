// Package ask puts one HTTP request to a gate, as Envoy would: over gRPC to one
// that runs, or to one in this process.
package ask

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
)

// Request is an HTTP request as Envoy sees it.
type Request struct {
	Method, Host, Path, Scheme string
	Headers                    []extauthz.Header // as the client sent them, in order
	Context                    map[string]string // Envoy's context_extensions
	Routes                     []extauthz.Route  // what Envoy Gateway made the route of
}

// Answer is a gate's answer.
type Answer struct {
	Allowed bool
	Status  int // HTTP
	Reason  string
	Policy  string
	Issuer  string // whose signature was verified, "" if none was

	Set      []extauthz.Header // request headers that an allow sets
	Remove   []string          // request headers that an allow removes
	Response []extauthz.Header // headers of a denial
	Body     string            // of a denial
}

// Challenges are the WWW-Authenticate values of a denial.
func (a Answer) Challenges() []string {
	var list []string
	for _, h := range a.Response {
		if strings.EqualFold(h.Name, "www-authenticate") {
			list = append(list, h.Value)
		}
	}
	return list
}

// Check asks a running gate.
func Check(ctx context.Context, conn grpc.ClientConnInterface, r Request) (Answer, error) {
	answer, err := authv3.NewAuthorizationClient(conn).Check(ctx, r.proto())
	if err != nil {
		return Answer{}, err
	}
	metadata := answer.GetDynamicMetadata().GetFields()
	a := Answer{
		Status: 200,
		Reason: metadata["reason"].GetStringValue(),
		Policy: metadata["policy"].GetStringValue(),
		Issuer: metadata["issuer"].GetStringValue(),
	}
	if denied := answer.GetDeniedResponse(); denied != nil && answer.GetStatus().GetCode() != 0 {
		a.Status = int(denied.GetStatus().GetCode())
		a.Response = headersOf(denied.GetHeaders())
		a.Body = denied.GetBody()
		return a, nil
	}
	ok := answer.GetOkResponse()
	if ok == nil || answer.GetStatus().GetCode() != 0 {
		// Envoy would let an empty answer pass. This one is no Claimgate.
		return Answer{}, errors.New("the server's answer neither allows nor denies: is it a claimgate?")
	}
	a.Allowed = true
	a.Set = headersOf(ok.GetHeaders())
	a.Remove = ok.GetHeadersToRemove()
	return a, nil
}

func headersOf(options []*corev3.HeaderValueOption) []extauthz.Header {
	var list []extauthz.Header
	for _, o := range options {
		h := extauthz.Header{Name: o.GetHeader().GetKey(), Value: o.GetHeader().GetValue()}
		if raw := o.GetHeader().GetRawValue(); len(raw) > 0 {
			h.Value = string(raw)
		}
		list = append(list, h)
	}
	return list
}

// proto is the request as Envoy sends it with encode_raw_headers.
func (r Request) proto() *authv3.CheckRequest {
	headers := &corev3.HeaderMap{}
	for _, h := range r.all() {
		headers.Headers = append(headers.Headers, &corev3.HeaderValue{Key: h.Name, RawValue: []byte(h.Value)})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions:    r.Context,
		RouteMetadataContext: r.routeMetadata(),
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: r.Method, Host: r.Host, Path: r.Path, Scheme: r.Scheme, HeaderMap: headers,
		}},
	}}
}

// routeMetadata tells the routes as Envoy Gateway does.
func (r Request) routeMetadata() *corev3.Metadata {
	if len(r.Routes) == 0 {
		return nil
	}
	resources := &structpb.ListValue{}
	for _, route := range r.Routes {
		resources.Values = append(resources.Values, structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"kind": structpb.NewStringValue(route.Kind), "namespace": structpb.NewStringValue(route.Namespace), "name": structpb.NewStringValue(route.Name),
		}}))
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		"envoy-gateway": {Fields: map[string]*structpb.Value{"resources": structpb.NewListValue(resources)}},
	}}
}

// all are the headers in Envoy's spelling, with the pseudo headers before them.
func (r Request) all() []extauthz.Header {
	list := []extauthz.Header{
		{Name: ":authority", Value: r.Host}, {Name: ":path", Value: r.Path},
		{Name: ":method", Value: r.Method}, {Name: ":scheme", Value: r.Scheme},
	}
	for _, h := range r.Headers {
		list = append(list, extauthz.Header{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	return list
}

// Explain asks a gate in this process, and returns each of its steps.
func Explain(ctx context.Context, gate *extauthz.Gate, r Request) (Answer, []oidc.Step) {
	d, steps := gate.Explain(ctx, &extauthz.Request{
		Method: r.Method, Host: r.Host, Path: r.Path, Scheme: r.Scheme,
		Headers: headerList(r.all()), Context: r.Context, Routes: r.Routes,
	})
	a := Answer{
		Allowed: d.Allowed(), Status: d.Status(), Reason: string(d.Reason()), Policy: d.Policy(),
		Response: d.ResponseHeaders(), Body: d.Body(),
	}
	if d.Token() != nil {
		a.Issuer = d.Issuer()
	}
	a.Set, a.Remove = d.RequestHeaders()
	return a, steps
}

// headerList is a request's headers as the gate reads them.
type headerList []extauthz.Header

// Get joins several values as Envoy does.
func (l headerList) Get(name string) (value string, count int) {
	var values []string
	for _, h := range l {
		if h.Name == name {
			values = append(values, h.Value)
		}
	}
	return strings.Join(values, ","), len(values)
}

// Names yields every name.
func (l headerList) Names(yield func(name string) bool) {
	for _, h := range l {
		if !yield(h.Name) {
			return
		}
	}
}

// ParseHeader reads "name: value", as curl's -H does.
func ParseHeader(s string) (extauthz.Header, error) {
	name, value, ok := strings.Cut(s, ":")
	name = strings.TrimSpace(name)
	if !ok || name == "" {
		return extauthz.Header{}, fmt.Errorf("%q is not a header: write 'name: value'", s)
	}
	return extauthz.Header{Name: name, Value: strings.TrimSpace(value)}, nil
}
