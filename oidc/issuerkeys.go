package oidc

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// issuerKeysConfig is what an issuer's keys depend on.
type issuerKeysConfig struct {
	issuer, name          string
	discoveryURL, jwksURL string
	jwksFile              string
	keys                  KeysConfig
	http                  HTTPConfig
	insecure              bool
	templateMetadata      bool   // the metadata's issuer may have {tenantid}
	metadataIssuer        string // that the metadata must name; "" means issuer
	tenant                string // of a templated issuer; "" otherwise
}

// same reports whether c and d ask for the same thing, so that one set of keys
// can serve both.
func (c issuerKeysConfig) same(d issuerKeysConfig) bool {
	return c.name == d.name && c.tenant == d.tenant && c.keys == d.keys && c.sameOrigin(d)
}

// sameOrigin reports whether keys that were fetched for c are good for d: they
// are of the same issuer, from the same place, reached in the same way.
func (c issuerKeysConfig) sameOrigin(d issuerKeysConfig) bool {
	http := c.http.same(d.http)
	c.http, d.http = HTTPConfig{}, HTTPConfig{}
	c.name, d.name = "", ""
	c.tenant, d.tenant = "", ""
	c.keys, d.keys = KeysConfig{}, KeysConfig{}
	return http && c == d // a field that is added makes a difference until it is said here that it makes none
}

const (
	maxWaiters = 64              // requests that wait for one issuer
	youngKeys  = 5 * time.Minute // keys this young are not doubted because of a bad signature
)

// issuerKeys is the keys of one issuer: an immutable snapshot that readers load
// without a lock, and what it takes to replace it. At most one fetch is in
// flight.
type issuerKeys struct {
	cfg   issuerKeysConfig
	store *keyStore
	keyOrigin
	number uint64 // in the order in which issuers were added

	users int  // guarded by keyStore.mu, as is slot
	slot  slot // in the timetable

	snap    atomic.Pointer[keySnapshot]  // nil until the first success; stored with mu held
	started atomic.Uint64                // flights started so far; changed with mu held
	due     atomic.Int64                 // when the next fetch is due, as keyStore.elapsed; changed with mu held
	lastUse atomic.Pointer[verification] // of a token that was verified by them
	flights sync.WaitGroup               // grows with mu held and until retired

	mu          sync.Mutex    // guards what follows; never held over I/O or a callback
	scheduled   bool          // the keys are kept fresh
	onTrial     func(error)   // told of the first flight's end; nil for nobody
	retired     bool          // nobody uses the keys any more
	flight      *flight       // in flight, nil if none
	published   uint64        // the flight that brought snap
	landed      bool          // a flight has ended
	awaited     chan struct{} // closed when the first flight has ended; nil if nobody waits for that
	lastAttempt time.Time
	lastErr     error     // of the last flight; nil if it succeeded
	warning     error     // of the last flight, if it succeeded
	failures    int       // scheduled flights that failed since the last success
	gateUsed    bool      // ever
	gateAt      time.Time // when an unknown key last caused a flight
	fetches     uint64    // flights that unknown keys caused
	suppressed  uint64    // requests that the gate kept from causing one

	restored bool      // the snapshot was looked at, or there is none to look at
	toSave   *snapshot // to be written; nil if the last one was
	saving   bool      // somebody writes
	saveErr  error     // of the last write
}

// keySnapshot is an issuer's keys as of their last successful fetch.
type keySnapshot struct {
	set        *keySet
	generation uint64    // another number whenever the keys differ
	fetchedAt  time.Time // the last success, also if nothing had changed
	expires    time.Time // the end of the lifetime, past which the keys are stale
}

// usable reports whether tokens may be verified with the keys at now.
func (s *keySnapshot) usable(now time.Time, maxStale time.Duration) bool {
	return s != nil && now.Sub(s.fetchedAt) < maxStale
}

// flight is one fetch under way. It belongs to the store, never to the request
// that caused it.
type flight struct {
	number  uint64
	forced  bool // by a request whose key was unknown
	counted bool // one of the background refreshes, which are limited
	retry   bool // the one before failed
	byRun   bool // ends with Run
	restore bool // looks at the snapshot on disk, and asks nobody

	cancel  context.CancelFunc
	done    chan struct{} // closed when the result is in place
	waiters int           // guarded by issuerKeys.mu
	err     error         // read after done
}

// dueAt returns when the next fetch is due, as keyStore.elapsed.
func (k *issuerKeys) dueAt() time.Duration { return time.Duration(k.due.Load()) }

// setDue is called with mu held. It does not move the keys in the timetable.
func (k *issuerKeys) setDue(at time.Duration) { k.due.Store(int64(at)) }

// reschedule enters the keys in the timetable as they stand now. It is called
// with mu held, after a flight and whenever the due time is set between flights.
func (k *issuerKeys) reschedule() {
	class := lastSucceeded
	switch {
	case k.queuesNot():
		class = queuesNot
	case k.failures > 0:
		class = lastFailed
	}
	s := k.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.scheduled && k.flight == nil && k.users > 0 && !s.closed {
		s.timetable.put(k, k.dueAt(), class)
	}
}

// queuesNot reports whether the next flight need not wait for a place among the
// background refreshes: a first fetch, or a look at a file. It is called with mu
// held.
func (k *issuerKeys) queuesNot() bool { return !k.landed || k.local }

// inherit makes new keys begin with what is known under another configuration
// of the same origin. Other times may be configured: the refresh comes by them.
func (k *issuerKeys) inherit(from *issuerKeys) {
	from.mu.Lock()
	defer from.mu.Unlock()
	k.snap.Store(from.snap.Load())
	k.restored = k.restored || k.snap.Load() != nil
	k.landed, k.failures = from.landed, from.failures
	k.lastAttempt, k.lastErr, k.warning = from.lastAttempt, from.lastErr, from.warning
	k.gateUsed, k.gateAt = from.gateUsed, from.gateAt
	due := from.dueAt()
	if from.landed && from.failures == 0 {
		_, refreshAfter := freshness(k.cfg.keys.refresh(), k.store.jitter())
		due = min(due, k.store.elapsed(from.lastAttempt)+refreshAfter)
	}
	k.setDue(due)
}

// awaitFirst waits until the first flight has ended, or ctx or the store has.
func (k *issuerKeys) awaitFirst(ctx context.Context) {
	k.mu.Lock()
	if k.landed {
		k.mu.Unlock()
		return
	}
	if k.awaited == nil {
		k.awaited = make(chan struct{})
	}
	landed := k.awaited
	k.mu.Unlock()
	select {
	case <-landed:
	case <-ctx.Done():
	case <-k.store.ctx.Done():
	}
}

// putOnTrial has tried called at the end of the first flight, before those that
// wait for it go on. It says false if that was before.
func (k *issuerKeys) putOnTrial(tried func(error)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.landed {
		return false
	}
	k.onTrial = tried
	return true
}

// retire ends the flight of keys that nobody uses any more and lets no other
// start.
func (k *issuerKeys) retire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retired = true
	if k.flight != nil {
		k.flight.cancel()
	}
}

// current returns the generation of the keys in use at now and whether there are
// any.
func (k *issuerKeys) current(now time.Time) (generation uint64, usable bool) {
	snap := k.snap.Load()
	if !snap.usable(now, k.cfg.keys.maxStale()) {
		return 0, false
	}
	return snap.generation, true
}

// verification returns v, or what is equal to it and was returned before.
func (k *issuerKeys) verification(v verification) *verification {
	if last := k.lastUse.Load(); last != nil && *last == v {
		return last
	}
	k.lastUse.Store(&v)
	return &v
}

// outcome is what a token and a snapshot have to do with each other.
type outcome uint8

const (
	noKeys    outcome = iota // no usable snapshot
	verified                 // by a key of the snapshot
	unknown                  // no key has the token's kid
	unfit                    // no key with that kid is for such a token
	ambiguous                // no kid, and not exactly one key that could be meant
	forged                   // no candidate verifies the signature
)

// The causes behind the outcomes, for operators.
var (
	errNoKeys     = errors.New("no usable keys of the issuer")
	errUnknown    = errors.New("the issuer has no key of this kid")
	errUnfit      = errors.New("the issuer's key of this kid is for another algorithm, use or issuer")
	errAmbiguous  = errors.New("no kid, and the issuer has not exactly one key for such a token")
	errForged     = errors.New("the signature does not fit the issuer's key")
	errCrowd      = errors.New("too many requests wait for the issuer's keys")
	errBudget     = errors.New("the fetch of the issuer's keys did not end in time")
	errStoreDone  = errors.New("the validator is closed")
	errRetired    = errors.New("the issuer is no longer configured")
	errGivenUp    = errors.New("the fetch of the issuer's keys was given up")
	errFlightLost = errors.New("internal error while fetching, see the log")
)

// cause says why the keys at hand did not do.
func (o outcome) cause() error {
	return [...]error{noKeys: errNoKeys, unknown: errUnknown, unfit: errUnfit, ambiguous: errAmbiguous, forged: errForged}[o]
}

// refusal turns an outcome into the answer to the request. If obstacle is set,
// the issuer could not be asked whether it has other keys by now: then nobody
// can tell whether an unknown key is its own. A key that we do have and that
// refuses the signature is an answer either way.
func (o outcome) refusal(obstacle error) (uint64, Reason, error) {
	switch {
	case o == forged:
		return 0, BadSignature, errForged
	case o == ambiguous:
		return 0, UnknownKey, errAmbiguous
	case obstacle != nil:
		return 0, KeysUnavailable, fmt.Errorf("%w: %w", o.cause(), obstacle)
	case o == noKeys:
		return 0, KeysUnavailable, errNoKeys
	default:
		return 0, UnknownKey, o.cause()
	}
}

// verify reports whether try accepts one of the issuer's keys that a token with
// this hint may be signed with: the reason is "" then, and the
// generation is that of the keys.
//
// It returns at once while there are usable keys and one of them is meant. It
// waits for a fetch, and at most until ctx ends, if there are no usable keys, if
// the key is unknown, or if the signature is bad and the keys are no longer
// young; the last two at most once in unknownKeyInterval, whatever the tokens.
func (k *issuerKeys) verify(ctx context.Context, hint keyHint, try func(crypto.PublicKey) bool, explain func(string)) (generation uint64, reason Reason, err error) {
	startedBefore := k.started.Load()
	conclusive := false // a fetch that began after the request has succeeded
	for {
		now := k.store.clock()
		snap := k.snap.Load()
		result := noKeys
		if snap.usable(now, k.cfg.keys.maxStale()) {
			k.refreshUnattended(now)
			var turn bool
			if result, turn = k.matchInTurn(ctx, snap, hint, try); !turn {
				return 0, Overloaded, errCrowdedOut
			}
			if explain != nil {
				explain(snap.describe(result, hint, now))
			}
			if result == verified {
				return snap.generation, "", nil
			}
			young := now.Sub(snap.fetchedAt) < youngKeys
			if conclusive || result == ambiguous || young && result != unknown {
				return result.refusal(nil)
			}
		}
		f, obstacle, again := k.board(snap, result, now)
		if again {
			continue
		}
		if explain != nil {
			explain(boarded(f, obstacle))
		}
		if f == nil {
			return result.refusal(obstacle)
		}
		select {
		case <-f.done:
			k.leave(f)
		case <-ctx.Done():
			k.leave(f)
			return result.refusal(errBudget)
		}
		if f.err != nil {
			return result.refusal(f.err)
		}
		conclusive = f.number > startedBefore && !f.restore
	}
}

// matchInTurn is match once there is a processor for it, or what it was for another
// request with the same token. It says false if there are too many tokens before
// this one, or ctx ends first.
func (k *issuerKeys) matchInTurn(ctx context.Context, snap *keySnapshot, hint keyHint, try func(crypto.PublicKey) bool) (outcome, bool) {
	match := func() (outcome, bool) {
		began, ok := k.store.turns.take(ctx)
		if !ok {
			return 0, false
		}
		defer k.store.turns.give(began)
		return snap.match(hint, try), true
	}
	if hint.issuer == nil {
		return match()
	}
	return k.store.matches.do(ctx, matchKey{hint.token, hint.issuer, snap}, match)
}

// match tries the snapshot's keys.
func (s *keySnapshot) match(hint keyHint, try func(crypto.PublicKey) bool) outcome {
	keys, known := s.set.candidates(hint)
	for _, key := range keys {
		if try(key.pub) {
			return verified
		}
	}
	switch {
	case len(keys) > 0:
		return forged
	case !hint.hasKID:
		return ambiguous
	case known:
		return unfit
	default:
		return unknown
	}
}

func (s *keySnapshot) describe(o outcome, hint keyHint, now time.Time) string {
	result := "a candidate fits"
	if o != verified {
		result = o.cause().Error()
	}
	return fmt.Sprintf("kid %s, among %d usable keys fetched %s ago: %s",
		optional(hint.kid, hint.hasKID), len(s.set.keys), now.Sub(s.fetchedAt).Round(time.Second), result)
}

func boarded(f *flight, obstacle error) string {
	switch {
	case f != nil && f.restore:
		return "reading the snapshot of the issuer's keys"
	case f != nil:
		return "waiting for a fetch of the issuer's keys"
	case obstacle != nil:
		return "the issuer is not asked now: " + errorText(obstacle)
	default:
		return "the issuer was asked a moment ago and is not asked again so soon"
	}
}

// board finds the fetch to wait for after seen did not do: the one in flight, or
// one that may be started now. Without one the obstacle says why, and nil means
// that the last fetch succeeded and the issuer is not to be asked again so soon.
// It says again if there is another snapshot than seen by now.
func (k *issuerKeys) board(seen *keySnapshot, result outcome, now time.Time) (f *flight, obstacle error, again bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.snap.Load() != seen {
		return nil, nil, true
	}
	switch {
	case k.store.ctx.Err() != nil:
		return nil, errStoreDone, false
	case k.retired:
		return nil, errRetired, false
	}
	if k.flight == nil {
		switch {
		case !k.restored:
			f = &flight{restore: true}
		case result == noKeys:
			if k.landed && k.store.elapsed(now) < k.dueAt() {
				return nil, k.lastErr, false
			}
			f = &flight{}
		default:
			if k.gateUsed && now.Sub(k.gateAt) < k.cfg.keys.unknownKeyInterval() {
				k.suppressed++
				return nil, k.lastErr, false
			}
			f = &flight{forced: true}
		}
		if !k.launch(k.store.ctx, f) {
			return nil, errStoreDone, false
		}
		if f.forced {
			k.gateUsed, k.gateAt = true, now
			k.fetches++
		}
	}
	if k.flight.waiters == maxWaiters && !k.flight.restore { // which takes no time
		return nil, errCrowd, false
	}
	k.flight.waiters++
	return k.flight, nil, false
}

func (k *issuerKeys) leave(f *flight) {
	k.mu.Lock()
	f.waiters--
	k.mu.Unlock()
}

// refreshUnattended starts a refresh that is due and that nobody else starts,
// since Run is not running. The request does not wait for it.
func (k *issuerKeys) refreshUnattended(now time.Time) {
	if k.store.elapsed(now) >= k.dueAt() && !k.store.running.Load() {
		k.startDue(k.store.ctx, now, false)
	}
}

// startDue starts a fetch if one is due and none is in flight.
func (k *issuerKeys) startDue(ctx context.Context, now time.Time, byRun bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.flight != nil || k.retired || k.store.elapsed(now) < k.dueAt():
	case !k.restored:
		k.launch(ctx, &flight{restore: true, byRun: byRun})
	default:
		k.launch(ctx, &flight{counted: !k.queuesNot(), retry: k.failures > 0, byRun: byRun})
	}
}

// launch starts a flight with mu held and none in flight, unless the store is
// closed or has too many background refreshes.
func (k *issuerKeys) launch(ctx context.Context, f *flight) bool {
	f.number = k.started.Load() + 1
	f.done = make(chan struct{})
	ctx, f.cancel = context.WithCancel(ctx)
	fly := func() {
		defer k.exit(f)
		if f.restore {
			k.restore(f)
			return
		}
		k.fly(ctx, f)
		k.save()
	}
	k.enter(f)
	if !k.store.admit(k, f, fly) {
		k.exit(f)
		return false
	}
	k.started.Store(f.number)
	k.flight = f
	return true
}

// enter and exit count a flight for those who wait for its end.
func (k *issuerKeys) enter(f *flight) {
	k.flights.Add(1)
	if f.byRun {
		k.store.own.Add(1)
	}
}

func (k *issuerKeys) exit(f *flight) {
	f.cancel()
	if f.byRun {
		k.store.own.Done()
	}
	k.flights.Done()
}

// fly fetches and puts the result in place, also if the fetch panics.
func (k *issuerKeys) fly(ctx context.Context, f *flight) {
	var got fetched
	err := errFlightLost // stays if the fetch panics
	defer func() {
		if p := recover(); p != nil {
			k.store.logger.Error("panic while fetching keys", "issuer", k.cfg.name, "panic", p, "stack", string(debug.Stack()))
		}
		news := k.land(f, got, err, ctx.Err() != nil)
		k.store.vacate(f)
		if news.tried != nil {
			news.tried(f.err)
		}
		close(f.done)
		news.log(k.store.logger, k.cfg)
	}()
	got, err = k.fetch(ctx, f.forced)
}

// land takes a flight's result over. One that failed because it was given up
// says nothing about the issuer and changes nothing.
func (k *issuerKeys) land(f *flight, got fetched, err error, givenUp bool) keyNews {
	now := k.store.clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight == f {
		k.flight = nil
	}
	defer k.reschedule()
	tried := k.onTrial
	k.onTrial = nil
	if err != nil && givenUp {
		f.err = errGivenUp
		return keyNews{tried: tried}
	}
	news := keyNews{tried: tried, was: k.lastErr, err: err, warned: k.warning, warning: got.warning}
	hadKeys := k.snap.Load().usable(k.lastAttempt, k.cfg.keys.maxStale())
	if err == nil && f.number > k.published { // a later flight's keys are not replaced
		news.changed, news.set = k.publish(got, now), got.set
		k.published = f.number
		if got.snapshot != nil {
			got.snapshot.fetchedAt = now
			k.toSave = got.snapshot
		}
	}
	f.err = err
	k.landed = true
	if k.awaited != nil {
		close(k.awaited)
		k.awaited = nil
	}
	k.lastAttempt, k.lastErr, k.warning = now, err, got.warning
	switch {
	case err == nil:
		k.failures = 0
	case !f.forced: // what a token caused does not change the schedule
		k.failures++
		k.setDue(k.store.elapsed(now) + k.pause())
	}
	if snap := k.snap.Load(); snap.usable(now, k.cfg.keys.maxStale()) {
		news.until = snap.fetchedAt.Add(k.cfg.keys.maxStale())
	} else {
		news.lost = hadKeys
	}
	return news
}

// pause returns how long to wait after a failure. It is called with mu held.
func (k *issuerKeys) pause() time.Duration {
	if k.local { // a look costs nothing
		_, pause := freshness(fileLife, k.store.jitter())
		return pause
	}
	return retryDelay(k.failures, k.store.jitter())
}

// publish makes a snapshot of what a flight brought, with mu held, and reports
// whether the keys are others than before.
func (k *issuerKeys) publish(got fetched, now time.Time) (changed bool) {
	life, refreshAfter := freshness(got.life, k.store.jitter())
	if (!k.landed || k.failures > 0) && k.store.crowded() {
		refreshAfter = strew(refreshAfter, k.store.jitter())
	}
	next := &keySnapshot{set: got.set, fetchedAt: now, expires: now.Add(life)}
	if before := k.snap.Load(); before != nil && before.set.digest == got.set.digest {
		next.generation = before.generation
	} else {
		next.generation = k.store.generation.Add(1)
		changed = true
	}
	k.setDue(k.store.elapsed(now) + refreshAfter)
	k.snap.Store(next)
	return changed
}

// keyNews is what a flight changed, to be logged once no lock is held.
type keyNews struct {
	was, err        error
	warned, warning error
	changed         bool
	set             *keySet
	until           time.Time   // when the keys in use are too old; zero if there are none
	lost            bool        // there were keys at the attempt before
	tried           func(error) // who put the keys on trial, which is over
}

// log writes a line for each change of state and none for more of the same: an
// outage must not fill the disk, and neither must names that somebody makes up.
func (n keyNews) log(logger *slog.Logger, of issuerKeysConfig) {
	who := []slog.Attr{slog.String("issuer", of.name)}
	if of.tenant != "" {
		who = append(who, slog.String("tenant", of.tenant))
	}
	line := func(l slog.Level, msg string, attrs ...slog.Attr) {
		if n.tried != nil {
			l = slog.LevelDebug
		}
		logger.LogAttrs(context.Background(), l, msg, slices.Concat(who, attrs)...)
	}
	switch {
	case n.lost:
		line(slog.LevelError, "the last good keys are too old: tokens of the issuer get 503", slog.String("error", errorText(n.err)))
	case n.err != nil && !sameTrouble(n.err, n.was) && n.until.IsZero():
		line(slog.LevelError, "keys could not be fetched and there are none: tokens of the issuer get 503", slog.String("error", errorText(n.err)))
	case n.err != nil && !sameTrouble(n.err, n.was):
		line(slog.LevelWarn, "keys could not be fetched, the last good ones hold", slog.Time("until", n.until), slog.String("error", errorText(n.err)))
	case n.err == nil && n.was != nil:
		line(slog.LevelInfo, "keys are fetched again")
	}
	if n.warning != nil && !sameTrouble(n.warning, n.warned) {
		line(slog.LevelWarn, "metadata could not be refreshed, the last good one holds", slog.String("error", errorText(n.warning)))
	}
	if n.changed {
		attrs := []slog.Attr{slog.Int("usable", len(n.set.keys)), slog.Int("skipped", len(n.set.skipped))}
		if len(n.set.skipped) > 0 {
			attrs = append(attrs, slog.String("first_skipped", n.set.skipped[0].String()))
		}
		line(slog.LevelInfo, "keys changed", attrs...)
	}
}

// sameTrouble reports whether a second error is no news after the first. An
// issuer that cannot be reached is one trouble, although each try can end in
// another way: at another of its addresses, say, or by a timeout.
func sameTrouble(a, b error) bool {
	return errorText(a) == errorText(b) || unreachable(a) && unreachable(b)
}

// unreachable reports whether err is of the network, and nothing else.
func unreachable(err error) bool {
	//nolint:errorlint // each error that was joined counts
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return !slices.ContainsFunc(joined.Unwrap(), func(err error) bool { return !unreachable(err) })
	}
	var f *fetchError
	return errors.As(err, &f) && (f.result == FetchConnect || f.result == FetchTimeout)
}

// errorText returns an error on one line of bounded length. Parts of it may come
// from the issuer, such as the names in a certificate.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	text := withoutSource(strings.ReplaceAll(err.Error(), "\n", "; "))
	text = strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, text[:min(len(text), 512)])
	return text
}

// withoutSource takes our own end out of what the net package writes of a
// connection, "read tcp 10.0.0.7:40968->10.0.0.9:443: …": its port is another one
// each time.
func withoutSource(text string) string {
	if !strings.Contains(text, "->") {
		return text
	}
	words := strings.Split(text, " ")
	for i, word := range words {
		if _, to, ok := strings.Cut(word, "->"); ok {
			words[i] = to
		}
	}
	return strings.Join(words, " ")
}
