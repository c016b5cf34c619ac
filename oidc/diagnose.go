package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Diagnosis is what one look at an issuer brought: facts, for a person or a program
// to judge. Much of it is what the issuer's server says: quote it.
type Diagnosis struct {
	Issuer string // as configured
	Name   string // short name

	// Fetches are those that a [Validator] would have made, in their order.
	Fetches []FetchEvent
	// Probes are other places where metadata could be, asked because it is not where
	// it should be. Nothing that they brought is used.
	Probes []Probe

	// MetadataURL is where the metadata came from, "" if there is none; of several that
	// name another issuer, the first. MetadataIssuer is the issuer that it names, cut at
	// 2 KiB: discovery works only if that equals Issuer.
	MetadataURL    string
	MetadataIssuer string
	// KeysURL is the configured or discovered URL of the key set, without its query;
	// "" if it was not found.
	KeysURL string

	// Keys can verify tokens, and Skipped are in the same set and cannot: 128 in all.
	Keys    []KeyInfo
	Skipped []SkippedKey

	// Lifetime is how long the keys are good by the answer's headers and the
	// configuration, RefreshAfter when their refresh is due, and StaleAfter when they
	// are no longer used if it fails: all from now, without jitter. They are zero
	// without keys.
	Lifetime, RefreshAfter, StaleAfter time.Duration

	// Err is why there are no keys, nil if there are some.
	Err error
}

// Probe is a fetch of metadata from a place where it could be.
type Probe struct {
	Fetch  FetchEvent // how it ended
	Issuer string     // that the document names, cut at 2 KiB; "" without a document
}

// KeyInfo describes a public key of an issuer.
type KeyInfo struct {
	KeyID      string      // kid, "" if absent. The issuer chose it: quote it
	Type       string      // kty: RSA, EC or OKP
	Curve      string      // crv, "" for RSA
	Bits       int         // of the modulus or the curve
	Use        string      // use, "" if absent
	Algorithms []Algorithm // that it can verify; one if it has alg
	Thumbprint string      // SHA-256, base64url (RFC 7638)
}

// ErrTenantNeeded is why an issuer could not be looked at: each of its tenants has
// keys of its own, and no tenant is listed in Tenants.Allow.
var ErrTenantNeeded = errors.New("its tenants are not listed: name one of them")

const (
	maxProbes       = 6
	maxShownIssuer  = 2 << 10
	openIDMetadata  = "/.well-known/openid-configuration"
	rfc8414Metadata = "/.well-known/oauth-authorization-server"
)

// Diagnose looks at one issuer once, as a Validator does when it first needs keys:
// by the same code, under the same rules and limits. If the issuer's server has no
// metadata where it should be, a few other places on the issuer's own origin are
// asked, so that the right one can be named. It returns an error if the configuration
// is wrong; whatever the issuer does is in the Diagnosis. Of an issuer whose tenants
// have keys of their own, the first one in Tenants.Allow is looked at, and without a
// list the error is [ErrTenantNeeded].
func Diagnose(ctx context.Context, ic IssuerConfig) (Diagnosis, error) {
	d := Diagnosis{Issuer: ic.Issuer, Name: ic.Name}
	rules, known := ic.Preset.Rules()
	templates, err := ic.Preset.TenantTemplates(ic.Issuer)
	if err != nil {
		return d, fmt.Errorf("oidc: issuer %q: %s %w", ic.Name, ic.Issuer, err)
	}
	cfg := ic.keysConfig(rules, templates)
	if ic.fetchesByTenant(templates) {
		if len(ic.Tenants.Allow) == 0 {
			return d, fmt.Errorf("oidc: issuer %q: %w", ic.Name, ErrTenantNeeded)
		}
		cfg = cfg.forTenant(ic.Tenants.Allow[0])
		ic.Issuer, d.Issuer = cfg.issuer, cfg.issuer
	}
	var presetErr error
	if !known {
		presetErr = fmt.Errorf("there is no preset %q", ic.Preset)
	}
	if err := errors.Join(presetErr, cfg.http.check(), cfg.keys.check()); err != nil {
		return d, fmt.Errorf("oidc: issuer %q: %w", ic.Name, err)
	}
	var events []FetchEvent
	note := func(e FetchEvent) { events = append(events, e) }
	if cfg.jwksFile != "" {
		source, err := newFileSource(cfg, time.Now, note)
		if err != nil {
			return d, fmt.Errorf("oidc: issuer %q: %w", ic.Name, err)
		}
		got, err := source.fetch(ctx, false)
		d.Fetches = events
		d.take(got, err, ic.Keys)
		return d, nil
	}
	fetcher := newFetcher(cfg, time.Now, note)
	source, err := newKeySource(cfg, fetcher, time.Now)
	if err != nil {
		return d, fmt.Errorf("oidc: issuer %q: %w", ic.Name, err)
	}
	source.onMetadata = func(from *url.URL, m metadata) {
		if d.MetadataURL == "" || m.issuer == ic.Issuer {
			d.MetadataURL, d.MetadataIssuer = displayURL(from), cut(m.issuer)
		}
	}
	got, err := source.fetch(ctx, false)
	d.Fetches = events
	d.take(got, err, ic.Keys)
	switch {
	case source.keysURL != nil:
		d.KeysURL = displayURL(source.keysURL)
	case source.found != nil:
		d.KeysURL = displayURL(source.found.keysURL)
	}
	if err != nil && source.found == nil && source.keysURL == nil && d.MetadataURL == "" && answered(err) {
		d.Probes = probe(ctx, source, fetcher, &events)
	}
	return d, nil
}

func cut(s string) string { return s[:min(len(s), maxShownIssuer)] }

// take takes over what a fetch brought.
func (d *Diagnosis) take(got fetched, err error, cfg KeysConfig) {
	d.Err = err
	if err != nil {
		var unusable *unusableSet
		if errors.As(err, &unusable) {
			d.Skipped = unusable.skipped
		}
		return
	}
	for _, k := range got.set.keys {
		d.Keys = append(d.Keys, k.info())
	}
	d.Skipped = got.set.skipped
	d.Lifetime, d.RefreshAfter = freshness(got.life, 0)
	d.StaleAfter = cfg.maxStale()
}

// probe asks for metadata at places where it was not looked for yet. events is where
// the fetcher reports.
func probe(ctx context.Context, s *keySource, f *fetcher, events *[]FetchEvent) []Probe {
	defer f.end()
	asked := map[string]bool{}
	for _, e := range *events {
		asked[e.URL] = true
	}
	var list []Probe
	for _, u := range probePlaces(s.issuer, s.insecure) {
		if asked[displayURL(u)] || len(list) == maxProbes || ctx.Err() != nil {
			continue
		}
		asked[displayURL(u)] = true
		*events = nil
		var p Probe
		_, err := f.get(ctx, request{kind: FetchDiscovery, url: u, fresh: true}, func(body []byte) error {
			m, err := parseMetadata(body)
			p.Issuer = cut(m.issuer)
			return err
		})
		if len(*events) == 0 { // given up
			break
		}
		p.Fetch = (*events)[0]
		list = append(list, p)
		if err != nil && !answered(err) {
			break
		}
	}
	return list
}

// probePlaces are where people and providers put metadata: the two forms, each
// appended and inserted, with and without a slash at the end, and at the root. All are
// on the issuer's own origin; there are none for an issuer that is no URL.
func probePlaces(issuer string, insecure bool) []*url.URL {
	u, err := parseFetchURL(issuer, func(u *url.URL) bool { return insecure || isLoopbackHost(u.Hostname()) })
	if err != nil {
		return nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	var places []*url.URL
	for _, p := range []string{
		path + openIDMetadata,
		rfc8414Metadata + path,
		openIDMetadata + path,
		path + rfc8414Metadata,
		rfc8414Metadata + path + "/",
		path + openIDMetadata + "/",
		openIDMetadata,
		rfc8414Metadata,
	} {
		if place, err := url.Parse(u.Scheme + "://" + u.Host + p); err == nil {
			places = append(places, place)
		}
	}
	return places
}

// info describes a key.
func (k key) info() KeyInfo {
	i := KeyInfo{KeyID: k.kid, Use: k.use}
	switch pub := k.pub.(type) {
	case *rsa.PublicKey:
		i.Type, i.Bits = "RSA", pub.N.BitLen()
	case *ecdsa.PublicKey:
		i.Type, i.Curve, i.Bits = "EC", pub.Curve.Params().Name, pub.Curve.Params().BitSize
	case ed25519.PublicKey:
		i.Type, i.Curve, i.Bits = "OKP", "Ed25519", 256
	}
	for _, a := range Algorithms() {
		// EdDSA and Ed25519 are two names of one.
		if k.algs&a.bit() != 0 && !slices.ContainsFunc(i.Algorithms, func(b Algorithm) bool { return b.bit() == a.bit() }) {
			i.Algorithms = append(i.Algorithms, a)
		}
	}
	i.Thumbprint, _ = Thumbprint(k.pub) // "" for none
	return i
}
