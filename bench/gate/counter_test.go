package gate

import (
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What holds for page faults holds for instructions: only the kernel's event is
// another one, which fewer machines have.
func TestCounter_countsAllThreadsOrSaysWhyNot(t *testing.T) {
	const threads, pages = 4, 100
	c, err := newCounter(pageFaults)
	if err != nil {
		if err.Error() == "" {
			t.Error("it does not count, and gives no reason")
		}
		return
	}
	defer c.close()
	before, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	touchOnThreads(t, threads, pages)
	after, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	if n := after - before; n < threads*pages {
		t.Errorf("%d page faults, want at least %d", n, threads*pages)
	}
}

// touchOnThreads touches so many fresh pages on each of so many threads, which
// all are there at the same time.
func touchOnThreads(t *testing.T, threads, pages int) {
	size := pages * os.Getpagesize()
	var here, done sync.WaitGroup
	here.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			here.Done()
			here.Wait()
			fresh, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = unix.Munmap(fresh) }()
			_ = unix.Madvise(fresh, unix.MADV_NOHUGEPAGE) // one fault could make many pages
			for i := 0; i < size; i += os.Getpagesize() {
				fresh[i] = 1
			}
		})
	}
	done.Wait()
}
