// Command lambda is a function behind an API gateway that validates its callers'
// tokens itself. The event and the answer have the form that AWS Lambda knows as
// payload 2.0, of HTTP APIs and function URLs; other platforms differ in names
// only. To see it without any cloud, it reads an event and writes the answer:
//
//	go run ./examples/lambda -issuer https://id.example.com/realms/shop -audience orders-api <event.json
//
// With the runtime of AWS it would be lambda.Start(f.handle).
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/middleware"
)

func main() {
	issuer := flag.String("issuer", "", "the issuer of the tokens")
	audience := flag.String("audience", "", "who this service is in the tokens' aud")
	flag.Parse()
	if err := run(context.Background(), *issuer, *audience, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, issuer, audience string, in io.Reader, out io.Writer) error {
	f, err := newFunction(issuer, audience)
	if err != nil {
		return err
	}
	defer f.close()
	var e event
	if err := json.NewDecoder(io.LimitReader(in, 1<<20)).Decode(&e); err != nil {
		return fmt.Errorf("reading the event: %w", err)
	}
	return json.NewEncoder(out).Encode(f.handle(ctx, e))
}

// event is what of an event matters here.
type event struct {
	RawPath        string            `json:"rawPath"`
	Headers        map[string]string `json:"headers"` // of several values, joined by commas
	RequestContext struct {
		HTTP struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
}

type answer struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers,omitempty"`
	Body       string            `json:"body"`
}

// function is what lives as long as an instance of the function: the issuer's
// keys and the tokens that were verified. Nothing runs between events, since the
// platform stops the process; keys are fetched when an event needs them.
type function struct {
	validator *oidc.Validator
	guard     *middleware.Guard
}

func newFunction(issuer, audience string) (*function, error) {
	validator, err := oidc.NewValidator(oidc.Config{
		Issuers: []oidc.IssuerConfig{{Issuer: issuer, Name: "main", Audiences: []string{audience}}},
		Cache:   oidc.CacheConfig{MaxEntries: 1000, MaxBytes: 4 << 20},
	})
	if err != nil {
		return nil, err
	}
	guard, err := middleware.New(middleware.Config{Validator: validator, Scopes: []string{"orders.read"}})
	if err != nil {
		validator.Close()
		return nil, err
	}
	return &function{validator, guard}, nil
}

func (f *function) close() { f.validator.Close() }

func (f *function) handle(ctx context.Context, e event) answer {
	request := middleware.Request{Header: http.Header{}, Method: e.RequestContext.HTTP.Method, Path: e.RawPath}
	for name, value := range e.Headers {
		request.Header.Add(name, value)
	}
	d := f.guard.Check(ctx, request)
	if !d.Allowed() {
		a := answer{StatusCode: d.Status(), Headers: map[string]string{}, Body: d.Body()}
		for name, values := range d.Header() {
			a.Headers[name] = strings.Join(values, ", ")
		}
		return a
	}
	return answer{StatusCode: http.StatusOK, Body: orders(d.Context(ctx))}
}

// orders is the service itself, which need not know what brought the request.
func orders(ctx context.Context) string {
	token, _ := middleware.TokenFrom(ctx) // there is one: nobody gets here without
	return "the orders of " + token.Subject
}
