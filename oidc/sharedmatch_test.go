package oidc

import (
	"context"
	"crypto"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// matching is a bench for tokens whose signatures are compared at the same time.
// compare is told of each comparison that really takes place, and holds it up
// until it has an outcome.
type matching struct {
	s       sharedMatches
	started atomic.Int64
	outcome chan outcome
}

func newMatching() *matching { return &matching{outcome: make(chan outcome)} }

func (m *matching) match() (outcome, bool) {
	m.started.Add(1)
	o := <-m.outcome
	return o, o != noKeys // which stands for no turn here
}

type matched struct {
	result outcome
	turn   bool
}

func (m *matching) ask(ctx context.Context, key matchKey) <-chan matched {
	answer := make(chan matched, 1)
	go func() {
		result, turn := m.s.do(ctx, key, m.match)
		answer <- matched{result, turn}
	}()
	synctest.Wait()
	return answer
}

func (m *matching) wantStarted(t *testing.T, want int64) {
	t.Helper()
	synctest.Wait()
	if got := m.started.Load(); got != want {
		t.Errorf("%d comparisons, want %d", got, want)
	}
}

func (m *matching) wantIdle(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if len(m.s.underWay) != 0 {
		t.Errorf("%d comparisons are still under way", len(m.s.underWay))
	}
}

func TestATokenInFlightIsComparedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMatching()
		key := matchKey{token: digest{1}}
		for _, result := range []outcome{verified, forged, unknown} { // what is over is not remembered
			m.started.Store(0)
			var answers []<-chan matched
			for range 5 {
				answers = append(answers, m.ask(t.Context(), key))
			}
			m.wantStarted(t, 1)
			m.outcome <- result
			for _, answer := range answers {
				if got := <-answer; got != (matched{result, true}) {
					t.Errorf("%+v, want %v", got, result)
				}
			}
			m.wantIdle(t)
		}
	})
}

// Another token, another configuration of the issuer and other keys are other
// questions.
func TestOnlyTheSameQuestionIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMatching()
		iss, snap := &issuer{}, &keySnapshot{}
		for i, key := range []matchKey{
			{digest{1}, iss, snap}, {digest{2}, iss, snap}, {digest{1}, &issuer{}, snap}, {digest{1}, iss, &keySnapshot{}},
		} {
			m.ask(t.Context(), key)
			m.wantStarted(t, int64(i+1))
		}
		for range 4 {
			m.outcome <- verified
		}
		m.wantIdle(t)
	})
}

// Whoever waits for another's comparison waits no longer than its own time.
func TestAWaiterGoesWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMatching()
		first := m.ask(t.Context(), matchKey{})
		ctx, cancel := context.WithCancel(t.Context())
		waiter := m.ask(ctx, matchKey{})
		cancel()
		if got := <-waiter; got.turn {
			t.Errorf("%+v for a request that has ended", got)
		}
		m.outcome <- verified
		if got := <-first; got != (matched{verified, true}) {
			t.Errorf("%+v for the first one", got)
		}
		m.wantIdle(t)
		m.wantStarted(t, 1)
	})
}

// That the first one got no turn, since its time was over, is its own matter.
func TestNoTurnIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMatching()
		first := m.ask(t.Context(), matchKey{})
		second, third := m.ask(t.Context(), matchKey{}), m.ask(t.Context(), matchKey{})
		m.outcome <- noKeys
		if got := <-first; got.turn {
			t.Errorf("%+v for the first one", got)
		}
		m.wantStarted(t, 2) // one of the others tries, and the other one waits for that
		m.outcome <- forged
		for _, answer := range []<-chan matched{second, third} {
			if got := <-answer; got != (matched{forged, true}) {
				t.Errorf("%+v, want the second one's outcome", got)
			}
		}
		m.wantIdle(t)
	})
}

func TestAPanicIsNotShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMatching()
		hold := make(chan struct{})
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			m.s.do(t.Context(), matchKey{}, func() (outcome, bool) { <-hold; panic("in a comparison") })
		}()
		synctest.Wait()
		second := m.ask(t.Context(), matchKey{})
		m.wantStarted(t, 0)
		close(hold)
		if <-panicked == nil {
			t.Error("the panic is lost")
		}
		m.wantStarted(t, 1)
		m.outcome <- verified
		if got := <-second; got != (matched{verified, true}) {
			t.Errorf("%+v after another's panic", got)
		}
		m.wantIdle(t)
	})
}

// The same with a validator: requests that want different things of one token share
// its signature, and nothing else; a rotation in between makes it another question.
func TestRequestsShareASignatureAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := exampleSet(t)
		v := fixedValidator(t, setText(set...), differentialTime, IssuerConfig{Issuer: differentialIssuer, Audiences: []string{"api"}})
		defer v.Close()
		atWork := cap(v.store.turns.work)
		for range atWork { // nobody gets a turn before the test says so
			if _, ok := v.store.turns.take(t.Context()); !ok {
				t.Fatal("no turn")
			}
		}
		token := sign(t, ES256, `{"alg":"ES256","kid":"`+exampleKIDs[ES256]+`"}`, goodClaims)
		ask := func(ctx context.Context, req Requirement) <-chan error {
			answer := make(chan error, 1)
			go func() {
				_, err := v.Validate(ctx, token, req)
				answer <- err
			}()
			synctest.Wait()
			return answer
		}
		impatient, cancel := context.WithCancel(t.Context())
		first := ask(impatient, Requirement{})
		second := ask(t.Context(), Requirement{})
		other := ask(t.Context(), Requirement{Audiences: []string{"other"}})
		late := ask(t.Context(), Requirement{Deadline: time.Now().Add(time.Second)})
		if inside := v.store.turns.inside.Load(); inside != int64(atWork+1) {
			t.Errorf("%d tokens in verification, want one of several requests", inside-int64(atWork))
		}
		if err := <-other; ReasonOf(err) != WrongAudience {
			t.Errorf("with another audience: %v", err)
		}
		if err := <-late; ReasonOf(err) != Overloaded { // the clock of the bubble moves when all wait
			t.Errorf("at its deadline: %v", err)
		}
		cancel()
		if err := <-first; ReasonOf(err) != Overloaded || !errors.Is(err, ErrCannotKnow) {
			t.Errorf("a request that ended: %v", err)
		}
		synctest.Wait()

		// The key goes while the second one waits, whose question is of the keys before.
		keys := v.issuers[0].keys
		before := keys.snap.Load()
		after := *before
		after.generation++
		var err error
		if after.set, err = parseKeySet([]byte(setText(set[0]))); err != nil {
			t.Fatal(err)
		}
		keys.snap.Store(&after)
		third := ask(t.Context(), Requirement{})
		if n := len(v.store.matches.underWay); n != 2 {
			t.Errorf("%d questions are asked, want one for each set of keys", n)
		}
		for range atWork {
			v.store.turns.give(time.Now())
		}
		if err := <-second; err != nil {
			t.Errorf("with the keys of before: %v", err)
		}
		if err := <-third; err == nil {
			t.Error("with the keys of after, among which the token's is not: allowed")
		}
		if _, err := v.Validate(t.Context(), token, Requirement{}); err == nil {
			t.Error("a token that was verified with the keys of before is believed with those of after")
		}
	})
}

// What is no access token has no digest here, and is compared for itself.
func TestMessagesShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := fixedValidator(t, setText(exampleSet(t)...), differentialTime, IssuerConfig{Issuer: differentialIssuer, Audiences: []string{"api"}})
		defer v.Close()
		v.store.turns = &turns{work: make(chan struct{}, 2)}
		v.store.turns.bound(2)
		keys := v.issuers[0].keys
		hint := keyHint{alg: ES256, kid: exampleKIDs[ES256], hasKID: true}
		hold, first := make(chan struct{}), make(chan Reason, 1)
		go func() {
			_, reason, _ := keys.verify(t.Context(), hint, func(crypto.PublicKey) bool { <-hold; return true }, nil)
			first <- reason
		}()
		synctest.Wait()
		if _, reason, _ := keys.verify(t.Context(), hint, func(crypto.PublicKey) bool { return false }, nil); reason != BadSignature {
			t.Errorf("another message beside it: %q", reason)
		}
		close(hold)
		if reason := <-first; reason != "" {
			t.Errorf("the first message: %q", reason)
		}
	})
}

func TestTokensShareByWhatTheyWereVerified(t *testing.T) {
	k := &issuerKeys{}
	first := k.verification(verification{keys: k, generation: 1, epoch: 1})
	if k.verification(verification{keys: k, generation: 1, epoch: 1}) != first {
		t.Error("the same twice")
	}
	for _, other := range []verification{{keys: k, generation: 2, epoch: 1}, {keys: k, generation: 1, epoch: 2}, {keys: k, generation: 1, epoch: 1, issuer: &issuer{}}} {
		if got := k.verification(other); *got != other {
			t.Errorf("%+v, want %+v", got, other)
		}
	}
	if *first != (verification{keys: k, generation: 1, epoch: 1}) {
		t.Error("it was changed")
	}
}

func TestABudgetCostsNothingUntilSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		parent, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		b := &budget{Context: parent, until: now.Add(time.Second)}
		if at, ok := b.Deadline(); !ok || !at.Equal(now.Add(time.Second)) || b.timed != nil {
			t.Errorf("ends at %s, or a timer runs", at)
		}
		b.stop()
		if b.Err() != nil {
			t.Error(b.Err())
		}
		<-b.Done()
		if passed := time.Since(now); passed != time.Second || !errors.Is(b.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %s: %v", passed, b.Err())
		}
		b.stop()
		later := &budget{Context: parent, until: now.Add(time.Minute)}
		if at, ok := later.Deadline(); !ok || !at.Equal(now.Add(2*time.Second)) {
			t.Errorf("ends at %s, want the end of its context", at)
		}
		<-later.Done()
		if passed := time.Since(now); passed != 2*time.Second {
			t.Errorf("ended after %s", passed)
		}
		later.stop()
	})
}
