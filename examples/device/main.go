// Command device is a command-line program whose user logs in with the browser of
// another device: the device authorization grant (RFC 8628).
//
//	go run ./examples/device -issuer https://id.example.com/realms/shop -client shop-cli
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/claimgate/claimgate/oidc/client"
)

func main() {
	issuer := flag.String("issuer", "", "the provider")
	id := flag.String("client", "", "the client ID, of a public client")
	scopes := flag.String("scopes", "openid", "the scopes to ask for, with spaces between")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, client.Config{Issuer: *issuer, ClientID: *id}, strings.Fields(*scopes), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg client.Config, scopes []string, out io.Writer) error {
	cfg.Auth = client.None{} // whoever has the program has what is in it: no place for a secret
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	token, err := login(ctx, c, scopes, out)
	switch {
	case errors.Is(err, client.ErrAccessDenied):
		return errors.New("you said no: nothing is done")
	case errors.Is(err, client.ErrExpiredToken):
		return errors.New("nobody has typed the code in time: please start again")
	case err != nil:
		return err
	case token.ID == nil: // no scope openid
		fmt.Fprintln(out, "You are logged in.")
	default:
		fmt.Fprintf(out, "You are logged in as %s.\n", token.ID.Subject)
	}
	return nil // a real program calls its API with token.AccessToken now
}

// login shows where to go and what to type there, and waits for the user.
func login(ctx context.Context, c *client.Client, scopes []string, out io.Writer) (*client.TokenResponse, error) {
	d, err := c.AuthorizeDevice(ctx, client.TokenParams{Scopes: scopes})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Open %s and type the code %s\n", d.VerificationURI, d.UserCode)
	return c.DeviceToken(ctx, d)
}
