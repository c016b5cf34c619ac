package extauthz

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/claimgate/claimgate/oidc"
)

func TestAPodsFilesGoToTheAPIServerOnly(t *testing.T) {
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	for _, file := range []string{ca, token} {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	empty := t.TempDir()
	for _, tt := range []struct {
		rule      string
		issuer    IssuerConfig
		dir       string
		ca, token string
	}{
		{"by discovery", IssuerConfig{Issuer: "https://kubernetes.default.svc.cluster.local", Preset: "kubernetes"}, dir, ca, token},
		{"an issuer that does not resolve, with jwksURL", IssuerConfig{
			Issuer: "https://k8s.internal.example", JWKSURL: "https://kubernetes.default.svc/openid/v1/jwks", Preset: "kubernetes",
		}, dir, ca, token},
		{"what is configured wins", IssuerConfig{
			Issuer: "https://kubernetes.default.svc", Preset: "kubernetes", HTTP: HTTPConfig{CAFile: "/own/ca"},
		}, dir, "/own/ca", token},
		{"files that are not there are not used", IssuerConfig{Issuer: "https://kubernetes.default.svc", Preset: "kubernetes"}, empty, "", ""},
		{"the issuer of a managed cluster is another's host", IssuerConfig{Issuer: "https://oidc.eks.eu-west-1.amazonaws.com/id/0", Preset: "kubernetes"}, dir, "", ""},
		{"a host that begins like it", IssuerConfig{Issuer: "https://kubernetes.default.svcs.example", Preset: "kubernetes"}, dir, "", ""},
		{"plain http", IssuerConfig{Issuer: "http://kubernetes.default.svc", Preset: "kubernetes", Insecure: true}, dir, "", ""},
		{"another preset", IssuerConfig{Issuer: "https://kubernetes.default.svc", Preset: "generic"}, dir, "", ""},
		{"keys from a file", IssuerConfig{Issuer: "https://kubernetes.default.svc", JWKSFile: "keys.json", Preset: "kubernetes"}, dir, "", ""},
		{"keys from elsewhere", IssuerConfig{
			Issuer: "https://kubernetes.default.svc", JWKSURL: "https://keys.example.com/jwks", Preset: "kubernetes",
		}, dir, "", ""},
	} {
		h := oidc.HTTPConfig{CAFile: tt.issuer.HTTP.CAFile, BearerTokenFile: tt.issuer.HTTP.BearerTokenFile}
		tt.issuer.addPodFiles(&h, tt.dir)
		if h.CAFile != tt.ca || h.BearerTokenFile != tt.token {
			t.Errorf("%s: CA %q, token %q; want %q, %q", tt.rule, h.CAFile, h.BearerTokenFile, tt.ca, tt.token)
		}
	}
}
