package lockdown

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is a clock that nobody sets, and that goes on while the host sleeps
// (CLOCK_BOOTTIME, clock_gettime(2)).
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}
