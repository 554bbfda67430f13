package servers

import (
	"bytes"
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

// conn returns the connection with that file descriptor, which is new if the
// thread has not heard of it yet.
func (t *rawThread) conn(fd int) *rawConn {
	c := t.conns[fd]
	if c == nil {
		c = &rawConn{fd: fd}
		t.conns[fd] = c
	}
	return c
}

// serveConn does what epoll says is possible with c.
func (t *rawThread) serveConn(c *rawConn, events uint32, busy []*rawTopic) []*rawTopic {
	switch {
	case events&(unix.EPOLLERR|unix.EPOLLHUP|unix.EPOLLRDHUP) != 0:
		t.close(c)
	case events&unix.EPOLLOUT != 0:
		if t.write(c) && len(c.rest) == 0 {
			_ = t.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLRDHUP)
			busy = c.topic.addTo(busy)
		}
	case t.read(c) && c.topic != nil:
		busy = c.topic.addTo(busy)
	}
	return busy
}

// read takes more of the request and answers it when it is complete.
func (t *rawThread) read(c *rawConn) bool {
	var buf [4 << 10]byte
	n, err := unix.Read(c.fd, buf[:])
	if err == unix.EAGAIN {
		return false
	}
	c.request = append(c.request, buf[:max(n, 0)]...)
	if err != nil || n == 0 || len(c.request) > len(buf) {
		t.close(c)
		return false
	}
	head, ok := bytes.CutSuffix(c.request, []byte("\r\n\r\n"))
	if ok && c.topic == nil {
		c.request = nil
		t.answer(c, string(head))
	}
	return ok
}

// answer starts the stream that the request asks for.
func (t *rawThread) answer(c *rawConn, head string) {
	line, fields, _ := strings.Cut(head, "\r\n")
	target, _, _ := strings.Cut(strings.TrimPrefix(line, "GET "), " ")
	u, err := url.Parse(target)
	if err != nil {
		t.close(c)
		return
	}
	// The send buffer is empty: it takes this.
	_, _ = unix.Write(c.fd, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"))
	if u.Path == "/tokens" {
		delete(t.conns, c.fd)
		_ = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
		go t.writeTokens(c.fd)
		return
	}
	topic := t.topics[topicOf(&http.Request{URL: u})]
	if topic == nil {
		t.close(c)
		return
	}
	_, lastID, _ := strings.Cut(fields, "Last-Event-ID: ")
	lastID, _, _ = strings.Cut(lastID, "\r\n")
	c.topic, c.index, c.at = topic, len(topic.conns), topic.feed.start(lastID)
	topic.conns = append(topic.conns, c)
	topic.streams.Add(1)
}

// write writes c.rest and watches the socket if it does not take all. It
// returns false if c is gone.
func (t *rawThread) write(c *rawConn) bool {
	n, err := unix.Write(c.fd, c.rest)
	if err != nil && err != unix.EAGAIN {
		t.close(c)
		return false
	}
	c.rest = c.rest[max(n, 0):]
	if len(c.rest) > 0 {
		_ = t.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP)
	}
	return true
}

// writeTokens has the socket to itself and lets it block.
func (t *rawThread) writeTokens(fd int) {
	_ = unix.SetNonblock(fd, false)
	defer unix.Close(fd)
	id := uint64(0)
	for token := t.tokens(); token != nil; token = t.tokens() {
		id++
		if _, err := unix.Write(fd, chunk(block(id, token))); err != nil {
			return
		}
	}
	_, _ = unix.Write(fd, []byte("0\r\n\r\n"))
}

func (t *rawThread) close(c *rawConn) {
	delete(t.conns, c.fd)
	_ = unix.Close(c.fd) // takes it out of epoll too
	if topic := c.topic; topic != nil {
		last := topic.conns[len(topic.conns)-1]
		topic.conns[c.index], last.index = last, c.index
		topic.conns = topic.conns[:len(topic.conns)-1]
		topic.streams.Add(-1)
	}
}
