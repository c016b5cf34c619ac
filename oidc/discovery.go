package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// metadata is what an issuer publishes about itself (OpenID Connect Discovery
// 1.0 section 3, RFC 8414 section 2), as far as it is used.
type metadata struct {
	issuer   string
	jwksURI  string
	document Value
}

// parseMetadata reads a metadata document. It is one small object of one party,
// so it gets the strict JSON: two members jwks_uri are a trick, not a variant.
func parseMetadata(body []byte) (metadata, error) {
	m, err := readMetadata(body)
	if err == nil && m.jwksURI == "" {
		return metadata{}, errNotMetadata()
	}
	return m, err
}

func errNotMetadata() error {
	return failed(FetchMalformed, `not a metadata document: no "issuer" or no "jwks_uri"`)
}

// readMetadata is parseMetadata for those who need no keys: RFC 8414 lets
// jwks_uri be absent.
func readMetadata(body []byte) (metadata, error) {
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
	m := metadata{issuer: text("issuer"), jwksURI: text("jwks_uri"), document: object}
	if object.Kind() != KindObject || m.issuer == "" {
		return metadata{}, errNotMetadata()
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
	if err := m.checkIssuer(issuer); err != nil {
		return nil, err
	}
	u, err := parseMetadataURL(m.jwksURI, from, insecure)
	if err != nil {
		return nil, failed(FetchRefused, "jwks_uri is %w", err)
	}
	return u, nil
}

// checkIssuer reports whether the metadata is of the issuer that was asked for.
func (m metadata) checkIssuer(issuer string) error {
	switch {
	case m.issuer == issuer:
		return nil
	case m.issuer == issuer+"/":
		return failed(FetchRefused, "the document's issuer is not exactly %q: it has a / at its end", issuer)
	case m.issuer+"/" == issuer:
		return failed(FetchRefused, "the document's issuer is not exactly %q: it has no / at its end", issuer)
	default:
		return failed(FetchRefused, "the document's issuer is not exactly %q", issuer)
	}
}

// parseMetadataURL applies the rules of CheckFetchURL to a URL that metadata from
// a place names: plain http only from a plain http loopback URL to loopback.
func parseMetadataURL(raw string, from *url.URL, insecure bool) (*url.URL, error) {
	fromLoopback := from.Scheme == "http" && isLoopbackHost(from.Hostname())
	return parseFetchURL(raw, func(u *url.URL) bool {
		return insecure || fromLoopback && isLoopbackHost(u.Hostname())
	})
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

// discoveryPlaces returns where the configured issuer's metadata may be.
func discoveryPlaces(cfg issuerKeysConfig) ([]*url.URL, error) {
	if cfg.discoveryURL != "" {
		u, err := parseFetchURL(cfg.discoveryURL, func(u *url.URL) bool { return cfg.insecure || isLoopbackHost(u.Hostname()) })
		if err != nil {
			return nil, fmt.Errorf("DiscoveryURL is %w", err)
		}
		return []*url.URL{u}, nil
	}
	forms, err := discoveryForms(cfg.issuer, cfg.insecure)
	if err != nil {
		return nil, fmt.Errorf("Issuer is %w; without JWKSURL and DiscoveryURL it must be a URL to discover keys from", err)
	}
	return forms, nil
}

// discovered is metadata as it was found.
type discovered struct {
	from     *url.URL
	keysURL  *url.URL // nil if the document names none and none is needed
	document Value    // null if keys are needed
	etag     string
	at       time.Time     // of the last answer that was good
	life     time.Duration // how long it is good
}

// discovery finds and fetches the metadata of one issuer over HTTP. It is not
// for concurrent use.
type discovery struct {
	expects  string // the metadata's issuer
	insecure bool
	template bool // the metadata's issuer may have {tenantid}
	needKeys bool // metadata without jwks_uri is none
	keys     KeysConfig
	clock    func() time.Time
	fetcher  *fetcher

	forms []*url.URL // where the metadata may be

	// onMetadata is told of each metadata document, before it is judged; nil for
	// nobody.
	onMetadata func(from *url.URL, m metadata)

	found *discovered // nil until discovery worked
}

// newDiscovery leaves it to the caller to say where the metadata may be.
func newDiscovery(cfg issuerKeysConfig, fetcher *fetcher, clock func() time.Time) discovery {
	return discovery{
		expects: cmp.Or(cfg.metadataIssuer, cfg.issuer), insecure: cfg.insecure, template: cfg.templateMetadata,
		needKeys: true, keys: cfg.keys, clock: clock, fetcher: fetcher,
	}
}

// due reports whether the metadata should be fetched again. It is due before
// keys of the same lifetime are, so that one refresh does both.
func (d *discovered) due(now time.Time) bool {
	return now.Sub(d.at) >= d.life*6/10
}

// discover tries the forms, the one that worked last time first. An issuer that
// cannot be reached at one is not asked for the other: that would only double
// the wait.
func (s *discovery) discover(ctx context.Context) error {
	forms := slices.Clone(s.forms)
	if s.found != nil && len(forms) == 2 && s.found.from == forms[1] {
		slices.Reverse(forms)
	}
	var errs []error
	for _, form := range forms {
		err := s.discoverAt(ctx, form)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if !answered(err) {
			break
		}
	}
	return errors.Join(errs...)
}

// answered reports whether a failed fetch got a whole answer from the issuer's
// server.
func answered(err error) bool {
	var fe *fetchError
	var unreadable *fileError
	if !errors.As(err, &fe) || errors.As(err, &unreadable) || errors.Is(err, errRefused) {
		return false
	}
	switch fe.result {
	case FetchTimeout, FetchConnect, FetchTLS:
		return false
	default:
		return true
	}
}

func (s *discovery) discoverAt(ctx context.Context, form *url.URL) error {
	r := request{kind: FetchDiscovery, url: form}
	var known discovered
	if s.found != nil && s.found.from == form {
		known = *s.found
		r.etag = known.etag
	}
	resp, err := s.fetcher.get(ctx, r, func(body []byte) error {
		m, err := readMetadata(body)
		if err != nil {
			return err
		}
		if s.needKeys && m.jwksURI == "" {
			return errNotMetadata()
		}
		if s.template {
			m.issuer = m.issuerOf(s.expects)
		}
		if s.onMetadata != nil {
			s.onMetadata(form, m)
		}
		if !s.needKeys { // for keys it is not worth its memory
			known.document = m.document
		}
		if m.jwksURI == "" {
			known.keysURL = nil
			return m.checkIssuer(s.expects)
		}
		known.keysURL, err = m.keysURL(s.expects, form, s.insecure)
		return err
	})
	if err != nil {
		return err
	}
	known.from = form
	known.at = s.clock()
	known.life = s.keys.lifetime(resp.header, 0, known.at)
	if !resp.notModified {
		known.etag = etagOf(resp)
	}
	s.found = &known
	return nil
}
