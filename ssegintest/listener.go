package ssegintest

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// A listener hands the server's ends of new connections to its server.
type listener struct {
	buffer  int
	conns   chan net.Conn // unbuffered: dialling waits for Accept, there is no backlog to forget
	done    chan struct{}
	close   sync.Once
	clients atomic.Int32
}

// firstPort begins the ports for clients, as on most systems.
const firstPort = 49152

var serverAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}

func newListener(buffer int) *listener {
	return &listener{buffer: buffer, conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, l.wrap("accept", net.ErrClosed)
	}
}

func (l *listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

func (l *listener) Addr() net.Addr { return serverAddr }

func (l *listener) dial(ctx context.Context) (*Conn, error) {
	// Ports come round again, as they do in life; no test has so many at once.
	port := firstPort + int(l.clients.Add(1)-1)%(1<<16-firstPort)
	client, server := newPipe(l.buffer, &net.TCPAddr{IP: serverAddr.IP, Port: port}, serverAddr)
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, l.wrap("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED))
	case <-ctx.Done():
		return nil, l.wrap("dial", ctx.Err())
	}
}

func (l *listener) wrap(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: serverAddr, Err: err}
}
