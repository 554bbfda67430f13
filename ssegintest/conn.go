package ssegintest

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// DefaultBuffer is how many bytes of a connection may be on their way in each
// direction: written by one side and not yet read by the other.
const DefaultBuffer = 64 << 10

// A Conn is one end of a connection in memory that behaves like a TCP
// connection on Linux. A write returns when its bytes are in the buffer and
// waits while the buffer is full, so that a peer that does not read is felt as
// late as on a real network, and no sooner. Every wait ends with its deadline,
// which in a synctest bubble is a moment of the bubble's time.
//
// Its errors are *net.OpError, as those of TCP, and unwrap to io.EOF (bare),
// net.ErrClosed, os.ErrDeadlineExceeded, syscall.ECONNRESET or syscall.EPIPE.
//
// Its methods may be called from any goroutine, but two writes at the same
// time may mix their bytes.
type Conn struct {
	in, out       *half
	local, remote net.Addr
	hard          atomic.Bool // Close sends an RST
}

var _ net.Conn = (*Conn)(nil)

// newPipe returns the two ends of a connection.
func newPipe(buffer int, client, server net.Addr) (c, s *Conn) {
	up, down := newHalf(buffer), newHalf(buffer)
	return &Conn{in: down, out: up, local: client, remote: server},
		&Conn{in: up, out: down, local: server, remote: client}
}

// Read reads what has arrived, and waits if nothing has. It returns io.EOF
// after the last byte of a peer that has closed, and ECONNRESET at once when
// the connection was torn down: what was on its way is lost.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write writes all of p, and waits while the buffer is full. It fails with
// EPIPE when the peer has closed, with ECONNRESET when it tore the connection
// down; n is then what went into the buffer before.
func (c *Conn) Write(p []byte) (n int, err error) {
	n, err = c.out.write(p)
	return n, c.wrap("write", err)
}

// CloseWrite sends a FIN: the peer reads io.EOF after what is on its way, and
// may still write.
func (c *Conn) CloseWrite() error {
	if !c.out.closeWrite(false) {
		return c.wrap("close", net.ErrClosed)
	}
	return nil
}

// Close closes both directions. The peer reads what is on its way and then
// io.EOF. As with TCP, the connection is torn down instead (an RST) if
// SetLinger(0) was called, or if bytes had arrived that were not read.
func (c *Conn) Close() error {
	unread, ok := c.in.closeRead(c.hard.Load())
	if !ok {
		return c.wrap("close", net.ErrClosed)
	}
	c.out.closeWrite(unread || c.hard.Load())
	return nil
}

// SetLinger chooses what Close does, as it does for a net.TCPConn: 0 tears
// the connection down, anything else ends it in order, which is the default.
func (c *Conn) SetLinger(sec int) error {
	c.hard.Store(sec == 0)
	return nil
}

// LocalAddr returns a *net.TCPAddr on 127.0.0.1 with a port of its own.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the local address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets the deadlines of reading and writing. The zero time means
// none; one in the past ends the calls that wait.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets the deadline of all reads, those that wait included.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setReadDeadline(t))
}

// SetWriteDeadline sets the deadline of all writes, those that wait included.
// A write that it cuts short has put a part of its bytes on their way.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setWriteDeadline(t))
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}
