//go:build !linux

package extauthz

import (
	"os"
	"testing"
)

// withoutRoot calls do as somebody who may not read everything.
func withoutRoot(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	do()
}
