package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/claimgate/claimgate/oidc/client"
	"github.com/claimgate/claimgate/oidc/oidctest"
)

// provider stands for a token endpoint that takes its time: a TokenFunc whose tokens
// are numbered.
type tokens struct {
	life  time.Duration // of each token; zero does not say
	takes time.Duration // each request
	fail  atomic.Pointer[error]

	mu     sync.Mutex
	calls  int
	active int
	most   int // requests at once
}

func (p *tokens) get(ctx context.Context) (*client.TokenResponse, error) {
	p.mu.Lock()
	p.calls++
	n := p.calls
	p.active++
	p.most = max(p.most, p.active)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.active--
		p.mu.Unlock()
	}()
	asked := time.Now()
	select {
	case <-time.After(p.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := p.fail.Load(); err != nil {
		return nil, *err
	}
	t := &client.TokenResponse{AccessToken: client.NewSecret(fmt.Sprint("token-", n)), TokenType: "Bearer"}
	if p.life != 0 {
		t.Expiry = asked.Add(p.life)
	}
	return t, nil
}

func (p *tokens) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func source(t *testing.T, p *tokens, cfg client.SourceConfig) *client.TokenSource {
	t.Helper()
	s, err := client.NewTokenSource(p.get, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func text(t *testing.T, s *client.TokenSource) string {
	t.Helper()
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken.Reveal()
}

// A thousand callers, for two hours: one request for each renewal, nobody waits but
// for the first token, and nobody gets one that has ended.
func TestThousandCallersMakeOneRequestForEachRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: 10 * time.Minute, takes: 3 * time.Second}
		s := source(t, p, client.SourceConfig{})
		var callers sync.WaitGroup
		var waited atomic.Int64
		const hours = 2 * time.Hour
		begin := time.Now()
		for n := range 1000 {
			callers.Go(func() {
				time.Sleep(time.Duration(n) * time.Millisecond)
				for time.Since(begin) < hours {
					before := time.Now()
					token, err := s.Token(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					if !time.Now().Before(token.Expiry) {
						t.Errorf("%s has ended", token.AccessToken.Reveal())
					}
					if time.Since(before) > 0 {
						waited.Add(1)
					}
					time.Sleep(time.Minute)
				}
			})
		}
		callers.Wait()
		// A token lives for ten minutes and is replaced a minute before that, or a few
		// seconds earlier.
		if n := p.requests(); n < 13 || n > 15 || p.most != 1 {
			t.Errorf("%d requests in two hours, %d at once; want one each nine minutes", n, p.most)
		}
		if n := waited.Load(); n != 1000 {
			t.Errorf("%d waits, want one of each caller, for the first token", n)
		}
	})
}

func TestOldTokenIsServedWhileItIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: 10 * time.Minute, takes: 3 * time.Second}
		s := source(t, p, client.SourceConfig{Early: 2 * time.Minute})
		steps := []struct {
			at   time.Duration
			want string
			n    int // requests by then
		}{
			{0, "token-1", 1},
			{7 * time.Minute, "token-1", 1},
			{8 * time.Minute, "token-1", 2}, // and a new one is asked for
			{8*time.Minute + 2*time.Second, "token-1", 2},
			{8*time.Minute + 4*time.Second, "token-2", 2},
			{17 * time.Minute, "token-2", 3},
			{50 * time.Minute, "token-4", 4}, // nobody has asked for a long time
		}
		begin := time.Now()
		for _, step := range steps {
			time.Sleep(time.Until(begin.Add(step.at)))
			if got := text(t, s); got != step.want {
				t.Errorf("%s: %s, want %s", step.at, got, step.want)
			}
			synctest.Wait()
			if n := p.requests(); n != step.n {
				t.Errorf("%s: %d requests, want %d", step.at, n, step.n)
			}
		}
	})
}

// A renewal that fails is tried again, less and less often, and the old token is
// good to its end. Then callers get the error, each a new one.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: 10 * time.Minute}
		var log strings.Builder
		s := source(t, p, client.SourceConfig{Early: 2 * time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		text(t, s)
		down := errors.New("the provider is down")
		p.fail.Store(&down)
		begin := time.Now()
		var tries []string
		last := 1
		for time.Since(begin) < 9*time.Minute+50*time.Second {
			if got := text(t, s); got != "token-1" {
				t.Fatalf("after %s: %s", time.Since(begin), got)
			}
			synctest.Wait()
			if n := p.requests(); n != last {
				tries = append(tries, fmt.Sprint((time.Since(begin) - 8*time.Minute).Seconds()))
				last = n
			}
			time.Sleep(time.Second)
		}
		if got, want := strings.Join(tries, " "), "0 1 3 7 15 31 63"; got != want {
			t.Errorf("tried %s seconds after it was due, want %s", got, want)
		}
		if n := strings.Count(log.String(), "the token could not be replaced; the old one is used"); n != 7 || strings.Contains(log.String(), "token-1") {
			t.Errorf("logged %d times: %s", n, log.String())
		}
		for range 3 {
			if token, err := s.Token(t.Context()); !errors.Is(err, down) || token != nil {
				t.Errorf("a token that has nearly ended: %v", err)
			}
		}
		if n := p.requests(); n != last+3 {
			t.Errorf("%d requests: an error was remembered", n-last)
		}
		p.fail.Store(nil)
		if got := text(t, s); !strings.HasPrefix(got, "token-") || got == "token-1" {
			t.Errorf("the provider is back: %s", got)
		}
	})
}

// Callers wait for as long as they want to; the request goes on without them.
func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: time.Hour, takes: 5 * time.Second}
		s := source(t, p, client.SourceConfig{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		begin := time.Now()
		if got := text(t, s); got != "token-1" || time.Since(begin) != 4*time.Second {
			t.Errorf("%s after %s", got, time.Since(begin))
		}
	})
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: time.Hour, takes: time.Minute}
		s := source(t, p, client.SourceConfig{})
		var waiting error
		var callers sync.WaitGroup
		callers.Go(func() { _, waiting = s.Token(t.Context()) })
		callers.Go(func() { _ = s.Run(t.Context()) })
		synctest.Wait()
		s.Close()
		if p.active != 0 {
			t.Error("a request is under way")
		}
		callers.Wait()
		if waiting == nil {
			t.Error("the caller who waited got a token")
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		s.Close()
	})
}

// With Run tokens are replaced although nobody asks for one.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: 10 * time.Minute, takes: time.Second}
		s := source(t, p, client.SourceConfig{Early: 2 * time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Hour)
		begin := time.Now()
		text(t, s)
		if time.Since(begin) != 0 {
			t.Error("a caller has waited")
		}
		if n := p.requests(); n != 8 {
			t.Errorf("%d requests in an hour, want 8: at 0, 8, 16, ... 56 minutes", n)
		}
		down := errors.New("the provider is down")
		p.fail.Store(&down)
		time.Sleep(time.Hour)
		n := p.requests()
		if n < 60 || n > 70 {
			t.Errorf("%d requests while the provider is down, want one a minute", n-8)
		}
		p.fail.Store(nil)
		time.Sleep(2 * time.Minute)
		begin = time.Now()
		text(t, s)
		if time.Since(begin) != 0 {
			t.Error("a caller has waited after the provider came back")
		}
		cancel()
		running.Wait()
	})
}

// A token that is not accepted is replaced at once, but not one that has just come.
func TestReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tokens{life: time.Hour}
		s := source(t, p, client.SourceConfig{})
		first, err := s.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Reject(first.AccessToken) || text(t, s) != "token-1" {
			t.Error("a token that has just come was replaced")
		}
		time.Sleep(time.Minute)
		for range 3 { // of which the first counts
			if !s.Reject(first.AccessToken) || text(t, s) != "token-2" {
				t.Error("a token that was rejected is handed out")
			}
		}
		if n := p.requests(); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestTokensThatNoSourceKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for rule, token := range map[string]*client.TokenResponse{
			"none":                  nil,
			"empty":                 {},
			"no access token":       {AccessToken: client.NewSecret("t"), TokenType: "N_A"},
			"ended before it came":  {AccessToken: client.NewSecret("t"), TokenType: "Bearer", Expiry: time.Now().Add(-time.Second)},
			"ends at this moment":   {AccessToken: client.NewSecret("t"), TokenType: "Bearer", Expiry: time.Now()},
			"refused by the caller": {AccessToken: client.NewSecret("refused"), TokenType: "Bearer"},
		} {
			s, err := client.NewTokenSource(func(context.Context) (*client.TokenResponse, error) { return token, nil },
				client.SourceConfig{OnToken: func(_ context.Context, t *client.TokenResponse) error {
					if t.AccessToken.Reveal() == "refused" {
						return errors.New("the disk is full")
					}
					return nil
				}})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.Token(t.Context()); err == nil {
				t.Errorf("%s: %v", rule, got)
			}
			s.Close()
		}
		// Of a token that does not say how long it lives it is assumed.
		p := &tokens{}
		s := source(t, p, client.SourceConfig{})
		text(t, s)
		time.Sleep(5*time.Minute + time.Second)
		if got := text(t, s); got != "token-2" {
			t.Errorf("after five minutes: %s", got)
		}
		for _, cfg := range []client.SourceConfig{{Early: -1}, {Lifetime: -1}} {
			if _, err := client.NewTokenSource(p.get, cfg); err == nil {
				t.Errorf("%+v was taken", cfg)
			}
		}
		if _, err := client.NewTokenSource(nil, client.SourceConfig{}); err == nil {
			t.Error("a source of nothing was made")
		}
	})
}

func TestClientCredentialsSource(t *testing.T) {
	inBubble(t, func(t *testing.T, provider *oidctest.Issuer, c *client.Client) {
		s, err := c.ClientCredentialsSource(client.TokenParams{Scopes: []string{"stock.read"}}, client.SourceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		first := text(t, s)
		if text(t, s) != first || provider.Requests(oidctest.Token) != 1 {
			t.Error("the token is not kept")
		}
		provider.Fail(http.StatusBadGateway, oidctest.Token)
		time.Sleep(oidctest.Lifetime - 30*time.Second) // it is old, but good
		if text(t, s) != first {
			t.Error("the old token is not served")
		}
		time.Sleep(time.Minute)
		if _, err := s.Token(t.Context()); !client.IsRetryable(err) {
			t.Errorf("got %v", err)
		}
	})
}

// Each refresh token is used once, and the new one is stored before it is used.
func TestRefreshSource(t *testing.T) {
	inBubble(t, func(t *testing.T, provider *oidctest.Issuer, c *client.Client) {
		var stored []string
		start := &client.TokenResponse{RefreshToken: client.NewSecret(provider.RefreshToken("orders", "alice", "openid"))}
		s, err := c.RefreshSource(start, client.RefreshParams{}, client.SourceConfig{
			OnToken: func(_ context.Context, token *client.TokenResponse) error {
				stored = append(stored, token.RefreshToken.Reveal())
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		seen := map[string]bool{}
		for range 5 {
			seen[text(t, s)] = true
			time.Sleep(2 * oidctest.Lifetime)
		}
		if len(seen) != 5 || len(stored) != 5 {
			t.Errorf("%d tokens, %d stored", len(seen), len(stored))
		}
		// The session ends: somebody has used a refresh token twice.
		if _, err := c.Refresh(t.Context(), client.NewSecret(stored[0]), client.RefreshParams{}); !errors.Is(err, client.ErrInvalidGrant) {
			t.Fatal(err)
		}
		before := provider.Requests(oidctest.Token)
		for range 3 {
			if _, err := s.Token(t.Context()); !errors.Is(err, client.ErrInvalidGrant) {
				t.Errorf("got %v", err)
			}
		}
		if n := provider.Requests(oidctest.Token) - before; n != 1 {
			t.Errorf("%d requests for a session that is over, want 1", n)
		}
		if _, err := c.RefreshSource(&client.TokenResponse{}, client.RefreshParams{}, client.SourceConfig{}); err == nil {
			t.Error("a source without a refresh token was made")
		}
	})
}

// A login's access token is used until it is old.
func TestRefreshSourceBeginsWithALogin(t *testing.T) {
	inBubble(t, func(t *testing.T, provider *oidctest.Issuer, c *client.Client) {
		login, err := c.Refresh(t.Context(), client.NewSecret(provider.RefreshToken("orders", "alice", "")), client.RefreshParams{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.RefreshSource(login, client.RefreshParams{}, client.SourceConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		before := provider.Requests(oidctest.Token)
		if text(t, s) != login.AccessToken.Reveal() || provider.Requests(oidctest.Token) != before {
			t.Error("the login's token is not used")
		}
	})
}
