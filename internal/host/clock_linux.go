package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock says whether something keeps the host's clock in step, as the kernel has it
// (adjtimex(2)), and how far off it may be at most.
func Clock() (synchronised bool, mayBeOff time.Duration, err error) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t) // Modes 0: it only reads
	if err != nil {
		return false, 0, err
	}
	const unsynchronised = 5 // TIME_ERROR
	return state != unsynchronised && t.Status&unix.STA_UNSYNC == 0, time.Duration(t.Maxerror) * time.Microsecond, nil
}
