package epoll

import (
	"net"
	"os"
	"syscall"
)

// Available says whether this system has what the package needs.
const Available = true

// TCPNotSentLowat is TCP_NOTSENT_LOWAT of linux/tcp.h: the socket option that
// says how many bytes a socket takes that are not on their way yet.
const TCPNotSentLowat = 0x19

// edge is EPOLLET; the constant of package syscall is negative.
const edge = 1 << 31

// A Poller hears from the kernel about many sockets on one goroutine (epoll).
// The epoll descriptor is itself watched by Go's scheduler, so that waiting
// takes no thread.
type Poller struct {
	file    *os.File
	raw     syscall.RawConn
	fd      int
	notSent int
}

// A Socket is a connection that is written without waiting. One goroutine at a
// time may use it.
type Socket struct {
	conn   *net.TCPConn
	raw    syscall.RawConn
	ticket int32

	try func(fd uintptr) bool // made once: a closure for each write would be garbage
	p   []byte
	n   int
	err error
}

// New returns a Poller. Its sockets take notSent bytes that are not on their way
// to the peer yet; TCPNotSentLowat is set to that.
func New(notSent int) (*Poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil { // so that os.NewFile lets the scheduler watch it
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, notSent: notSent}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add watches a connection, of which Run speaks by that ticket. Events come on
// changes only (EPOLLET), so one call serves for the life of the connection, and
// what the client sends, which nobody reads, does not come up again and again.
func (p *Poller) Add(conn *net.TCPConn, ticket int32) (*Socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &Socket{conn: conn, raw: raw, ticket: ticket}
	s.try = s.tryWrite
	event := syscall.EpollEvent{Events: syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge, Fd: ticket}
	var failed error
	err = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, TCPNotSentLowat, p.notSent) // without it there is only more in the kernel
		failed = syscall.EpollCtl(p.fd, syscall.EPOLL_CTL_ADD, int(fd), &event)
	})
	if err == nil && failed != nil {
		err = os.NewSyscallError("epoll_ctl", failed)
	}
	return s, err
}

// Run calls event for each socket that can be written again, or whose peer is
// gone, until the Poller is closed.
func (p *Poller) Run(event func(ticket int32, gone bool)) {
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

// Close ends Run. It leaves the connections open.
func (p *Poller) Close() { _ = p.file.Close() }

// Ticket is what the socket was added with.
func (s *Socket) Ticket() int32 { return s.ticket }

// Write hands p to the kernel, which may take less. Run says when it takes more.
func (s *Socket) Write(p []byte) (n int, err error) {
	s.p, s.n, s.err = p, 0, nil
	if err := s.raw.Write(s.try); err != nil {
		return s.n, err
	}
	s.p = nil
	return s.n, s.err
}

func (s *Socket) tryWrite(fd uintptr) bool {
	for len(s.p) > s.n {
		n, err := syscall.Write(int(fd), s.p[s.n:])
		switch err {
		case nil:
			s.n += n
		case syscall.EINTR:
		case syscall.EAGAIN:
			return true // the Poller says when it can be written again
		default:
			s.err = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}

// ResetOnClose lets Close drop what the kernel still holds for the peer, which
// is then told by a reset.
func (s *Socket) ResetOnClose() { _ = s.conn.SetLinger(0) }

// Close closes the connection, which the Poller then watches no more.
func (s *Socket) Close() { _ = s.conn.Close() }
