package guest

import (
	"time"

	"golang.org/x/sys/unix"
)

// setClock sets the guest's time of day, in nanoseconds since 1970.
func setClock(wallNS int64) {
	tv := unix.NsecToTimeval(wallNS)
	unix.Settimeofday(&tv)
}

// clockSlack is how far the guest's time of day may be off the host's.
const clockSlack = 10 * time.Millisecond

// keepClock sets the time of day again if it is off: the clone's first words took
// long to understand, and under emulation the clock runs as it likes.
func keepClock(wallNS int64) {
	if off := time.Since(time.Unix(0, wallNS)); wallNS != 0 && off.Abs() > clockSlack {
		setClock(wallNS)
	}
}

// sinceBoot is the guest's monotonic clock: nanoseconds since its kernel
// started to keep time.
func sinceBoot() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// started is when this process began to run Go code.
var started = sinceBoot()
