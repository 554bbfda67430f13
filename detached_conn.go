package ssegin

import (
	"fmt"
	"net"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin/internal/epoll"
	"github.com/ssegin/ssegin/internal/response"
)

// canDetach reports whether a request's connection can be taken over: one of
// plain TCP with HTTP/1, no middleware's writer around it, and no body that the
// server may still have to read.
func canDetach(c *gin.Context, o *streamOptions, w *response.Writer) bool {
	return o.detach && !o.undetachable.Load() && epoll.Available && w.Hijacker() != nil &&
		c.Request.ProtoMajor == 1 && c.Request.TLS == nil && c.Request.ContentLength == 0
}

// takeLocked gives the connection to the fleet. If it is not TCP's after all, the
// streams of this handler stay with net/http from now on.
func (d *detached) takeLocked(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		d.session.stream.options.undetachable.Store(true)
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
