package dpop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// Nonces makes and knows the nonces of a resource server (RFC 9449 section 9),
// without memory: a nonce is an HMAC over the minute. Replicas that have the same
// key have the same nonces. It is immutable and safe for concurrent use.
//
// The nonce is the same for all clients of a minute, and is accepted for that
// minute and the next: it shows that a proof is not older, and not who made it.
type Nonces struct {
	key []byte
}

const (
	noncePeriod = time.Minute
	// maxAhead is by how much the clocks of replicas may differ, and that of a
	// client be ahead.
	maxAhead = 10 * time.Second
	// minNonceKey is the size in bytes that a key needs to be worth the hash.
	minNonceKey = 32
	nonceSize   = 16
	// nonceContext keeps the nonces apart from all else that may be made with the
	// key.
	nonceContext = "claimgate DPoP nonce v1\x00"
)

// NewNonces makes nonces of a secret key of 32 bytes or more, which all replicas
// behind one address share: make it with crypto/rand, and keep it as other
// secrets. A new key costs each client that has a nonce one more request.
func NewNonces(key []byte) (*Nonces, error) {
	if len(key) < minNonceKey {
		return nil, errors.New("dpop: the key of nonces needs 32 bytes or more, made at random")
	}
	return &Nonces{key: append([]byte(nil), key...)}, nil
}

// Current returns the nonce to send in the header DPoP-Nonce at now.
func (n *Nonces) Current(now time.Time) string {
	return n.of(period(now))
}

func period(t time.Time) int64 { return t.Unix() / int64(noncePeriod/time.Second) }

func (n *Nonces) of(period int64) string {
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte(nonceContext))                               //nolint:errcheck // a hash never fails
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(period))) //nolint:errcheck // a hash never fails
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:nonceSize])
}

// accepts reports whether nonce is good at now, and until when. One of the next
// minute is good shortly before: another replica's clock may be there already.
func (n *Nonces) accepts(nonce string, now time.Time) (until time.Time, ok bool) {
	current := period(now)
	for p := current - 1; p <= period(now.Add(maxAhead)); p++ {
		if hmac.Equal([]byte(nonce), []byte(n.of(p))) {
			return time.Unix((p+2)*int64(noncePeriod/time.Second), 0), true
		}
	}
	return time.Time{}, false
}
