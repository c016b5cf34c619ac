package interop_test

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// oidcProvider is npm's oidc-provider.
type oidcProvider struct {
	server
	issuer, keys string
}

func startOIDCProvider(t *testing.T) *oidcProvider {
	t.Helper()
	dir := part(t, "oidc-provider")
	node := filepath.Join(part(t, "node"), "node")
	port := freePort(t)
	p := &oidcProvider{issuer: "http://127.0.0.1:" + port, keys: filepath.Join(t.TempDir(), "keys.json")}
	p.server = server{
		name: "oidc-provider",
		command: func() *exec.Cmd {
			cmd := exec.Command(node, filepath.Join(dir, "server.mjs"))
			cmd.Env = append(os.Environ(), "PORT="+port, "KEYS="+p.keys)
			return cmd
		},
		ready: answers(oneShot, p.issuer+"/.well-known/openid-configuration"),
	}
	return p
}

// token is one of the client worker, by client credentials, for a resource (RFC 8707).
func (p *oidcProvider) token(t *testing.T, resource string) string {
	t.Helper()
	return textOf(t, tokens(t, endpoint(t, p.issuer, "token_endpoint"), "worker", "worker-secret", url.Values{
		"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {"orders.read"},
	}), "access_token")
}

func TestOIDCProvider(t *testing.T) {
	t.Parallel()
	p := startOIDCProvider(t)
	first, second := newKey(t, "first"), newKey(t, "second")
	writeKeys(t, p.keys, first)
	p.start(t)

	config := func(keys string) string {
		return fmt.Sprintf(`
issuers:
- issuer: %s
  name: node
  audiences: ["https://orders.example.com", "https://hasty.example.com", shop]
  leeway: 0s
  keys: %s
headers: {x-auth-subject: "@subject", x-auth-client: "@client", x-auth-scopes: "@scopes", x-auth-roles: "@roles"}
policies:
- name: orders
  match: [{paths: [/orders/**]}]
`, p.issuer, keys)
	}
	demanding, calm := startGate(t, config(restless)), startGate(t, config(onDemand))

	good := p.token(t, "https://orders.example.com")
	elsewhere := p.token(t, "https://billing.example.com")
	opaque := p.token(t, "https://opaque.example.com")

	t.Run("a token by client credentials is let through with its identity and roles", func(t *testing.T) {
		calm.wantIdentity(t, good, map[string]string{
			"x-auth-subject": "worker", "x-auth-client": "worker", "x-auth-scopes": "orders.read", "x-auth-roles": "packer,driver",
		})
	})
	t.Run("a token for another resource is refused", func(t *testing.T) {
		calm.wantReason(t, elsewhere, "wrong_audience")
	})
	t.Run("an opaque token is malformed", func(t *testing.T) {
		calm.wantReason(t, opaque, "malformed_token")
	})
	t.Run("an expired token is refused", func(t *testing.T) {
		calm.wantReasonSoon(t, p.token(t, "https://hasty.example.com"), "valid_token", "expired")
	})
	t.Run("an ID token is no access token", func(t *testing.T) {
		calm.wantReason(t, idToken(t, p.issuer, "shop", "shop-secret", map[string]string{"login": "alice", "password": "any"}), "wrong_token_type")
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
		calm.wantReason(t, p.token(t, "https://orders.example.com"), "valid_token")
		calm.wantReason(t, good, "valid_token")
	})
	t.Run("a key that is withdrawn works no more", func(t *testing.T) {
		p.stop()
		writeKeys(t, p.keys, second)
		p.up(t)
		demanding.wantReasonSoon(t, good, "valid_token", "unknown_key")
		demanding.wantReason(t, p.token(t, "https://orders.example.com"), "valid_token")
	})
}
