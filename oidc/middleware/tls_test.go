package middleware_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc/middleware"
)

// selfSigned makes a client certificate that no CA knows: the token says which
// one counts (RFC 8705 section 2.2).
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func thumbprint(c tls.Certificate) string {
	sum := sha256.Sum256(c.Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A real connection: the certificate is the connection's, and no header counts.
func TestTheConnectionsCertificateIsTheProof(t *testing.T) {
	issuer := newIssuer(t)
	g := newGuard(t, middleware.Config{Validator: newValidator(t, issuer)})
	server := httptest.NewUnstartedServer(g.Handler(http.HandlerFunc(whoami)))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()

	mine, other := selfSigned(t), selfSigned(t)
	token := issuer.Token(claims{"cnf": claims{"x5t#S256": thumbprint(mine)}})
	for _, tt := range []struct {
		rule         string
		certificates []tls.Certificate
		want         int
	}{
		{"its certificate", []tls.Certificate{mine}, 200},
		{"another", []tls.Certificate{other}, 401},
		{"none", nil, 401},
	} {
		transport := server.Client().Transport.(*http.Transport).Clone()
		transport.TLSClientConfig.Certificates = tt.certificates
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(mine.Certificate[0])+":")
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.rule, answer.StatusCode, tt.want)
		}
		transport.CloseIdleConnections()
	}
}
