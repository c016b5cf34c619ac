package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// screen is what the user reads, and acts on when there is a code.
type screen struct {
	strings.Builder
	act func(code string)
}

var code = regexp.MustCompile(`the code (\S+)\n`)

func (s *screen) Write(p []byte) (int, error) {
	if m := code.FindSubmatch(p); m != nil {
		s.act(string(m[1]))
	}
	return s.Builder.Write(p)
}

// The program asks every five seconds, so time is that of a bubble.
func TestTheUserAnswersOnAnotherDevice(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "shop-cli", Method: "none"})
	for _, tt := range []struct {
		rule   string
		scopes []string
		act    func(code string)
		shown  string
		err    string
	}{
		{"who they are", []string{"openid"}, func(code string) { issuer.Approve(code, "alice") }, "You are logged in as alice.\n", ""},
		{"no matter who they are", nil, func(code string) { issuer.Approve(code, "alice") }, "You are logged in.\n", ""},
		{"no", []string{"openid"}, issuer.Deny, "", "you said no: nothing is done"},
		{"nothing", []string{"openid"}, func(string) {}, "", "nobody has typed the code in time: please start again"},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &screen{act: tt.act}
				cfg := client.Config{Issuer: issuer.URL, ClientID: "shop-cli", HTTPClient: &http.Client{Transport: issuer.Transport()}}
				err := run(t.Context(), cfg, tt.scopes, out)
				if said := fmt.Sprint(err); said != cmp.Or(tt.err, "<nil>") {
					t.Errorf("got %s, want %q", said, tt.err)
				}
				_, shown, _ := strings.Cut(out.String(), "\n")
				if !strings.HasPrefix(out.String(), "Open "+issuer.URL) || shown != tt.shown {
					t.Errorf("the user saw\n%s", out.String())
				}
			})
		})
	}
}

// Over HTTP; Ctrl-C ends the wait.
func TestTheProgramEndsWhenItIsToldTo(t *testing.T) {
	issuer := oidctest.NewIssuer()
	defer issuer.Close()
	issuer.RegisterClient(oidctest.Client{ID: "shop-cli", Method: "none"})
	ctx, cancel := context.WithCancel(t.Context())
	out := &screen{act: func(string) { cancel() }}
	if err := run(ctx, client.Config{Issuer: issuer.URL, ClientID: "shop-cli"}, nil, out); err == nil || ctx.Err() == nil {
		t.Errorf("got %v after\n%s", err, out.String())
	}
	err := run(t.Context(), client.Config{Issuer: issuer.URL, ClientID: "nobody"}, nil, &screen{})
	if err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("a client that nobody knows: %v", err)
	}
}
