package child

import "syscall"

// dieWithParent lets the kernel end a child that outlives us. A group of its own
// keeps the terminal's Ctrl-C away from it: we stop it ourselves, in order.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
