package ssegin

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"github.com/ssegin/ssegin/internal/epoll"
	"github.com/ssegin/ssegin/internal/response"
)

const (
	tcpUserTimeout = 0x12 // TCP_USER_TIMEOUT of linux/tcp.h
	userTimeout    = defaultWriteTimeout
)

var userTimeoutRefused sync.Once

// ConnContext is for http.Server.ConnContext. It lets the kernel give up a
// connection whose peer has acknowledged nothing for ten seconds (the socket
// option TCP_USER_TIMEOUT, RFC 5482): a phone that left its network, a laptop
// whose lid was closed. Without it such a peer is noticed only when the
// kernel's retransmissions end, after about a quarter of an hour. It also lets
// the kernel take only so much ahead of what it can send (TCP_NOTSENT_LOWAT),
// so that what a slow client has not taken waits in the log, once for all.
//
// With it streams of HTTP/1 know their connection, and bound their writes there in place
// of http.Server.WriteTimeout, whatever writers of middlewares lie between.
//
// The rest is for Linux, and does nothing elsewhere. Sockets of MPTCP, which Go's
// listeners are by default, refuse the option on many kernels, and then one
// warning is logged. Listen with plain TCP:
//
//	lc := net.ListenConfig{}
//	lc.SetMultipathTCP(false)
//	ln, err := lc.Listen(ctx, "tcp", ":8080")
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	ctx = response.WithConn(ctx, c)
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		c = wrapped.NetConn()
	}
	conn, ok := c.(*net.TCPConn)
	if !ok {
		return ctx
	}
	_ = setOption(conn, epoll.TCPNotSentLowat, notSentLowat) // without it there is only more in the kernel
	if err := setOption(conn, tcpUserTimeout, int(userTimeout.Milliseconds())); err != nil {
		userTimeoutRefused.Do(func() {
			slog.Warn("ssegin: ConnContext: the listener's sockets refuse TCP_USER_TIMEOUT, so peers that vanish are noticed late; listen with SetMultipathTCP(false)", "error", err)
		})
	}
	return ctx
}

// setOption sets an option of TCP.
func setOption(conn *net.TCPConn, option, value int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, option, value)
	})
	return cmp.Or(err, failed)
}
