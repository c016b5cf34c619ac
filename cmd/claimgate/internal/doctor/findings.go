package doctor

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
)

// The codes of findings, for scripts: they do not change.
const (
	DNS              = "dns"
	Refused          = "connection_refused"
	Timeout          = "timeout"
	Connection       = "connection"
	UnknownAuthority = "unknown_authority"
	NameMismatch     = "certificate_name"
	CertExpired      = "certificate_expired"
	CertExpiresSoon  = "certificate_expires_soon"
	TLS              = "tls"
	PlainHTTP        = "plain_http"
	Insecure         = "insecure"
	Redirect         = "redirect"
	Credentials      = "credentials"
	NotFound         = "not_found"
	Status           = "status"
	HTML             = "html"
	Malformed        = "malformed"
	TooLarge         = "too_large"
	Slash            = "issuer_slash"
	WrongIssuer      = "issuer_mismatch"
	Forbidden        = "forbidden"
	EmptySet         = "no_keys"
	AllSkipped       = "all_keys_skipped"
	KeySkipped       = "key_skipped"
	Algorithms       = "algorithms"
	Clock            = "clock"
	File             = "file"
	GivenUp          = "given_up"
	TenantNeeded     = "tenant_needed"
)

const (
	expiresSoon = 14 * 24 * time.Hour
	clockSlack  = 5 * time.Second
)

// Findings says what is wrong with an issuer, what hurts most first.
func Findings(d oidc.Diagnosis, c *extauthz.IssuerConfig) []Finding {
	var list []Finding
	if len(d.Keys) == 0 {
		list = append(list, whyNoKeys(d, c))
	} else if !algorithmsFit(d, c) {
		list = append(list, Finding{Code: Algorithms, Field: "algorithms",
			Text:   fmt.Sprintf("no key of the issuer verifies any of the algorithms %v", c.Algorithms),
			Change: "name the algorithms of its keys, which are listed here, or leave the field out"})
	}
	return append(list, warnings(d, c)...)
}

// whyNoKeys is the one finding that explains why there are no keys.
func whyNoKeys(d oidc.Diagnosis, c *extauthz.IssuerConfig) Finding {
	if len(d.Fetches) == 0 {
		return Finding{Code: GivenUp, Text: "it was given up before the issuer had answered"}
	}
	last := d.Fetches[len(d.Fetches)-1]
	if last.Kind == oidc.FetchDiscovery {
		// The first form is the one that most issuers have: what is wrong there says
		// more than a 404 at the second.
		first := d.Fetches[0]
		if first.Status == http.StatusNotFound {
			first = last
		}
		return discoveryFinding(d, c, first)
	}
	return keysFinding(d, c, last)
}

// place is the field that says where a document is.
func place(c *extauthz.IssuerConfig, kind oidc.FetchKind) string {
	switch {
	case c.JWKSFile != "":
		return "jwksFile"
	case c.JWKSURL != "":
		return "jwksURL"
	case c.DiscoveryURL != "":
		return "discoveryURL"
	case kind == oidc.FetchJWKS:
		return "" // discovered: the issuer has to change it
	default:
		return "issuer"
	}
}

func discoveryFinding(d oidc.Diagnosis, c *extauthz.IssuerConfig, e oidc.FetchEvent) Finding {
	if e.Result == oidc.FetchRefused && d.MetadataIssuer != "" && d.MetadataIssuer != d.Issuer {
		return issuerFinding(d)
	}
	f, ok := transportFinding(c, e)
	if !ok {
		f = answerFinding(e)
		f.Field = cmp.Or(f.Field, place(c, e.Kind))
	}
	if f.Code == NotFound {
		f.Text = "there is no metadata where this says (404)"
	}
	for _, p := range d.Probes {
		if p.Fetch.Result != oidc.FetchOK {
			continue
		}
		f.Text += fmt.Sprintf("; %s has metadata", p.Fetch.URL)
		if p.Issuer == d.Issuer {
			f.Field, f.Change = "discoveryURL", "write discoveryURL: "+p.Fetch.URL
			return f
		}
		f.Text += ", of the issuer " + quote(p.Issuer)
		f.Field, f.Change = "issuer", "write issuer: "+quote(p.Issuer)+", if that is iss in its tokens"
		return f
	}
	switch {
	case f.Change != "":
	case len(d.Probes) > 0:
		f.Text += fmt.Sprintf("; nor is it at the %d other usual places", len(d.Probes))
		f.Change = "write the issuer exactly as iss in its tokens, or where its metadata is as discoveryURL, or where its keys are as jwksURL"
	default:
		f.Change = "write where its metadata is as discoveryURL, or where its keys are as jwksURL"
	}
	return f
}

// issuerFinding is for metadata that names another issuer.
func issuerFinding(d oidc.Diagnosis) Finding {
	f := Finding{Code: WrongIssuer, Field: "issuer", Text: "the metadata names another issuer: " + Difference(d.Issuer, d.MetadataIssuer)}
	f.Change = fmt.Sprintf("write issuer: %s, if that is iss in its tokens; if iss is as configured, leave it and give jwksURL, and discovery is not needed", quote(d.MetadataIssuer))
	if strings.TrimSuffix(d.Issuer, "/") == strings.TrimSuffix(d.MetadataIssuer, "/") {
		f.Code = Slash
		f.Change = "write issuer: " + quote(d.MetadataIssuer)
	}
	return f
}

// Difference says in what two issuers differ, byte by byte.
func Difference(configured, document string) string {
	switch {
	case document == configured+"/":
		return "it has a / at its end, and the configured one has not"
	case document+"/" == configured:
		return "it has no / at its end, and the configured one has"
	case strings.EqualFold(document, configured):
		return fmt.Sprintf("%s, which differs in upper and lower case", quote(document))
	}
	n := 0
	for n < len(configured) && n < len(document) && configured[n] == document[n] {
		n++
	}
	for n > 0 && n < len(document) && !utf8.RuneStart(document[n]) {
		n--
	}
	return fmt.Sprintf("%s, which differs from byte %d on: %s, configured is %s", quote(document), n+1, quote(document[n:]), quote(configured[min(n, len(configured)):]))
}

// transportFinding is for a server that gave no whole answer, or that led elsewhere.
func transportFinding(c *extauthz.IssuerConfig, e oidc.FetchEvent) (Finding, bool) {
	host := hostOf(e.URL)
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	at := place(c, e.Kind)
	switch {
	case errors.As(e.Err, &name):
		return Finding{Code: NameMismatch, Field: "http.serverName",
			Text:   fmt.Sprintf("the certificate is not for %s but for %s", quote(name.Host), names(name.Certificate)),
			Change: "write the name of the certificate as http.serverName if the server is the right one; else mend the URL"}, true
	case errors.As(e.Err, &authority):
		return unknownAuthority(c, leafOf(e.Err)), true
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		f := Finding{Code: CertExpired, Text: "the server's certificate is not valid now"}
		if invalid.Cert != nil {
			f.Text = fmt.Sprintf("the server's certificate is valid from %s to %s, and it is %s now", day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(time.Now()))
		}
		f.Change = "the issuer's operators have to renew it, or this machine's clock is wrong; nothing in this file helps"
		return f, true
	case e.Status == 0 && fileField(e.Err) != "":
		return Finding{Code: File, Field: fileField(e.Err), Text: cause(e.Err), Change: "mend the file, or name another one"}, true
	case errors.Is(e.Err, http.ErrSchemeMismatch):
		return Finding{Code: PlainHTTP, Field: at, Text: fmt.Sprintf("%s speaks plain http at this port, and the URL says https", quote(host)),
			Change: "mend the port, or have the issuer serve https; plain http off loopback is accepted only with insecure: true"}, true
	case errors.As(e.Err, &dns):
		f := Finding{Code: DNS, Field: at, Text: fmt.Sprintf("the name %s cannot be resolved here", quote(dns.Name)), Change: "mend the host, or the DNS of this machine; " + proxyAdvice}
		if dns.IsNotFound {
			f.Text = fmt.Sprintf("there is no host named %s", quote(dns.Name))
		}
		return f, true
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return Finding{Code: Refused, Field: at, Text: fmt.Sprintf("nothing listens at %s", quote(host)), Change: "mend host and port, or start the issuer"}, true
	case e.Result == oidc.FetchTimeout:
		return Finding{Code: Timeout, Field: "http.timeout", Text: fmt.Sprintf("%s gave no whole answer within %s", quote(host), e.Duration.Round(time.Millisecond)),
			Change: "can it be reached from here? If it is only slow, raise http.timeout (60s at most); " + proxyAdvice}, true
	case e.Result == oidc.FetchTLS:
		return Finding{Code: TLS, Field: "http", Text: "TLS failed: " + cause(e.Err), Change: "the server has to offer TLS 1.2 or later; if it wants a client certificate, give http.certFile and keyFile"}, true
	case e.Result == oidc.FetchConnect:
		return Finding{Code: Connection, Field: at, Text: "no answer: " + cause(e.Err), Change: "can it be reached from here? " + proxyAdvice}, true
	case e.Status >= 300 && e.Status < 400:
		return redirectFinding(at, e), true
	case e.Status == http.StatusProxyAuthRequired:
		return Finding{Code: Credentials, Field: "http.proxyURL", Text: "the proxy wants credentials", Change: "use a proxy that knows this machine without them"}, true
	}
	return Finding{}, false
}

// fileField is the field that names the file which a fetch could not use, "" if that
// was not it.
func fileField(err error) string {
	for what, field := range map[string]string{
		"CA file ": "http.caFile", "client certificate file ": "http.certFile", "client key file ": "http.keyFile",
		"bearer token file ": "http.bearerTokenFile", "key set file ": "jwksFile",
	} {
		if strings.HasPrefix(cause(err), what) {
			return field
		}
	}
	return ""
}

const proxyAdvice = "if this machine reaches it through a proxy only, write that as http.proxyURL"

// leafOf is the server's own certificate, of a handshake that failed because of one;
// nil if it is not known.
func leafOf(err error) *x509.Certificate {
	var verification *tls.CertificateVerificationError
	if !errors.As(err, &verification) || len(verification.UnverifiedCertificates) == 0 {
		return nil
	}
	return verification.UnverifiedCertificates[0]
}

func unknownAuthority(c *extauthz.IssuerConfig, cert *x509.Certificate) Finding {
	f := Finding{Code: UnknownAuthority, Field: "http.caFile", Text: "the server's certificate is of an authority that is not trusted"}
	if cert != nil {
		f.Text = fmt.Sprintf("the server's certificate (%s) is of an authority that is not trusted: %s", quote(cert.Subject.String()), quote(cert.Issuer.String()))
	}
	f.Change = "write a PEM file with that authority as http.caFile: the system's do not have it"
	if c.HTTP.CAFile != "" {
		f.Change = fmt.Sprintf("%s does not have that authority, and with it the system's are not asked: add it to the file", c.HTTP.CAFile)
	}
	return f
}

// redirectFinding names where a redirect leads: the host, and the path without what
// may be secret behind it.
func redirectFinding(field string, e oidc.FetchEvent) Finding {
	f := Finding{Code: Redirect, Field: field, Text: fmt.Sprintf("status %d, a redirect without a Location; redirects are never followed", e.Status), Change: "write the final URL"}
	from, err := url.Parse(e.URL)
	if err != nil {
		return f
	}
	to, err := from.Parse(e.Header.Get("Location"))
	if err != nil || e.Header.Get("Location") == "" {
		return f
	}
	shown := url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}
	f.Text = fmt.Sprintf("status %d, a redirect to %s at the host %s; redirects are never followed", e.Status, quote(shown.String()), quote(to.Host))
	f.Change = "write the final URL, if that host is the issuer's"
	switch {
	case to.Host != from.Host || to.Scheme != "https":
	case e.Kind == oidc.FetchDiscovery:
		f.Field, f.Change = "discoveryURL", "write discoveryURL: "+quote(shown.String())
	case field == "jwksURL":
		f.Change = "write jwksURL: " + quote(shown.String())
	}
	return f
}

// answerFinding is for an answer that is not the document.
func answerFinding(e oidc.FetchEvent) Finding {
	what := map[oidc.FetchKind]string{oidc.FetchDiscovery: "metadata", oidc.FetchJWKS: "a key set"}[e.Kind]
	switch {
	case e.Status == http.StatusNotFound:
		return Finding{Code: NotFound, Text: fmt.Sprintf("there is no %s at %s (404)", strings.TrimPrefix(what, "a "), e.URL)}
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return Finding{Code: Credentials, Field: "http.bearerTokenFile", Text: fmt.Sprintf("%s wants credentials (%d)", e.URL, e.Status),
			Change: "give http.bearerTokenFile or a client certificate (http.certFile and keyFile), or have the issuer publish it"}
	case e.Status != 0 && e.Status != http.StatusOK:
		return Finding{Code: Status, Text: fmt.Sprintf("%s answered with status %d", e.URL, e.Status), Change: "is the URL right, and is the issuer well?"}
	case e.Err != nil && strings.Contains(e.Err.Error(), "an HTML page"):
		return Finding{Code: HTML, Text: fmt.Sprintf("%s is a web page (HTML), not %s: a login page, or the issuer's front end", e.URL, what)}
	case e.Result == oidc.FetchTooLarge:
		return Finding{Code: TooLarge, Text: "too large: " + cause(e.Err)}
	case e.Result == oidc.FetchRefused:
		return Finding{Code: Forbidden, Text: "the rules forbid it: " + cause(e.Err)}
	default:
		return Finding{Code: Malformed, Text: fmt.Sprintf("%s is not %s: %s", e.URL, what, cause(e.Err))}
	}
}

func keysFinding(d oidc.Diagnosis, c *extauthz.IssuerConfig, e oidc.FetchEvent) Finding {
	if len(d.Skipped) == 0 {
		if f, ok := transportFinding(c, e); ok {
			return f
		}
	}
	field := place(c, e.Kind)
	f := answerFinding(e)
	switch {
	case len(d.Skipped) > 0:
		f = Finding{Code: AllSkipped, Text: fmt.Sprintf("none of its %d keys can be used: %s", len(d.Skipped), d.Skipped[0])}
		f.Change = "the issuer has to publish a key for signatures: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519"
		field = ""
	case e.Result == oidc.FetchEmpty:
		f = Finding{Code: EmptySet, Text: "the key set has no keys", Change: "the issuer has to publish its signing key: is this the right realm or tenant?"}
	}
	switch {
	case f.Field != "":
		return f
	case f.Change != "":
	case field != "":
		f.Change = "write the URL of the key set (jwks_uri in the issuer's metadata)"
	default:
		f.Change = "its metadata leads there, so the issuer has to mend it; jwksURL overrides it"
		field = "jwksURL"
	}
	f.Field = field
	return f
}

// warnings are what does not hurt yet.
func warnings(d oidc.Diagnosis, c *extauthz.IssuerConfig) []Finding {
	var list []Finding
	warn := func(code, field, text, change string) {
		for _, f := range list {
			if f.Code == code && f.Text == text {
				return
			}
		}
		list = append(list, Finding{Code: code, Field: field, Text: text, Change: change, Warning: true})
	}
	for _, e := range d.Fetches {
		if e.TLS != nil && len(e.TLS.PeerCertificates) > 0 {
			left := time.Until(e.TLS.PeerCertificates[0].NotAfter)
			if left > 0 && left < expiresSoon {
				warn(CertExpiresSoon, "", fmt.Sprintf("the certificate of %s expires at %s", quote(hostOf(e.URL)), e.TLS.PeerCertificates[0].NotAfter.UTC().Format(time.RFC3339)),
					"the issuer's operators have to renew it")
			}
		}
		if skew, ok := Skew(e); ok && skew.Abs() > clockSlack {
			where := "ahead of"
			if skew < 0 {
				where = "behind"
			}
			warn(Clock, "", fmt.Sprintf("the clock of %s is %s %s this machine's", quote(hostOf(e.URL)), skew.Abs().Round(time.Second), where),
				"set the clocks: leeway helps with 60s at most")
		}
	}
	for _, k := range d.Skipped {
		if len(d.Keys) > 0 && !k.OtherPurpose() {
			warn(KeySkipped, "", "a key is not used: "+k.String(), "tokens that are signed with it are refused; the issuer has to mend or remove it")
		}
	}
	if c.Insecure {
		warn(Insecure, "insecure", "plain http is allowed: whoever is on the way can replace the keys", "leave it out once the issuer serves https")
	}
	return list
}

// Skew is how far a server's clock is ahead of ours, as far as its answer tells: Date
// has whole seconds, and the answer was on its way. False without a Date, or for one
// that a cache may have kept.
func Skew(e oidc.FetchEvent) (time.Duration, bool) {
	date, err := http.ParseTime(e.Header.Get("Date"))
	if err != nil || e.Header.Get("Age") != "" {
		return 0, false
	}
	earliest, latest := date.Sub(e.Start.Add(e.Duration)), date.Add(time.Second).Sub(e.Start)
	switch {
	case earliest > 0:
		return earliest, true
	case latest < 0:
		return latest, true
	default:
		return 0, true
	}
}

// algorithmsFit reports whether some key verifies an accepted algorithm.
func algorithmsFit(d oidc.Diagnosis, c *extauthz.IssuerConfig) bool {
	if c.Algorithms == nil {
		return true
	}
	same := func(a oidc.Algorithm) oidc.Algorithm {
		if a == oidc.Ed25519 {
			return oidc.EdDSA
		}
		return a
	}
	for _, k := range d.Keys {
		for _, a := range k.Algorithms {
			for _, b := range c.Algorithms {
				if same(a) == same(b) {
					return true
				}
			}
		}
	}
	return false
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

func names(cert *x509.Certificate) string {
	var list []string
	if cert != nil {
		for _, n := range cert.DNSNames {
			list = append(list, quote(n))
		}
		for _, ip := range cert.IPAddresses {
			list = append(list, ip.String())
		}
	}
	const most = 8
	switch {
	case len(list) == 0:
		return "no name at all"
	case len(list) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// cause is an error without the URL before it.
func cause(err error) string {
	if err == nil {
		return "no more is known"
	}
	s := err.Error()
	if strings.HasPrefix(s, "GET ") {
		if _, rest, ok := strings.Cut(s, ": "); ok {
			s = rest
		}
	}
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// quote quotes what a server says, and not all of a long text.
func quote(s string) string {
	const most = 200
	if len(s) > most {
		return strconv.QuoteToASCII(strings.ToValidUTF8(s[:most], "")) + "…"
	}
	return strconv.QuoteToASCII(s)
}
