// Command refresh is a job that goes on for a user who logged in once: it has the
// refresh token of that login in a file, and each new one replaces it there.
//
//	go run ./examples/refresh -issuer https://id.example.com/realms/shop -client reports -secret-file secret \
//		-token-file refresh-token -url http://127.0.0.1:8080/orders
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
)

func main() {
	issuer := flag.String("issuer", "", "the provider")
	id := flag.String("client", "", "the client ID")
	secret := flag.String("secret-file", "", "the file with the client's secret")
	file := flag.String("token-file", "", "the file with the refresh token")
	target := flag.String("url", "", "what to call")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *issuer, *id, *secret, tokenFile(*file), *target, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, issuer, id, secret string, kept tokenFile, target string, out io.Writer) error {
	c, err := client.New(client.Config{
		Issuer: issuer, ClientID: id,
		Auth:   client.ClientSecretBasic{Secret: client.SecretFile(secret)},
		Logger: slog.Default(),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	source, err := newSource(c, kept)
	if err != nil {
		return err
	}
	defer source.Close() // before the client
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	transport, err := client.NewTransport(client.TransportConfig{Source: source, Origins: []string{u.Scheme + "://" + u.Host}})
	if err != nil {
		return err
	}
	api := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	defer api.CloseIdleConnections()
	err = call(ctx, api, target, out)
	if errors.Is(err, client.ErrInvalidGrant) {
		return fmt.Errorf("the session is over, the user has to log in again: %w", err)
	}
	return err
}

// newSource returns a source of access tokens for the session whose refresh token is
// in the file. No other program may use that file: a provider that rotates refresh
// tokens takes each once, and ends the session if one comes twice.
func newSource(c *client.Client, kept tokenFile) (*client.TokenSource, error) {
	refreshToken, err := kept.read()
	if err != nil {
		return nil, err
	}
	return c.RefreshSource(&client.TokenResponse{RefreshToken: refreshToken}, client.RefreshParams{}, client.SourceConfig{
		OnToken: func(_ context.Context, token *client.TokenResponse) error { // before the access token is used
			return kept.write(token.RefreshToken)
		},
	})
}

// tokenFile is the name of the file with the refresh token.
type tokenFile string

func (f tokenFile) read() (client.Secret, error) {
	text, err := os.ReadFile(string(f))
	return client.NewSecret(strings.TrimSpace(string(text))), err
}

// write replaces the file in one step: whatever happens, it has the old token or the
// new one.
func (f tokenFile) write(token client.Secret) error {
	tmp, err := os.CreateTemp(filepath.Dir(string(f)), ".refresh-token-") // for its owner alone
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // it is not there any more if all went well
	_, err = tmp.WriteString(token.Reveal() + "\n")
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), string(f))
}

func call(ctx context.Context, c *http.Client, target string, out io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	answer, err := c.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %s\n", answer.Status, body)
	return err
}
