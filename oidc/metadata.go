package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// ParseJSON reads exactly one JSON value, by RFC 8259 and stricter: valid UTF-8
// without lone surrogates, no member twice in any object, names compared exactly,
// 32 levels and 256 members in an object at most. The caller bounds the size.
func ParseJSON(text string) (Value, error) { return parseJSON(text) }

// FetchResultOf returns how a fetch, or a request of [HTTPConfig.NewClient]'s client,
// ended that failed with err: "" if err does not say.
func FetchResultOf(err error) FetchResult {
	var fe *fetchError
	switch {
	case errors.As(err, &fe):
		return fe.result
	case errors.Is(err, errRefused):
		return FetchRefused
	default:
		return ""
	}
}

// MetadataConfig is what a [MetadataSource] is made from.
type MetadataConfig struct {
	// Issuer is what the metadata must name, byte for byte: an https URL, or http
	// on loopback. Required.
	Issuer string
	// DiscoveryURL is where the metadata is; "" looks at both places where the
	// standards put it.
	DiscoveryURL string
	// HTTP says how the issuer is reached.
	HTTP HTTPConfig
	// Insecure allows plain http off loopback.
	Insecure bool
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
	// OnFetch is called after each fetch; nil is allowed. Its events have no
	// IssuerName.
	OnFetch func(FetchEvent)
}

// MetadataSource is the metadata of one issuer (OpenID Connect Discovery 1.0,
// RFC 8414), for clients that need more of it than a [Validator] does: it is
// fetched when it is first asked for, kept for as long as the answer says (five
// minutes to a day, an hour if it does not say), and then fetched again. While
// that fails the last good document holds. It is safe for concurrent use and
// starts nothing.
type MetadataSource struct {
	issuer   string
	insecure bool
	clock    func() time.Time

	turn   chan struct{} // held by the one who fetches; guards source
	source discovery
	last   atomic.Pointer[metadataState]
}

// metadataState is what readers see. It is immutable.
type metadataState struct {
	metadata *Metadata // the last good one, nil if none came yet
	until    time.Time // nobody fetches before
	err      error     // why the last fetch failed
	failures int       // in a row
}

// Metadata is a metadata document whose issuer is the one that was asked for.
type Metadata struct {
	// Document is the whole document, an object.
	Document Value
	// From is where it was found.
	From string

	from     *url.URL
	insecure bool
}

// EndpointURL reports whether a URL that the document names may be used: https,
// without user and fragment; plain http is accepted only if the document itself
// was at a plain http loopback URL and the URL is on loopback, or if the
// configuration is insecure.
func (m *Metadata) EndpointURL(raw string) (*url.URL, error) {
	if m.from == nil {
		return nil, errors.New("of no document")
	}
	return parseMetadataURL(raw, m.from, m.insecure)
}

// NewMetadataSource checks cfg. It does no I/O.
func NewMetadataSource(cfg MetadataConfig) (*MetadataSource, error) {
	kc := issuerKeysConfig{issuer: cfg.Issuer, discoveryURL: cfg.DiscoveryURL, http: cfg.HTTP, insecure: cfg.Insecure}
	var faults []error
	if cfg.Issuer == "" {
		faults = append(faults, errors.New("oidc: Issuer is empty"))
	}
	if err := cfg.HTTP.check(); err != nil {
		faults = append(faults, fmt.Errorf("oidc: %w", err))
	}
	var forms []*url.URL
	if cfg.Issuer != "" {
		var err error
		if forms, err = discoveryPlaces(kc); err != nil {
			faults = append(faults, errors.New("oidc: "+strings.Replace(err.Error(), "JWKSURL and ", "", 1)))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	clock := cfg.Clock
	if clock == nil {
		clock = time.Now
	}
	s := &MetadataSource{issuer: cfg.Issuer, insecure: cfg.Insecure, clock: clock, turn: make(chan struct{}, 1)}
	s.source = newDiscovery(kc, newFetcher(kc, clock, cfg.OnFetch), clock)
	s.source.needKeys = false
	s.source.forms = forms
	s.last.Store(&metadataState{})
	return s, nil
}

// Metadata returns the issuer's metadata. If it has to be fetched, one caller
// does so, with its ctx; others use the last good document, or wait until their
// ctx ends if there is none. After a failure nobody tries again for one second,
// after more in a row up to a minute.
func (s *MetadataSource) Metadata(ctx context.Context) (*Metadata, error) {
	if s.turn == nil {
		return nil, errors.New("oidc: the zero MetadataSource has no metadata")
	}
	for {
		state := s.last.Load()
		if s.clock().Before(state.until) {
			return state.metadata, state.orError()
		}
		if state.metadata != nil {
			select {
			case s.turn <- struct{}{}:
			default:
				return state.metadata, nil
			}
		} else {
			select {
			case s.turn <- struct{}{}:
			case <-ctx.Done():
				return nil, fmt.Errorf("oidc: metadata of %s: %w", s.issuer, context.Cause(ctx))
			}
		}
		if s.last.Load() != state { // another was faster
			<-s.turn
			continue
		}
		state = s.fetch(ctx, state)
		<-s.turn
		return state.metadata, state.orError()
	}
}

// orError returns why there is no metadata.
func (s *metadataState) orError() error {
	if s.metadata != nil {
		return nil
	}
	return s.err
}

// fetch returns the state after a fetch. It is called with the turn held.
func (s *MetadataSource) fetch(ctx context.Context, before *metadataState) *metadataState {
	defer s.source.fetcher.end()
	err := s.source.discover(ctx)
	if FetchResultOf(err) == FetchConnect && ctx.Err() == nil && !errors.Is(err, errRefused) {
		err = s.source.discover(ctx) // once: a connection breaks now and then
	}
	after := *before
	switch {
	case err == nil:
		found := s.source.found
		after = metadataState{
			metadata: &Metadata{Document: found.document, From: displayURL(found.from), from: found.from, insecure: s.insecure},
			until:    found.at.Add(found.life),
		}
	case ctx.Err() != nil: // given up: that says nothing of the issuer
		after.err = fmt.Errorf("oidc: metadata of %s: %w", s.issuer, context.Cause(ctx))
		return &after
	default:
		after.failures++
		after.err = fmt.Errorf("oidc: metadata of %s: %w", s.issuer, err)
		after.until = s.clock().Add(min(time.Second<<min(after.failures-1, 6), time.Minute))
	}
	s.last.Store(&after)
	return &after
}

// Err returns why the last fetch failed, nil if it did not, or if there was none.
func (s *MetadataSource) Err() error {
	if state := s.last.Load(); state != nil {
		return state.err
	}
	return nil
}
