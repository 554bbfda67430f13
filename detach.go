package ssegin

import (
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// canDetach reports whether a request's connection can be taken over: one of
// plain TCP with HTTP/1, and no middleware's writer around it.
func canDetach(c *gin.Context, o *streamOptions, w *writer) bool {
	_, hijackable := w.server.(http.Hijacker)
	return o.detach && !o.undetachable.Load() && pollable && hijackable &&
		c.Request.ProtoMajor == 1 && c.Request.TLS == nil && w.flusher.outer == nil
}

// detach takes the connection over from net/http, once the response has begun.
// If that fails the stream is over; there is no way back.
func (s *Stream) detach(c *gin.Context, f *feed, opened time.Time) bool {
	d := s.detached
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feed, d.opened, d.chunked = f, opened, c.Request.ProtoMinor > 0

	s.mu.Lock()
	s.out = d // who sends from now on waits for the lock of d
	s.mu.Unlock()
	server := s.writer.server
	err := s.writer.FlushError()
	s.writer.close()
	s.writer = nil
	if err != nil {
		return false
	}
	conn, _, err := server.(http.Hijacker).Hijack()
	if err != nil {
		return false
	}
	if !d.take(conn) {
		// A listener whose connections are not plain TCP, although they look like
		// it. This client comes back, and from now on they stay with net/http.
		s.options.undetachable.Store(true)
		d.farewell(conn)
		return false
	}
	d.queued.Store(false)
	d.ready()
	return true
}

// take gives the connection to the fleet.
func (d *detached) take(conn net.Conn) bool {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return false
	}
	socket, err := d.fleet.add(d, tcp)
	d.socket = socket
	return err == nil
}

// farewell ends a response that could not be taken over, in good order.
func (d *detached) farewell(conn net.Conn) {
	if d.chunked {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte(lastChunk))
	}
	_ = conn.Close()
}
