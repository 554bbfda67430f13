package servers

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/sys/unix"
)

// A rawConn has no topic until its request has come.
type rawConn struct {
	fd      int
	request []byte
	topic   *rawTopic
	index   int // in topic.conns
	at      cursor
	rest    []byte // what the socket did not take; it is watched until it does
}

func (s *floorA) accept(listener int) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // nobody waits any more, or the next round tries again
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // as net does
		s.conns[fd] = &rawConn{fd: fd}
		if s.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN|unix.EPOLLRDHUP) != nil {
			s.close(s.conns[fd])
		}
	}
}

// serveConn does what epoll says is possible with c.
func (s *floorA) serveConn(c *rawConn, events uint32, busy []*rawTopic) []*rawTopic {
	switch {
	case events&(unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0:
		s.close(c)
	case events&unix.EPOLLOUT != 0:
		if s.write(c) && len(c.rest) == 0 {
			_ = s.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLRDHUP)
			busy = c.topic.addTo(busy)
		}
	case s.read(c) && c.topic != nil:
		busy = c.topic.addTo(busy)
	}
	return busy
}

// read takes more of the request and answers it when it is complete.
func (s *floorA) read(c *rawConn) bool {
	var buf [4 << 10]byte
	n, err := unix.Read(c.fd, buf[:])
	if err == unix.EAGAIN {
		return false
	}
	c.request = append(c.request, buf[:max(n, 0)]...)
	if err != nil || n == 0 || len(c.request) > len(buf) {
		s.close(c)
		return false
	}
	head, ok := bytes.CutSuffix(c.request, []byte("\r\n\r\n"))
	if ok && c.topic == nil {
		c.request = nil
		s.answer(c, string(head))
	}
	return ok
}

// answer starts the stream that the request asks for.
func (s *floorA) answer(c *rawConn, head string) {
	line, fields, _ := strings.Cut(head, "\r\n")
	target, _, _ := strings.Cut(strings.TrimPrefix(line, "GET "), " ")
	u, err := url.Parse(target)
	if err != nil {
		s.close(c)
		return
	}
	// The send buffer is empty: it takes this.
	_, _ = unix.Write(c.fd, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"))
	if u.Path == "/tokens" {
		delete(s.conns, c.fd)
		_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
		go s.writeTokens(c.fd)
		return
	}
	t := s.topics[topicOf(&http.Request{URL: u})]
	if t == nil {
		s.close(c)
		return
	}
	_, lastID, _ := strings.Cut(fields, "Last-Event-ID: ")
	lastID, _, _ = strings.Cut(lastID, "\r\n")
	c.topic, c.index, c.at = t, len(t.conns), t.feed.start(lastID)
	t.conns = append(t.conns, c)
}

// write writes c.rest and watches the socket if it does not take all. It
// returns false if c is gone.
func (s *floorA) write(c *rawConn) bool {
	n, err := unix.Write(c.fd, c.rest)
	if err != nil && err != unix.EAGAIN {
		s.close(c)
		return false
	}
	c.rest = c.rest[max(n, 0):]
	if len(c.rest) > 0 {
		_ = s.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP)
	}
	return true
}

// writeTokens has the socket to itself and lets it block.
func (s *floorA) writeTokens(fd int) {
	_ = unix.SetNonblock(fd, false)
	defer unix.Close(fd)
	id := uint64(0)
	for token := s.tokens(); token != nil; token = s.tokens() {
		id++
		if _, err := unix.Write(fd, chunk(block(id, token))); err != nil {
			return
		}
	}
	_, _ = unix.Write(fd, []byte("0\r\n\r\n"))
}

func (s *floorA) close(c *rawConn) {
	_ = unix.Close(c.fd) // takes it out of epoll too
	delete(s.conns, c.fd)
	if t := c.topic; t != nil {
		last := t.conns[len(t.conns)-1]
		t.conns[c.index], last.index = last, c.index
		t.conns = t.conns[:len(t.conns)-1]
	}
}

// chunk frames an event for HTTP/1.1.
func chunk(block []byte) []byte {
	return fmt.Appendf(nil, "%x\r\n%s\r\n", len(block), block)
}
