package interop_test

import (
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// npm's oidc-provider.
func TestOIDCProvider(t *testing.T) {
	t.Parallel()
	script := filepath.Join(part(t, "oidc-provider"), "server.mjs")
	node := filepath.Join(part(t, "node"), "node")
	first, second := newKey(t, "first"), newKey(t, "second")
	p := newProvider(t, "oidc-provider", []jose.JSONWebKey{first}, func(string) *exec.Cmd { return exec.Command(node, script) })
	p.start(t)
	token := func(resource string) string { // RFC 8707
		return p.token(t, "worker", "worker-secret", url.Values{"resource": {resource}, "scope": {"orders.read"}})
	}

	config := func(keys string) string {
		return fmt.Sprintf(`
issuers:
- issuer: %s
  name: node
  audiences: ["https://orders.example.com", "https://hasty.example.com", shop]
  tokenTypes: [at+jwt] # its ID tokens have no mark but that they are no at+jwt
  leeway: 0s
  keys: %s
headers: {x-auth-subject: "@subject", x-auth-client: "@client", x-auth-scopes: "@scopes", x-auth-roles: "@roles"}
policies:
- name: orders
  match: [{paths: [/orders/**]}]
`, p.issuer, keys)
	}
	demanding, calm := startGate(t, config(restless)), startGate(t, config(onDemand))

	good := token("https://orders.example.com")
	elsewhere := token("https://billing.example.com")
	opaque := token("https://opaque.example.com")

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
		calm.wantReasonSoon(t, token("https://hasty.example.com"), "valid_token", "expired")
	})
	t.Run("an ID token is no access token", func(t *testing.T) {
		calm.wantReason(t, idToken(t, p.issuer, "shop", "shop-secret", "", map[string]string{"login": "alice", "password": "any"}), "wrong_token_type")
	})
	t.Run("a restart under load changes no verdict", func(t *testing.T) {
		restartUnderLoad(t, demanding, &p.server, map[string]string{
			good: "valid_token", tampered(good): "bad_signature", elsewhere: "wrong_audience", opaque: "malformed_token",
		})
	})
	t.Run("a new key works at once", func(t *testing.T) {
		p.stop()
		writeKeys(t, p.keys, second, first)
		p.up(t)
		calm.wantReason(t, token("https://orders.example.com"), "valid_token")
		calm.wantReason(t, good, "valid_token")
	})
	t.Run("a key that is withdrawn works no more", func(t *testing.T) {
		p.stop()
		writeKeys(t, p.keys, second)
		p.up(t)
		demanding.wantReasonSoon(t, good, "valid_token", "unknown_key")
		demanding.wantReason(t, token("https://orders.example.com"), "valid_token")
	})
}
