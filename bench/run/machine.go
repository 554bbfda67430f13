package run

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Machine is what a reader has to know of where the figures come from.
type Machine struct {
	Cores  int
	CPU    string
	Memory int // bytes
	Kernel string
	Go     string
	Date   time.Time
}

// ThisMachine describes the machine that the program runs on.
func ThisMachine() Machine {
	m := Machine{
		Cores: runtime.NumCPU(),
		CPU:   valueOf("/proc/cpuinfo", "model name"),
		Go:    runtime.Version(),
		Date:  time.Now(),
	}
	_, _ = fmt.Sscan(valueOf("/proc/meminfo", "MemTotal"), &m.Memory)
	m.Memory <<= 10
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(name.Release[:]), "-")
	}
	return m
}

func (m Machine) String() string {
	return fmt.Sprintf("%d cores (%s), %d GiB, Linux %s, %s, loopback, %s",
		m.Cores, m.CPU, (m.Memory+1<<29)>>30, m.Kernel, m.Go, m.Date.Format(time.DateOnly))
}

// valueOf finds "key : value" in a file of /proc.
func valueOf(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, _ := strings.Cut(lines.Text(), ":")
		if strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
