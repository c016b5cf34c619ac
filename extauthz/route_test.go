package extauthz

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Metadata of a route, under envoy-gateway. The first is what Envoy Gateway 1.9
// sends.
var (
	wholeRoutes = []string{
		`{"resources": [{"kind": "HTTPRoute", "namespace": "shop", "name": "orders", "annotations": {"team": "blue"}, "sectionName": "write"}], "policies": [{"kind": "SecurityPolicy", "namespace": "shop", "name": "gate"}]}`,
		`{"resources": [{"kind": "HTTPRoute", "namespace": "shop", "name": "orders"}, {"kind": "GRPCRoute", "namespace": "shop", "name": "carts"}]}`,
		`{"resources": [` + strings.Repeat(`{"kind": "HTTPRoute", "namespace": "shop", "name": "orders"}, `, maxRoutes-1) + `{"kind": "HTTPRoute", "namespace": "shop", "name": "last"}]}`,
	}
	brokenRoutes = []string{
		`{}`, `{"resources": []}`, `{"resources": null}`, `{"resources": {}}`, `{"resources": "HTTPRoute/shop/orders"}`, `{"resources": [7]}`,
		`{"resources": ["HTTPRoute/shop/orders"]}`, `{"resources": [{}]}`, `{"resources": [null]}`, `{"resources": [[]]}`,
		`{"resources": {"kind": "HTTPRoute", "namespace": "shop", "name": "orders"}}`,
		`{"resources": [{"kind": "HTTPRoute", "name": "orders"}]}`,
		`{"resources": [{"kind": "HTTPRoute", "namespace": "", "name": "orders"}]}`,
		`{"resources": [{"kind": "HTTPRoute", "namespace": "shop", "name": true}]}`,
		`{"resources": [{"kind": "HTTPRoute", "namespace": "shop", "name": ["orders"]}]}`,
		`{"resources": [{"kind": "HTTPRoute", "namespace": "shop", "name": "orders"}, {"kind": "HTTPRoute", "namespace": "shop"}]}`,
		`{"resources": [` + strings.Repeat(`{"kind": "HTTPRoute", "namespace": "shop", "name": "orders"}, `, maxRoutes) + `{"kind": "HTTPRoute", "namespace": "shop", "name": "last"}]}`,
		`{"Resources": [{"kind": "HTTPRoute", "namespace": "shop", "name": "orders"}]}`,
		`{"kind": "HTTPRoute", "namespace": "shop", "name": "orders"}`,
	}
)

// routedRequest is a check of a request whose route has that metadata.
func routedRequest(t testing.TB, text string) *authv3.CheckRequest {
	t.Helper()
	req := checkRequest("/")
	req.Attributes.RouteMetadataContext = routeMetadata(t, `{"envoy-gateway": `+text+`}`)
	return req
}

// routeMetadata reads what stands under each namespace.
func routeMetadata(t testing.TB, text string) *corev3.Metadata {
	t.Helper()
	m := &corev3.Metadata{}
	if err := protojson.Unmarshal([]byte(`{"filter_metadata": `+text+`}`), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// shortRoutes returns what the short way reads, and whether it needed no other.
func shortRoutes(t *testing.T, req *authv3.CheckRequest) (routes []Route, short bool) {
	t.Helper()
	wire, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	w := &wireRequest{}
	r, isHTTP := w.read(wire)
	if !isHTTP {
		t.Fatal("not HTTP")
	}
	return slices.Clone(r.Routes), r.Headers == Headers(&w.headers)
}

func TestRoutesOfMetadata(t *testing.T) {
	for i, text := range wholeRoutes {
		req := routedRequest(t, text)
		full := routesOf(req.GetAttributes().GetRouteMetadataContext())
		if want := []int{1, 2, maxRoutes}[i]; len(full) != want || full[0].String() != "HTTPRoute/shop/orders" {
			t.Errorf("%s: %d routes %v, want %d", text, len(full), full, want)
		}
		if got, short := shortRoutes(t, req); !slices.Equal(got, full) || !short {
			t.Errorf("%s: the short way sees %v (%t)", text, got, short)
		}
	}
	for _, text := range brokenRoutes {
		req := routedRequest(t, text)
		if got := routesOf(req.GetAttributes().GetRouteMetadataContext()); got != nil {
			t.Errorf("%s: routes %v", text, got)
		}
		if got, _ := shortRoutes(t, req); len(got) > 0 {
			t.Errorf("%s: the short way sees %v", text, got)
		}
	}
}

// What is not under Envoy Gateway's name, or not of the route, is no route: the
// metadata of filters can hold what a client sent.
func TestRoutesOfOthersAreNone(t *testing.T) {
	orders := wholeRoutes[0]
	elsewhere := checkRequest("/")
	elsewhere.Attributes.RouteMetadataContext = routeMetadata(t, `{"envoy.filters.http.x": `+orders+`, "Envoy-Gateway": `+orders+`}`)
	dynamic := checkRequest("/", "envoy-gateway", orders, "x-route", "HTTPRoute/shop/orders")
	dynamic.Attributes.MetadataContext = routeMetadata(t, `{"envoy-gateway": `+orders+`}`)
	dynamic.Attributes.ContextExtensions = map[string]string{"envoy-gateway": orders, "routes": "HTTPRoute/shop/orders"}
	for name, req := range map[string]*authv3.CheckRequest{"another namespace": elsewhere, "dynamic metadata": dynamic} {
		r, _ := decode(req)
		if len(r.Routes) > 0 {
			t.Errorf("%s: routes %v", name, r.Routes)
		}
		if got, _ := shortRoutes(t, req); len(got) > 0 {
			t.Errorf("%s: the short way sees %v", name, got)
		}
	}
}

// A request that is read in the memory of another has none of its routes.
func TestRoutesDoNotStayBehind(t *testing.T) {
	w := &wireRequest{}
	for i, text := range []string{wholeRoutes[1], "", wholeRoutes[0], brokenRoutes[0]} {
		req := checkRequest("/")
		if text != "" {
			req = routedRequest(t, text)
		}
		wire, err := proto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := w.read(wire)
		if want := []int{2, 0, 1, 0}[i]; len(r.Routes) != want {
			t.Errorf("request %d has the routes %v, want %d", i, r.Routes, want)
		}
	}
}

// Messages as no serializer writes them are read as full decoding reads them.
func TestOddlyWrittenRoutes(t *testing.T) {
	field := func(number protowire.Number, parts ...[]byte) []byte {
		b := protowire.AppendTag(nil, number, protowire.BytesType)
		return protowire.AppendBytes(b, slices.Concat(parts...))
	}
	text := func(s string) []byte { return field(numberText, []byte(s)) }
	entry := func(key string, value ...[]byte) []byte {
		return field(1, field(numberKey, []byte(key)), field(numberValue, value...))
	}
	object := func(name ...[]byte) []byte {
		return field(numberStruct, entry("kind", text("HTTPRoute")), entry("namespace", text("shop")), slices.Concat(name...))
	}
	gateway := func(members ...[]byte) []byte { return entry("envoy-gateway", members...) }
	resources := func(values ...[]byte) []byte { return entry("resources", field(numberList, values...)) }
	good := gateway(resources(field(numberValues, object(entry("name", text("a"))))))
	isTrue := protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), 1)
	for name, metadata := range map[string][]byte{
		"as it should be":        good,
		"the namespace twice":    slices.Concat(good, gateway(resources(field(numberValues, object(entry("name", text("b"))))))),
		"resources twice":        gateway(resources(field(numberValues, object(entry("name", text("a"))))), resources()),
		"the name twice":         gateway(resources(field(numberValues, object(entry("name", text("a")), entry("name", text("b")))))),
		"two values in one":      gateway(resources(field(numberValues, object(entry("name", text("a"), text("b")))))),
		"text, then true":        gateway(resources(field(numberValues, object(entry("name", text("a"), isTrue))))),
		"true, then text":        gateway(resources(field(numberValues, object(entry("name", isTrue, text("a")))))),
		"an object in two parts": gateway(resources(field(numberValues, object(), object(entry("name", text("a")))))),
		"a list in two parts":    gateway(entry("resources", field(numberList), field(numberList, field(numberValues, object(entry("name", text("a"))))))),
		"no key":                 field(1, field(numberValue, resources())),
		"a key twice":            field(1, field(numberKey, []byte("x")), field(numberKey, []byte("envoy-gateway")), field(numberValue, resources(field(numberValues, object(entry("name", text("a"))))))),
		"an unknown field":       slices.Concat(good, field(99, []byte("x"))),
	} {
		wire := field(numberAttributes, field(numberRequest, field(numberHTTP)), field(numberRoute, metadata))
		req := &authv3.CheckRequest{}
		if err := proto.Unmarshal(wire, req); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		full, _ := decode(req)
		w := &wireRequest{}
		if r, _ := w.read(wire); fmt.Sprint(r.Routes) != fmt.Sprint(full.Routes) {
			t.Errorf("%s: full decoding sees %v, the short way %v", name, full.Routes, r.Routes)
		}
	}
}

func TestParseRoute(t *testing.T) {
	for _, text := range []string{"HTTPRoute/shop/orders", "GRPCRoute/a/b", "HTTPRoute/shop-1/orders.v2.example", "HTTPRoute/" + strings.Repeat("a", 63) + "/" + strings.Repeat("a", 253)} {
		if r, err := ParseRoute(text); err != nil || r.String() != text {
			t.Errorf("%s: %v, %v", text, r, err)
		}
	}
	long := strings.Repeat("a", 64)
	for _, text := range []string{
		"", "/", "//", "orders", "shop/orders", "HTTPRoute/shop", "HTTPRoute/shop/orders/x", "HTTPRoute//orders", "HTTPRoute/shop/", "/shop/orders",
		"httproute/shop/orders", "HTTPRoute/Shop/orders", "HTTPRoute/shop/Orders", "HTTPRoute/shop/or_ders", "HTTPRoute/shop/-orders", "HTTPRoute/shop/orders-",
		"HTTPRoute/shop/a..b", "HTTPRoute/shop/.a", "HTTPRoute/sh.op/orders", "HTTPRoute/shop/*", "*/shop/orders", "HTTPRoute/shop/orders ", "HTTPRoute /shop/orders",
		"HTTPRoute/" + long + "/x", "HTTPRoute/shop/" + strings.Repeat("a.", 127) + "a", "TCPRoute/shop/orders", "HTTPRoute/shop/\u00e9",
		"gateway.networking.k8s.io/HTTPRoute/shop/orders",
	} {
		if r, err := ParseRoute(text); err == nil || r != (Route{}) {
			t.Errorf("%q is taken for %v", text, r)
		}
	}
}

// Routes cost a check no memory.
func TestRoutesAreReadWithoutAllocation(t *testing.T) {
	wire, err := proto.Marshal(routedRequest(t, wholeRoutes[0]))
	if err != nil {
		t.Fatal(err)
	}
	w := &wireRequest{}
	allocs := testing.AllocsPerRun(100, func() {
		if r, _ := w.read(wire); len(r.Routes) != 1 {
			t.Fatal("no route")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
