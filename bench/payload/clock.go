package payload

import (
	"time"

	"golang.org/x/sys/unix"
)

// started is one moment on both clocks: Go's, which is cheap to read but counts
// from the start of the process, and the kernel's, which all processes share.
var started = sync()

type moment struct {
	local  time.Time
	shared int64
}

// Now reads CLOCK_MONOTONIC in nanoseconds. Two processes on one machine may
// subtract each other's readings.
func Now() int64 {
	return started.shared + int64(time.Since(started.local))
}

func sync() moment {
	var ts unix.Timespec
	// It cannot fail: the clock is a constant that every Linux has.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return moment{local: time.Now(), shared: ts.Nano()}
}
