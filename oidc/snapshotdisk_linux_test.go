package oidc

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/claimgate/claimgate/oidc/oidctest"
)

// smallDisk returns a directory on a file system of its own with room for some
// files, and a function that fills it, or makes room again.
func smallDisk(t *testing.T) (dir string, fill func(full bool)) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	return dir, func(full bool) {
		t.Helper()
		err := os.Remove(ballast)
		if full {
			err = os.WriteFile(ballast, make([]byte, 1<<20), 0o600)
			if errors.Is(err, syscall.ENOSPC) {
				return
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A full disk keeps the old snapshot as it is, is one line in the log and in the
// status, and harms nobody.
func TestAFullDiskKeepsTheOldSnapshot(t *testing.T) {
	dir, fill := smallDisk(t)
	clock := newTestClock()
	is := oidctest.NewIssuer(oidctest.WithClock(clock.now))
	defer is.Close()
	path := filepath.Join(dir, "snapshot")
	ic := IssuerConfig{Issuer: is.URL, Name: "test", Audiences: []string{"api"}, Keys: KeysConfig{SnapshotFile: path}}
	read := func() string {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	log := life(t, clock, ic, func(v *Validator) {
		wantReason(t, v, is.Token(nil), "")
		awaitSnapshot(v)
		old := read()
		fill(true)
		for range 3 {
			is.Rotate()
			clock.advance(time.Minute)
			wantReason(t, v, is.Token(nil), "") // by a key that came while the disk was full
			awaitSnapshot(v)
		}
		if read() != old {
			t.Error("the old snapshot has changed")
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if got := v.Status()[0].SnapshotError; !strings.Contains(got, "no space left on device: make room on its disk") {
			t.Errorf("the status says %q", got)
		}
		fill(false)
		is.Rotate()
		clock.advance(time.Minute)
		wantReason(t, v, is.Token(nil), "")
		awaitSnapshot(v)
		if read() == old || v.Status()[0].SnapshotError != "" {
			t.Errorf("there is room again, and the status says %q", v.Status()[0].SnapshotError)
		}
	})
	if n := strings.Count(log, "could not be written"); n != 1 || !strings.Contains(log, "is written again") {
		t.Errorf("%d lines in\n%s", n, log)
	}
}
