package interop_test

import (
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc/client"
)

func springCommand(jar, scheme, port string, settings ...string) *exec.Cmd {
	return exec.Command("java", append([]string{
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx192m", "-jar", jar,
		"--server.address=127.0.0.1", "--server.port=" + port, "--server.shutdown=immediate",
		"--spring.security.oauth2.authorizationserver.issuer=" + scheme + "://127.0.0.1:" + port,
	}, settings...)...)
}

// Spring Authorization Server.
func TestSpringAuthorizationServer(t *testing.T) {
	t.Parallel()
	jar := filepath.Join(part(t, "spring-authorization-server"), "server.jar")
	first, second := newKey(t, "first"), newKey(t, "second")
	p := newProvider(t, "spring-authorization-server", []jose.JSONWebKey{first}, func(port string) *exec.Cmd {
		return springCommand(jar, "http", port)
	})
	p.start(t)
	token := func(id string) string {
		return p.token(t, id, id+"-secret", url.Values{"scope": {"orders.read"}})
	}

	config := func(keys string) string {
		return fmt.Sprintf(`
issuers:
- issuer: %s
  name: spring
  audiences: [orders-api, shop]
  claimMappings: {client: [sub]}
  leeway: 0s
  keys: %s
headers: {x-auth-subject: "@subject", x-auth-client: "@client", x-auth-scopes: "@scopes", x-auth-roles: "@roles"}
policies:
- name: orders
  scopes: [orders.read]
  roles: [packer]
`, p.issuer, keys)
	}
	demanding, calm := startGate(t, config(restless)), startGate(t, config(onDemand))

	good, elsewhere, opaque := token("worker"), token("elsewhere"), token("opaque")

	t.Run("a token by client credentials is let through with its identity and roles", func(t *testing.T) {
		calm.wantIdentity(t, good, map[string]string{
			"x-auth-subject": "worker", "x-auth-client": "worker", "x-auth-scopes": "orders.read", "x-auth-roles": "packer,driver",
		})
	})
	t.Run("a token for another audience is refused", func(t *testing.T) {
		calm.wantReason(t, elsewhere, "wrong_audience")
	})
	t.Run("an opaque token is malformed", func(t *testing.T) {
		calm.wantReason(t, opaque, "malformed_token")
	})
	t.Run("an expired token is refused", func(t *testing.T) {
		calm.wantReasonSoon(t, token("hasty"), "valid_token", "expired")
	})
	// The nonce is what tells it: without one, Spring's ID tokens are like access tokens
	// but for the audience, the client, which should not be one of the gate's.
	t.Run("an ID token is no access token", func(t *testing.T) {
		calm.wantReason(t, idToken(t, p.issuer, "shop", "shop-secret", "any", map[string]string{"username": "alice", "password": "alice-password"}), "wrong_token_type")
	})
	t.Run("a login by code and PKCE", func(t *testing.T) {
		p.clientLogsIn(t, nil, map[string]string{"username": "alice", "password": "alice-password"})
	})
	t.Run("a login that is bound to a DPoP key", func(t *testing.T) {
		key := newDPoPKey(t)
		answer := p.clientLogsIn(t, key, map[string]string{"username": "alice", "password": "alice-password"})
		if answer.TokenType != "DPoP" || !strings.Contains(claimsOf(answer.AccessToken.Reveal()), key.Thumbprint()) {
			t.Errorf("%s, %s", answer.TokenType, claimsOf(answer.AccessToken.Reveal()))
		}
	})
	t.Run("user info is that of the login", func(t *testing.T) {
		c := p.open(t, "shop")
		wantUserInfo(t, c, p.clientLogsIn(t, nil, map[string]string{"username": "alice", "password": "alice-password"}), false)
	})
	t.Run("introspection", func(t *testing.T) {
		if i := wantIntrospected(t, p.open(t, "opaque"), client.NewSecret(opaque), "opaque", false); i.Subject != "opaque" || !slices.Equal(i.Scopes, []string{"orders.read"}) {
			t.Errorf("%+v", i)
		}
	})
	t.Run("a token that is revoked is good no more", func(t *testing.T) {
		for _, id := range []string{"opaque", "worker"} {
			c, revoked := p.open(t, id), client.NewSecret(token(id))
			wantIntrospected(t, c, revoked, id, false)
			wantRevoked(t, c, revoked, client.HintAccessToken)
			wantInactive(t, c, revoked, false)
		}
	})
	t.Run("a restart under load changes no verdict", func(t *testing.T) {
		restartUnderLoad(t, demanding, &p.server, map[string]string{
			good: "valid_token", tampered(good): "bad_signature", elsewhere: "wrong_audience", opaque: "malformed_token",
		})
	})
	t.Run("a new key works at once", func(t *testing.T) {
		writeKeys(t, p.keys, second, first)
		calm.wantReason(t, token("worker"), "valid_token")
		calm.wantReason(t, good, "valid_token")
	})
	t.Run("a key that is withdrawn works no more", func(t *testing.T) {
		writeKeys(t, p.keys, second)
		demanding.wantReasonSoon(t, good, "valid_token", "unknown_key")
		demanding.wantReason(t, token("worker"), "valid_token")
	})
}
