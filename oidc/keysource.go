package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// keySource finds and fetches the key set of one issuer over HTTP. It is not
// for concurrent use: one fetch at a time.
type keySource struct {
	discovery
	issuer  string
	keysURL *url.URL // configured; nil: by discovery

	set      *keySet // the last good one, nil at first
	etag     string  // of set
	etagFrom string  // the URL that set is from
	text     []byte  // set as it came, if snapshots are kept
}

// fetched is what one fetch brought.
type fetched struct {
	set  *keySet
	life time.Duration // how long the set is good, before jitter
	// warning tells of a refresh of the metadata that failed although the keys
	// came, from where they were before.
	warning error
	// snapshot is what came, to be kept on disk; nil if that is not wanted.
	snapshot *snapshot
}

func newKeySource(cfg issuerKeysConfig, fetcher *fetcher, clock func() time.Time) (*keySource, error) {
	s := &keySource{discovery: newDiscovery(cfg, fetcher, clock), issuer: cfg.issuer}
	var err error
	if cfg.jwksURL != "" {
		plainHTTP := func(u *url.URL) bool { return cfg.insecure || isLoopbackHost(u.Hostname()) }
		if s.keysURL, err = parseFetchURL(cfg.jwksURL, plainHTTP); err != nil {
			return nil, fmt.Errorf("JWKSURL is %w", err)
		}
		return s, nil
	}
	if s.forms, err = discoveryPlaces(cfg); err != nil {
		return nil, err
	}
	return s, nil
}

// fetch gets the issuer's keys. With fresh, caches on the way are passed by and
// the set is fetched whether it has changed or not.
func (s *keySource) fetch(ctx context.Context, fresh bool) (fetched, error) {
	defer s.fetcher.end()
	from, warning, err := s.locate(ctx)
	if err != nil {
		return fetched{}, err
	}
	r := request{kind: FetchJWKS, url: from, fresh: fresh}
	if s.etagFrom == from.String() {
		r.etag = s.etag
	}
	set, text := s.set, s.text // unless others come
	resp, err := s.fetcher.get(ctx, r, func(body []byte) (err error) {
		text = body
		set, err = parseKeySet(body)
		return labelKeySet(err)
	})
	if err != nil {
		if s.found != nil {
			s.found.life = 0 // the keys may have moved: ask next time
		}
		return fetched{}, errors.Join(warning, err)
	}
	if !resp.notModified {
		s.set, s.etag, s.etagFrom = set, etagOf(resp), from.String()
	}
	got := fetched{set: set, life: s.keys.lifetime(resp.header, set.life, s.clock()), warning: warning}
	if s.keys.SnapshotFile != "" {
		s.text = text
		got.snapshot = &snapshot{issuer: s.issuer, keysURL: from.String(), keySet: text}
		if s.found != nil {
			got.snapshot.metadataURL = s.found.from.String()
		}
	}
	return got, nil
}

// adopt reports whether a snapshot can be of this source, and goes on from where
// its keys were found: if only discovery is down, keys are fetched from there.
func (s *keySource) adopt(snap snapshot) error {
	if snap.issuer != s.issuer {
		return errors.New("is of another issuer")
	}
	if s.keysURL != nil {
		if snap.metadataURL != "" || snap.keysURL != s.keysURL.String() {
			return errors.New("is of another key set URL")
		}
		return nil
	}
	i := slices.IndexFunc(s.forms, func(form *url.URL) bool { return form.String() == snap.metadataURL })
	if i < 0 {
		return errors.New("is of another discovery URL")
	}
	from, err := metadata{issuer: s.issuer, jwksURI: snap.keysURL}.keysURL(s.issuer, s.forms[i], s.insecure)
	if err != nil {
		return errors.New("is of a key set URL that the rules forbid")
	}
	s.found = &discovered{from: s.forms[i], keysURL: from, at: snap.fetchedAt} // and due at once
	return nil
}

func labelKeySet(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errSetTooLarge):
		return &fetchError{FetchTooLarge, err}
	case errors.Is(err, errSetEmpty), errors.Is(err, errSetUnusable):
		return &fetchError{FetchEmpty, err}
	default:
		return &fetchError{FetchMalformed, err}
	}
}

// etagOf returns an answer's entity tag, "" if it is not worth keeping.
func etagOf(resp response) string {
	if tag := resp.header.Get("ETag"); len(tag) <= maxETagSize {
		return tag
	}
	return ""
}

// locate returns where the key set is. If discovery fails or leads to where the
// rules forbid to go, what it found before holds, for as long as keys would;
// the warning says so.
func (s *keySource) locate(ctx context.Context) (from *url.URL, warning, err error) {
	if s.keysURL != nil {
		return s.keysURL, nil, nil
	}
	now := s.clock()
	if s.found != nil && !s.found.due(now) {
		return s.found.keysURL, nil, nil
	}
	if err := s.discover(ctx); err != nil {
		if s.found == nil || now.Sub(s.found.at) >= s.keys.maxStale() {
			return nil, nil, err
		}
		return s.found.keysURL, err, nil
	}
	return s.found.keysURL, nil, nil
}
