//go:build !linux

package firewall

import "syscall"

// inNetworkOfItsOwn asks for nothing: nft is Linux's.
func inNetworkOfItsOwn() *syscall.SysProcAttr { return nil }
