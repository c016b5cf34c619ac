package dpop

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/claimgate/claimgate/oidc"
)

// Config is what a [Verifier] is made from. The zero Config is a good one for a
// service of one process.
type Config struct {
	// Replay remembers the proofs that were used; nil means a [Memory] of
	// DefaultCapacity.
	Replay ReplayStore
	// Nonces, if set, demands a nonce in each proof. Replicas behind one address
	// need the same key. Nil demands none.
	Nonces *Nonces
	// Algorithms are the accepted signature algorithms; nil means ES256, ES384,
	// ES512, EdDSA, PS256 and RS256.
	Algorithms []oidc.Algorithm
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
}

// Verifier verifies proofs at a resource server. It is immutable, but for its
// replay store, and safe for concurrent use. Create it with [NewVerifier]; the
// zero Verifier refuses every proof.
type Verifier struct {
	replay     ReplayStore
	nonces     *Nonces
	algorithms []oidc.Algorithm
	clock      func() time.Time
}

const (
	// MaxProofSize is the size of the largest proof that is looked at, in bytes.
	MaxProofSize = 8 << 10
	maxIDSize    = 256
	// maxAge is how old a proof may be by its iat.
	maxAge = 60 * time.Second
)

// NewVerifier checks cfg and returns a Verifier. It starts nothing.
func NewVerifier(cfg Config) (*Verifier, error) {
	v := &Verifier{replay: cfg.Replay, nonces: cfg.Nonces, algorithms: slices.Clone(cfg.Algorithms), clock: cfg.Clock}
	if v.clock == nil {
		v.clock = time.Now
	}
	if cfg.Algorithms == nil {
		v.algorithms = []oidc.Algorithm{oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA, oidc.PS256, oidc.RS256}
	}
	if len(v.algorithms) == 0 {
		return nil, errors.New("dpop: without an algorithm no proof is good: leave Algorithms nil for the usual ones")
	}
	for _, a := range v.algorithms {
		if !a.Known() {
			return nil, fmt.Errorf("dpop: algorithm %q cannot be verified", a)
		}
	}
	if v.replay == nil {
		v.replay = NewMemory(0, v.clock())
	}
	return v, nil
}

// Algorithms returns the accepted algorithms, for challenges and metadata.
func (v *Verifier) Algorithms() []oidc.Algorithm { return slices.Clone(v.algorithms) }

// Nonce returns the nonce to send in the header DPoP-Nonce of the answer to a
// request that used DPoP, "" if none are demanded (RFC 9449 sections 8.2 and 9).
func (v *Verifier) Nonce() string {
	if v.nonces == nil {
		return ""
	}
	return v.nonces.Current(v.clock())
}

// Request is what of a request a proof is about.
type Request struct {
	Proofs []string // the values of the DPoP headers: a proof is good only alone
	Method string   // as the client sent it; compared with its case
	// URL is the absolute URL that the client sees. Query and fragment do not
	// matter.
	URL string
}

// Check returns the check of the request's proof for [oidc.Proof]. It is for one
// request.
func (v *Verifier) Check(r Request) func(ctx context.Context, token, thumbprint string) error {
	return func(ctx context.Context, token, thumbprint string) error {
		return v.Verify(ctx, r, token, thumbprint)
	}
}

// Verify verifies the request's proof of possession of the key with that
// thumbprint, for an access token that has been verified and is bound to it. The
// error is an [*oidc.Error] with one of the reasons
//
//   - [oidc.ProofInvalid], which is answered invalid_dpop_proof;
//   - [oidc.ProofReplayed], likewise;
//   - [oidc.NonceRequired], answered use_dpop_nonce with a [Verifier.Nonce];
//   - [oidc.Overloaded], if the replay store is full or broken, and
//     [oidc.Deadline] if ctx ended first.
//
// Its Claim says where the fault was: a claim or header of the proof, "" for the
// proof as a whole.
func (v *Verifier) Verify(ctx context.Context, r Request, token, thumbprint string) error {
	if v.clock == nil {
		return invalid("", "the verifier was not made by NewVerifier")
	}
	if token == "" || thumbprint == "" {
		return invalid("", "there is no token, or it is not bound to a key")
	}
	switch len(r.Proofs) {
	case 0:
		return invalid("", "the request has no DPoP header")
	case 1:
	default:
		return invalid("", "the request has several DPoP headers")
	}
	now := v.clock()
	use := Use{Now: now}
	proof, err := oidc.VerifySelfSigned(r.Proofs[0], oidc.SelfSignedRules{
		Type: proofType, Algorithms: v.algorithms, MaxSize: MaxProofSize,
		Check: func(p oidc.SelfSigned) error { return v.checkClaims(p, r, token, thumbprint, &use) },
	})
	if err != nil {
		var refusal *oidc.Error
		if errors.As(err, &refusal) {
			return refusal
		}
		return &oidc.Error{Reason: oidc.ProofInvalid, Err: err}
	}
	// Only now: what is not signed must not be remembered.
	id, _ := proof.Claims.Top("jti")
	use.ID = sha256.Sum256([]byte(proof.Thumbprint + "\x00" + id.Text()))
	switch err := v.replay.Remember(ctx, use); {
	case err == nil:
		return nil
	case errors.Is(err, ErrReplayed):
		return &oidc.Error{Reason: oidc.ProofReplayed, Claim: "jti", Err: err}
	case ctx.Err() != nil:
		return &oidc.Error{Reason: oidc.Deadline, Err: fmt.Errorf("asking whether the proof is new: %w", err)}
	default:
		return &oidc.Error{Reason: oidc.Overloaded, Err: fmt.Errorf("asking whether the proof is new: %w", err)}
	}
}

// checkClaims judges all that can be judged without a signature check, and notes
// in use how long the proof is good. Items of RFC 9449 section 4.3.
func (v *Verifier) checkClaims(p oidc.SelfSigned, r Request, token, thumbprint string, use *Use) error {
	if id, ok := text(p.Claims, "jti"); !ok || id == "" || len(id) > maxIDSize {
		return invalid("jti", "missing, or not a string of 1 to 256 bytes")
	}
	if method, ok := text(p.Claims, "htm"); !ok || method != r.Method {
		return invalid("htm", "not the method of the request")
	}
	url, ok := text(p.Claims, "htu")
	if !ok {
		return invalid("htu", "missing, or not a string")
	}
	theirs, err := NormalizeURL(url)
	if err != nil {
		return &oidc.Error{Reason: oidc.ProofInvalid, Claim: "htu", Err: err}
	}
	ours, err := NormalizeURL(r.URL)
	if err != nil {
		return &oidc.Error{Reason: oidc.ProofInvalid, Claim: "htu", Err: fmt.Errorf("the request's own URL cannot be compared: %w", err)}
	}
	if theirs != ours {
		return invalid("htu", "not the URL of the request, as this server's configuration says that clients see it")
	}
	if err := v.checkTime(p.Claims, use); err != nil {
		return err
	}
	if hash, ok := text(p.Claims, "ath"); !ok || subtle.ConstantTimeCompare([]byte(hash), []byte(tokenHash(token))) != 1 {
		return invalid("ath", "missing, or not the hash of the token")
	}
	if subtle.ConstantTimeCompare([]byte(p.Thumbprint), []byte(thumbprint)) != 1 {
		return invalid("jwk", "not the key that the token is bound to")
	}
	return nil
}

// checkTime holds a proof to be of now: by its nonce, where they are demanded,
// which says more than a client's clock; else by iat.
func (v *Verifier) checkTime(c oidc.Claims, use *Use) error {
	issuedAt, ok := numericDate(c, "iat")
	if !ok {
		return invalid("iat", "missing, or not a number from 0 to the year 9999")
	}
	if exp, found := c.Top("exp"); found {
		end, ok := numericDate(c, "exp")
		if !ok || exp.Kind() != oidc.KindNumber || !use.Now.Before(end) {
			return invalid("exp", "over, or not a number from 0 to the year 9999")
		}
	}
	inWindow := !use.Now.After(issuedAt.Add(maxAge)) && !issuedAt.After(use.Now.Add(maxAhead))
	if inWindow {
		use.IssuedAt = issuedAt
	}
	nonce, found := c.Top("nonce")
	if found && nonce.Kind() != oidc.KindString {
		return invalid("nonce", "not a string")
	}
	if v.nonces == nil {
		if !inWindow {
			return invalid("iat", "more than 60 s ago or 10 s ahead")
		}
		use.Until = issuedAt.Add(maxAge + time.Second) // at its very end it is still good
		return nil
	}
	if !found {
		return &oidc.Error{Reason: oidc.NonceRequired, Claim: "nonce", Err: errors.New("missing")}
	}
	until, ok := v.nonces.accepts(nonce.Text(), use.Now)
	if !ok {
		return &oidc.Error{Reason: oidc.NonceRequired, Claim: "nonce", Err: errors.New("not one of this minute or the last")}
	}
	use.Until = until
	return nil
}

func invalid(claim, why string) *oidc.Error {
	return &oidc.Error{Reason: oidc.ProofInvalid, Claim: claim, Err: errors.New(why)}
}

func text(c oidc.Claims, name string) (string, bool) {
	v, ok := c.Top(name)
	return v.Text(), ok && v.Kind() == oidc.KindString
}

// endOfTime is the first second of the year 10000: before it, no arithmetic on
// times overflows.
const endOfTime = 253402300800

func numericDate(c oidc.Claims, name string) (time.Time, bool) {
	v, _ := c.Top(name)
	seconds, ok := v.Float64()
	if !ok || seconds < 0 || seconds >= endOfTime {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), true
}
