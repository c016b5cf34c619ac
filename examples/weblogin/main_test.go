package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// browser keeps cookies and follows no redirect by itself.
type browser struct{ *http.Client }

func newBrowser(t *testing.T) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{&http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// visit returns where the browser is sent, or what it shows.
func (b browser) visit(t *testing.T, method, url string) (status int, location, page string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(body)
}

func TestUsersLogIn(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	origin := "http://" + server.Listener.Addr().String()
	provider := oidctest.NewIssuer()
	defer provider.Close()
	provider.RegisterClient(oidctest.Client{ID: "shop", Method: "client_secret_basic", Secret: "s3cret", RedirectURIs: []string{origin + "/callback"}})
	provider.SetLogin(oidctest.Login{Subject: "bob"})
	c, err := client.New(client.Config{Issuer: provider.URL, ClientID: "shop", Auth: client.ClientSecretBasic{Secret: client.NewSecret("s3cret")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server.Config.Handler = newApp(c, origin)
	server.Start()
	defer server.Close()

	bob, mallory := newBrowser(t), newBrowser(t)
	_, away, _ := bob.visit(t, http.MethodGet, origin+"/login")
	back, err := provider.Browse(away)
	if err != nil {
		t.Fatal(err)
	}
	// Who steals the callback has no session that it belongs to.
	if status, _, page := mallory.visit(t, http.MethodGet, back.URL.String()); status != http.StatusBadRequest || strings.Contains(page, "state") {
		t.Errorf("another browser: status %d, %s", status, page)
	}
	if status, to, _ := bob.visit(t, http.MethodGet, back.URL.String()); status != http.StatusSeeOther || to != "/" {
		t.Errorf("the callback: status %d, to %s", status, to)
	}
	if _, _, page := bob.visit(t, http.MethodGet, origin+"/"); !strings.Contains(page, "Hello, bob.") {
		t.Errorf("logged in, the page is %s", page)
	}
	if _, _, page := mallory.visit(t, http.MethodGet, origin+"/"); strings.Contains(page, "bob") {
		t.Errorf("another browser sees %s", page)
	}
	bob.visit(t, http.MethodPost, origin+"/logout")
	if _, _, page := bob.visit(t, http.MethodGet, origin+"/"); strings.Contains(page, "bob") {
		t.Errorf("logged out, the page is %s", page)
	}

	// The user says no.
	provider.SetLogin(oidctest.Login{Refuse: &oidctest.Refusal{Code: "access_denied"}})
	_, away, _ = bob.visit(t, http.MethodGet, origin+"/login")
	if back, err = provider.Browse(away); err != nil {
		t.Fatal(err)
	}
	if status, to, _ := bob.visit(t, http.MethodGet, back.URL.String()); status != http.StatusSeeOther || to != "/" {
		t.Errorf("refused: status %d, to %s", status, to)
	}
}
