package servers

import (
	"os"

	"golang.org/x/sys/unix"
)

// A rawListener deals out connections to the threads in turn.
type rawListener struct {
	fd      int
	threads []*rawThread
	next    int // which of threads has its turn
}

func newRawListener(fd int, threads []*rawThread) (*rawListener, error) {
	l := &rawListener{fd: fd, threads: threads}
	return l, os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

// accept takes all connections that wait. The kernel hands each over: its
// thread hears of it from its own epoll.
func (l *rawListener) accept() {
	for {
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // nobody waits any more, or the next round tries again
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // as net does
		t := l.threads[l.next]
		l.next = (l.next + 1) % len(l.threads)
		if t.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN|unix.EPOLLRDHUP) != nil {
			_ = unix.Close(fd)
		}
	}
}
