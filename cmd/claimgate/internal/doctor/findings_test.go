package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/doctor"
	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is a configuration with these issuers, of which each is a line of YAML.
func config(t *testing.T, issuers ...string) *extauthz.Config {
	t.Helper()
	cfg, err := extauthz.ParseConfig(filepath.Join(t.TempDir(), "gate.yaml"), []byte("issuers:\n- "+strings.Join(issuers, "\n- ")+"\npolicies: [{name: all}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// examine looks at the one issuer of a configuration.
func examine(t *testing.T, issuer string) doctor.Patient {
	t.Helper()
	patients, err := doctor.Examine(t.Context(), config(t, issuer), []int{0}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return patients[0]
}

// first demands that the finding that matters has this code, field and a part of
// this in what it says.
func first(t *testing.T, p doctor.Patient, code, field, part string) {
	t.Helper()
	if len(p.Findings) == 0 {
		t.Fatalf("no findings, want %s", code)
	}
	f := p.Findings[0]
	if f.Code != code || f.Field != field || !strings.Contains(f.Text+": "+f.Change, part) {
		t.Errorf("%+v, want %s at %q with %q", f, code, field, part)
	}
}

// selfSigned serves https with a certificate that nobody issued, valid until then.
func selfSigned(t *testing.T, until time.Time, h http.Handler) (url, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "here"},
		NotBefore: until.Add(-24 * time.Hour * 365), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, caFile
}

func TestCertificatesThatEnd(t *testing.T) {
	expired, ca := selfSigned(t, time.Now().Add(-time.Hour), http.NotFoundHandler())
	first(t, examine(t, `{issuer: "`+expired+`", name: x, audiences: [a], http: {caFile: "`+ca+`"}}`), doctor.CertExpired, "", "the issuer's operators have to renew it")

	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	soon, ca := selfSigned(t, time.Now().Add(24*time.Hour), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	}))
	p := examine(t, `{issuer: urn:x, name: x, audiences: [a], jwksURL: "`+soon+`", http: {caFile: "`+ca+`"}}`)
	first(t, p, doctor.CertExpiresSoon, "", "expires at")
	if !p.Usable() || !p.Findings[0].Warning || len(p.Findings) != 1 {
		t.Errorf("%+v", p.Findings)
	}
}

func TestServersThatSpeakOtherwise(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	https := strings.Replace(issuer.URL, "http:", "https:", 1)
	first(t, examine(t, `{issuer: "`+https+`", name: x, audiences: [a]}`), doctor.PlainHTTP, "issuer", "speaks plain http")
	first(t, examine(t, `{issuer: "`+https+`", name: x, audiences: [a], discoveryURL: "`+https+`/d"}`), doctor.PlainHTTP, "discoveryURL", "")
	first(t, examine(t, `{issuer: urn:x, name: x, audiences: [a], jwksURL: "`+https+`"}`), doctor.PlainHTTP, "jwksURL", "")

	hang := issuer.Hang()
	defer hang.Release()
	first(t, examine(t, `{issuer: "`+issuer.URL+`", name: x, audiences: [a], http: {timeout: 100ms}}`), doctor.Timeout, "http.timeout", "if this machine reaches it through a proxy only")
}

func TestRedirectsAreNamedAndNotFollowed(t *testing.T) {
	issuer := oidctest.NewIssuer(oidctest.WithPath("/shop"))
	t.Cleanup(issuer.Close)
	line := `{issuer: "` + issuer.URL + `", name: x, audiences: [a]}`
	for to, part := range map[string]string{
		"https://elsewhere.example.com/x?secret": `to "https://elsewhere.example.com/x" at the host "elsewhere.example.com"`,
		"":                                       "a redirect without a Location",
		"https://user:secret@e.example.com/":     `to "https://e.example.com/"`,
	} {
		issuer.Respond(func(w http.ResponseWriter, _ *http.Request) {
			if to != "" {
				w.Header().Set("Location", to)
			}
			w.WriteHeader(http.StatusFound)
		})
		p := examine(t, line)
		first(t, p, doctor.Redirect, "issuer", part)
		if f := p.Findings[0]; strings.Contains(f.Text+f.Change, "secret") {
			t.Errorf("a secret is shown: %+v", f)
		}
	}
	jwks := `{issuer: urn:x, name: x, audiences: [a], jwksURL: "` + issuer.URLOf(oidctest.JWKS) + `"}`
	issuer.Redirect(issuer.URL+"/elsewhere", oidctest.JWKS)
	first(t, examine(t, jwks), doctor.Redirect, "jwksURL", "redirects are never followed")
}

// What cannot be had on this machine: errors as the standard library makes them.
func TestErrorsOfTheNetwork(t *testing.T) {
	const url = "https://id.example.com/.well-known/openid-configuration"
	for _, tt := range []struct {
		name        string
		err         error
		result      oidc.FetchResult
		code, field string
		part        string
	}{
		{"no such host", &net.DNSError{Err: "no such host", Name: "id.example.com", IsNotFound: true}, oidc.FetchConnect, doctor.DNS, "issuer", `there is no host named "id.example.com"`},
		{"DNS is away", &net.DNSError{Err: "server misbehaving", Name: "id.example.com"}, oidc.FetchConnect, doctor.DNS, "issuer", "cannot be resolved here"},
		{"network", errors.New("network is unreachable"), oidc.FetchConnect, doctor.Connection, "issuer", "network is unreachable"},
		{"old TLS", errors.New("tls: protocol version not supported"), oidc.FetchTLS, doctor.TLS, "http", "protocol version"},
		{"a name", fmt.Errorf("tls: %w", x509.HostnameError{Host: "id.example.com", Certificate: &x509.Certificate{}}), oidc.FetchTLS, doctor.NameMismatch, "http.serverName", "no name at all"},
		{"an authority", fmt.Errorf("tls: %w", x509.UnknownAuthorityError{}), oidc.FetchTLS, doctor.UnknownAuthority, "http.caFile", "not trusted"},
		{"no more is known", nil, oidc.FetchConnect, doctor.Connection, "issuer", "no more is known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			event := oidc.FetchEvent{Kind: oidc.FetchDiscovery, URL: url, Result: tt.result, Err: tt.err}
			if tt.err != nil {
				event.Err = fmt.Errorf("GET %s: %w", url, tt.err)
			}
			d := oidc.Diagnosis{Issuer: "https://id.example.com", Fetches: []oidc.FetchEvent{event}, Err: event.Err}
			p := doctor.Patient{Findings: doctor.Findings(d, &extauthz.IssuerConfig{Issuer: d.Issuer})}
			first(t, p, tt.code, tt.field, tt.part)
		})
	}
}

func TestDifferenceIsPointedAt(t *testing.T) {
	for _, tt := range []struct{ configured, document, want string }{
		{"https://a", "https://a/", "it has a / at its end, and the configured one has not"},
		{"https://a/", "https://a", "it has no / at its end, and the configured one has"},
		{"https://A", "https://a", `"https://a", which differs in upper and lower case`},
		{"https://a/x", "https://a/y", `"https://a/y", which differs from byte 11 on: "y", configured is "x"`},
		{"https://a", "https://ab", `"https://ab", which differs from byte 10 on: "b", configured is ""`},
		{"é", "è\x1b", `"\u00e8\x1b", which differs from byte 1 on: "\u00e8\x1b", configured is "\u00e9"`},
		{"a", "", `"", which differs from byte 1 on: "", configured is "a"`},
	} {
		if got := doctor.Difference(tt.configured, tt.document); got != tt.want {
			t.Errorf("%q, %q: %s, want %s", tt.configured, tt.document, got, tt.want)
		}
	}
}

func TestSkewAllowsForSecondsAndTheWay(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	for _, tt := range []struct {
		date string
		age  string
		want time.Duration
		ok   bool
	}{
		{"Fri, 02 Jan 2026 03:04:05 GMT", "", 0, true},
		{"Fri, 02 Jan 2026 03:04:07 GMT", "", 0, true}, // the answer took two seconds
		{"Fri, 02 Jan 2026 03:05:07 GMT", "", 59400 * time.Millisecond, true},
		{"Fri, 02 Jan 2026 03:03:04 GMT", "", -60600 * time.Millisecond, true},
		{"Fri, 02 Jan 2026 03:03:04 GMT", "60", 0, false},
		{"yesterday", "", 0, false},
		{"", "", 0, false},
	} {
		e := oidc.FetchEvent{Start: at, Duration: 2 * time.Second, Header: http.Header{"Date": {tt.date}}}
		if tt.age != "" {
			e.Header.Set("Age", tt.age)
		}
		if got, ok := doctor.Skew(e); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %s, %t, want %s, %t", tt.date, got, ok, tt.want, tt.ok)
		}
	}
	if _, ok := doctor.Skew(oidc.FetchEvent{}); ok {
		t.Error("a skew of nothing")
	}
}

func TestExamineKeepsTheOrderAndCountsEachIssuer(t *testing.T) {
	var lines []string
	for i := range 40 {
		issuer := oidctest.NewIssuer()
		t.Cleanup(issuer.Close)
		if i%3 == 0 {
			issuer.Down()
		}
		lines = append(lines, fmt.Sprintf(`{issuer: %q, name: i%d, audiences: [a]}`, issuer.URL, i))
	}
	var indexes []int
	for i := range 40 {
		indexes = append(indexes, 39-i)
	}
	var counted []int
	patients, err := doctor.Examine(t.Context(), config(t, lines...), indexes, "", func(done int) { counted = append(counted, done) })
	if err != nil {
		t.Fatal(err)
	}
	for n, p := range patients {
		i := 39 - n
		if p.Index != i || p.Config.Name != fmt.Sprintf("i%d", i) || p.Usable() == (i%3 == 0) {
			t.Errorf("patient %d: %s, usable %t", n, p.Config.Name, p.Usable())
		}
	}
	if len(counted) != 40 || counted[39] != 40 {
		t.Errorf("counted %v", counted)
	}
}

func TestExamineEndsWithItsContext(t *testing.T) {
	issuer := oidctest.NewIssuer()
	t.Cleanup(issuer.Close)
	ctx, cancel := context.WithCancel(t.Context())
	hang := issuer.Hang()
	go func() {
		<-hang.Reached()
		cancel()
	}()
	if _, err := doctor.Examine(ctx, config(t, `{issuer: "`+issuer.URL+`", audiences: [a]}`), []int{0}, "", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
