// Command weblogin is a web application whose users log in at an OpenID provider:
// authorization code with PKCE, and a session of its own after that.
//
//	go run ./examples/weblogin -issuer https://id.example.com/realms/shop -client shop -secret-file secret
//
// The provider has to know http://127.0.0.1:8080/callback as redirect URI.
package main

import (
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
)

func main() {
	issuer := flag.String("issuer", "", "the provider")
	id := flag.String("client", "", "the client ID")
	secret := flag.String("secret-file", "", "the file with the client's secret")
	origin := flag.String("origin", "http://127.0.0.1:8080", "this application's URL as browsers see it")
	listen := flag.String("listen", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	if err := run(*issuer, *id, *secret, *origin, *listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(issuer, id, secret, origin, listen string) error {
	c, err := client.New(client.Config{Issuer: issuer, ClientID: id, Auth: client.ClientSecretBasic{Secret: client.SecretFile(secret)}})
	if err != nil {
		return err
	}
	defer c.Close()
	server := &http.Server{Addr: listen, Handler: newApp(c, origin), ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

// app is the application. Its sessions are in memory: one process, and everybody
// logs in again after a restart.
type app struct {
	client *client.Client
	origin string

	mu       sync.Mutex
	sessions map[string]session // by what the cookie has
}

// session is what is known of one browser: that a login has begun, or who has logged
// in.
type session struct {
	login   *client.Transaction
	user    string
	expires time.Time
}

const (
	sessionLife = 8 * time.Hour
	maxSessions = 10_000 // who does not log in gets a session too
)

func newApp(c *client.Client, origin string) http.Handler {
	a := &app{client: c, origin: origin, sessions: map[string]session{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /login", a.login)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("POST /logout", a.logout)
	// A form of another site cannot log anybody out.
	return http.NewCrossOriginProtection().Handler(mux)
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Shop</title>
{{if .}}<p>Hello, {{.}}. <form method="post" action="/logout"><button>Log out</button></form>
{{else}}<p><a href="/login">Log in</a>{{end}}
`))

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := page.Execute(w, a.find(r).user); err != nil {
		slog.Error("page", "error", err)
	}
}

// login sends the browser to the provider. What the callback will be compared with
// stays in the session of this browser.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	request, err := a.client.AuthorizationRequest(r.Context(), client.AuthorizationParams{
		RedirectURI: a.origin + "/callback",
		TokenParams: client.TokenParams{Scopes: []string{"openid"}},
	})
	if err != nil {
		a.fail(w, http.StatusBadGateway, err)
		return
	}
	if a.begin(w, session{login: request.Transaction, expires: request.Transaction.Expiry()}) {
		http.Redirect(w, r, request.URL, http.StatusSeeOther)
	}
}

// callback is where the browser comes back to.
func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	before := a.take(r)
	callback, err := a.client.ParseCallback(r.Context(), before.login, r)
	switch {
	case errors.Is(err, client.ErrAccessDenied): // the user's own choice
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return
	case err != nil:
		a.fail(w, http.StatusBadRequest, err)
		return
	}
	tokens, err := a.client.ExchangeCode(r.Context(), callback, client.TokenParams{})
	if err != nil {
		a.fail(w, http.StatusBadGateway, err)
		return
	}
	// A new session: nobody who knew the old one is in it.
	if a.begin(w, session{user: tokens.ID.Subject, expires: time.Now().Add(sessionLife)}) {
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.take(r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// fail tells the log what happened, and the browser that something did.
func (a *app) fail(w http.ResponseWriter, status int, err error) {
	slog.Error("login", "error", err)
	http.Error(w, "The login did not work. Please try again.", status)
}

const cookieName = "session"

// begin gives the browser a new session, or answers that there is no room for one.
func (a *app) begin(w http.ResponseWriter, s session) bool {
	id := rand.Text()
	a.mu.Lock()
	defer a.mu.Unlock()
	for old, other := range a.sessions {
		if time.Now().After(other.expires) {
			delete(a.sessions, old)
		}
	}
	if len(a.sessions) >= maxSessions { // rather than to log others out
		http.Error(w, "Too many people are logging in. Please try again later.", http.StatusServiceUnavailable)
		return false
	}
	a.sessions[id] = s
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever the application is served over https
		Name: cookieName, Value: id, Path: "/", Expires: s.expires, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // sent when the provider sends the browser back, and not with others' forms
		Secure:   strings.HasPrefix(a.origin, "https://"),
	})
	return true
}

// find returns the browser's session, the zero one if it has none.
func (a *app) find(r *http.Request) session {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[cookie.Value]
	if time.Now().After(s.expires) {
		return session{}
	}
	return s
}

// take is find for the last time: the session ends.
func (a *app) take(r *http.Request) session {
	s := a.find(r)
	if cookie, err := r.Cookie(cookieName); err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.sessions, cookie.Value)
	}
	return s
}
