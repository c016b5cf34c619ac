package extauthz

import (
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/claimgate/claimgate/oidc"
)

// sortRemovals brings the names that a map's order has mixed into one order.
func sortRemovals(resp *authv3.CheckResponse) {
	slices.Sort(resp.GetOkResponse().GetHeadersToRemove())
}

// describe writes down all that a check can see of a request.
func describe(r *Request, isHTTP bool) string {
	if !isHTTP {
		return "not HTTP"
	}
	s := fmt.Sprintf("%q %q %q %q %q %q %q %q %v", r.Method, r.Host, r.Path, r.Scheme, r.SourceAddress, r.SourcePrincipal, r.ID, r.Routes, len(r.Context))
	for key, value := range sortedMap(r.Context) {
		s += fmt.Sprintf(" %q=%q", key, value)
	}
	var names []string
	for name := range r.Headers.Names {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value, count := r.Headers.Get(lowerASCII(name))
		s += fmt.Sprintf("\n%q: %q (%d)", name, value, count)
	}
	return s
}

func sortedMap(m map[string]string) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		keys := make([]string, 0, len(m))
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// FuzzWireRequest: whatever full decoding makes of some bytes, the short way
// sees the same; and what full decoding refuses can at most be less than it.
func FuzzWireRequest(f *testing.F) {
	full := checkRequest("/orders?page=2", "authorization", "Bearer x", "cookie", "a=b")
	full.Attributes.Source = &authv3.AttributeContext_Peer{
		Address:   &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "10.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 80}}}},
		Principal: "spiffe://x", Certificate: "pem",
	}
	full.Attributes.ContextExtensions = map[string]string{"policy": "all", "": "empty"}
	full.Attributes.GetRequest().GetHttp().Id = "7"
	list := checkRequest("/")
	list.Attributes.GetRequest().GetHttp().HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "Authorization", RawValue: []byte("Bearer \xff")}, {Key: "authorization", Value: "b"}, {Key: "x", Value: "v", RawValue: []byte("raw")},
	}}
	both := checkRequest("/", "x", "1")
	both.Attributes.GetRequest().GetHttp().HeaderMap = list.Attributes.GetRequest().GetHttp().GetHeaderMap()
	pipe := checkRequest("/")
	pipe.Attributes.Source = &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/p"}}}}
	meta := checkRequest("/")
	meta.Attributes.MetadataContext = &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"x": {}}}
	requests := []*authv3.CheckRequest{{}, {Attributes: &authv3.AttributeContext{}}, full, list, both, pipe, meta, checkRequest("/", "Upper", "1", "upper", "2")}
	for _, text := range slices.Concat(wholeRoutes, brokenRoutes) {
		if len(text) < 300 { // the fuzzer takes its time to make long ones shorter
			requests = append(requests, routedRequest(f, text))
		}
	}
	for _, req := range requests {
		wire, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
		f.Add(append(slices.Clone(wire), wire...)) // messages in two parts
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		w := &wireRequest{}
		got := describe(w.read(slices.Clone(wire)))
		req := &authv3.CheckRequest{}
		if err := proto.Unmarshal(wire, req); err != nil {
			return // fields that nobody reads may be broken; FuzzCheck holds the answer to its promises
		}
		r, isHTTP := decode(req)
		if want := describe(&r, isHTTP); got != want {
			t.Fatalf("full decoding sees\n%s\nthe short way\n%s", want, got)
		}
	})
}

// FuzzWireAnswer: any decision is rendered alike both ways.
func FuzzWireAnswer(f *testing.F) {
	f.Add("valid_token", "p", "alice", "a", "x-auth-subject", "alice", true)
	f.Add("expired", "p", "", "", "", "", false)
	f.Add("", "", "", "", "", "", false)
	f.Fuzz(func(t *testing.T, reason, policy, subject, scope, name, value string, token bool) {
		for _, s := range []string{policy, subject, scope, name, value, reason} {
			if !utf8.ValidString(s) {
				return // a protobuf string cannot be, and ours are not
			}
		}
		d := Decision{
			reason: oidc.Reason(reason), policy: policy, set: []Header{{name, value}, {"x", ""}}, remove: []string{name, "y"},
			challenge: []string{value}, plainText: len(scope) > 1,
		}
		if token {
			d.token = &oidc.Token{Subject: subject, Issuer: "i", IssuerName: "n", Scopes: []string{scope, ""}, Roles: []string{value}}
		}
		short := &authv3.CheckResponse{}
		if err := proto.Unmarshal(encodeAnswer(d, nil), short); err != nil {
			t.Fatal(err)
		}
		if plain := respond(d, nil); !proto.Equal(plain, short) {
			t.Fatalf("plain\n%v\nshort\n%v", plain, short)
		}
	})
}

func TestBytesThatAreNoRequestAreDenied(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all, access: public}]")
	for _, wire := range [][]byte{nil, {}, {0xff}, {0x0a, 0x7f}, []byte("GET / HTTP/1.1\r\n\r\n"), {0x0a, 0x03, 0x22, 0x01, 0x12}} {
		resp := &authv3.CheckResponse{}
		if err := proto.Unmarshal(g.server.checkWire(t.Context(), wire), resp); err != nil {
			t.Fatal(err)
		}
		checkInvariants(t, resp)
		if got := resp.GetDynamicMetadata().GetFields()["reason"].GetStringValue(); got != "no_policy" {
			t.Errorf("%x: %s", wire, got)
		}
	}
}

func TestAPanicIsADenialOnTheWireToo(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	g.set.Load().policies[0].identity = nil
	wire, err := proto.Marshal(checkRequest("/", "authorization", "Bearer "+g.issuer.Token(nil)))
	if err != nil {
		t.Fatal(err)
	}
	resp := &authv3.CheckResponse{}
	if err := proto.Unmarshal(g.server.checkWire(t.Context(), wire), resp); err != nil {
		t.Fatal(err)
	}
	checkInvariants(t, resp)
	if code := resp.GetDeniedResponse().GetStatus().GetCode(); code != 500 {
		t.Errorf("status %d", code)
	}
}

// Nobody keeps the gate busy with many headers: names are compared with each
// other only while they are few.
func TestManyHeadersAreReadFully(t *testing.T) {
	g := newTestGate(t, oneIssuer+"policies: [{name: all}]")
	headers := []string{"authorization", "Bearer " + g.issuer.Token(nil)}
	for i := range manyHeaders {
		headers = append(headers, fmt.Sprintf("x-%d", i), "1")
	}
	req := checkRequest("/", headers...)
	wire, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	w := newWireRequest()
	if r, isHTTP := w.read(wire); !isHTTP || r.Headers == Headers(&w.headers) {
		t.Error("the headers were compared with each other")
	}
	resp := &authv3.CheckResponse{}
	if err := proto.Unmarshal(g.server.checkWire(t.Context(), wire), resp); err != nil {
		t.Fatal(err)
	}
	if want := g.check(t, req); !proto.Equal(resp, want) || resp.GetOkResponse() == nil {
		t.Errorf("got %v, want %v", resp, want)
	}
}
