package oidc

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// KeysConfig says how fresh an issuer's keys are kept. The zero KeysConfig is
// what most issuers need.
type KeysConfig struct {
	// Refresh is how long keys live whose answer does not say so, 1 h if zero.
	// If it is set it is an upper bound too, whatever the answer says. 1 s to
	// 24 h.
	Refresh time.Duration
	// MaxStale is how long after their last successful fetch keys are used,
	// 24 h if zero. Refresh to 720 h.
	MaxStale time.Duration
	// UnknownKeyInterval is the least time between two fetches that tokens with
	// an unknown key cause, 30 s if zero. 1 s to 1 h.
	UnknownKeyInterval time.Duration
	// SnapshotFile is where the last good key set is kept on disk, so that a
	// restart while the issuer is down decides as before it; "" for nowhere. It is
	// read by Run, or when a token first needs keys, and written after each
	// successful fetch. One file is for one issuer, and whoever can write it can
	// make tokens until the issuer answers. A file that cannot be written is
	// logged and harms no keys in memory.
	SnapshotFile string
}

const (
	defaultRefresh            = time.Hour
	defaultMaxStale           = 24 * time.Hour
	defaultUnknownKeyInterval = 30 * time.Second
	minLifetime               = 5 * time.Minute
	maxLifetime               = 24 * time.Hour
	maxMaxStale               = 720 * time.Hour
)

func (c KeysConfig) refresh() time.Duration  { return cmp.Or(c.Refresh, defaultRefresh) }
func (c KeysConfig) maxStale() time.Duration { return cmp.Or(c.MaxStale, defaultMaxStale) }
func (c KeysConfig) unknownKeyInterval() time.Duration {
	return cmp.Or(c.UnknownKeyInterval, defaultUnknownKeyInterval)
}

func (c KeysConfig) check() error {
	var errs []error
	between := func(name string, d, low, high time.Duration) {
		if d < low || d > high {
			errs = append(errs, fmt.Errorf("%s is not between %s and %s", name, low, high))
		}
	}
	between("Keys.Refresh", c.refresh(), time.Second, maxLifetime)
	between("Keys.MaxStale", c.maxStale(), c.refresh(), maxMaxStale)
	between("Keys.UnknownKeyInterval", c.unknownKeyInterval(), time.Second, time.Hour)
	return errors.Join(errs...)
}

// lifetime returns how long an answer that came now is good, before jitter. hint
// is what the document itself says, which goes before what its headers say; 0 if
// it says nothing.
func (c KeysConfig) lifetime(h http.Header, hint time.Duration, now time.Time) time.Duration {
	life := c.refresh()
	if hint > 0 {
		life = min(max(hint, minLifetime), maxLifetime)
	} else if answered, ok := cacheLifetime(h, now); ok {
		life = min(max(answered, minLifetime), maxLifetime)
	}
	if c.Refresh > 0 {
		life = min(life, c.Refresh)
	}
	return min(life, c.maxStale()) // refreshed before it is unusable
}

// cacheLifetime reads what an answer says about how long it may be kept (RFC
// 9111 section 5), false if it says nothing.
func cacheLifetime(h http.Header, now time.Time) (time.Duration, bool) {
	var maxAge time.Duration
	hasMaxAge := false
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return 0, true
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 64)
			if err == nil && !hasMaxAge {
				// Clamped here, so that a huge number does not overflow.
				maxAge, hasMaxAge = time.Duration(min(seconds, uint64(maxLifetime/time.Second)))*time.Second, true
			}
		}
	}
	if hasMaxAge {
		return maxAge, true
	}
	expires := h.Get("Expires")
	if expires == "" {
		return 0, false
	}
	t, err := http.ParseTime(expires)
	if err != nil {
		return 0, true // "0" and the like mean that it has expired
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date // the issuer's clock may differ from ours
	}
	return t.Sub(now), true
}
