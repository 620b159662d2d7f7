package eventloop

import (
	"time"

	"golang.org/x/sys/unix"
)

// Thread is the kernel's number of the thread that the caller is on, and should be
// locked to.
func Thread() int { return unix.Gettid() }

// ThreadTime is the CPU time that a thread of this process has had; 0 if the
// kernel doesn't say.
func ThreadTime(thread int) time.Duration {
	const perThread, scheduled = 4, 2 // CPUCLOCK_PERTHREAD_MASK, CPUCLOCK_SCHED (linux/posix-timers.h)
	var t unix.Timespec
	if unix.ClockGettime(int32(^thread<<3|perThread|scheduled), &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
