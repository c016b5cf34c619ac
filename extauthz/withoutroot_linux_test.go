package extauthz

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// withoutRoot calls do as somebody who may not read everything: Linux lets a
// thread open files as another user.
func withoutRoot(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, syscall.Setfsuid(nobody))
	defer syscall.Setfsuid(0) //nolint:errcheck // it says nothing
	do()
}
