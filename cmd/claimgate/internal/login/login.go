// Package login has a user log in with a browser for a program on the same machine
// (RFC 8252): it listens on loopback, shows the provider's page, and waits for the
// browser to come back.
package login

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
)

// Options say how the user gets to the provider's page.
type Options struct {
	// Port is that of the redirect URI, http://127.0.0.1:PORT/callback; zero takes a
	// free one, which a provider has to allow (RFC 8252 section 7.3).
	Port int
	// Show gets the provider's page once, to show it or its address to the user. Its
	// error ends the login.
	Show func(ctx context.Context, url string) error
}

// WithBrowser makes a login by authorization code and returns its tokens. It waits
// until the user has answered, or ctx ends. What comes to the port and is not the
// answer to this login is answered 400, and the wait goes on.
func WithBrowser(ctx context.Context, c *client.Client, params client.TokenParams, o Options) (*client.TokenResponse, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)))
	if err != nil {
		return nil, fmt.Errorf("waiting for the browser: %w", err)
	}
	callbacks := make(chan result, 1)
	request, err := c.AuthorizationRequest(ctx, client.AuthorizationParams{
		TokenParams: params, RedirectURI: "http://" + listener.Addr().String() + "/callback",
	})
	if err != nil {
		_ = listener.Close() // nothing was served
		return nil, err
	}
	server := &http.Server{
		Handler:           handler(ctx, c, request.Transaction, callbacks),
		ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 128 << 10,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // it ends when the server does
	}()
	defer func() {
		// The page that says that it is done gets its time.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // it says nothing new
		}
		<-served
	}()
	if err := o.Show(ctx, request.URL); err != nil {
		return nil, err
	}
	select {
	case r := <-callbacks:
		if r.err != nil {
			return nil, r.err
		}
		return c.ExchangeCode(ctx, r.callback, client.TokenParams{})
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the browser to come back: %w", context.Cause(ctx))
	}
}

// result is what the browser brought.
type result struct {
	callback *client.Callback
	err      error
}

// handler serves the redirect URI.
func handler(ctx context.Context, c *client.Client, tx *client.Transaction, callbacks chan<- result) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		callback, err := c.ParseCallback(ctx, tx, r)
		var refusal *client.OAuthError
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		switch {
		case err == nil:
			_, _ = fmt.Fprintln(w, "You are logged in. Close this window and go back to the terminal.")
		case errors.As(err, &refusal):
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprintln(w, "The login was refused. The terminal says why.")
		default:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintln(w, "This is not the answer to the login that is waiting.")
			return
		}
		select {
		case callbacks <- result{callback, err}:
		default: // a second one
		}
	})
	return mux
}

// Browser opens a page in the user's browser.
func Browser(ctx context.Context, command, url string) error {
	if command == "" {
		switch runtime.GOOS {
		case "darwin":
			command = "open"
		default:
			command = "xdg-open"
		}
	}
	if err := exec.CommandContext(ctx, command, url).Run(); err != nil { //nolint:gosec // the user's own browser; no shell reads the URL
		return fmt.Errorf("the browser (%s) did not start: %w", command, err)
	}
	return nil
}
