package oidc

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// metadata is what an issuer publishes about itself (OpenID Connect Discovery
// 1.0 section 3, RFC 8414 section 2), as far as it is used.
type metadata struct {
	issuer  string
	jwksURI string
}

// parseMetadata reads a metadata document. It is one small object of one party,
// so it gets the strict JSON: two members jwks_uri are a trick, not a variant.
func parseMetadata(body []byte) (metadata, error) {
	object, err := parseJSON(string(body))
	if err != nil {
		return metadata{}, &fetchError{FetchMalformed, err}
	}
	text := func(name string) string {
		v, _ := object.Member(name)
		if v.Kind() != KindString {
			return ""
		}
		return v.Text()
	}
	m := metadata{issuer: text("issuer"), jwksURI: text("jwks_uri")}
	if object.Kind() != KindObject || m.issuer == "" || m.jwksURI == "" {
		return metadata{}, failed(FetchMalformed, `not a metadata document: no "issuer" or no "jwks_uri"`)
	}
	return m, nil
}

// issuerOf returns the document's issuer, with the tenant of the issuer that was
// asked for in it if Entra wrote one document for all tenants.
func (m metadata) issuerOf(asked string) string {
	if _, ok := tenantIDIn(m.issuer, asked); ok {
		return asked
	}
	return m.issuer
}

// keysURL returns where the metadata's keys are, if the document may be
// believed: it must name the issuer that was asked for, byte for byte (OpenID
// Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3), and may lead to
// plain http only from a plain http loopback URL, and then only to loopback.
func (m metadata) keysURL(issuer string, from *url.URL, insecure bool) (*url.URL, error) {
	switch {
	case m.issuer == issuer:
	case m.issuer == issuer+"/":
		return nil, failed(FetchRefused, "the document's issuer is not exactly %q: it has a / at its end", issuer)
	case m.issuer+"/" == issuer:
		return nil, failed(FetchRefused, "the document's issuer is not exactly %q: it has no / at its end", issuer)
	default:
		return nil, failed(FetchRefused, "the document's issuer is not exactly %q", issuer)
	}
	fromLoopback := from.Scheme == "http" && isLoopbackHost(from.Hostname())
	u, err := parseFetchURL(m.jwksURI, func(u *url.URL) bool {
		return insecure || fromLoopback && isLoopbackHost(u.Hostname())
	})
	if err != nil {
		return nil, failed(FetchRefused, "jwks_uri is %w", err)
	}
	return u, nil
}

// discoveryForms returns the places where an issuer's metadata may be: the form
// of OpenID Connect Discovery 1.0 section 4, which appends, and that of RFC 8414
// section 3, which inserts.
func discoveryForms(issuer string, insecure bool) ([]*url.URL, error) {
	u, err := parseFetchURL(issuer, func(u *url.URL) bool { return insecure || isLoopbackHost(u.Hostname()) })
	if err != nil {
		return nil, err
	}
	if strings.Contains(issuer, "?") {
		return nil, errors.New("a URL with a query")
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	var forms []*url.URL
	for _, p := range []string{
		path + openIDMetadata,
		rfc8414Metadata + path,
	} {
		form, err := url.Parse(u.Scheme + "://" + u.Host + p)
		if err != nil {
			return nil, fmt.Errorf("not a URL: %w", err)
		}
		forms = append(forms, form)
	}
	return forms, nil
}

// discovered is metadata as it was found.
type discovered struct {
	from    *url.URL
	keysURL *url.URL
	etag    string
	at      time.Time     // of the last answer that was good
	life    time.Duration // how long it is good
}

// due reports whether the metadata should be fetched again. It is due before
// keys of the same lifetime are, so that one refresh does both.
func (d *discovered) due(now time.Time) bool {
	return now.Sub(d.at) >= d.life*6/10
}
