package extauthz

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/claimgate/claimgate/oidc"
)

// decisionRecord is one check as it goes to the log. Subject and client are set
// only if the token's signature was verified, and nothing else of a claim, a
// header or a token ever is.
type decisionRecord struct {
	time      time.Time
	duration  time.Duration
	reason    oidc.Reason
	allowed   bool
	policy    string
	issuer    string
	client    string
	subject   string
	method    string
	host      string
	path      string // without the query
	traceID   string
	requestID string
	source    string
	token     string // the whole token; only tokenID writes it, as a digest
}

const (
	maxLogField     = 256  // bytes of a field
	logQueueSize    = 1024 // records waiting for a slow sink
	denialsASecond  = 100  // for each reason
	tokenDigestSize = 4    // bytes
)

// decisionLog writes records without ever making a check wait: a queue of fixed
// length, and what does not fit is counted and dropped.
type decisionLog struct {
	logger  *slog.Logger
	key     []byte // of the HMAC that names tokens; made at start, never kept
	queue   chan decisionRecord
	dropped atomic.Uint64

	mu         sync.Mutex
	second     int64               // guarded by mu: the second that denied counts
	denied     map[oidc.Reason]int // guarded by mu
	suppressed map[oidc.Reason]int // guarded by mu
}

func newDecisionLog(logger *slog.Logger) *decisionLog {
	key := make([]byte, sha256.Size)
	rand.Read(key) //nolint:errcheck // never fails, it says
	return &decisionLog{
		logger: logger, key: key,
		queue:  make(chan decisionRecord, logQueueSize),
		denied: map[oidc.Reason]int{}, suppressed: map[oidc.Reason]int{},
	}
}

// recordRule is which decisions a configuration wants logged, and with what.
type recordRule struct {
	decisions string // all, denied, none
	subject   bool
}

// wants reports whether a decision is to be logged, so that nothing is gathered
// for one that is not.
func (r recordRule) wants(allowed bool) bool {
	return r.decisions == "all" || r.decisions == "denied" && !allowed
}

// add queues a record, or counts it as dropped or suppressed.
func (l *decisionLog) add(r decisionRecord) {
	if !r.allowed && !l.admit(r.reason, r.time) {
		return
	}
	r.detach()
	select {
	case l.queue <- r:
	default:
		l.dropped.Add(1)
	}
}

// detach copies what a record shows, and no more of it than that: a thousand of
// them may have to wait, and each text may be a part of the whole request.
func (r *decisionRecord) detach() {
	for _, field := range [...]*string{&r.method, &r.host, &r.path, &r.requestID, &r.source} {
		*field = strings.Clone((*field)[:min(len(*field), 2*maxLogField)]) // write still sees what it has to cut
	}
	r.token = strings.Clone(r.token[:min(len(r.token), oidc.MaxTokenSize)]) // more is no token
}

// admit holds denials of one reason to a rate: a flood of junk must not fill
// disks.
func (l *decisionLog) admit(reason oidc.Reason, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if second := now.Unix(); second != l.second {
		l.second = second
		clear(l.denied)
	}
	l.denied[reason]++
	if l.denied[reason] <= denialsASecond {
		return true
	}
	l.suppressed[reason]++
	return false
}

// run writes what is queued until ctx ends, and then what is left.
func (l *decisionLog) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case r := <-l.queue:
			l.write(r)
		case <-tick.C:
			l.writeSuppressed()
		case <-ctx.Done():
			for {
				select {
				case r := <-l.queue:
					l.write(r)
				default:
					l.writeSuppressed()
					return
				}
			}
		}
	}
}

// linesLost returns how many lines of the log nobody can read.
func (g *Gate) linesLost() uint64 {
	lost := g.log.dropped.Load()
	if g.logLost != nil {
		lost += g.logLost()
	}
	return lost
}

func (l *decisionLog) writeSuppressed() {
	l.mu.Lock()
	counts := l.suppressed
	if len(counts) > 0 {
		l.suppressed = map[oidc.Reason]int{}
	}
	l.mu.Unlock()
	for reason, n := range counts {
		l.logger.LogAttrs(context.Background(), slog.LevelWarn, "checks not logged",
			slog.String("reason", string(reason)), slog.Int("count", n))
	}
}

func (l *decisionLog) write(r decisionRecord) {
	level, verdict := slog.LevelInfo, "deny"
	switch {
	case r.allowed:
		verdict = "allow"
	case r.reason.Class() == oidc.ClassInternal:
		level = slog.LevelError
	case r.reason.Class() == oidc.ClassUnavailable:
		level = slog.LevelWarn
	}
	record := slog.NewRecord(r.time, level, "check", 0)
	record.AddAttrs(slog.String("verdict", verdict), slog.String("reason", string(r.reason)), slog.Int("status", r.reason.Status()))
	for _, field := range [...]struct{ name, value string }{
		{"policy", r.policy}, {"issuer", r.issuer}, {"client", r.client}, {"subject", r.subject},
		{"method", r.method}, {"host", r.host}, {"path", r.path},
	} {
		if field.value != "" {
			record.AddAttrs(slog.String(field.name, logField(field.value)))
		}
	}
	record.AddAttrs(slog.Int64("duration_us", r.duration.Microseconds()))
	for _, field := range [...]struct{ name, value string }{
		{"trace_id", r.traceID}, {"request_id", r.requestID}, {"source", r.source}, {"token", l.tokenID(r.token)},
	} {
		if field.value != "" {
			record.AddAttrs(slog.String(field.name, logField(field.value)))
		}
	}
	if l.logger.Enabled(context.Background(), level) {
		if l.logger.Handler().Handle(context.Background(), record) != nil {
			l.dropped.Add(1) // a full disk, say; the metric is where it shows
		}
	}
}

// tokenID names a token so that the lines of one token can be joined, and
// nothing can be looked up: the key dies with the process.
func (l *decisionLog) tokenID(token string) string {
	if token == "" {
		return ""
	}
	mac := hmac.New(sha256.New, l.key)
	mac.Write([]byte(token))
	return hex.EncodeToString(mac.Sum(nil)[:tokenDigestSize])
}

// logField bounds a value and writes what could disturb a terminal or a log
// reader as escapes.
func logField(s string) string {
	clean := len(s) <= maxLogField
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= 0x20 && s[i] < 0x7f
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		part := s[i : i+n]
		switch {
		case r == utf8.RuneError && n <= 1:
			part = fmt.Sprintf(`\x%02x`, s[i])
		case !unicode.IsPrint(r):
			part = fmt.Sprintf(`\u{%x}`, r)
		}
		if b.Len()+len(part) > maxLogField {
			break
		}
		b.WriteString(part)
		i += n
	}
	return b.String()
}
