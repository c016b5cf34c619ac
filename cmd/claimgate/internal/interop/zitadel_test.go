package interop_test

import (
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc/client"
)

// The OpenID provider of zitadel's Go library.
func TestZitadelOP(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(part(t, "zitadel-op"), "zitadel-op")
	first, second := newKey(t, "first"), newKey(t, "second")
	p := newProvider(t, "zitadel-op", []jose.JSONWebKey{first}, func(string) *exec.Cmd { return exec.Command(binary) })
	p.start(t)
	token := func(id, project string) string {
		return p.token(t, id, "verysecret", url.Values{"scope": {"openid urn:zitadel:iam:org:project:id:" + project + ":aud"}})
	}

	config := func(keys string) string {
		return fmt.Sprintf(`
issuers:
- issuer: %s
  name: zitadel
  preset: zitadel
  audiences: [orders, shop]
  leeway: 0s
  keys: %s
headers: {x-auth-subject: "@subject", x-auth-client: "@client", x-auth-roles: "@roles"}
policies:
- name: orders
  roles: [packer]
`, p.issuer, keys)
	}
	demanding, calm := startGate(t, config(restless)), startGate(t, config(onDemand))

	good := token("worker", "orders")
	elsewhere := token("worker", "billing")
	opaque := token("opaque", "orders")

	t.Run("a token by client credentials is let through with its identity and roles", func(t *testing.T) {
		calm.wantIdentity(t, good, map[string]string{"x-auth-subject": "worker", "x-auth-client": "worker", "x-auth-roles": "driver,packer"})
	})
	t.Run("a token for another audience is refused", func(t *testing.T) {
		calm.wantReason(t, elsewhere, "wrong_audience")
	})
	t.Run("an opaque token is malformed", func(t *testing.T) {
		calm.wantReason(t, opaque, "malformed_token")
	})
	t.Run("an expired token is refused", func(t *testing.T) {
		calm.wantReasonSoon(t, token("hasty", "orders"), "valid_token", "expired")
	})
	t.Run("an ID token is no access token", func(t *testing.T) {
		calm.wantReason(t, idToken(t, p.issuer, "shop", "shop-secret", "", map[string]string{"username": "test-user2", "password": "verysecure"}), "wrong_token_type")
	})
	t.Run("a login by code and PKCE", func(t *testing.T) {
		p.clientLogsIn(t, nil, map[string]string{"username": "test-user2", "password": "verysecure"})
	})
	shopUser := map[string]string{"username": "test-user2", "password": "verysecure"}
	t.Run("user info is that of the login", func(t *testing.T) {
		wantUserInfo(t, p.open(t, "shop"), p.clientLogsIn(t, nil, shopUser), false)
	})
	t.Run("introspection", func(t *testing.T) {
		answer := p.clientLogsIn(t, nil, shopUser)
		if i := wantIntrospected(t, p.open(t, "shop"), answer.AccessToken, "shop", false); i.Subject != answer.ID.Subject {
			t.Errorf("%+v", i)
		}
	})
	t.Run("a token that is revoked is good no more", func(t *testing.T) {
		c, answer := p.open(t, "shop"), p.clientLogsIn(t, nil, shopUser)
		wantRevoked(t, c, answer.AccessToken, client.HintAccessToken)
		wantInactive(t, c, answer.AccessToken, false)
	})
	t.Run("a restart under load changes no verdict", func(t *testing.T) {
		restartUnderLoad(t, demanding, &p.server, map[string]string{
			good: "valid_token", tampered(good): "bad_signature", elsewhere: "wrong_audience", opaque: "malformed_token",
		})
	})
	t.Run("a new key works at once", func(t *testing.T) {
		writeKeys(t, p.keys, second, first)
		calm.wantReason(t, token("worker", "orders"), "valid_token")
		calm.wantReason(t, good, "valid_token")
	})
	t.Run("a key that is withdrawn works no more", func(t *testing.T) {
		writeKeys(t, p.keys, second)
		demanding.wantReasonSoon(t, good, "valid_token", "unknown_key")
		demanding.wantReason(t, token("worker", "orders"), "valid_token")
	})
}
