package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/ask"
	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
)

// checkFlags are the flags of check as they were given.
type checkFlags struct {
	config, addr     string
	request          ask.Request
	headers, routes  []string
	token, tokenFile string
	output           string
	timeout          time.Duration
}

func newCheck(s streams) *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check (--config FILE | --addr ADDRESS) [flags]",
		Short: "Ask a gate about one request, and see why",
		Long: `Check puts one request to a gate, as Envoy would, and prints the verdict, the
reason, the policy that decided and what is changed in the request or answered.

With --config it decides in this process and prints each step with what was looked
at; keys are fetched from the issuers, and there is more time for it than
server.checkTimeout. Steps quote claims of the token, so mind who reads them.
With --addr it asks a running gate, which tells the verdict and no steps.

The token itself is never printed.

` + exitCodesHelp,
		Example: `  # Why is this token refused?
  claimgate check --config claimgate.yaml --host shop.example.com --path /orders/7 --token-file token

  # What does the gate that runs here say to a request without a token?
  claimgate check --addr 127.0.0.1:9191 --method POST --path /orders

  # Which policy decides about requests of an HTTPRoute of Envoy Gateway?
  claimgate check --config claimgate.yaml --route HTTPRoute/shop/orders --path /orders/7

  # A policy that Envoy names, a token from standard input, an answer for scripts
  fetch-token | claimgate check --config claimgate.yaml --context policy=admin --token-file - -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), s) },
	}
	flags := c.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "decide in this process by this configuration file")
	flags.StringVar(&f.addr, "addr", "", "ask the gate at HOST:PORT or unix:/path")
	flags.StringVarP(&f.request.Method, "method", "X", "GET", "method of the request")
	flags.StringVar(&f.request.Host, "host", "localhost", "host of the request")
	flags.StringVar(&f.request.Path, "path", "/", "path of the request, with its query")
	flags.StringVar(&f.request.Scheme, "scheme", "https", "scheme of the request")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "a header of the request, 'name: value' (repeatable)")
	flags.StringVar(&f.token, "token", "", "bearer token; better --token-file, since others can see a command line")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the bearer token, - for standard input")
	flags.StringToStringVar(&f.request.Context, "context", nil, "Envoy's context extension KEY=VALUE, such as policy=NAME (repeatable)")
	flags.StringArrayVar(&f.routes, "route", nil, "the request's route in Envoy Gateway, KIND/NAMESPACE/NAME (repeatable)")
	flags.StringVarP(&f.output, "output", "o", "text", "text or json")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for an answer, up to 10s with --config")
	flags.Lookup("context").DefValue = "" // not "[]"
	registerConfig(c)
	registerOutput(c)
	registerWords(c, "method", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
	registerWords(c, "scheme", "https", "http")
	registerFile(c, "token-file")
	return c
}

// run asks, prints, and returns errDenied for a denial.
func (f *checkFlags) run(ctx context.Context, s streams) error {
	credentials, err := f.complete(s.in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()

	var answer ask.Answer
	var steps []oidc.Step
	if f.config != "" {
		answer, steps, err = f.decide(ctx)
	} else {
		answer, err = f.askGate(ctx)
	}
	if err != nil {
		return err
	}
	report := newCheckReport(answer, steps, redactor(credentials))
	report.advice = keysAdvice(answer.Reason, f.config, "")
	if err := report.write(s.out, f.output); err != nil {
		return err
	}
	if !answer.Allowed {
		return errDenied
	}
	return nil
}

// complete checks the flags and makes the request of them. It returns the
// credentials, so that they are not printed.
func (f *checkFlags) complete(stdin io.Reader) (credentials []string, err error) {
	switch {
	case f.config == "" && f.addr == "":
		return nil, usagef("say whom to ask: --config FILE or --addr ADDRESS")
	case f.config != "" && f.addr != "":
		return nil, usagef("--config and --addr exclude each other")
	case f.token != "" && f.tokenFile != "":
		return nil, usagef("--token and --token-file exclude each other")
	case f.output != "text" && f.output != "json":
		return nil, usagef("--output is text or json, not %q", f.output)
	case f.addr != "" && !isAddress(f.addr):
		return nil, usagef("--addr is HOST:PORT or unix:/path, not %q", f.addr)
	case f.timeout <= 0:
		return nil, usagef("--timeout must be more than nothing")
	}
	for _, text := range f.headers {
		h, err := ask.ParseHeader(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--header: %w", err)}
		}
		f.request.Headers = append(f.request.Headers, h)
		switch strings.ToLower(h.Name) {
		case "authorization", "proxy-authorization", "cookie", "dpop":
			credentials = append(credentials, secrets(h.Value)...)
		}
	}
	for _, text := range f.routes {
		route, err := extauthz.ParseRoute(text)
		if err != nil {
			return nil, usageError{fmt.Errorf("--route: %w", err)}
		}
		f.request.Routes = append(f.request.Routes, route)
	}
	token := f.token
	if strings.ContainsAny(token, blanksAndQuotes) {
		return nil, usagef("--token is more than a token: give it alone, without Bearer or JSON around it; whole headers go to --header")
	}
	if f.tokenFile != "" {
		if token, err = readToken(f.tokenFile, stdin); err != nil {
			return nil, err
		}
	}
	if token != "" {
		f.request.Headers = append(f.request.Headers, extauthz.Header{Name: "authorization", Value: "Bearer " + token})
		credentials = append(credentials, token)
	}
	return credentials, nil
}

// blanksAndQuotes are in no token, but in what people paste with one.
const blanksAndQuotes = " \t\r\n\"'{}"

// maxTokenFile bounds what is read: the gate itself refuses far smaller tokens.
const maxTokenFile = 1 << 20

func readToken(file string, stdin io.Reader) (string, error) {
	text, err := readFile(file, stdin, maxTokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: cannot read %w", err)
	}
	token := strings.TrimSpace(text)
	if token == "" {
		return "", fmt.Errorf("--token-file: there is no token in %s", file)
	}
	if strings.ContainsAny(token, blanksAndQuotes) {
		return "", fmt.Errorf("--token-file: there is more than a token in %s: write it alone, without Bearer or JSON around it", file)
	}
	return token, nil
}

// readFile reads a file that the operator names, - for standard input, up to a limit.
// Its error begins with the file's name.
func readFile(file string, stdin io.Reader, limit int64) (string, error) {
	in := stdin
	if file != "-" {
		opened, err := os.Open(file) //nolint:gosec // the operator names it
		if err != nil {
			return "", fmt.Errorf("%s: %w", file, errors.Unwrap(err))
		}
		defer opened.Close() //nolint:errcheck // it was only read
		in = opened
	}
	b, err := io.ReadAll(io.LimitReader(in, limit))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, cmp.Or(errors.Unwrap(err), err))
	}
	return string(b), nil
}

// decide asks a gate in this process. Keys are fetched while the request waits,
// so the request may wait longer than it would in service.
func (f *checkFlags) decide(ctx context.Context) (ask.Answer, []oidc.Step, error) {
	cfg, err := extauthz.LoadConfig(f.config)
	if err != nil {
		return ask.Answer{}, nil, err
	}
	for i := range cfg.Issuers {
		cfg.Issuers[i].Keys.SnapshotFile = "" // that is the gate's to write
	}
	cfg.Server.CheckTimeout = extauthz.Duration(min(f.timeout, 10*time.Second))
	gate, err := extauthz.NewGate(cfg, extauthz.Options{Version: version})
	if err != nil {
		return ask.Answer{}, nil, err
	}
	defer gate.Close()
	answer, steps := ask.Explain(ctx, gate, f.request)
	return answer, steps, nil
}

func isAddress(addr string) bool {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return path != ""
	}
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port != ""
}

// askGate asks a gate that runs.
func (f *checkFlags) askGate(ctx context.Context) (ask.Answer, error) {
	target := "passthrough:///" + f.addr
	if path, ok := strings.CutPrefix(f.addr, "unix:"); ok {
		target = "unix:" + path
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return ask.Answer{}, usageError{fmt.Errorf("--addr %s: %w", f.addr, err)}
	}
	defer conn.Close() //nolint:errcheck // nothing is in flight
	answer, err := ask.Check(ctx, conn, f.request)
	if s, isStatus := status.FromError(err); err != nil && isStatus {
		return ask.Answer{}, fmt.Errorf("no answer from %s: is a gate running there? (%s)", f.addr, plain(s.Message()))
	}
	return answer, err
}

// plain takes away what gRPC wraps around a failed connection.
func plain(message string) string {
	if _, cause, ok := strings.Cut(message, "transport: Error while dialing: "); ok {
		return strings.TrimRight(cause, `"`)
	}
	return message
}
