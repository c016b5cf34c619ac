package interop_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/middleware"
)

// ordersRead is what its clients ask for.
var ordersRead = client.TokenParams{Scopes: []string{"orders.read"}}

// secureSpring is Spring's server over https, for clients with certificates.
type secureSpring struct {
	*provider
	ca        *authority
	transport http.RoundTripper // a browser's
}

// startSecureSpring starts it. It takes certificates of the authority and the
// self-signed ones in the files; the keys of the client self-signed are behind the URL.
func startSecureSpring(t *testing.T, ca *authority, keysURL string, selfSigned ...string) *secureSpring {
	t.Helper()
	jar := filepath.Join(part(t, "spring-authorization-server"), "server.jar")
	dir := t.TempDir()
	own := ca.issue(t, filepath.Join(dir, "server"), "127.0.0.1")
	trusted := filepath.Join(dir, "trusted.crt")
	joinFiles(t, trusted, append(selfSigned, ca.file)...)
	s := &secureSpring{ca: ca, transport: trusting(ca.roots())}
	s.provider = newProvider(t, "spring-authorization-server", []jose.JSONWebKey{newKey(t, "first")}, func(port string) *exec.Cmd {
		return springCommand(jar, "https", port, "--server.ssl.certificate="+own+".crt", "--server.ssl.certificate-private-key="+own+".key",
			"--server.ssl.trust-certificate="+trusted, "--server.ssl.client-auth=want", "--self-signed.keys="+keysURL)
	})
	s.issuer = strings.Replace(s.issuer, "http://", "https://", 1)
	s.ready = answers(&http.Client{Transport: s.transport}, s.issuer+"/.well-known/openid-configuration")
	s.start(t)
	return s
}

// open makes a client of it: with a secret, or with the certificate of a name.
func (s *secureSpring) open(t *testing.T, id string, auth client.ClientAuth, certificate string) *client.Client {
	t.Helper()
	cfg := client.Config{Issuer: s.issuer, ClientID: id, Auth: auth}
	cfg.HTTP.RootCAs = s.ca.roots()
	if certificate != "" {
		cfg.HTTP.CertFile, cfg.HTTP.KeyFile = certificate+".crt", certificate+".key"
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (s *secureSpring) openWithSecret(t *testing.T, id string) *client.Client {
	t.Helper()
	return s.open(t, id, client.ClientSecretBasic{Secret: client.NewSecret(id + "-secret")}, "")
}

func (s *secureSpring) newValidator(t *testing.T) *oidc.Validator {
	t.Helper()
	v, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{
		Issuer: s.issuer, Name: "spring", Audiences: []string{"orders-api"}, HTTP: oidc.HTTPConfig{CAFile: s.ca.file},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// joinFiles writes one file with what is in others.
func joinFiles(t *testing.T, file string, others ...string) {
	t.Helper()
	var all []byte
	for _, other := range others {
		b, err := os.ReadFile(other)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
}

// issueChain is issue with the authority's certificate behind the client's.
func issueChain(t *testing.T, ca *authority, name string) string {
	t.Helper()
	joinFiles(t, name+".crt", ca.issue(t, name)+".crt", ca.file)
	return name
}

// wantBound gets a token with a client's own certificate, and uses it at a service of
// ours that asks for certificates: with that it is good, with another and without one it
// is not.
func wantBound(t *testing.T, validator *oidc.Validator, c *client.Client, own, other string) {
	t.Helper()
	token, err := c.ClientCredentials(t.Context(), ordersRead)
	if err != nil {
		t.Fatal(err)
	}
	if claims := claimsOf(token.AccessToken.Reveal()); !strings.Contains(claims, `"x5t#S256":"`+base64.RawURLEncoding.EncodeToString(thumbprint(t, own))+`"`) {
		t.Errorf("claims %s", claims)
	}
	guard, err := middleware.New(middleware.Config{Validator: validator, Wait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	service := httptest.NewUnstartedServer(guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	service.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	service.StartTLS()
	defer service.Close()
	base, _ := service.Client().Transport.(*http.Transport)
	for _, tt := range []struct {
		rule, certificate string
		status            int
	}{{"its certificate", own, 200}, {"another", other, 401}, {"none", "", 401}} {
		transport := base.Clone()
		transport.DisableKeepAlives = true
		if tt.certificate != "" {
			pair, err := tls.LoadX509KeyPair(tt.certificate+".crt", tt.certificate+".key")
			if err != nil {
				t.Fatal(err)
			}
			transport.TLSClientConfig.Certificates = []tls.Certificate{pair}
		}
		r := request(t, http.MethodGet, service.URL+"/orders", "", "")
		r.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != tt.status {
			t.Errorf("with %s: %d %q", tt.rule, answer.StatusCode, answer.Header.Values("WWW-Authenticate"))
		}
	}
}

// What Spring's server has for clients without a login: certificates and exchange.
func TestClientGrantsAtSpring(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t, filepath.Join(dir, "ca.crt"))
	machine, stranger := issueChain(t, ca, filepath.Join(dir, "machine")), issueChain(t, ca, filepath.Join(dir, "stranger"))

	certFile, _, _, public := clientCertificate(t)
	otherFile, _, _, _ := clientCertificate(t)
	selfSigned, other := strings.TrimSuffix(certFile, ".crt"), strings.TrimSuffix(otherFile, ".crt")
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	if err != nil {
		t.Fatal(err)
	}
	published := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(keys)
	}))
	defer published.Close()

	s := startSecureSpring(t, ca, published.URL, certFile, otherFile)
	validator := s.newValidator(t)

	t.Run("a service with a certificate, and a token that is bound to it", func(t *testing.T) {
		// Spring takes a certificate that comes alone for one that is self-signed.
		alone := ca.issue(t, filepath.Join(t.TempDir(), "machine"))
		for _, tt := range []struct {
			id          string
			auth        client.ClientAuth
			own         string
			another     string // of the same kind
			anotherKind string
		}{
			{"machine", client.TLSClientAuth{}, machine, stranger, alone},
			{"self-signed", client.SelfSignedTLSClientAuth{}, selfSigned, other, machine},
		} {
			wantBound(t, validator, s.open(t, tt.id, tt.auth, tt.own), tt.own, tt.another)
			for _, certificate := range []string{tt.another, tt.anotherKind} {
				c := s.open(t, tt.id, tt.auth, certificate)
				if _, err := c.ClientCredentials(t.Context(), ordersRead); !errors.Is(err, client.ErrInvalidClient) || client.IsRetryable(err) {
					t.Errorf("%s with %s: %v", tt.id, certificate, err)
				}
			}
		}
	})
	t.Run("a token in exchange for a user's", func(t *testing.T) {
		shop, middle := s.openWithSecret(t, "shop"), s.openWithSecret(t, "middle")
		_, login, err := clientLogIn(t, shop, s.transport, client.AuthorizationParams{RedirectURI: callback}, map[string]string{"username": "alice", "password": "alice-password"})
		if err != nil {
			t.Fatal(err)
		}
		own, err := middle.ClientCredentials(t.Context(), ordersRead)
		if err != nil {
			t.Fatal(err)
		}
		subject := client.TypedToken{Token: login.AccessToken, Type: client.TypeAccessToken}
		actor := client.TypedToken{Token: own.AccessToken, Type: client.TypeAccessToken}
		for _, tt := range []struct {
			params client.ExchangeParams
			actor  string
		}{
			{client.ExchangeParams{TokenParams: ordersRead, RequestedType: client.TypeAccessToken}, ""},
			{client.ExchangeParams{TokenParams: ordersRead, RequestedType: client.TypeJWT, Actor: actor}, "middle"},
		} {
			answer, err := middle.TokenExchange(t.Context(), subject, tt.params)
			if err != nil {
				t.Fatal(err)
			}
			token, err := validator.Validate(t.Context(), answer.AccessToken.Reveal(), oidc.Requirement{})
			if err != nil || token.Subject != "alice" || !slices.Equal(token.Scopes, ordersRead.Scopes) {
				t.Errorf("%+v %v", token, err)
			}
			claims := claimsOf(answer.AccessToken.Reveal())
			var says struct{ Act struct{ Sub string } }
			if err := json.Unmarshal([]byte(claims), &says); err != nil || says.Act.Sub != tt.actor || answer.IssuedTokenType != tt.params.RequestedType {
				t.Errorf("the actor %q: %s %s %v", tt.actor, answer.IssuedTokenType, claims, err)
			}
		}

		subject.Token = client.NewSecret(tampered(login.AccessToken.Reveal()))
		if _, err := middle.TokenExchange(t.Context(), subject, client.ExchangeParams{TokenParams: ordersRead}); !errors.Is(err, client.ErrInvalidGrant) {
			t.Errorf("a token that was tampered with: %v", err)
		}
		subject.Token = login.AccessToken
		if _, err := shop.TokenExchange(t.Context(), subject, client.ExchangeParams{}); !errors.Is(err, client.ErrUnauthorizedClient) {
			t.Errorf("by a client that may not: %v", err)
		}
	})
}
