package ssegin

import (
	"net"
	"os"
	"syscall"
)

const pollable = true

// A poller hears from the kernel about many sockets on one goroutine (epoll).
// The epoll descriptor is itself watched by Go's scheduler, so that waiting
// takes no thread.
type poller struct {
	file *os.File
	raw  syscall.RawConn
	fd   int
}

// A socket is a connection that is written without waiting.
type socket struct {
	conn   *net.TCPConn
	raw    syscall.RawConn
	ticket int32

	try func(fd uintptr) bool // made once: a closure for each write would be garbage
	p   []byte
	n   int
	err error
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // so that os.NewFile lets the scheduler watch it
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add watches a connection. Events come on changes only (EPOLLET), so one call
// serves for the life of the connection, and what the client sends, which
// nobody reads, does not come up again and again.
func (p *poller) add(conn *net.TCPConn, ticket int32) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, raw: raw, ticket: ticket}
	s.try = s.tryWrite
	event := syscall.EpollEvent{Events: syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge, Fd: ticket}
	var failed error
	err = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, notSentLowat)
		failed = syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, int(fd), &event)
	})
	if err == nil && failed != nil {
		err = os.NewSyscallError("epoll_ctl", failed)
	}
	return s, err
}

// edge is EPOLLET; the constant of package syscall is negative.
const edge = 1 << 31

// run calls event for each socket that can be written again, or is gone.
func (p *poller) run(event func(ticket int32, gone bool)) {
	events := make([]syscall.EpollEvent, 128)
	n := 0
	wait := func(fd uintptr) bool { // made once: a closure for each wake-up would be garbage
		n, _ = syscall.EpollWait(int(fd), events, 0)
		return n > 0
	}
	for {
		if p.raw.Read(wait) != nil {
			return // closed
		}
		for _, e := range events[:n] {
			event(e.Fd, e.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0)
		}
	}
}

func (p *poller) close() { _ = p.file.Close() }

// write hands p to the socket, which may take less.
func (s *socket) write(p []byte) (n int, err error) {
	s.p, s.n, s.err = p, 0, nil
	if err := s.raw.Write(s.try); err != nil {
		return s.n, err
	}
	s.p = nil
	return s.n, s.err
}

func (s *socket) tryWrite(fd uintptr) bool {
	for len(s.p) > s.n {
		n, err := syscall.Write(int(fd), s.p[s.n:])
		switch err {
		case nil:
			s.n += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return true // the poller says when it can be written again
		default:
			s.err = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}

func (s *socket) close() { _ = s.conn.Close() }
