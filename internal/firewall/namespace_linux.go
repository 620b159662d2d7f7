package firewall

import "syscall"

func inNetworkOfItsOwn() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
}
