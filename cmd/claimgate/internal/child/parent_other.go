//go:build !linux

package child

import "syscall"

// dieWithParent has no means on this system: a child may outlive a parent that
// was killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
