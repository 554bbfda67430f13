package gate

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
)

// Counts is what a process has counted since it began, or between two moments.
type Counts struct {
	Allocations, Bytes, Writes, Instructions uint64

	// Uncounted says why Instructions mean nothing; it is empty if they do.
	Uncounted string
}

// sub is what was counted between before and c.
func (c Counts) sub(before Counts) Counts {
	c.Allocations -= before.Allocations
	c.Bytes -= before.Bytes
	c.Writes -= before.Writes
	c.Instructions -= before.Instructions
	return c
}

// A meter counts what its own process does.
type meter struct {
	instructions *counter
	uncounted    error // why there is no counter
}

func newMeter() *meter {
	m := &meter{}
	m.instructions, m.uncounted = newCounter(instructions)
	return m
}

// begin reads the counts so that reading them is not in what follows: what
// allocates comes first.
func (m *meter) begin() (c Counts, err error) {
	m.countInstructions(&c)
	if c.Writes, err = writes(); err != nil {
		return c, err
	}
	c.countAllocations()
	return c, nil
}

// end reads the counts so that reading them is not in what went before.
func (m *meter) end() (c Counts, err error) {
	c.countAllocations()
	m.countInstructions(&c)
	c.Writes, err = writes()
	return c, err
}

func (c *Counts) countAllocations() {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	c.Allocations, c.Bytes = stats.Mallocs, stats.TotalAlloc
}

func (m *meter) countInstructions(c *Counts) {
	err := m.uncounted
	if err == nil {
		c.Instructions, err = m.instructions.read()
	}
	if err == nil && c.Instructions == 0 {
		err = errors.New("the processor's counter stands still")
	}
	if err != nil {
		c.Uncounted = err.Error()
	}
}

// writes is how many write and writev calls the process has made.
func writes() (uint64, error) {
	const path, key = "/proc/self/io", "syscw: "
	file, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(file) {
		if number, ok := bytes.CutPrefix(line, []byte(key)); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(number)), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, key)
}

// Live is what a process holds when all garbage is collected.
type Live struct{ Heap, Stack uint64 }

// live collects garbage until that changes nothing: what a pool holds takes two
// collections, and stacks shrink by half in each.
func live() Live {
	const most = 20 // goroutines that come and go could change it for ever
	var now, before Live
	for range most {
		debug.FreeOSMemory()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		if now = (Live{stats.HeapAlloc, stats.StackInuse}); now == before {
			break
		}
		before = now
	}
	return now
}
