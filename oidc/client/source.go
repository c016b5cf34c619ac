package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// TokenFunc gets a new token: one of Client's methods with its parameters. A
// [TokenSource] calls it from one goroutine at a time.
type TokenFunc func(ctx context.Context) (*TokenResponse, error)

// SourceConfig says how a [TokenSource] keeps its token. The zero SourceConfig is
// what most programs need.
type SourceConfig struct {
	// Early is how long before its end a token is replaced: if zero, 60 s or a tenth
	// of its life, whichever is longer. It is half of its life at most.
	Early time.Duration
	// Lifetime is that of tokens whose answer does not say: 5 min if zero.
	Lifetime time.Duration
	// OnToken is called with each new token before it is served, for programs that
	// keep refresh tokens; nil is allowed. If it fails the token is not served.
	OnToken func(ctx context.Context, token *TokenResponse) error
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
	// Logger gets a line when a token cannot be replaced while the old one is still
	// good, which no caller learns; nil discards.
	Logger *slog.Logger
}

const (
	minEarly        = time.Minute
	defaultLifetime = 5 * time.Minute
	transit         = 10 * time.Second // a token must not end on its way
	minRenewAge     = 10 * time.Second // a younger token is not doubted
	minRetry        = time.Second
	maxRetry        = time.Minute
)

// TokenSource keeps one access token and hands it out: for calls between services,
// of which each needs a token and none should wait for one. It is safe for
// concurrent use.
//
// The token is asked for once, however many callers want it. Before it ends a new
// one is asked for in the background, and the old one is handed out until that
// comes; a failure is tried again after a second, after more in a row up to a minute
// later. Nobody ever gets a token that has ended: without a good one callers wait,
// and get the error if there is one. Errors are not remembered.
//
// Without [TokenSource.Run] a token is replaced when a caller comes and sees that it
// is old; with it at its time, so that not even the first caller after a pause waits.
type TokenSource struct {
	get    TokenFunc
	cfg    SourceConfig
	clock  func() time.Time
	logger *slog.Logger

	held atomic.Pointer[heldToken]

	ctx     context.Context // of flights
	cancel  context.CancelFunc
	flights sync.WaitGroup

	mu       sync.Mutex // guards what follows; never held over I/O or a callback
	flight   *renewal   // under way, nil if none
	failures int        // in a row
	retryAt  time.Time  // nobody replaces a good token before
	closed   bool
	changed  chan struct{} // closed when a flight has ended or a token was rejected
}

// heldToken is a token and when what is due. It is immutable.
type heldToken struct {
	token   *TokenResponse
	got     time.Time
	renewAt time.Time // from then on it is replaced
	goodTil time.Time // from then on it is not handed out
}

// renewal is one call of get.
type renewal struct {
	done chan struct{} // closed at its end
	err  error         // nil if the source holds a new token
}

// ErrClosed is what a closed [TokenSource] answers.
const ErrClosed = sourceError("client: the token source is closed")

type sourceError string

func (e sourceError) Error() string { return string(e) }

// NewTokenSource returns a source that keeps what get gets, or all that is wrong
// with cfg. It asks for nothing yet. The caller must Close it. For the usual ones see
// [Client.ClientCredentialsSource] and [Client.RefreshSource].
func NewTokenSource(get TokenFunc, cfg SourceConfig) (*TokenSource, error) {
	var faults []error
	if get == nil {
		faults = append(faults, errors.New("client: a token source without a TokenFunc"))
	}
	if cfg.Early < 0 {
		faults = append(faults, errors.New("client: Early is negative"))
	}
	if cfg.Lifetime < 0 {
		faults = append(faults, errors.New("client: Lifetime is negative"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s := &TokenSource{get: get, cfg: cfg, clock: cfg.Clock, logger: cfg.Logger, changed: make(chan struct{})}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// ClientCredentialsSource returns a source of tokens for the client itself. Clock and
// Logger are the client's if cfg has none. Close the source before the client.
func (c *Client) ClientCredentialsSource(params TokenParams, cfg SourceConfig) (*TokenSource, error) {
	return NewTokenSource(func(ctx context.Context) (*TokenResponse, error) {
		return c.ClientCredentials(ctx, params)
	}, c.sourceConfig(cfg))
}

// RefreshSource returns a source of tokens for a user's session: each new token is
// had by the refresh token that came with the one before. token is the one to begin
// with, of a login; it need not have an access token that is still good. Keep
// the refresh tokens that OnToken sees if the session is to outlive the program.
// After [ErrInvalidGrant] the session is over: the source asks no more.
func (c *Client) RefreshSource(token *TokenResponse, params RefreshParams, cfg SourceConfig) (*TokenSource, error) {
	if token == nil || token.RefreshToken.IsZero() {
		return nil, errors.New("client: a refresh source without a refresh token")
	}
	refreshToken := token.RefreshToken
	if params.Previous == nil {
		params.Previous = token.ID
	}
	var over error
	s, err := NewTokenSource(func(ctx context.Context) (*TokenResponse, error) {
		if over != nil {
			return nil, over
		}
		next, err := c.Refresh(ctx, refreshToken, params)
		if err != nil {
			if errors.Is(err, ErrInvalidGrant) {
				over = err
			}
			return nil, err
		}
		refreshToken = next.RefreshToken
		return next, nil
	}, c.sourceConfig(cfg))
	if err != nil {
		return nil, err
	}
	if !token.AccessToken.IsZero() && !token.Expiry.IsZero() {
		s.held.Store(s.hold(token, s.clock()))
	}
	return s, nil
}

func (c *Client) sourceConfig(cfg SourceConfig) SourceConfig {
	if cfg.Clock == nil {
		cfg.Clock = c.clock
	}
	if cfg.Logger == nil {
		cfg.Logger = c.logger
	}
	return cfg
}

// hold says when what is due with a token that came now.
func (s *TokenSource) hold(t *TokenResponse, now time.Time) *heldToken {
	expiry := t.Expiry
	if expiry.IsZero() {
		lifetime := s.cfg.Lifetime
		if lifetime == 0 {
			lifetime = defaultLifetime
		}
		expiry = now.Add(lifetime)
	}
	life := expiry.Sub(now)
	return &heldToken{token: t, got: now, renewAt: expiry.Add(-early(life, s.cfg.Early)), goodTil: expiry.Add(-min(transit, life/10))}
}

// early returns how long before its end a token is replaced that lives so long.
func early(life, want time.Duration) time.Duration {
	if want == 0 {
		want = max(minEarly, life/10)
		want += rand.N(want/10 + 1) //nolint:gosec // no secret: it only keeps replicas from asking at once
	}
	return max(0, min(want, life/2))
}

// Token returns a token that is good for some time yet. It waits only if there is
// none, until ctx ends; the request goes on for those who come later. The token is
// shared: treat it as read-only.
func (s *TokenSource) Token(ctx context.Context) (*TokenResponse, error) {
	for {
		h, now := s.held.Load(), s.clock()
		good := h != nil && now.Before(h.goodTil)
		if good && now.Before(h.renewAt) {
			return h.token, nil
		}
		r, err := s.renew(now, h, good)
		switch {
		case good: // and whatever comes is for later
			return h.token, nil
		case err != nil:
			return nil, err
		case r == nil: // another token is there by now
			continue
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("client: waiting for a token: %w", context.Cause(ctx))
		}
		if r.err != nil {
			return nil, r.err
		}
	}
}

// renew has the token that replaces h asked for, and returns that renewal, also if
// it is under way already. It returns nil if h was replaced by now, and for a token
// that is still good also if replacing it failed a moment ago.
func (s *TokenSource) renew(now time.Time, h *heldToken, good bool) (*renewal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.flight != nil:
		return s.flight, nil
	case s.held.Load() != h || good && now.Before(s.retryAt):
		return nil, nil
	}
	r := &renewal{done: make(chan struct{})}
	s.flight = r
	s.flights.Go(func() { s.fly(r) })
	return r, nil
}

// fly gets a token and tells those who wait.
func (s *TokenSource) fly(r *renewal) {
	token, err := s.get(s.ctx)
	if err == nil && (token == nil || token.AccessToken.IsZero() || token.TokenType == typeNone) {
		err = errors.New("client: what came is no access token")
	}
	if err == nil && s.cfg.OnToken != nil {
		err = s.cfg.OnToken(s.ctx, token)
	}
	now := s.clock()
	var h *heldToken
	if err == nil {
		if h = s.hold(token, now); !now.Before(h.goodTil) {
			err = errors.New("client: the provider's token has ended before it came: check both clocks")
		}
	}
	r.err = err

	s.mu.Lock()
	s.flight = nil
	if err == nil {
		s.failures, s.retryAt = 0, time.Time{}
		s.held.Store(h)
	} else {
		s.retryAt = now.Add(max(min(minRetry<<min(s.failures, 6), maxRetry), min(RetryAfter(err), maxRetry)))
		s.failures++
	}
	s.signal()
	closed, old := s.closed, s.held.Load()
	s.mu.Unlock()
	close(r.done)
	if err != nil && !closed && old != nil && now.Before(old.goodTil) {
		s.logger.LogAttrs(s.ctx, slog.LevelWarn, "the token could not be replaced; the old one is used",
			slog.Time("until", old.goodTil), slog.String("error", err.Error()))
	}
}

// signal tells Run that something has changed. It is called with mu held.
func (s *TokenSource) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Reject says that a token was not accepted although it should be good: by a
// resource that answered 401, for example. If it is the one that the source holds,
// it is not handed out again, and Reject returns true: ask for another. It returns
// false for a token that is younger than 10 s, whose refusal a new one would not
// change; so a resource that refuses everything does not cause a token request
// for each of its own.
func (s *TokenSource) Reject(token Secret) bool {
	h := s.held.Load()
	switch {
	case h == nil || !h.token.AccessToken.Equal(token):
		return true // it was replaced already
	case s.clock().Sub(h.got) < minRenewAge:
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held.CompareAndSwap(h, nil) {
		s.signal()
	}
	return true
}

// Run replaces tokens at their time, whether callers come or not, until ctx ends or
// the source is closed. It asks for the first one at once. It always returns nil.
func (s *TokenSource) Run(ctx context.Context) error {
	for {
		s.mu.Lock()
		changed, wait, closed := s.changed, s.wait(), s.closed
		s.mu.Unlock()
		if closed || ctx.Err() != nil {
			return nil //nolint:nilerr // that is how it ends
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.ctx.Done():
		case <-changed:
		case <-timer.C:
			h, now := s.held.Load(), s.clock()
			if h == nil || !now.Before(h.renewAt) {
				_, _ = s.renew(now, h, true) // the end of the source ends this loop too
			}
		}
		timer.Stop()
	}
}

// wait returns how long there is nothing to do for Run. It is called with mu held.
func (s *TokenSource) wait() time.Duration {
	now := s.clock()
	due := s.retryAt
	if h := s.held.Load(); h != nil && h.renewAt.After(due) {
		due = h.renewAt
	}
	if s.flight != nil {
		return maxTokenLife // until it ends
	}
	return max(0, due.Sub(now))
}

// Close ends what is under way and waits for it. Token answers [ErrClosed] from now
// on, once the token that it holds has ended.
func (s *TokenSource) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.flights.Wait()
}
