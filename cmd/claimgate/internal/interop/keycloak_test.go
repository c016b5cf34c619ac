package interop_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// keycloak has a database of its own in a file, and so is the same one after a restart.
// It is reached over http and over https, and is the issuer that it is asked as.
type keycloak struct {
	server
	url, issuer string
	secure      string     // the issuer over https
	ca          *authority // of its certificate and of those of its clients
}

const keycloakAdmin = "admin"

func startKeycloak(t *testing.T) *keycloak {
	t.Helper()
	home := part(t, "keycloak")
	port, securePort, management := freePort(t), freePort(t), freePort(t)
	dir := t.TempDir()
	database := filepath.Join(dir, "keycloak")
	k := &keycloak{url: "http://127.0.0.1:" + port, ca: newAuthority(t, filepath.Join(dir, "ca.crt"))}
	k.issuer, k.secure = k.url+"/realms/shop", "https://127.0.0.1:"+securePort+"/realms/shop"
	certificate := k.ca.issue(t, filepath.Join(dir, "server"), "127.0.0.1")
	k.server = server{
		name: "keycloak",
		command: func() *exec.Cmd {
			// As bin/kc.sh does, which would stand between us and the process.
			cmd := exec.Command("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx400m",
				"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED", "--add-opens=java.base/java.security=ALL-UNNAMED",
				"-Dkc.home.dir="+home, "-Djboss.server.config.dir="+home+"/conf", "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
				"-Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
				"-cp", home+"/lib/quarkus-run.jar", "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
				"start", "--optimized", "--cache=local", "--db-url=jdbc:h2:file:"+database+";NON_KEYWORDS=VALUE",
				"--hostname-strict=false", "--http-enabled=true", "--http-host=127.0.0.1", "--http-port="+port,
				"--https-port="+securePort, "--https-certificate-file="+certificate+".crt", "--https-certificate-key-file="+certificate+".key",
				"--truststore-paths="+k.ca.file, "--http-management-port="+management, "--http-management-scheme=http")
			cmd.Env = append(os.Environ(), "KC_BOOTSTRAP_ADMIN_USERNAME="+keycloakAdmin, "KC_BOOTSTRAP_ADMIN_PASSWORD="+keycloakAdmin)
			return cmd
		},
		ready: answers(oneShot, "http://127.0.0.1:"+management+"/health/ready"),
	}
	k.start(t)
	realm, err := os.ReadFile("keycloak/realm.json")
	if err != nil {
		t.Fatal(err)
	}
	k.call(t, http.MethodPost, "/admin/realms", string(realm), http.StatusCreated)
	return k
}

// call asks the admin API.
func (k *keycloak) call(t *testing.T, method, path, body string, status int) []byte {
	t.Helper()
	login := request(t, http.MethodPost, k.url+"/realms/master/protocol/openid-connect/token", "application/x-www-form-urlencoded", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {keycloakAdmin}, "password": {keycloakAdmin},
	}.Encode())
	r := request(t, method, k.url+path, "application/json", body)
	r.Header.Set("Authorization", "Bearer "+textOf(t, call(t, oneShot, login, http.StatusOK), "access_token"))
	return send(t, oneShot, r, status)
}

// token is one of a client, by client credentials.
func (k *keycloak) token(t *testing.T, client string) string {
	t.Helper()
	return textOf(t, tokens(t, endpoint(t, k.issuer, "token_endpoint"), client, client+"-secret", url.Values{"grant_type": {"client_credentials"}}), "access_token")
}

// addKey makes a signing key that is preferred to all others.
func (k *keycloak) addKey(t *testing.T) {
	t.Helper()
	k.call(t, http.MethodPost, "/admin/realms/shop/components", `{
		"name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
		"config": {"priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"]}
	}`, http.StatusCreated)
}

// deleteOtherKeys deletes the signing keys that a new realm comes with.
func (k *keycloak) deleteOtherKeys(t *testing.T) {
	t.Helper()
	var components []struct{ ID, Name, ProviderID string }
	if err := json.Unmarshal(k.call(t, http.MethodGet, "/admin/realms/shop/components?type=org.keycloak.keys.KeyProvider", "", http.StatusOK), &components); err != nil {
		t.Fatal(err)
	}
	for _, c := range components {
		if c.ProviderID == "rsa-generated" && c.Name != "newer" {
			k.call(t, http.MethodDelete, "/admin/realms/shop/components/"+c.ID, "", http.StatusNoContent)
		}
	}
}

func TestKeycloak(t *testing.T) {
	t.Parallel()
	k := startKeycloak(t)
	config := func(keys string) string {
		return fmt.Sprintf(`
issuers:
- issuer: %s
  name: workforce
  preset: keycloak
  audiences: [orders-api, shop]
  leeway: 0s
  keys: %s
headers: {x-auth-issuer: "@issuer", x-auth-client: "@client", x-auth-roles: "@roles", x-auth-user: preferred_username}
policies:
- name: orders
  roles: [packer]
`, k.issuer, keys)
	}
	demanding, calm := startGate(t, config(restless)), startGate(t, config(onDemand))

	good, elsewhere := k.token(t, "worker"), k.token(t, "elsewhere")
	identity := map[string]string{
		"x-auth-issuer": "workforce", "x-auth-client": "worker", "x-auth-roles": "packer", "x-auth-user": "service-account-worker",
	}

	t.Run("a token by client credentials is let through with its identity and roles", func(t *testing.T) {
		calm.wantIdentity(t, good, identity)
	})
	t.Run("Envoy takes the identity upstream, and no forged one", func(t *testing.T) {
		envoy, err := lab.FindEnvoy(t.Context(), os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		l, err := lab.Start(t.Context(), lab.Options{Envoy: envoy, Gate: calm.addr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		a, err := l.Do(t.Context(), lab.Request{Path: "/orders/7", Headers: [][2]string{lab.Bearer(good), {"x-auth-roles", "admin"}, {"x-auth-subject", "root"}}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for name, values := range a.Echo.Identity {
			got[name] = strings.Join(values, ",")
		}
		if a.Status != http.StatusOK || !maps.Equal(got, identity) {
			t.Errorf("status %d, the upstream sees %v, want %v", a.Status, got, identity)
		}
		if a, err = l.Do(t.Context(), lab.Request{Path: "/orders/7", Headers: [][2]string{lab.Bearer(elsewhere)}}); err != nil || a.Status != http.StatusUnauthorized {
			t.Errorf("a token for somebody else: status %d, error %v", a.Status, err)
		}
	})
	t.Run("a token for another audience is refused", func(t *testing.T) {
		calm.wantReason(t, elsewhere, "wrong_audience")
	})
	t.Run("an expired token is refused", func(t *testing.T) {
		calm.wantReasonSoon(t, k.token(t, "hasty"), "valid_token", "expired")
	})
	t.Run("an ID token is no access token", func(t *testing.T) {
		calm.wantReason(t, idToken(t, k.issuer, "shop", "shop-secret", "", map[string]string{"username": "alice", "password": "alice-password"}), "wrong_token_type")
	})
	t.Run("a login by code and PKCE, in each response mode", k.clientLogsInInEachMode)
	t.Run("a refresh token is replaced and good once", k.clientRefreshes)
	t.Run("a pushed request", k.clientPushes)
	t.Run("a login that needs a page is refused where there may be none", k.clientIsRefused)
	t.Run("a login that is bound to a DPoP key", k.clientHasDPoP)
	t.Run("a signed request and its signed answer, by a client with a key", k.clientSigns)
	t.Run("a service's client, by each way of authentication", k.clientAuthenticates)
	t.Run("a service with a certificate, and a token that is bound to it", k.clientHasACertificate)
	t.Run("the profiles of FAPI 2.0", k.clientKeepsToProfiles)
	t.Run("a token in exchange for a user's", k.clientExchangesTokens)
	t.Run("a device", k.clientIsADevice)
	t.Run("user info is that of the login", k.clientAsksWhoLoggedIn)
	t.Run("introspection", k.clientIntrospects)
	t.Run("a token that is revoked is good no more", k.clientRevokes)
	t.Run("a logout at the provider, and the back channel tells of it", k.clientLogsOut)
	t.Run("a client is registered, changed and taken away", k.clientIsRegistered)
	t.Run("a restart under load changes no verdict", func(t *testing.T) {
		restartUnderLoad(t, demanding, &k.server, map[string]string{
			good: "valid_token", tampered(good): "bad_signature", elsewhere: "wrong_audience",
		})
	})
	t.Run("a new key works at once", func(t *testing.T) {
		k.addKey(t)
		calm.wantReason(t, k.token(t, "worker"), "valid_token")
		calm.wantReason(t, good, "valid_token")
	})
	t.Run("a key that is withdrawn works no more", func(t *testing.T) {
		k.deleteOtherKeys(t)
		demanding.wantReasonSoon(t, good, "valid_token", "unknown_key")
		demanding.wantReason(t, k.token(t, "worker"), "valid_token")
	})
}
