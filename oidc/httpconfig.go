package oidc

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// HTTPConfig says how an issuer is reached. The zero HTTPConfig is good for
// issuers with a public certificate. It is comparable.
//
// The files that it names are read for each refresh of the issuer's keys, so a
// file that is replaced counts from the next one on. A file that cannot be used
// is a failed fetch: the last good keys hold.
//
// The bearer token, the client certificate and ServerName are for one origin
// (scheme, host and port), that of the URL where keys are looked for: JWKSURL,
// without it DiscoveryURL, without both Issuer. If the issuer's metadata leads to
// another origin, that one gets none of them.
type HTTPConfig struct {
	// RootCAs are the authorities trusted for this issuer's certificate; nil
	// means the system's.
	RootCAs *x509.CertPool
	// CAFile is a PEM file of such authorities; with it RootCAs must be nil.
	CAFile string
	// CertFile and KeyFile are the PEM files of a client certificate, with its
	// chain, and its private key: both or none.
	CertFile, KeyFile string
	// ServerName is the name that the server's certificate must have, and that
	// the server is told, in place of the URL's host.
	ServerName string
	// BearerTokenFile holds a token that is sent in the header Authorization
	// (RFC 6750), such as a Kubernetes service account's.
	BearerTokenFile string
	// ProxyURL is an http or https proxy that the issuer is reached through, by
	// CONNECT for https URLs. There is no default: nothing is read from the
	// environment. Loopback is always reached directly. An https proxy's
	// certificate is checked against the same authorities.
	//
	// Names are resolved by the proxy, past the check of their addresses. Literal
	// addresses that are forbidden and well-known names of metadata services are
	// refused here; names that only lead to such addresses are for the proxy to
	// refuse.
	ProxyURL string
	// Client, if it is not nil, makes the requests in place of a client made from
	// the fields above, which must be zero but for BearerTokenFile. It is never
	// changed: a copy is used that follows no redirects and has no cookies. What
	// its transport allows is the caller's to say: the rules about addresses are
	// not applied to it.
	Client *http.Client
	// Timeout bounds one fetch with its body: 5 s if zero, 60 s at most.
	Timeout time.Duration
}

const (
	defaultFetchTimeout = 5 * time.Second
	minFetchTimeout     = 100 * time.Millisecond
	maxFetchTimeout     = 60 * time.Second
)

// Limits of the files.
const (
	maxCAFile     = 4 << 20
	maxCertFile   = 1 << 20
	maxBearerFile = 16 << 10
)

// What the files are called in errors.
const (
	whatCAFile     = "CA file"
	whatCertFile   = "client certificate file"
	whatKeyFile    = "client key file"
	whatBearerFile = "bearer token file"
)

func (c HTTPConfig) check() error {
	var errs []error
	if c.Timeout != 0 && (c.Timeout < minFetchTimeout || c.Timeout > maxFetchTimeout) {
		errs = append(errs, errors.New("HTTP.Timeout is not between 100ms and 1m0s"))
	}
	if c.Client != nil && (c.RootCAs != nil || c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" || c.ServerName != "" || c.ProxyURL != "") {
		errs = append(errs, errors.New("HTTP.Client is set, so authorities, certificates, server name and proxy belong in its transport"))
	}
	if c.RootCAs != nil && c.CAFile != "" {
		errs = append(errs, errors.New("HTTP.RootCAs and HTTP.CAFile are both set"))
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("HTTP.CertFile and HTTP.KeyFile belong together"))
	}
	if c.ProxyURL != "" {
		if err := CheckProxyURL(c.ProxyURL); err != nil {
			errs = append(errs, fmt.Errorf("HTTP.ProxyURL is %w", err))
		}
	}
	return errors.Join(errs...)
}

// same reports whether c and d reach an issuer in the same way.
func (c HTTPConfig) same(d HTTPConfig) bool {
	roots := c.RootCAs.Equal(d.RootCAs)
	c.RootCAs, d.RootCAs = nil, nil
	return roots && c == d
}

// CheckFiles reads the files that c names and reports each that cannot be used
// now, in a line of its own. Fetches do the same; this is for those who would
// rather not start with a file that is not there.
func (c HTTPConfig) CheckFiles() error {
	_, caErr := c.roots()
	_, certErr := c.clientCertificate()
	_, bearerErr := c.bearer()
	return errors.Join(caErr, certErr, bearerErr)
}

// roots returns the authorities to trust, nil for the system's.
func (c HTTPConfig) roots() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return c.RootCAs, nil
	}
	data, err := readFile(whatCAFile, c.CAFile, maxCAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, &fileError{whatCAFile, c.CAFile, "has no certificate in PEM form (-----BEGIN CERTIFICATE-----)", nil}
	}
	return pool, nil
}

// clientCertificate returns the client certificate, nil if there is none.
func (c HTTPConfig) clientCertificate() (*tls.Certificate, error) {
	if c.CertFile == "" {
		return nil, nil
	}
	certPEM, err := readFile(whatCertFile, c.CertFile, maxCertFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readFile(whatKeyFile, c.KeyFile, maxCertFile)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		// The cause may quote what it could not read.
		return nil, &fileError{whatCertFile, c.CertFile, "is, with the key file " + c.KeyFile +
			", no certificate and private key in PEM form that belong together", nil}
	}
	return &cert, nil
}

// bearer returns the bearer token, "" if there is none.
func (c HTTPConfig) bearer() (secret, error) {
	if c.BearerTokenFile == "" {
		return "", nil
	}
	data, err := readFile(whatBearerFile, c.BearerTokenFile, maxBearerFile)
	if err != nil {
		return "", err
	}
	token := strings.Trim(string(data), " \t\r\n")
	if !isBearerToken(token) {
		return "", &fileError{whatBearerFile, c.BearerTokenFile,
			"does not hold a bearer token: it must be one line of letters, digits and -._~+/, with = at its end only", nil}
	}
	return secret(token), nil
}

// isBearerToken reports whether s is a b64token (RFC 6750 section 2.1).
func isBearerToken(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", rune(c)) {
			return false
		}
	}
	return s != ""
}

// secret is a text that nothing prints.
type secret string

const redacted = "REDACTED"

// String implements fmt.Stringer.
func (secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (secret) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// origin is what credentials are for: they are sent nowhere else.
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	return origin{u.Scheme, strings.ToLower(u.Hostname()), port}
}

// credentialOrigin returns the origin that the credentials are for, the zero
// origin if there is none. An issuer whose metadata is looked for elsewhere is no
// such origin: its URL is then a name, and often one of the public Internet.
func credentialOrigin(cfg issuerKeysConfig) origin {
	u, err := parseFetchURL(cmp.Or(cfg.jwksURL, cfg.discoveryURL, cfg.issuer), func(*url.URL) bool { return true })
	if err != nil {
		return origin{}
	}
	return originOf(u)
}
