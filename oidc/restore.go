package oidc

import (
	"log/slog"
	"runtime/debug"
	"time"
)

// restore puts the keys of the snapshot in place, if there is one that can be
// used. It says nothing of the issuer: the first fetch is still to come.
func (k *issuerKeys) restore(f *flight) {
	var got fetched
	var at time.Time
	err := errFlightLost // stays if reading panics
	defer func() {
		if p := recover(); p != nil {
			k.store.logger.Error("panic while reading a snapshot of keys", "issuer", k.cfg.name, "panic", p, "stack", string(debug.Stack()))
		}
		k.landRestored(f, got, at)
		k.store.vacate(f)
		close(f.done)
		switch {
		case err != nil:
			k.store.logger.Warn("the snapshot of the keys is not used", slog.String("issuer", k.cfg.name), slog.String("error", errorText(err)))
		case got.set != nil:
			k.store.logger.Info("the keys of the snapshot are used until others come", slog.String("issuer", k.cfg.name),
				slog.Time("fetched", at), slog.Int("usable", len(got.set.keys)), slog.Int("skipped", len(got.set.skipped)))
		}
	}()
	got, at, err = k.kept.load(k.store.clock())
}

func (k *issuerKeys) landRestored(f *flight, got fetched, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight == f {
		k.flight = nil
	}
	defer k.reschedule()
	k.restored = true
	if got.set == nil || k.snap.Load() != nil {
		return
	}
	// They are overdue from the start: their refresh is the next thing to do.
	k.snap.Store(&keySnapshot{set: got.set, generation: k.store.generation.Add(1), fetchedAt: at, expires: at})
	k.published = f.number
}

// save writes the latest snapshot that is to be written. While somebody writes,
// others leave theirs to him: disks can be slow, and no lock is held.
func (k *issuerKeys) save() {
	for {
		k.mu.Lock()
		s := k.toSave
		if s == nil || k.saving {
			k.mu.Unlock()
			return
		}
		k.toSave, k.saving = nil, true
		k.mu.Unlock()

		err := k.write(*s)

		k.mu.Lock()
		was := k.saveErr
		k.saving, k.saveErr = false, err
		k.mu.Unlock()
		switch {
		case err != nil && errorText(err) != errorText(was):
			k.store.logger.Warn("the snapshot of the keys could not be written; the keys in memory hold, but a restart while the issuer is down would be without",
				slog.String("issuer", k.cfg.name), slog.String("error", errorText(err)))
		case err == nil && was != nil:
			k.store.logger.Info("the snapshot of the keys is written again", slog.String("issuer", k.cfg.name))
		}
	}
}

// write writes a snapshot; a panic is an error like another.
func (k *issuerKeys) write(s snapshot) (err error) {
	defer func() {
		if p := recover(); p != nil {
			k.store.logger.Error("panic while writing a snapshot of keys", "issuer", k.cfg.name, "panic", p, "stack", string(debug.Stack()))
			err = errFlightLost
		}
	}()
	return k.kept.save(s)
}
