package process

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Group is processes that serve together, by their IDs.
type Group []int

// A Usage is what processes have used up since they began.
type Usage struct {
	CPU    time.Duration // all threads, user and system
	Writes int           // write and writev calls; not send and its kind
}

// Group is the child alone.
func (c *Child) Group() Group { return Group{c.cmd.Process.Pid} }

// Usage is that of the child alone.
func (c *Child) Usage() (Usage, error) { return c.Group().Usage() }

// Children returns the processes whose parent is pid.
func Children(pid int) (Group, error) {
	all, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return nil, err
	}
	var children Group
	for _, status := range all {
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(status)))
		if err != nil {
			return nil, err
		}
		// One that cannot be read any more has ended.
		if parent, err := number(child, "status", "PPid:"); err == nil && parent == pid {
			children = append(children, child)
		}
	}
	return children, nil
}

// Usage reads from the kernel what they have used up.
func (g Group) Usage() (u Usage, err error) {
	for _, pid := range g {
		cpu, err := cpuTime(pid)
		if err != nil {
			return u, err
		}
		u.CPU += cpu
	}
	u.Writes, err = g.sum("io", "syscw:")
	return u, err
}

// Sub is what was used up between before and u.
func (u Usage) Sub(before Usage) Usage {
	return Usage{CPU: u.CPU - before.CPU, Writes: u.Writes - before.Writes}
}

// Memory is what they hold, in bytes, counted page by page: what a container is
// charged for, without the programs' text. What they share counts once.
func (g Group) Memory() (int, error) {
	anonymous, err := g.sum("smaps_rollup", "Pss_Anon:")
	if err != nil {
		return 0, err
	}
	shared, err := g.sum("smaps_rollup", "Pss_Shmem:")
	return (anonymous + shared) << 10, err
}

// Peak is the most that each has ever held, in bytes, added up: text, and what
// several share, count in each.
func (g Group) Peak() (int, error) {
	kilobytes, err := g.sum("status", "VmHWM:")
	return kilobytes << 10, err
}

func (g Group) sum(file, key string) (sum int, err error) {
	for _, pid := range g {
		n, err := number(pid, file, key)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// number reads the number that follows key in one of the files of /proc/PID.
func number(pid int, file, key string) (int, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), key); ok {
			digits, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return strconv.Atoi(digits)
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
