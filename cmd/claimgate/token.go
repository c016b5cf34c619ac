package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/login"
	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
)

// tokenFlags are the flags of token as they were given.
type tokenFlags struct {
	issuer, clientID             string
	auth, secretFile, secretEnv  string
	keyFile, keyID, keyAlgorithm string
	certFile, certKeyFile        string
	caFile                       string

	grant                             string
	scopes, audiences, resources      []string
	params                            []string
	subjectFile, subjectType          string
	actorFile, refreshFile, tokenFile string
	port                              int
	noBrowser                         bool

	introspect, revoke, userInfo bool

	output, cache string
	timeout       time.Duration
}

const (
	grantClient   = "client_credentials"
	grantDevice   = "device"
	grantCode     = "code"
	grantRefresh  = "refresh"
	grantExchange = "exchange"
)

var (
	tokenGrants = []string{grantClient, grantDevice, grantCode, grantRefresh, grantExchange}
	tokenAuths  = []string{"client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth", "none"}
)

func newToken(s streams) *cobra.Command {
	var f tokenFlags
	c := &cobra.Command{
		Use:   "token --issuer URL --client ID [flags]",
		Short: "Get a token from a provider",
		Long: `Token gets an access token and prints it, alone, for other commands. The grant is
client credentials unless --grant says otherwise: device (type a code elsewhere), code
(log in with a browser, by PKCE and a redirect to loopback), refresh or exchange.

With --introspect, --revoke or --userinfo it asks the provider about a token instead,
which is read from --token-file or standard input.

The client proves itself with a secret (--secret-file, --secret-env), a private key
(--key-file) or a certificate (--cert-file), or is public. Secrets are not taken on the
command line: they would stay in the shell's history, and others could see them while
the command runs. Nothing is kept unless --cache names a file.

` + exitCodesHelp,
		Example: `  # A service's own token
  claimgate token --issuer https://id.example.com/realms/shop --client orders --secret-file secret --scope stock.read

  # Log in with a browser, keep the token until it ends
  claimgate token --issuer https://id.example.com --client cli --grant code --scope openid --cache ~/.cache/shop-token

  # Call an API with it
  curl -H "Authorization: Bearer $(claimgate token --issuer https://id.example.com --client orders --secret-file secret)" https://api.example.com/orders

  # What does the gate make of it?
  claimgate token --issuer https://id.example.com --client orders --secret-file secret | claimgate inspect - --config claimgate.yaml

  # Is a token still good?
  claimgate token --introspect --issuer https://id.example.com --client orders --secret-file secret --token-file token`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
			defer cancel()
			return f.run(ctx, s)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.issuer, "issuer", "", "the provider's issuer identifier (URL)")
	flags.StringVar(&f.clientID, "client", "", "client ID")
	flags.StringVar(&f.auth, "auth", "", "how the client proves itself: "+strings.Join(tokenAuths, ", ")+" (default: by what is given)")
	flags.StringVar(&f.secretFile, "secret-file", "", "file with the client's secret, - for standard input")
	flags.StringVar(&f.secretEnv, "secret-env", "", "environment variable with the client's secret")
	flags.StringVar(&f.keyFile, "key-file", "", "private key of private_key_jwt (PEM, PKCS #8)")
	flags.StringVar(&f.keyAlgorithm, "key-alg", "", "algorithm of --key-file, such as RS256 (default: PS256, ES256 or EdDSA, by the key)")
	flags.StringVar(&f.keyID, "key-id", "", "kid of --key-file, as the provider knows it")
	flags.StringVar(&f.certFile, "cert-file", "", "client certificate (PEM)")
	flags.StringVar(&f.certKeyFile, "cert-key-file", "", "private key of --cert-file (PEM)")
	flags.StringVar(&f.caFile, "ca-file", "", "authorities to trust instead of the system's (PEM)")
	flags.StringVar(&f.grant, "grant", grantClient, "one of "+strings.Join(tokenGrants, ", "))
	flags.StringSliceVar(&f.scopes, "scope", nil, "scope to ask for; may be repeated")
	flags.StringArrayVar(&f.audiences, "audience", nil, "audience to ask for (token exchange, Auth0); may be repeated")
	flags.StringArrayVar(&f.resources, "resource", nil, "resource to ask for (RFC 8707); may be repeated")
	flags.StringArrayVar(&f.params, "param", nil, "further parameter of the request, NAME=VALUE; may be repeated")
	flags.StringVar(&f.refreshFile, "refresh-token-file", "", "refresh: file with the refresh token, - for standard input")
	flags.StringVar(&f.subjectFile, "subject-token-file", "", "exchange: file with the token to exchange, - for standard input")
	flags.StringVar(&f.subjectType, "subject-type", client.TypeAccessToken, "exchange: what that token is")
	flags.StringVar(&f.actorFile, "actor-token-file", "", "exchange: file with the access token of who acts")
	flags.IntVar(&f.port, "port", 0, "code: port of the redirect URI http://127.0.0.1:PORT/callback (default: a free one)")
	flags.BoolVar(&f.noBrowser, "no-browser", false, "code: print the page's address instead of opening it")
	flags.BoolVar(&f.introspect, "introspect", false, "ask whether a token is good (RFC 7662)")
	flags.BoolVar(&f.revoke, "revoke", false, "end a token (RFC 7009)")
	flags.BoolVar(&f.userInfo, "userinfo", false, "ask whom an access token is of")
	flags.StringVar(&f.tokenFile, "token-file", "-", "introspect, revoke, userinfo: file with the token, - for standard input")
	flags.StringVar(&f.cache, "cache", "", "keep the token in this file, and use it again until it ends")
	flags.StringVarP(&f.output, "output", "o", "text", "text (the token alone) or json")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait, for a user too")
	registerOutput(c)
	registerWords(c, "grant", tokenGrants...)
	registerWords(c, "auth", tokenAuths...)
	for _, name := range []string{"secret-file", "key-file", "cert-file", "cert-key-file", "ca-file", "refresh-token-file", "subject-token-file", "actor-token-file", "token-file", "cache"} {
		registerFile(c, name)
	}
	return c
}

// check refuses what cannot be meant.
func (f *tokenFlags) check() error {
	about := 0
	for _, on := range []bool{f.introspect, f.revoke, f.userInfo} {
		if on {
			about++
		}
	}
	switch {
	case f.issuer == "":
		return usagef("--issuer is missing")
	case f.clientID == "" && !f.userInfo:
		return usagef("--client is missing")
	case f.output != "text" && f.output != "json":
		return usagef("--output is text or json, not %q", f.output)
	case about > 1:
		return usagef("--introspect, --revoke and --userinfo exclude each other")
	case about == 1 && f.cache != "":
		return usagef("--cache is for getting a token")
	case f.secretFile != "" && f.secretEnv != "":
		return usagef("--secret-file and --secret-env exclude each other")
	case (f.certFile == "") != (f.certKeyFile == ""):
		return usagef("--cert-file and --cert-key-file belong together")
	case f.timeout <= 0:
		return usagef("--timeout must be more than nothing")
	case f.port < 0 || f.port > 65535:
		return usagef("--port must be from 1 to 65535")
	}
	switch f.grant {
	case grantClient, grantDevice, grantCode:
	case grantRefresh:
		if f.refreshFile == "" {
			return usagef("--grant refresh needs --refresh-token-file")
		}
	case grantExchange:
		if f.subjectFile == "" {
			return usagef("--grant exchange needs --subject-token-file")
		}
	default:
		return usagef("--grant is one of %s, not %q", strings.Join(tokenGrants, ", "), f.grant)
	}
	return nil
}

func (f *tokenFlags) run(ctx context.Context, s streams) error {
	params, err := f.tokenParams()
	if err != nil {
		return err
	}
	auth, err := f.clientAuth(s)
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{
		Issuer: f.issuer, ClientID: f.clientIDOrNone(), Auth: auth,
		HTTP: oidc.HTTPConfig{CAFile: f.caFile, CertFile: f.certFile, KeyFile: f.certKeyFile},
	})
	if err != nil {
		return err
	}
	defer c.Close()
	if f.introspect || f.revoke || f.userInfo {
		return f.askAbout(ctx, s, c)
	}
	cache := tokenCache{file: f.cache, request: f.request()}
	if kept := cache.read(time.Now()); kept != nil {
		return kept.write(s.out, f.output)
	}
	answer, err := f.get(ctx, s, c, params)
	if err != nil {
		return err
	}
	t := newPrintedToken(answer)
	if err := cache.write(t); err != nil {
		return err
	}
	return t.write(s.out, f.output)
}

// clientIDOrNone is the client ID: userinfo is asked without a client.
func (f *tokenFlags) clientIDOrNone() string {
	if f.clientID == "" {
		return "none"
	}
	return f.clientID
}

// tokenParams are the parameters that every grant can have.
func (f *tokenFlags) tokenParams() (client.TokenParams, error) {
	p := client.TokenParams{Scopes: f.scopes, Audiences: f.audiences, Resources: f.resources, Extra: url.Values{}}
	for _, param := range f.params {
		name, value, ok := strings.Cut(param, "=")
		if !ok || name == "" {
			return p, usagef("--param is NAME=VALUE") // said without repeating what may be secret
		}
		p.Extra.Add(name, value)
	}
	return p, nil
}

// clientAuth is how the client proves itself: as --auth says, or by what is given.
func (f *tokenFlags) clientAuth(s streams) (client.ClientAuth, error) {
	method := f.auth
	if method == "" {
		switch {
		case f.keyFile != "":
			method = "private_key_jwt"
		case f.secretFile != "" || f.secretEnv != "":
			method = "client_secret_basic"
		case f.certFile != "":
			method = "tls_client_auth"
		default:
			method = "none"
		}
	}
	switch method {
	case "none":
		if f.secretFile != "" || f.secretEnv != "" || f.keyFile != "" {
			return nil, usagef("--auth none goes without a secret and a key")
		}
		return client.None{}, nil
	case "tls_client_auth", "self_signed_tls_client_auth":
		if f.certFile == "" {
			return nil, usagef("--auth %s needs --cert-file and --cert-key-file", method)
		}
		if method == "tls_client_auth" {
			return client.TLSClientAuth{}, nil
		}
		return client.SelfSignedTLSClientAuth{}, nil
	case "private_key_jwt":
		if f.keyFile == "" {
			return nil, usagef("--auth private_key_jwt needs --key-file")
		}
		key, err := f.signingKey()
		return client.PrivateKeyJWT{Key: key}, err
	case "client_secret_basic", "client_secret_post", "client_secret_jwt":
		secret, err := f.secret(s)
		if err != nil {
			return nil, err
		}
		switch method {
		case "client_secret_post":
			return client.ClientSecretPost{Secret: secret}, nil
		case "client_secret_jwt":
			return client.ClientSecretJWT{Secret: secret}, nil
		}
		return client.ClientSecretBasic{Secret: secret}, nil
	default:
		return nil, usagef("--auth is one of %s, not %q", strings.Join(tokenAuths, ", "), method)
	}
}

func (f *tokenFlags) secret(s streams) (client.Secret, error) {
	switch {
	case f.secretEnv != "":
		text := os.Getenv(f.secretEnv)
		if text == "" {
			return client.Secret{}, fmt.Errorf("--secret-env: the environment variable %s is empty", f.secretEnv)
		}
		return client.NewSecret(text), nil
	case f.secretFile != "":
		return secretFrom(s, "--secret-file", f.secretFile)
	default:
		return client.Secret{}, usagef("--auth %s needs --secret-file or --secret-env", f.auth)
	}
}

// secretFrom reads a secret of one line.
func secretFrom(s streams, flag, file string) (client.Secret, error) {
	text, err := readFile(file, s.in, maxTokenFile+1)
	if err != nil {
		return client.Secret{}, fmt.Errorf("%s: cannot read %w", flag, err)
	}
	text = strings.TrimSpace(text)
	switch {
	case len(text) > maxTokenFile:
		return client.Secret{}, fmt.Errorf("%s: %s has over 1 MiB", flag, named(file))
	case text == "":
		return client.Secret{}, fmt.Errorf("%s: %s is empty", flag, named(file))
	case strings.ContainsAny(text, "\r\n"):
		return client.Secret{}, fmt.Errorf("%s: %s has several lines", flag, named(file))
	}
	return client.NewSecret(text), nil
}

func (f *tokenFlags) signingKey() (client.SigningKey, error) {
	text, err := readFile(f.keyFile, nil, maxTokenFile)
	if err != nil {
		return client.SigningKey{}, fmt.Errorf("--key-file: cannot read %w", err)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return client.SigningKey{}, fmt.Errorf("--key-file: %s is not PEM", f.keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return client.SigningKey{}, fmt.Errorf("--key-file: %s has no private key of PKCS #8 (convert it with 'openssl pkcs8 -topk8 -nocrypt')", f.keyFile)
	}
	algorithm := oidc.Algorithm(f.keyAlgorithm)
	if algorithm == "" {
		if algorithm, err = client.UsualAlgorithm(signer.Public()); err != nil {
			return client.SigningKey{}, fmt.Errorf("--key-file: %s: %w", f.keyFile, err)
		}
	}
	return client.SigningKey{Signer: signer, Algorithm: algorithm, KeyID: f.keyID}, nil
}

// get asks for a token, and has the user do their part.
func (f *tokenFlags) get(ctx context.Context, s streams, c *client.Client, params client.TokenParams) (*client.TokenResponse, error) {
	switch f.grant {
	case grantDevice:
		d, err := c.AuthorizeDevice(ctx, params)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(s.err, "Open %s on any device and type the code %s\n", d.VerificationURI, d.UserCode)
		if d.VerificationURIComplete != "" {
			fmt.Fprintf(s.err, "or open %s and compare the code.\n", d.VerificationURIComplete)
		}
		return c.DeviceToken(ctx, d)
	case grantCode:
		return login.WithBrowser(ctx, c, params, login.Options{Port: f.port, Show: func(ctx context.Context, page string) error {
			fmt.Fprintf(s.err, "Log in at %s\n", page)
			if f.noBrowser {
				return nil
			}
			if err := login.Browser(ctx, os.Getenv("BROWSER"), page); err != nil {
				fmt.Fprintf(s.err, "claimgate: %v; open the page by hand\n", err)
			}
			return nil
		}})
	case grantRefresh:
		token, err := secretFrom(s, "--refresh-token-file", f.refreshFile)
		if err != nil {
			return nil, err
		}
		return c.Refresh(ctx, token, client.RefreshParams{TokenParams: params})
	case grantExchange:
		subject, err := secretFrom(s, "--subject-token-file", f.subjectFile)
		if err != nil {
			return nil, err
		}
		exchange := client.ExchangeParams{TokenParams: params}
		if f.actorFile != "" {
			actor, err := secretFrom(s, "--actor-token-file", f.actorFile)
			if err != nil {
				return nil, err
			}
			exchange.Actor = client.TypedToken{Token: actor, Type: client.TypeAccessToken}
		}
		return c.TokenExchange(ctx, client.TypedToken{Token: subject, Type: f.subjectType}, exchange)
	default:
		return c.ClientCredentials(ctx, params)
	}
}

// askAbout asks the provider about a token.
func (f *tokenFlags) askAbout(ctx context.Context, s streams, c *client.Client) error {
	if f.tokenFile == "-" && isTerminal(s.in) {
		fmt.Fprintln(s.err, "claimgate: paste the token, then Enter and Ctrl-D")
	}
	token, err := secretFrom(s, "--token-file", f.tokenFile)
	if err != nil {
		return err
	}
	switch {
	case f.introspect:
		i, err := c.Introspect(ctx, token, "")
		if err != nil {
			return err
		}
		if !i.Active {
			fmt.Fprintln(s.out, `{"active":false}`)
			return errDenied
		}
		return writeJSON(s.out, i.Raw())
	case f.revoke:
		if err := c.Revoke(ctx, token, ""); err != nil {
			return err
		}
		fmt.Fprintln(s.err, "The provider has revoked the token, or did not know it.")
		return nil
	default:
		u, err := c.UserInfo(ctx, token, client.UserInfoParams{AllowAnySubject: true})
		switch {
		case errors.Is(err, client.ErrInvalidToken):
			fmt.Fprintln(s.err, "claimgate: the provider does not take this token:", err)
			return errDenied
		case err != nil:
			return err
		}
		return writeJSON(s.out, u.Raw())
	}
}

// request is what a kept token was asked for with, so that another question does
// not get its answer.
func (f *tokenFlags) request() string {
	text, err := json.Marshal([]any{f.issuer, f.clientID, f.grant, f.scopes, f.audiences, f.resources, f.params, f.subjectFile, f.actorFile})
	if err != nil {
		panic(err) // of strings
	}
	return string(text)
}
