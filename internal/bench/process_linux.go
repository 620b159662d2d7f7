package bench

import "syscall"

// attributes of a child: a process group of its own, so that Ctrl-C at the
// terminal reaches us only and we stop it in order; and the kernel kills it
// when we are killed (prctl(2), PR_SET_PDEATHSIG).
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
