package ssegin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// canDetach reports whether a request's connection can be taken over: one of
// plain TCP with HTTP/1, no middleware's writer around it, and no body that the
// server may still have to read.
func canDetach(c *gin.Context, o *streamOptions, w *writer) bool {
	_, hijackable := w.server.(http.Hijacker)
	return o.detach && !o.undetachable.Load() && pollable && hijackable &&
		c.Request.ProtoMajor == 1 && c.Request.TLS == nil && c.Request.ContentLength == 0 && w.flusher.outer == nil
}

// detach takes the connection over from net/http, once the response has begun.
// If that fails the stream is over; there is no way back.
func (s *Stream) detach(c *gin.Context, f *feed, opened time.Time) bool {
	if s.writer.FlushError() != nil {
		return false
	}
	d := s.detached
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feed, d.opened, d.chunked = f, opened, c.Request.ProtoMinor > 0
	if errors.Is(f.over, ErrExpired) {
		f.until = f.until.Add(-watchEvery) // the watch comes late by as much
	}
	s.mu.Lock()
	s.out = d // who sends from now on waits for the lock of d
	s.mu.Unlock()
	server := s.writer.server
	s.writer.close()
	s.writer = nil
	conn, _, err := server.(http.Hijacker).Hijack()
	if err != nil {
		return false
	}
	if err := d.take(conn); err != nil {
		s.logger().Warn("ssegin: a connection could not be detached; its client comes back", "error", err)
		d.farewell(conn)
		return false
	}
	d.queued.Store(false)
	d.ready()
	return true
}

// take gives the connection to the fleet. If it is not TCP's after all, the
// streams of this handler stay with net/http from now on.
func (d *detached) take(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		d.stream.options.undetachable.Store(true)
		return fmt.Errorf("ssegin: the listener's connections are %T", conn)
	}
	socket, err := d.fleet.add(d, tcp)
	if err == nil {
		d.socket = socket
	}
	return err
}

// farewell ends a response that could not be taken over, in good order.
func (d *detached) farewell(conn net.Conn) {
	if d.chunked {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte(lastChunk))
	}
	_ = conn.Close()
}
