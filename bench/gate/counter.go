package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A happening is what the kernel can count of a process (perf_event_open(2)).
type happening struct {
	kind   uint32
	config uint64
}

var (
	instructions = happening{unix.PERF_TYPE_HARDWARE, unix.PERF_COUNT_HW_INSTRUCTIONS}
	pageFaults   = happening{unix.PERF_TYPE_SOFTWARE, unix.PERF_COUNT_SW_PAGE_FAULTS} // any machine has them
)

// A counter counts what happens in the user space of this process, on all of
// its threads.
type counter struct{ files []int }

// newCounter begins to count. Many virtual machines and containers do not let
// one count; then it returns an error.
//
// The kernel counts a thread and those that it starts, so each thread that is
// there needs a file; threads that others start meanwhile are looked for again.
func newCounter(h happening) (*counter, error) {
	c, counted := &counter{}, map[int]bool{}
	for more := true; more; {
		more = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return nil, err
		}
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil {
				return nil, err
			}
			if counted[id] {
				continue
			}
			if err := c.open(h, id); err != nil {
				c.close()
				return nil, err
			}
			counted[id], more = true, true
		}
	}
	return c, nil
}

func (c *counter) open(h happening, thread int) error {
	attr := unix.PerfEventAttr{
		Type:        h.kind,
		Config:      h.config,
		Read_format: unix.PERF_FORMAT_TOTAL_TIME_ENABLED | unix.PERF_FORMAT_TOTAL_TIME_RUNNING,
		Bits:        unix.PerfBitInherit | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv,
	}
	attr.Size = uint32(unsafe.Sizeof(attr))
	file, err := unix.PerfEventOpen(&attr, thread, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err == unix.ESRCH {
		return nil // the thread has gone
	}
	if err != nil {
		return os.NewSyscallError("perf_event_open", err)
	}
	c.files = append(c.files, file)
	return nil
}

// read returns how often it has happened since newCounter.
func (c *counter) read() (total uint64, err error) {
	var answer [3]uint64 // the count, and for how long it was wanted and made
	buffer := make([]byte, 8*len(answer))
	for _, file := range c.files {
		n, err := unix.Read(file, buffer)
		if err != nil || n != len(buffer) {
			return 0, fmt.Errorf("read of a counter: %d bytes, %w", n, err)
		}
		for i := range answer {
			answer[i] = binary.NativeEndian.Uint64(buffer[8*i:])
		}
		if answer[2] < answer[1] {
			return 0, errors.New("the processor's counter was shared with others")
		}
		total += answer[0]
	}
	return total, nil
}

func (c *counter) close() {
	for _, file := range c.files {
		_ = unix.Close(file)
	}
}
