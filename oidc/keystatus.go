package oidc

import "time"

// IssuerStatus is the state of an issuer's keys at one moment.
type IssuerStatus struct {
	Issuer string // as configured
	Name   string // short name

	// Usable reports whether tokens of the issuer can be verified now.
	Usable bool
	// Stale reports whether the keys in use are overdue: their refresh fails, or
	// their lifetime is over.
	Stale bool
	// UsableKeys counts the keys in use, and SkippedKeys lists those of the same
	// set that are not; 128 at most. The list must not be changed.
	UsableKeys  int
	SkippedKeys []SkippedKey

	// FirstFetchEnded reports whether the first fetch has ended, well or not.
	FirstFetchEnded bool
	// LastSuccess, LastAttempt and NextRefresh are zero if there is none.
	LastSuccess time.Time
	LastAttempt time.Time
	NextRefresh time.Time
	// LastError is one line that says what was wrong with the last fetch, "" if
	// nothing was. It is for operators: it names the URL.
	LastError string
	// SnapshotError is one line that says why the last key set could not be kept
	// on disk, "" if it could or need not be.
	SnapshotError string

	// Tenants counts the tenants of a templated issuer that have keys and had a
	// valid token, and TenantsInTrouble those of them whose keys are stale or not
	// usable. The other fields sum them up then; Usable is true if any of them has
	// usable keys, or if there is none yet.
	Tenants          int
	TenantsInTrouble int

	// UnknownKeyFetched counts the fetches that tokens with an unknown key
	// caused, UnknownKeySuppressed the requests that would have caused one more
	// within the interval.
	UnknownKeyFetched    uint64
	UnknownKeySuppressed uint64
}

func (k *issuerKeys) status() IssuerStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := IssuerStatus{
		Issuer: k.cfg.issuer, Name: k.cfg.name,
		FirstFetchEnded: k.landed, LastAttempt: k.lastAttempt, LastError: errorText(k.lastErr),
		SnapshotError:     errorText(k.saveErr),
		UnknownKeyFetched: k.fetches, UnknownKeySuppressed: k.suppressed,
	}
	if k.lastErr == nil {
		s.LastError = errorText(k.warning)
	}
	if k.landed {
		s.NextRefresh = k.store.base.Add(k.dueAt())
	}
	now := k.store.clock()
	snap := k.snap.Load()
	if snap == nil {
		return s
	}
	s.LastSuccess = snap.fetchedAt
	if snap.usable(now, k.cfg.keys.maxStale()) {
		s.Usable = true
		s.Stale = k.failures > 0 || !now.Before(snap.expires)
		s.UsableKeys, s.SkippedKeys = len(snap.set.keys), snap.set.skipped
	}
	return s
}
