package process

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Usage is what a process has used up since it began.
type Usage struct {
	CPU    time.Duration // all threads, user and system
	Writes int           // write and writev calls; not send and its kind
}

// Usage reads the child's from the kernel.
func (c *Child) Usage() (Usage, error) {
	cpu, err := cpuTime(c.cmd.Process.Pid)
	if err != nil {
		return Usage{}, err
	}
	writes, err := c.proc("io", "syscw:")
	return Usage{CPU: cpu, Writes: writes}, err
}

// Sub is what was used up between before and u.
func (u Usage) Sub(before Usage) Usage {
	return Usage{CPU: u.CPU - before.CPU, Writes: u.Writes - before.Writes}
}

// Resident is the child's memory in bytes, as it is counted page by page.
func (c *Child) Resident() (int, error) {
	kilobytes, err := c.proc("smaps_rollup", "Rss:")
	return kilobytes << 10, err
}

// PeakResident is the most memory that the child has had, in bytes.
func (c *Child) PeakResident() (int, error) {
	kilobytes, err := c.proc("status", "VmHWM:")
	return kilobytes << 10, err
}

// proc reads the number that follows key in one of the files of /proc/PID.
func (c *Child) proc(file, key string) (int, error) {
	path := fmt.Sprintf("/proc/%d/%s", c.cmd.Process.Pid, file)
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), key); ok {
			number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return strconv.Atoi(number)
		}
	}
	return 0, fmt.Errorf("%s: no %s", path, key)
}

// cpuTime reads the CPU clock of a process. It counts nanoseconds, where
// /proc/PID/stat counts ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	const scheduler = 2 // CPUCLOCK_SCHED; the clock's number is made as in clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}
