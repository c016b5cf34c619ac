package interop_test

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubernetes is an API server with its etcd. It has no other part of a cluster: the
// test makes the service accounts itself, and asks for tokens as the kubelet does.
type kubernetes struct {
	server // the API server
	url    string
	caFile string
	client *http.Client // trusts that CA, and nobody else

	// Service-account keys: tokens are signed with the one, and accepted of all.
	signing string
	all     []string
}

// kubernetesIssuer is the name that clusters give themselves. Nothing outside of one
// can resolve it.
const kubernetesIssuer = "https://kubernetes.default.svc"

// adminToken is for the test's own requests; the gate does not have it.
const adminToken = "the-admin-of-the-test"

func startKubernetes(t *testing.T) *kubernetes {
	t.Helper()
	binary := filepath.Join(part(t, "kube-apiserver"), "kube-apiserver")
	dir := t.TempDir()
	etcd := "http://127.0.0.1:" + freePort(t)
	peer := "http://127.0.0.1:" + freePort(t)
	store := &server{
		name: "etcd",
		command: func() *exec.Cmd {
			return exec.Command("etcd", "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
				"--listen-client-urls", etcd, "--advertise-client-urls", etcd,
				"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
		},
		ready: answers(oneShot, etcd+"/health"),
	}
	store.start(t)

	port := freePort(t)
	k := &kubernetes{url: "https://127.0.0.1:" + port, caFile: filepath.Join(dir, "ca.crt")}
	ca := newAuthority(t, k.caFile)
	certificate := ca.issue(t, filepath.Join(dir, "server"), "127.0.0.1")
	k.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: ca.roots()}}}
	admins := filepath.Join(dir, "admins.csv")
	if err := os.WriteFile(admins, []byte(adminToken+",admin,1,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.signing = newPEMKey(t, dir, "first")
	k.all = []string{k.signing}
	k.server = server{
		name: "kube-apiserver",
		command: func() *exec.Cmd {
			args := []string{
				"--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
				"--tls-cert-file", certificate + ".crt", "--tls-private-key-file", certificate + ".key",
				"--token-auth-file", admins, "--authorization-mode", "RBAC", "--endpoint-reconciler-type", "none",
				"--service-cluster-ip-range", "10.96.0.0/16", "--shutdown-delay-duration", "0s",
				"--service-account-issuer", kubernetesIssuer, "--service-account-signing-key-file", k.signing,
			}
			for _, file := range k.all {
				args = append(args, "--service-account-key-file", file)
			}
			return exec.Command(binary, args...)
		},
		ready: answers(k.client, k.url+"/readyz"),
	}
	k.start(t)
	return k
}

// newPEMKey makes a key for service accounts, and returns its file.
func newPEMKey(t *testing.T, dir, name string) string {
	t.Helper()
	file := filepath.Join(dir, name+".pem")
	der, err := x509.MarshalPKCS8PrivateKey(newKey(t, name).Key.(*rsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, file, "PRIVATE KEY", der)
	return file
}

// call sends an object to the API as its administrator.
func (k *kubernetes) call(t *testing.T, path string, object map[string]any, status int) map[string]any {
	t.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, http.MethodPost, k.url+path, "application/json", string(body))
	r.Header.Set("Authorization", "Bearer "+adminToken)
	return call(t, k.client, r, status)
}

// newServiceAccount makes a namespace and a service account in it.
func (k *kubernetes) newServiceAccount(t *testing.T, namespace, name string) {
	t.Helper()
	k.call(t, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": namespace}}, http.StatusCreated)
	k.call(t, "/api/v1/namespaces/"+namespace+"/serviceaccounts", map[string]any{"metadata": map[string]any{"name": name}}, http.StatusCreated)
}

// token is one of a service account, by TokenRequest: for an audience or, if that is
// empty, for the API itself.
func (k *kubernetes) token(t *testing.T, namespace, name, audience string) string {
	t.Helper()
	spec := map[string]any{"expirationSeconds": 600} // less is not to be had
	if audience != "" {
		spec["audiences"] = []string{audience}
	}
	answer := k.call(t, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+name+"/token", map[string]any{"spec": spec}, http.StatusCreated)
	return textOf(t, answer["status"].(map[string]any), "token")
}

// restart ends the API server and starts it with other service-account keys: the first
// one signs.
func (k *kubernetes) restart(t *testing.T, keys ...string) {
	t.Helper()
	k.stop()
	k.signing, k.all = keys[0], keys
	k.up(t)
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	k := startKubernetes(t)
	k.newServiceAccount(t, "claimgate", "gate")
	k.newServiceAccount(t, "shop", "worker")

	// What the kubelet does for the gate's pod.
	bearer := filepath.Join(t.TempDir(), "token")
	mount := func() {
		if err := os.WriteFile(bearer+".new", []byte(k.token(t, "claimgate", "gate", "")), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(bearer+".new", bearer); err != nil {
			t.Fatal(err)
		}
	}
	mount()

	// Nobody can resolve the issuer's name: where its keys are must be said.
	jwks := "jwksURL: " + k.url + "/openid/v1/jwks"
	config := func(where, http, keys string) string {
		return fmt.Sprintf(`
issuers:
- issuer: %s
  name: cluster
  preset: kubernetes
  %s
  audiences: [orders-api]
  http: %s
  keys: %s
headers: {x-auth-subject: "@subject", x-auth-namespace: "@tenant", x-auth-account: /kubernetes.io/serviceaccount/name}
policies:
- name: orders
`, kubernetesIssuer, where, http, keys)
	}
	pod := fmt.Sprintf("{caFile: %q, bearerTokenFile: %q}", k.caFile, bearer)
	demanding, calm := startGate(t, config(jwks, pod, restless)), startGate(t, config(jwks, pod, onDemand))

	good := k.token(t, "shop", "worker", "orders-api")
	elsewhere := k.token(t, "shop", "worker", "billing-api")
	ofAPI := k.token(t, "shop", "worker", "")

	t.Run("a service account is let through with its name and namespace", func(t *testing.T) {
		calm.wantIdentity(t, good, map[string]string{
			"x-auth-subject": "system:serviceaccount:shop:worker", "x-auth-namespace": "shop", "x-auth-account": "worker",
		})
	})
	t.Run("a token for another audience is refused", func(t *testing.T) {
		calm.wantReason(t, elsewhere, "wrong_audience")
	})
	t.Run("a token for the API itself is refused", func(t *testing.T) {
		calm.wantReason(t, ofAPI, "wrong_audience")
	})
	t.Run("a token that lasts too long is refused", func(t *testing.T) {
		startGate(t, config(jwks+"\n  maxLifetime: 5m", pod, onDemand)).wantReason(t, good, "invalid_claim")
	})
	t.Run("keys are discovered where the API server is", func(t *testing.T) {
		startGate(t, config("discoveryURL: "+k.url+"/.well-known/openid-configuration", pod, onDemand)).wantReason(t, good, "valid_token")
	})
	t.Run("a stranger gets no keys", func(t *testing.T) {
		for what, settings := range map[string]string{
			"without a token": fmt.Sprintf("{caFile: %q}", k.caFile),
			"without the CA":  fmt.Sprintf("{bearerTokenFile: %q}", bearer),
		} {
			g := startGate(t, config(jwks, settings, onDemand))
			if a := g.wantReason(t, good, "keys_unavailable"); a.Status != http.StatusServiceUnavailable {
				t.Errorf("%s: status %d", what, a.Status)
			}
		}
	})
	t.Run("a restart under load changes no verdict", func(t *testing.T) {
		restartUnderLoad(t, demanding, &k.server, map[string]string{
			good: "valid_token", tampered(good): "bad_signature", elsewhere: "wrong_audience",
		})
	})
	first := k.signing
	second := newPEMKey(t, t.TempDir(), "second")
	t.Run("a new key works at once", func(t *testing.T) {
		k.restart(t, second, first)
		calm.wantReason(t, k.token(t, "shop", "worker", "orders-api"), "valid_token")
		calm.wantReason(t, good, "valid_token")
	})
	t.Run("a key that is withdrawn works no more", func(t *testing.T) {
		k.restart(t, second)
		// The gate's own token is of the old key: without a new one it gets no keys.
		demanding.wantStale(t, 1)
		demanding.wantReason(t, good, "valid_token")
		mount()
		demanding.wantReasonSoon(t, good, "valid_token", "unknown_key")
		demanding.wantReason(t, k.token(t, "shop", "worker", "orders-api"), "valid_token")
	})
	if strings.Contains(demanding.process.Log()+calm.process.Log(), "eyJ") {
		t.Error("a token stands in a log")
	}
}
