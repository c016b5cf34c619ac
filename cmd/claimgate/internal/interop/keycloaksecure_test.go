package interop_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/client"
)

// openSecure is open over https.
func (k *keycloak) openSecure(t *testing.T, id string, change func(*client.Config)) *client.Client {
	t.Helper()
	return k.open(t, id, func(cfg *client.Config) {
		cfg.Issuer, cfg.HTTP.RootCAs = k.secure, k.ca.roots()
		change(cfg)
	})
}

// byCertificate has a client prove itself with a certificate, which is in files of
// that name.
func byCertificate(name string) func(*client.Config) {
	return func(cfg *client.Config) {
		cfg.Auth, cfg.HTTP.CertFile, cfg.HTTP.KeyFile = client.TLSClientAuth{}, name+".crt", name+".key"
	}
}

// thumbprint is the SHA-256 of the certificate in files of that name.
func thumbprint(t *testing.T, name string) []byte {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(name+".crt", name+".key")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(pair.Certificate[0])
	return sum[:]
}

func (k *keycloak) clientHasACertificate(t *testing.T) {
	k.addClient(t, "machine", map[string]any{
		"clientAuthenticatorType": "client-x509", "serviceAccountsEnabled": true,
		"attributes": map[string]string{"x509.subjectdn": "CN=machine", "tls.client.certificate.bound.access.tokens": "true"},
		"protocolMappers": []map[string]any{{
			"name": "for the orders API", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
			"config": map[string]string{"included.custom.audience": "orders-api", "access.token.claim": "true"},
		}},
	})
	dir := t.TempDir()
	own, others := k.ca.issue(t, filepath.Join(dir, "machine")), k.ca.issue(t, filepath.Join(dir, "another"))
	forger := newAuthority(t, filepath.Join(t.TempDir(), "ca.crt"))
	forged := forger.issue(t, filepath.Join(filepath.Dir(forger.file), "machine"))

	answer, err := k.openSecure(t, "machine", byCertificate(own)).ClientCredentials(t.Context(), client.TokenParams{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.openSecure(t, "machine", byCertificate(others)).ClientCredentials(t.Context(), client.TokenParams{})
	if !errors.Is(err, client.ErrInvalidClient) && !errors.Is(err, client.ErrUnauthorizedClient) || client.IsRetryable(err) {
		t.Errorf("with the certificate of another client: %v", err)
	}
	if _, err := k.openSecure(t, "machine", byCertificate(forged)).ClientCredentials(t.Context(), client.TokenParams{}); err == nil {
		t.Error("a certificate of that name, by an authority that nobody trusts, gets a token")
	}

	validator, err := oidc.NewValidator(oidc.Config{Issuers: []oidc.IssuerConfig{{
		Issuer: k.secure, Name: "provider", Preset: oidc.PresetKeycloak, Audiences: []string{"orders-api"}, HTTP: oidc.HTTPConfig{CAFile: k.ca.file},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer validator.Close()
	for _, tt := range []struct {
		shows string
		proof []byte
		want  oidc.Reason
	}{
		{"its certificate", thumbprint(t, own), ""},
		{"no certificate", nil, oidc.ProofMissing},
		{"another's certificate", thumbprint(t, others), oidc.BindingMismatch},
		{"a forged certificate", thumbprint(t, forged), oidc.BindingMismatch},
	} {
		_, err := validator.Validate(t.Context(), answer.AccessToken.Reveal(), oidc.Requirement{Proof: oidc.Proof{CertSHA256: tt.proof}})
		if oidc.ReasonOf(err) != tt.want {
			t.Errorf("the token with %s: %v, want %q; it says %s", tt.shows, err, tt.want, claimsOf(answer.AccessToken.Reveal()))
		}
	}
}

// Tokens are bound to a DPoP key, or to the certificate that the client proves itself
// with.
func (k *keycloak) clientKeepsToProfiles(t *testing.T) {
	key := newECKey(t, "bank-key", "ES256", "sig")
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	if err != nil {
		t.Fatal(err)
	}
	certificate := k.ca.issue(t, filepath.Join(t.TempDir(), "vault"))
	signing := signingKey(key)
	withKey := func(cfg *client.Config) {
		cfg.Auth, cfg.RequestKey, cfg.DPoP = client.PrivateKeyJWT{Key: signing}, signing, newDPoPKey(t)
	}
	keyed := map[string]string{"dpop.bound.access.tokens": "true", "token.endpoint.auth.signing.alg": "ES256"}
	signed := map[string]string{"request.object.required": "request or request_uri", "request.object.signature.alg": "ES256", withoutIss: "true"}
	maps.Copy(signed, keyed)
	for _, tt := range []struct {
		id, authenticator string
		attributes        map[string]string
		profile           client.Profile
		change            func(*client.Config)
		confirmation      string
	}{
		{"fapi-key", "client-jwt", keyed, client.ProfileFAPI2, withKey, "jkt"},
		{"fapi-certificate", "client-x509", map[string]string{"x509.subjectdn": "CN=vault", "tls.client.certificate.bound.access.tokens": "true"},
			client.ProfileFAPI2, byCertificate(certificate), "x5t#S256"},
		{"fapi-signed", "client-jwt", signed, client.ProfileFAPI2MessageSigning, withKey, "jkt"},
	} {
		attributes := map[string]string{
			"use.jwks.string": "true", "jwks.string": string(public), "require.pushed.authorization.requests": "true",
			"pkce.code.challenge.method": "S256", "id.token.signed.response.alg": "ES256", "authorization.signed.response.alg": "ES256",
		}
		maps.Copy(attributes, tt.attributes)
		k.addClient(t, tt.id, map[string]any{
			"clientAuthenticatorType": tt.authenticator, "attributes": attributes, "redirectUris": []string{shopCallback},
		})
		c := k.openSecure(t, tt.id, func(cfg *client.Config) {
			tt.change(cfg)
			cfg.Profile = tt.profile
		})
		begun, answer, err := clientLogIn(t, c, trusting(k.ca.roots()), client.AuthorizationParams{RedirectURI: shopCallback},
			map[string]string{"username": "alice", "password": "alice-password"})
		if err != nil {
			t.Errorf("%s: %v", tt.id, err)
			continue
		}
		claims := claimsOf(answer.AccessToken.Reveal())
		if answer.ID.AuthorizedParty != tt.id || !strings.Contains(claims, `"cnf":{"`+tt.confirmation+`"`) || strings.Contains(begun.URL, "state=") {
			t.Errorf("%s: %+v, %s, %s", tt.id, answer.ID, claims, begun.URL)
		}
		if _, err := c.Refresh(t.Context(), answer.RefreshToken, client.RefreshParams{Previous: answer.ID}); err != nil {
			t.Errorf("%s: refresh: %v", tt.id, err)
		}
	}
}
