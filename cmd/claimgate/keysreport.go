package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/doctor"
	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
)

// keysReport is what keys prints. Its JSON is for scripts: names do not change and
// absent parts are left out. What a server says is raw in it.
type keysReport struct {
	Issuers []issuerReport `json:"issuers"`
}

type issuerReport struct {
	Name   string `json:"name"`
	Issuer string `json:"issuer"`
	Usable bool   `json:"usable"` // it has keys

	Form           string        `json:"form"` // openid, rfc8414, discoveryURL, jwksURL, jwksFile; "" if nothing was found
	MetadataURL    string        `json:"metadataURL,omitempty"`
	MetadataIssuer string        `json:"metadataIssuer,omitempty"`
	KeysURL        string        `json:"keysURL,omitempty"`
	Fetches        []fetchReport `json:"fetches,omitempty"`
	Probes         []fetchReport `json:"probes,omitempty"`

	Keys     []keyReport     `json:"keys,omitempty"`
	Skipped  []skippedReport `json:"skipped,omitempty"`
	Lifetime *lifetimeReport `json:"lifetime,omitempty"`

	Findings []findingReport `json:"findings,omitempty"`

	caFile string
}

type fetchReport struct {
	Kind         string     `json:"kind"`
	URL          string     `json:"url"`
	Result       string     `json:"result"`
	Status       int        `json:"status,omitempty"`
	ContentType  string     `json:"contentType,omitempty"`
	Seconds      float64    `json:"durationSeconds"`
	CacheControl string     `json:"cacheControl,omitempty"`
	Expires      string     `json:"expires,omitempty"`
	ETag         string     `json:"etag,omitempty"`
	ClockSkew    float64    `json:"clockSkewSeconds,omitempty"` // how far the server's clock is ahead
	TLS          *tlsReport `json:"tls,omitempty"`
	Issuer       string     `json:"issuer,omitempty"` // that a probe's document names
	Error        string     `json:"error,omitempty"`
}

type tlsReport struct {
	Version     string    `json:"version"`
	CipherSuite string    `json:"cipherSuite"`
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	NotAfter    time.Time `json:"notAfter"`
	TrustedBy   string    `json:"trustedBy"` // the file of authorities, or system
}

type keyReport struct {
	KeyID      string   `json:"kid,omitempty"`
	Type       string   `json:"kty"`
	Curve      string   `json:"crv,omitempty"`
	Bits       int      `json:"bits"`
	Use        string   `json:"use,omitempty"`
	Algorithms []string `json:"algorithms"`
	Thumbprint string   `json:"thumbprint"`
}

type skippedReport struct {
	KeyID  string `json:"kid,omitempty"`
	Reason string `json:"reason"`
}

type lifetimeReport struct {
	Seconds        float64 `json:"seconds"`
	RefreshSeconds float64 `json:"refreshAfterSeconds"`
	StaleSeconds   float64 `json:"staleAfterSeconds"`
}

type findingReport struct {
	Code    string `json:"code"`
	Warning bool   `json:"warning,omitempty"`
	Text    string `json:"text"`
	Change  string `json:"change,omitempty"`
	Path    string `json:"path,omitempty"`
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"` // the whole, in a line
}

func newKeysReport(patients []doctor.Patient, fields extauthz.Fields) keysReport {
	report := keysReport{Issuers: make([]issuerReport, len(patients))}
	for i, p := range patients {
		report.Issuers[i] = newIssuerReport(p, fields)
	}
	return report
}

func newIssuerReport(p doctor.Patient, fields extauthz.Fields) issuerReport {
	d := &p.Diagnosis
	r := issuerReport{
		Name: p.Config.Name, Issuer: d.Issuer, Usable: p.Usable(), Form: form(p),
		MetadataURL: d.MetadataURL, MetadataIssuer: d.MetadataIssuer, KeysURL: d.KeysURL,
		caFile: cmp.Or(p.Config.HTTP.CAFile, "system"),
	}
	for _, e := range d.Fetches {
		r.Fetches = append(r.Fetches, newFetchReport(e, r.caFile))
	}
	for _, probe := range d.Probes {
		f := newFetchReport(probe.Fetch, r.caFile)
		f.Issuer = probe.Issuer
		r.Probes = append(r.Probes, f)
	}
	for _, k := range d.Keys {
		key := keyReport{KeyID: k.KeyID, Type: k.Type, Curve: k.Curve, Bits: k.Bits, Use: k.Use, Thumbprint: k.Thumbprint}
		for _, a := range k.Algorithms {
			key.Algorithms = append(key.Algorithms, string(a))
		}
		r.Keys = append(r.Keys, key)
	}
	for _, k := range d.Skipped {
		r.Skipped = append(r.Skipped, skippedReport{k.KeyID, k.Reason})
	}
	if r.Usable {
		r.Lifetime = &lifetimeReport{d.Lifetime.Seconds(), d.RefreshAfter.Seconds(), d.StaleAfter.Seconds()}
	}
	for _, f := range p.Findings {
		r.Findings = append(r.Findings, newFindingReport(f, p.Index, fields))
	}
	return r
}

// form is how the keys are found.
func form(p doctor.Patient) string {
	switch {
	case p.Config.JWKSFile != "":
		return "jwksFile"
	case p.Config.JWKSURL != "":
		return "jwksURL"
	case p.Config.DiscoveryURL != "":
		return "discoveryURL"
	case strings.Contains(p.Diagnosis.MetadataURL, "/.well-known/oauth-authorization-server"):
		return "rfc8414"
	case p.Diagnosis.MetadataURL != "":
		return "openid"
	default:
		return ""
	}
}

func newFetchReport(e oidc.FetchEvent, trustedBy string) fetchReport {
	f := fetchReport{
		Kind: string(e.Kind), URL: e.URL, Result: string(e.Result), Status: e.Status, Seconds: e.Duration.Seconds(),
		ContentType: e.Header.Get("Content-Type"), CacheControl: strings.Join(e.Header.Values("Cache-Control"), ", "),
		Expires: e.Header.Get("Expires"), ETag: e.Header.Get("ETag"),
	}
	if skew, ok := doctor.Skew(e); ok {
		f.ClockSkew = skew.Seconds()
	}
	if e.Err != nil {
		f.Error = e.Err.Error()
	}
	if s := e.TLS; s != nil && len(s.PeerCertificates) > 0 {
		cert := s.PeerCertificates[0]
		f.TLS = &tlsReport{
			Version: tls.VersionName(s.Version), CipherSuite: tls.CipherSuiteName(s.CipherSuite),
			Subject: cert.Subject.String(), Issuer: cert.Issuer.String(), NotAfter: cert.NotAfter.UTC(), TrustedBy: trustedBy,
		}
	}
	return f
}

func newFindingReport(f doctor.Finding, issuer int, fields extauthz.Fields) findingReport {
	r := findingReport{Code: f.Code, Warning: f.Warning, Text: f.Text, Change: f.Change}
	text := f.Text
	if f.Warning {
		text = "warning: " + text
	}
	if f.Change != "" {
		text += ": " + f.Change
	}
	path := fmt.Sprintf("issuers[%d]", issuer)
	if f.Field != "" {
		path += "." + f.Field
	}
	p := fields.Problem(path, text)
	r.Path, r.File, r.Line, r.Column, r.Message = p.Path, p.File, p.Line, p.Column, p.String()
	return r
}

func (r keysReport) err() error {
	warned := false
	for _, i := range r.Issuers {
		for _, f := range i.Findings {
			if !f.Warning {
				return errReported
			}
			warned = true
		}
	}
	if warned {
		return errWarned
	}
	return nil
}

func (r keysReport) write(w io.Writer, format string) error {
	return writeReport(w, format, r, r.text)
}

// text is the report for people: a block for each issuer, what is wrong at its end.
func (r keysReport) text() string {
	var b strings.Builder
	for i := range r.Issuers {
		if i > 0 {
			b.WriteString("\n")
		}
		r.Issuers[i].writeText(&b)
	}
	return b.String()
}

func (r *issuerReport) writeText(b *strings.Builder) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "  %-9s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	state := count(len(r.Keys), "usable key", "usable keys")
	switch {
	case r.Usable:
	case len(r.Findings) > 0 && r.Findings[0].Code == doctor.TenantNeeded:
		state = "not looked at"
	default:
		state = "NO KEYS: its tokens get 503"
	}
	fmt.Fprintf(b, "%s\n", printable(fmt.Sprintf("%s  %s  %s", r.Name, quoted(r.Issuer), state)))
	var shown *tlsReport
	for _, f := range r.Fetches {
		line(f.Kind, "%s", f.text())
		if f.TLS != nil && (shown == nil || *shown != *f.TLS) {
			line("tls", "%s, %s; %s, issued by %s, until %s", f.TLS.Version, f.TLS.CipherSuite, quoted(f.TLS.Subject), quoted(f.TLS.Issuer), f.TLS.NotAfter.Format(time.RFC3339))
			line("", "trusted by %s", map[bool]string{true: "the system's authorities", false: f.TLS.TrustedBy}[f.TLS.TrustedBy == "system"])
			shown = f.TLS
		}
	}
	for _, f := range r.Probes {
		line("tried", "%s", f.text())
	}
	if r.MetadataURL != "" {
		how := map[string]string{"openid": "the OpenID form", "rfc8414": "the RFC 8414 form", "discoveryURL": "the configured URL"}[r.Form]
		if r.MetadataIssuer == r.Issuer {
			line("issuer", "equal in the metadata, byte for byte; found in %s", how)
		} else {
			line("issuer", "NOT equal in the metadata, found in %s: %s", how, doctor.Difference(r.Issuer, r.MetadataIssuer))
		}
	}
	if l := r.Lifetime; l != nil {
		line("kept", "fresh for %s, refreshed after %s, used until %s after the last success", seconds(l.Seconds), seconds(l.RefreshSeconds), seconds(l.StaleSeconds))
	}
	r.writeKeys(b)
	for _, k := range r.Skipped {
		line("skipped", "%s", oidc.SkippedKey{KeyID: k.KeyID, Reason: k.Reason})
	}
	for _, f := range r.Findings {
		mark := "✗"
		if f.Warning {
			mark = "!"
		}
		fmt.Fprintf(b, "%s %s\n", mark, printable(f.Message))
	}
}

// writeKeys writes the keys, each column as wide as it must be.
func (r *issuerReport) writeKeys(b *strings.Builder) {
	var rows [][]string
	for _, k := range r.Keys {
		kid := "(no kid)"
		if k.KeyID != "" {
			kid = quoted(k.KeyID)
		}
		kind := k.Type
		if k.Curve != "" {
			kind += " " + k.Curve
		}
		use := "use " + k.Use
		if k.Use == "" {
			use = "no use"
		}
		rows = append(rows, []string{kid, kind, fmt.Sprintf("%d bits", k.Bits), strings.Join(k.Algorithms, " "), use, k.Thumbprint})
	}
	var widths [6]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(b, "  %-9s", "key")
		for i, cell := range row {
			fmt.Fprintf(b, " %-*s", widths[i], cell)
		}
		b.WriteString("\n")
	}
}

// maxURL is how much of a URL people get to see. The issuer's metadata chose some.
const maxURL = 300

func (f *fetchReport) text() string {
	s := f.URL
	if len(s) > maxURL {
		s = strings.ToValidUTF8(s[:maxURL], "") + "…"
	}
	if f.Status != 0 {
		s += fmt.Sprintf("  %d", f.Status)
	}
	if f.ContentType != "" {
		t, _, err := mime.ParseMediaType(f.ContentType)
		if err != nil {
			t = quoted(f.ContentType)
		}
		s += "  " + t
	}
	s += fmt.Sprintf("  in %s", time.Duration(f.Seconds*float64(time.Second)).Round(time.Millisecond))
	if f.Result != string(oidc.FetchOK) {
		return s + "  " + f.Result
	}
	if f.CacheControl != "" {
		s += "  cache-control " + quoted(f.CacheControl)
	} else if f.Expires != "" {
		s += "  expires " + quoted(f.Expires)
	}
	if f.ETag != "" {
		s += "  etag " + quoted(f.ETag)
	}
	return s
}

func seconds(s float64) string {
	return extauthz.Duration(time.Duration(s * float64(time.Second)).Round(time.Second)).String()
}

// quoted quotes what a server says, and not all of a long text.
func quoted(s string) string {
	const most = 120
	if len(s) > most {
		return strconv.QuoteToASCII(strings.ToValidUTF8(s[:most], "")) + "…"
	}
	return strconv.QuoteToASCII(s)
}
