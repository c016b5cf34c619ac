package oidctest_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// post sends a form to an endpoint and returns what came, as "status body".
func post(t *testing.T, c *http.Client, address string, form url.Values, change func(*http.Request)) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if change != nil {
		change(req)
	}
	answer, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status[:3] + " " + string(body)
}

// The token endpoint is strict, so that a client that is not fails its tests.
func TestTokenEndpointIsStrict(t *testing.T) {
	issuer := start(t)
	issuer.RegisterClient(oidctest.Client{ID: "a", Method: "client_secret_basic", Secret: "s+&"})
	issuer.RegisterClient(oidctest.Client{ID: "p", Method: "client_secret_post", Secret: "secret"})
	issuer.RegisterClient(oidctest.Client{ID: "n", Method: "none"})
	c := client(t, issuer)
	basic := func(id, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(id, secret) }
	}
	good := basic("a", "s%2B%26")
	cc := url.Values{"grant_type": {"client_credentials"}}
	with := func(form url.Values, more ...string) url.Values {
		all := url.Values{}
		for name, values := range form {
			all[name] = values
		}
		for n := 0; n < len(more); n += 2 {
			all.Add(more[n], more[n+1])
		}
		return all
	}
	for _, tt := range []struct {
		rule   string
		form   url.Values
		change func(*http.Request)
		want   string // how the answer begins
	}{
		{"good", cc, good, `200 {"access_token":`},
		{"resources may be several", with(cc, "resource", "urn:a", "resource", "urn:b"), good, `200 {"access_token":`},
		{"a secret that is not form-encoded", cc, basic("a", "s+&"), `401 {"error":"invalid_client"`},
		{"a wrong secret", cc, basic("a", "x"), `401 {"error":"invalid_client"`},
		{"an unknown client", cc, basic("b", "x"), `401 {"error":"invalid_client"`},
		{"nobody", cc, nil, `401 {"error":"invalid_client"`},
		{"another method than registered", with(cc, "client_id", "a", "client_secret", "s+&"), nil, `401 {"error":"invalid_client"`},
		{"two methods", with(cc, "client_secret", "secret"), good, `401 {"error":"invalid_client"`},
		{"a parameter twice", with(cc, "scope", "a", "scope", "b"), good, `400 {"error":"invalid_request"`},
		{"a grant that does not exist", url.Values{"grant_type": {"x"}}, good, `400 {"error":"unsupported_grant_type"`},
		{"a public client has no credentials", with(cc, "client_id", "n"), nil, `400 {"error":"unauthorized_client"`},
		{"in the query", cc, func(r *http.Request) { good(r); r.URL.RawQuery = "grant_type=client_credentials" }, `405 {"error":"invalid_request"`},
		{"in the body", with(cc, "client_id", "p", "client_secret", "secret"), nil, `200 {"access_token":`},
	} {
		if got := post(t, c, issuer.URLOf(oidctest.Token), tt.form, tt.change); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.rule, got, tt.want)
		}
	}
}

// Faults work at the token endpoint as elsewhere.
func TestFaultsAtTheTokenEndpoint(t *testing.T) {
	issuer := start(t)
	issuer.RegisterClient(oidctest.Client{ID: "p", Method: "client_secret_post", Secret: "secret"})
	c := client(t, issuer)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"p"}, "client_secret": {"secret"}}
	issuer.Fail(http.StatusBadGateway, oidctest.Token)
	if got := post(t, c, issuer.URLOf(oidctest.Token), form, nil); !strings.HasPrefix(got, "502") {
		t.Error(got)
	}
	issuer.Recover()
	if got := post(t, c, issuer.URLOf(oidctest.Token), form, nil); !strings.HasPrefix(got, "200") {
		t.Error(got)
	}
	if n := issuer.Requests(oidctest.Token); n != 2 {
		t.Errorf("%d requests", n)
	}
}

// A poll is answered by what the user did, and only if it does not come too soon.
func TestPolls(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	issuer := start(t, oidctest.WithClock(func() time.Time { return now }))
	issuer.RegisterClient(oidctest.Client{ID: "p", Method: "client_secret_post", Secret: "secret"})
	c := &http.Client{Transport: issuer.Transport()}
	me := url.Values{"client_id": {"p"}, "client_secret": {"secret"}, "login_hint": {"alice"}}
	text := post(t, c, issuer.URLOf(oidctest.Backchannel), me, nil)
	_, rest, _ := strings.Cut(text, `"auth_req_id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	poll := url.Values{"client_id": {"p"}, "client_secret": {"secret"}, "grant_type": {"urn:openid:params:grant-type:ciba"}, "auth_req_id": {id}}
	for _, step := range []struct {
		after time.Duration
		do    func()
		want  string
	}{
		{0, nil, `400 {"error":"slow_down"}`},
		{9 * time.Second, nil, `400 {"error":"slow_down"}`}, // the interval has grown
		{15 * time.Second, nil, `400 {"error":"authorization_pending"}`},
		{15 * time.Second, func() { issuer.Approve(id, "alice") }, `200 {"access_token":`},
		{15 * time.Second, nil, `400 {"error":"invalid_grant"}`},
	} {
		now = now.Add(step.after)
		if step.do != nil {
			step.do()
		}
		if got := post(t, c, issuer.URLOf(oidctest.Token), poll, nil); !strings.HasPrefix(got, step.want) {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
}

// Without a network the issuer is what it is with one.
func TestTransport(t *testing.T) {
	issuer := start(t)
	c := &http.Client{Transport: issuer.Transport()}
	if doc := discovery(t, c, issuer.URLOf(oidctest.OpenIDDiscovery)); doc["issuer"] != issuer.URL {
		t.Errorf("issuer %v", doc["issuer"])
	}
	if n := issuer.Requests(oidctest.OpenIDDiscovery); n != 1 {
		t.Errorf("%d requests", n)
	}
	issuer.Respond(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, oidctest.JWKS)
	for what, address := range map[string]string{"a broken connection": issuer.URLOf(oidctest.JWKS), "another host": "http://127.0.0.1:1/"} {
		if answer, err := c.Get(address); err == nil {
			t.Errorf("%s: %v", what, answer.Status)
		}
	}
	issuer.Down()
	if answer, err := c.Get(issuer.URLOf(oidctest.OpenIDDiscovery)); err == nil {
		t.Errorf("down: %v", answer.Status)
	}
}
