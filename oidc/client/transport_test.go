package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
)

var _ credentials.PerRPCCredentials = client.PerRPC{}

const api = "https://api.example.com"

// resource is an API without a network: it notes what comes and answers by a script.
type resource struct {
	t      *testing.T
	script []string // "200", or "401 CHALLENGE"
	got    []string // "Authorization body"
	proofs []http.Header
	open   int // bodies that were not closed
}

func (r *resource) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	_ = req.Body.Close()
	r.got = append(r.got, strings.TrimSpace(req.Header.Get("Authorization")+" "+string(body)))
	r.proofs = append(r.proofs, req.Header)
	line := r.script[0]
	r.script = r.script[1:]
	status, challenge, _ := strings.Cut(line, " ")
	header := http.Header{}
	if challenge != "" {
		header.Set("WWW-Authenticate", challenge)
	}
	if strings.Contains(challenge, "nonce") {
		header.Set("DPoP-Nonce", "n-1")
	}
	resp := &http.Response{Header: header, Request: req, Body: &tracked{strings.NewReader("answer"), r}}
	_, err = fmt.Sscan(status, &resp.StatusCode)
	r.open++
	return resp, err
}

type tracked struct {
	io.Reader
	r *resource
}

func (b *tracked) Close() error { b.r.open--; return nil }

func TestTransport(t *testing.T) {
	post := func(again bool) func() *http.Request {
		return func() *http.Request {
			req, err := http.NewRequest(http.MethodPost, api+"/orders", bytes.NewReader([]byte("order")))
			if err != nil {
				t.Fatal(err)
			}
			if !again {
				req.GetBody = nil
			}
			return req
		}
	}
	get := func() *http.Request {
		req, err := http.NewRequest(http.MethodGet, api+"/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	for _, tt := range []struct {
		rule   string
		req    func() *http.Request
		script string
		want   string // what the resource got
		status int
	}{
		{"the token is added", get, "200", "Bearer token-1", 200},
		{"a 401 is tried again with a new token", get, "401 Bearer|200", "Bearer token-1|Bearer token-2", 200},
		{"an invalid token too", get, `401 Bearer error="invalid_token"|200`, "Bearer token-1|Bearer token-2", 200},
		{"but once", get, "401 Bearer|401 Bearer", "Bearer token-1|Bearer token-2", 401},
		{"a body is sent again", post(true), "401 Bearer|200", "Bearer token-1 order|Bearer token-2 order", 200},
		{"a body that cannot be is not", post(false), "401 Bearer", "Bearer token-1 order", 401},
		{"a step-up is the caller's to make", get, `401 Bearer error="insufficient_user_authentication"`, "Bearer token-1", 401},
		{"a nonce without a key", get, `401 DPoP error="use_dpop_nonce"`, "Bearer token-1", 401},
		{"a 403 is final", get, `403 Bearer error="insufficient_scope"`, "Bearer token-1", 403},
		{"a 503 too", get, "503", "Bearer token-1", 503},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &resource{t: t, script: strings.Split(tt.script, "|")}
				s := source(t, &tokens{life: time.Hour}, client.SourceConfig{})
				text(t, s)
				time.Sleep(time.Minute) // the first token is not new any more
				transport, err := client.NewTransport(client.TransportConfig{Source: s, Origins: []string{api}, Base: r})
				if err != nil {
					t.Fatal(err)
				}
				req := tt.req()
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				if body, _ := io.ReadAll(resp.Body); string(body) != "answer" {
					t.Errorf("the answer's body is %q", body)
				}
				_ = resp.Body.Close()
				if got := strings.Join(r.got, "|"); got != tt.want || resp.StatusCode != tt.status || r.open != 0 {
					t.Errorf("%d after %s, want %d after %s; %d bodies open", resp.StatusCode, got, tt.status, tt.want, r.open)
				}
				if req.Header.Get("Authorization") != "" {
					t.Error("the caller's request was changed")
				}
			})
		})
	}
}

// A resource that refuses everything does not cause a token request for each of
// its own.
func TestTransportDoesNotStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: time.Hour}
		s := source(t, p, client.SourceConfig{})
		r := &resource{t: t}
		transport, err := client.NewTransport(client.TransportConfig{Source: s, Origins: []string{api}, Base: r})
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Transport: transport}
		for range 1000 {
			r.script = []string{"401", "401"}
			resp, err := c.Get(api)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			time.Sleep(10 * time.Millisecond)
		}
		if n := p.requests(); n > 2 {
			t.Errorf("%d token requests in ten seconds", n)
		}
	})
}

// A token goes nowhere but where it belongs.
func TestTransportKeepsTheTokenToItsOrigins(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other origin got %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	var got string
	resource := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	defer resource.Close()
	s := source(t, &tokens{life: time.Hour}, client.SourceConfig{})
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	transport, err := client.NewTransport(client.TransportConfig{Source: s, Origins: []string{resource.URL + "/"}, Base: base})
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: transport}
	if _, err := c.Get(resource.URL); err == nil || !strings.Contains(err.Error(), "it is not one of Origins") {
		t.Errorf("a redirect: %v", err)
	}
	if got != "Bearer token-1" {
		t.Errorf("the resource got %q", got)
	}
	req, err := http.NewRequest(http.MethodGet, resource.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Basic x")
	if _, err := c.Do(req); err == nil || !strings.Contains(err.Error(), "has a header Authorization already") {
		t.Errorf("another credential: %v", err)
	}
}

// Without a token nothing is sent.
func TestTransportWithoutAToken(t *testing.T) {
	down := errors.New("the provider is down")
	s, err := client.NewTokenSource(func(context.Context) (*client.TokenResponse, error) { return nil, down }, client.SourceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &resource{t: t}
	transport, err := client.NewTransport(client.TransportConfig{Source: s, Origins: []string{api}, Base: r})
	if err != nil {
		t.Fatal(err)
	}
	body := &tracked{strings.NewReader("order"), r}
	r.open++
	req, err := http.NewRequest(http.MethodPost, api, body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(req); !errors.Is(err, down) || len(r.got) != 0 || r.open != 0 {
		t.Errorf("%v after %v; %d bodies open", err, r.got, r.open)
	}
}

// A bound token is sent with proofs, and with the server's nonce if it wants one.
func TestTransportDPoP(t *testing.T) {
	key, err := dpop.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.NewTokenSource(func(context.Context) (*client.TokenResponse, error) {
		return &client.TokenResponse{AccessToken: client.NewSecret("bound"), TokenType: "DPoP"}, nil
	}, client.SourceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := &resource{t: t, script: []string{`401 DPoP error="use_dpop_nonce"`, "200", "200", `401 DPoP error="use_dpop_nonce"`}}
	transport, err := client.NewTransport(client.TransportConfig{Source: s, Origins: []string{api}, Base: r, DPoP: key})
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: transport}
	for _, want := range []int{200, 200, 401} { // the last server has given the same nonce again
		resp, err := c.Get(api + "/orders?limit=1")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("status %d, want %d", resp.StatusCode, want)
		}
	}
	var nonces []string
	jtis := map[any]bool{}
	for _, header := range r.proofs {
		if header.Get("Authorization") != "DPoP bound" {
			t.Errorf("Authorization %q", header.Get("Authorization"))
		}
		claims := payload(t, header.Get("DPoP"))
		nonces = append(nonces, fmt.Sprint(claims["nonce"]))
		jtis[claims["jti"]] = true
		if claims["htm"] != "GET" || claims["htu"] != api+"/orders" || claims["ath"] == nil {
			t.Errorf("proof %v", claims)
		}
	}
	if got := strings.Join(nonces, " "); got != "<nil> n-1 n-1 n-1" || len(jtis) != 4 {
		t.Errorf("nonces %s of %d proofs", got, len(jtis))
	}
	plain, err := client.NewTransport(client.TransportConfig{Source: s, Origins: []string{api}, Base: r})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&http.Client{Transport: plain}).Get(api); err == nil || !strings.Contains(err.Error(), "of the type DPoP") {
		t.Errorf("a bound token without its key: %v", err)
	}
	if _, err := (client.PerRPC{Source: s}).GetRequestMetadata(t.Context(), api); err == nil {
		t.Error("a bound token was sent by gRPC")
	}
}

func TestNewTransportReportsEveryFault(t *testing.T) {
	s := source(t, &tokens{}, client.SourceConfig{})
	for _, tt := range []struct {
		cfg  client.TransportConfig
		want string
	}{
		{client.TransportConfig{}, "client: Source is nil\nclient: Origins is empty: name the origins that may get the token"},
		{client.TransportConfig{Source: s, Origins: []string{"api.example.com", api + "/v1", "http://api.example.com"}}, `client: Origins has "api.example.com", which is not an https URL
client: Origins has "https://api.example.com/v1", which has more than a scheme, a host and a port
client: Origins has "http://api.example.com", which is a plain http URL, which is accepted only on loopback and never from an https issuer; use https`},
	} {
		if _, err := client.NewTransport(tt.cfg); err == nil || err.Error() != tt.want {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

func TestPerRPC(t *testing.T) {
	p := &tokens{life: time.Hour}
	s := source(t, p, client.SourceConfig{})
	got, err := client.PerRPC{Source: s}.GetRequestMetadata(t.Context(), api+"/orders.v1.Orders")
	if err != nil || got["authorization"] != "Bearer token-1" || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
	if !(client.PerRPC{}).RequireTransportSecurity() || (client.PerRPC{Insecure: true}).RequireTransportSecurity() {
		t.Error("the token is sent without TLS by default")
	}
	if _, err := (client.PerRPC{}).GetRequestMetadata(t.Context()); err == nil {
		t.Error("the zero PerRPC has sent something")
	}
}
