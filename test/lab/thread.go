package lab

import (
	"os"
	"runtime"
	"syscall"
)

// OnThread runs do on an OS thread that ends with it, so that what do changes of the
// thread (namespaces, credentials) touches nobody else: a goroutine that ends while
// locked takes its thread along. Not so the main thread, which Go parks instead, and
// whose namespaces /proc/PID shows; whoever gets that one holds it and lets another one
// do it.
func OnThread(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if syscall.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			done <- OnThread(do)
			return
		}
		done <- do()
	}()
	return <-done
}
