package load

import (
	"bytes"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ssegin/ssegin/bench/payload"
)

// A Target says which streams to open.
type Target struct {
	Addr        string   // the server's address and port
	Path        string   // of the streams; the topic is added as ?topic=
	Topics      []string // stream i asks for Topics[i modulo their number]
	Streams     int
	Stalled     int    // of the streams: those that stop reading after their probe
	LastEventID string // sent if it is not empty
	Hold        bool   // connect only; Ask sends the requests
	Source      string // local address to connect from; empty for the usual one
}

// stalledReceiveBuffer is small, so that a stalled stream is soon full.
const stalledReceiveBuffer = 4 << 10

// A client is one stream.
type client struct {
	fd    int
	state clientState
	ready bool
	topic int // index into the target's topics
	scan  scanner
	tally tally
}

type clientState uint8

const (
	closed clientState = iota // never opened, or over
	connecting
	holding // connected, not asked yet
	reading
	stalling // open, but not read any more
)

// dialMore connects clients while some are left and few are under way.
func (p *Pool) dialMore() {
	for p.dialed < len(p.clients) && p.dialing < maxDialing {
		p.dial(p.dialed)
		p.dialed++
	}
}

func (p *Pool) dial(i int) {
	c := &p.clients[i]
	*c = client{topic: i % len(p.target.Topics)}
	if err := p.connect(c, i); err != nil {
		p.failed++
		p.hangUp(c)
		return
	}
	c.state = connecting
	p.dialing++
}

func (p *Pool) connect(c *client, i int) (err error) {
	c.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.state = connecting // so that hangUp closes it
	if p.stalls(i) {
		_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, stalledReceiveBuffer)
	}
	// Closing resets the connection: no TIME_WAIT eats up the ports.
	_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if p.target.Source != "" {
		source, err := socketAddress(p.target.Source + ":0")
		if err != nil {
			return err
		}
		_ = unix.SetsockoptInt(c.fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(c.fd, source); err != nil {
			return fmt.Errorf("bind %s: %w", p.target.Source, err)
		}
	}
	server, err := socketAddress(p.target.Addr)
	if err != nil {
		return err
	}
	if err := unix.Connect(c.fd, server); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	return p.watch(unix.EPOLL_CTL_ADD, c.fd, i, unix.EPOLLOUT)
}

// serve does what epoll says is possible with client i.
func (p *Pool) serve(i int, events uint32) {
	switch c := &p.clients[i]; c.state {
	case connecting:
		p.connected(c, i, events)
	case reading:
		p.read(c, i)
	case holding: // only an error or a hang-up is told of
		p.held--
		p.failed++
		p.hangUp(c)
	}
}

func (p *Pool) connected(c *client, i int, events uint32) {
	p.dialing--
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		p.failed++
		p.hangUp(c)
		return
	}
	c.state = holding
	p.held++
	if !p.target.Hold {
		p.ask(c, i)
		return
	}
	_ = p.watch(unix.EPOLL_CTL_MOD, c.fd, i, 0)
}

// ask sends the request, which fits into the empty send buffer.
func (p *Pool) ask(c *client, i int) {
	request := fmt.Appendf(nil, "GET %s?topic=%s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n",
		p.target.Path, p.target.Topics[c.topic], p.target.Addr)
	if p.target.LastEventID != "" {
		request = fmt.Appendf(request, "Last-Event-ID: %s\r\n", p.target.LastEventID)
	}
	request = append(request, "\r\n"...)
	p.held--
	n, err := unix.Write(c.fd, request)
	if err != nil || n < len(request) || p.watch(unix.EPOLL_CTL_MOD, c.fd, i, unix.EPOLLIN) != nil {
		p.failed++
		p.hangUp(c)
		return
	}
	c.state = reading
	p.asked++
}

// read takes what has come for client i, once: epoll tells again of more.
func (p *Pool) read(c *client, i int) {
	n, err := unix.Read(c.fd, p.buffer)
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	p.now = payload.Now()
	if err == nil && n > 0 {
		c.scan.feed(p.buffer[:n])
		for frame, ok := c.scan.next(); ok; frame, ok = c.scan.next() {
			p.deliver(c, frame)
		}
	}
	switch {
	case p.churn.on:
		p.cycle(c, i)
	case err != nil || n <= 0 || c.scan.ended():
		p.lose(c)
	case c.ready && p.stalls(i):
		p.stall(c, i)
	}
}

// deliver counts one frame.
func (p *Pool) deliver(c *client, frame []byte) {
	seq, sent, ok := payload.Parse(frame)
	switch {
	case !ok: // a control event: none of those that are measured
	case seq == 0:
		p.probed(c, frame)
	default:
		p.measure.add(c, seq, p.now, sent)
	}
}

// probed takes a probe: the stream is open and its topic reaches it.
func (p *Pool) probed(c *client, frame []byte) {
	if !c.ready {
		c.ready = true
		p.ready++
	}
	for line := range bytes.Lines(frame) {
		if id, ok := bytes.CutPrefix(line, []byte("id:")); ok {
			p.lastID = string(bytes.TrimSpace(id))
		}
	}
}

// stalls reports whether client i is one that stops reading.
func (p *Pool) stalls(i int) bool { return i < p.target.Stalled }

func (p *Pool) stall(c *client, i int) {
	_ = p.watch(unix.EPOLL_CTL_DEL, c.fd, i, 0)
	c.state = stalling
	p.stalled++
}

// lose notes that the server ended the stream.
func (p *Pool) lose(c *client) {
	p.gone++
	p.hangUp(c)
}

func (p *Pool) hangUp(c *client) {
	if c.state != closed {
		_ = unix.Close(c.fd) // takes it out of epoll too
	}
	c.state = closed
	c.scan = scanner{}
}

func socketAddress(address string) (unix.Sockaddr, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !a.Addr().Is4() {
		return nil, fmt.Errorf("not an IPv4 address with a port: %q", address)
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}, nil
}
