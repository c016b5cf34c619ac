package extauthz

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/dpop"
	"github.com/claimgate/claimgate/oidc/middleware"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

const troubleshootingPage = "../docs/troubleshooting.md"

// Each block of docs/troubleshooting.md is what the program says when the trouble that
// the block is headed by is provoked. With -update the blocks are written anew.
func TestTroubles(t *testing.T) {
	data, err := os.ReadFile(troubleshootingPage)
	if err != nil {
		t.Fatal(err)
	}
	page, seen := string(data), map[string]bool{}
	section := regexp.MustCompile("(?s)\n## ([^\n]+)\n(.*?)\n```\n(.*?)\n```\n")
	got := section.ReplaceAllStringFunc(page, func(whole string) string {
		m := section.FindStringSubmatch(whole)
		name, before, quoted := m[1], m[2], m[3]
		provoke := troubles[name]
		if provoke == nil || seen[name] || strings.Contains(before, "\n## ") {
			t.Errorf("no one trouble, or a section without a block: %q", name)
			return whole
		}
		seen[name] = true
		var said string
		t.Run(name, func(t *testing.T) { said = strings.Join(provoke(t), "\n") })
		return strings.TrimSuffix(whole, quoted+"\n```\n") + said + "\n```\n"
	})
	if n := strings.Count(page, "\n## "); len(seen) != len(troubles) || len(seen) != n {
		t.Errorf("the page has %d sections, %d of them with what is known of %d troubles", n, len(seen), len(troubles))
	}
	if got == page {
		return
	}
	if !*update {
		t.Errorf("%s:\n%s", troubleshootingPage, lineDiff(page, got))
	} else if err := os.WriteFile(troubleshootingPage, []byte(got), 0o644); err != nil { //nolint:gosec // a page
		t.Fatal(err)
	}
}

// troubles provokes each trouble, and returns what is said.
var troubles = map[string]func(t *testing.T) []string{
	"Signature verification failed": func(t *testing.T) []string {
		s := newShop(t)
		return []string{s.validate(s.issuer.Token(nil, oidctest.Forged()))}
	},
	"Keys were rotated": func(t *testing.T) []string {
		s := newShop(t)
		return []string{s.validate(s.issuer.Token(nil, oidctest.SignWith(oidctest.NewKey("ES256", "new"))))}
	},
	"Discovery returns 404": func(t *testing.T) []string {
		s := newShop(t)
		s.issuer.Fail(http.StatusNotFound, oidctest.OpenIDDiscovery, oidctest.OAuthDiscovery)
		return []string{s.validate(s.issuer.Token(nil)), s.clientCredentials()}
	},
	"Wrong issuer, or a slash at its end": func(t *testing.T) []string {
		s := newShop(t)
		tokens := s.validate(s.issuer.Token(map[string]any{"iss": s.issuer.URL + "/"}))
		s.issuer.Lie(s.issuer.URL + "/")
		return []string{tokens, s.validate(s.issuer.Token(nil)), s.clientCredentials()}
	},
	"Audience mismatch": func(t *testing.T) []string {
		s := newShop(t)
		return []string{
			s.validate(s.issuer.Token(map[string]any{"aud": "account"})),
			s.validate(s.issuer.Token(map[string]any{"aud": oidctest.Omit})),
		}
	},
	"Clocks differ": func(t *testing.T) []string {
		s := newShop(t)
		at := func(year int) int64 { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix() }
		return []string{
			s.validate(s.issuer.Token(map[string]any{"iat": at(2019), "exp": at(2020)})),
			s.validate(s.issuer.Token(map[string]any{"iat": at(2200), "exp": at(2201)})),
			s.validate(s.issuer.Token(map[string]any{"nbf": at(2200), "exp": at(2201)})),
		}
	},
	"A private CA": func(t *testing.T) []string {
		s := newShop(t, oidctest.WithTLS())
		return []string{s.validate(s.issuer.Token(nil)), s.clientCredentials()}
	},
	"Why is validation slow": func(t *testing.T) []string {
		s := newShop(t)
		keys := s.issuer.Hang(oidctest.JWKS)
		ctx, giveUp := context.WithCancel(t.Context())
		var asked sync.WaitGroup
		asked.Go(func() {
			<-keys.Reached()
			giveUp()
		})
		_, err := s.validator.Validate(ctx, s.issuer.Token(nil), oidc.Requirement{})
		asked.Wait()
		return []string{s.said(err)}
	},
	"503 overloaded": func(t *testing.T) []string {
		// Only many requests at once bring it about: oidc, TestATokenTooManyIsRefusedAtOnce.
		const why = "too many tokens are being verified: this process is overloaded"
		source, err := os.ReadFile("../oidc/turns.go")
		if err != nil || !strings.Contains(string(source), `var errCrowdedOut = errors.New("`+why+`")`) {
			t.Errorf("oidc does not say %q: %v", why, err)
		}
		return []string{(&oidc.Error{Reason: oidc.Overloaded, Err: errors.New(why)}).Error()}
	},
	"403 no_policy": func(t *testing.T) []string {
		cfg, err := ParseConfig("claimgate.yaml", []byte(`
issuers: [{issuer: "https://id.example.com", name: main, audiences: [api]}]
policies: [{name: orders, match: [{paths: [/orders/*]}], access: optional}]
`))
		if err != nil {
			t.Fatal(err)
		}
		gate, err := NewGate(cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer gate.Close()
		d, steps := gate.Explain(t.Context(), &Request{Method: "GET", Host: "api.example.com", Path: "/orders/7/items", Scheme: "https", Headers: pageHeaders("x")})
		if d.Reason() != oidc.NoPolicy || len(steps) == 0 {
			t.Fatalf("%s %v", d.Reason(), steps)
		}
		return []string{steps[len(steps)-1].Detail}
	},
	"A DPoP nonce is wanted": func(t *testing.T) []string {
		s := newShop(t)
		return s.dpopAnswers()
	},
	"A certificate is missing": func(t *testing.T) []string {
		s := newShop(t)
		_, err := client.New(client.Config{Issuer: s.issuer.URL, ClientID: "orders", Auth: client.TLSClientAuth{}})
		bound := s.issuer.Token(map[string]any{"cnf": map[string]any{"x5t#S256": strings.Repeat("A", 43)}})
		return []string{s.validate(bound), s.said(err)}
	},
	"invalid_client": func(t *testing.T) []string {
		s := newShop(t)
		s.issuer.RegisterClient(oidctest.Client{ID: "orders", Method: "client_secret_basic", Secret: "another"})
		return []string{s.clientCredentials()}
	},
	"invalid_grant at a refresh": func(t *testing.T) []string {
		s := newShop(t)
		c, used := s.newClient(), client.NewSecret(s.issuer.RefreshToken("orders", "alice", ""))
		if _, err := c.Refresh(t.Context(), used, client.RefreshParams{}); err != nil {
			t.Fatal(err)
		}
		_, err := c.Refresh(t.Context(), used, client.RefreshParams{})
		return []string{s.said(err)}
	},
	"redirect_uri": func(t *testing.T) []string {
		s := newShop(t)
		s.issuer.SetMetadata("require_pushed_authorization_requests", true)
		_, err := s.newClient().AuthorizationRequest(t.Context(), client.AuthorizationParams{RedirectURI: "https://shop.example.com/callback/"})
		return []string{s.said(err)}
	},
	"User info is about another user": func(t *testing.T) []string {
		s := newShop(t)
		token := client.NewSecret(s.issuer.Token(map[string]any{"client_id": "orders"}))
		_, err := s.newClient().UserInfo(t.Context(), token, client.UserInfoParams{Subject: "bob"})
		return []string{s.said(err)}
	},
}

// shop is a provider, a validator of its tokens and a client of it.
type shop struct {
	*testing.T
	issuer    *oidctest.Issuer
	validator *oidc.Validator
}

func newShop(t *testing.T, opts ...oidctest.Option) *shop {
	t.Helper()
	issuer := oidctest.NewIssuer(opts...)
	t.Cleanup(issuer.Close)
	issuer.RegisterClient(oidctest.Client{
		ID: "orders", Method: "client_secret_basic", Secret: "s3cret", RefreshTokens: true,
		RedirectURIs: []string{"https://shop.example.com/callback"},
	})
	v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{Issuer: issuer.URL, Name: "shop", Audiences: []string{"api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return &shop{t, issuer, v}
}

// said is the text of an error, with an address as providers have it.
func (s *shop) said(err error) string {
	s.Helper()
	if err == nil {
		s.Error("nothing went wrong")
		return ""
	}
	return strings.ReplaceAll(err.Error(), s.issuer.URL, "https://id.example.com")
}

func (s *shop) validate(token string) string {
	s.Helper()
	_, err := s.validator.Validate(s.Context(), token, oidc.Requirement{})
	return s.said(err)
}

func (s *shop) newClient() *client.Client {
	s.Helper()
	c, err := client.New(client.Config{Issuer: s.issuer.URL, ClientID: "orders", Auth: client.ClientSecretBasic{Secret: client.NewSecret("s3cret")}})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	return c
}

func (s *shop) clientCredentials() string {
	s.Helper()
	_, err := s.newClient().ClientCredentials(s.Context(), client.TokenParams{})
	return s.said(err)
}

// dpopAnswers is what an API that wants nonces logs of a proof without one, and what
// it answers.
func (s *shop) dpopAnswers() []string {
	nonces, err := dpop.NewNonces(make([]byte, 32))
	if err != nil {
		s.Fatal(err)
	}
	verifier, err := dpop.NewVerifier(dpop.Config{Nonces: nonces})
	if err != nil {
		s.Fatal(err)
	}
	var refused error
	guard, err := middleware.New(middleware.Config{
		Validator: s.validator, DPoP: verifier, Origin: "https://api.example.com", NoBearer: true, Wait: 10 * time.Second,
		OnDecision: func(_ context.Context, d middleware.Decision) { refused = d.Err() },
	})
	if err != nil {
		s.Fatal(err)
	}
	key, err := dpop.GenerateKey()
	if err != nil {
		s.Fatal(err)
	}
	token := s.issuer.Token(map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}})
	proof, err := key.Proof("GET", "https://api.example.com/orders", dpop.Options{AccessToken: token})
	if err != nil {
		s.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/orders", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
	w := httptest.NewRecorder()
	guard.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Header().Get("DPoP-Nonce") == "" {
		s.Error("the answer has no nonce")
	}
	return []string{s.said(refused), "WWW-Authenticate: " + w.Header().Get("WWW-Authenticate")}
}
