package ssegin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin/internal/epoll"
)

// A detached stream has left net/http: its connection was hijacked after the
// response had begun, and its goroutine, buffers and request are gone. What is
// left is a cursor, a feed and a socket, which the fleet of the hub serves.
//
// That is why it needs a tenth of the memory, and why an event costs little
// more than the kernel's send: there is no goroutine to wake, and no buffer
// between the batch and the socket.
type detached struct {
	session *session
	fleet   *fleet
	crew    *crew

	queued atomic.Bool  // it is in one of the crew's queues, or not to be put there
	behind atomic.Bool  // it has much to be given, and so its turns come after those of others
	alarm  atomic.Int64 // when to look again without being woken, since the fleet was made

	mu      sync.Mutex    // taken before Stream.mu, fleet.mu, crew.mu, those of the backlog and timeline.mu
	socket  *epoll.Socket // nil until the connection is taken over, and after its end
	chunked bool          // HTTP/1.1; HTTP/1.0, which nginx speaks to its upstreams, ends by closing
	paused  bool          // OnReset is being called: its snapshot comes first
	served  bool          // who waited in sendLocked has written since the hub's last batch, whose turn it is
	unsent  [][]byte      // what the socket did not take; nil when that is nothing, so that no room is kept
	stalled time.Time     // since when it owes the bytes in which it is measured; zero when it has taken all
	taken   int           // of these bytes
	drained chan struct{} // closed when those who wait in sendLocked may write; nil if nobody waits
	waiting int           // how many wait for drained
	going   int           // how many have waited, and may write, but have not taken the lock yet
	leaving error         // the cause with which the stream ends once unsent is empty
}

// newDetached returns a stream that is to be detached, so that the hub can wake it
// before it is.
func newDetached(s *session, f *fleet) *detached {
	d := &detached{session: s, fleet: f, crew: f.crew()}
	d.queued.Store(true)
	return d
}

// notify wakes the stream.
func (d *detached) notify() { d.ready() }

// ready puts the stream in the queue, unless it is there already.
func (d *detached) ready() {
	if d.queued.CompareAndSwap(false, true) {
		d.crew.push(d, d.behind.Load())
	}
}

// turn is step, and ends the stream if one of the application's hooks panics.
func (d *detached) turn(now time.Time) {
	b := newBatch(chunkRoom)
	defer b.release()
	defer func() {
		if p := recover(); p != nil {
			d.panicked(p)
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.socket != nil {
				d.abortLocked(ErrClosed)
			}
		}
	}()
	if d.step(now, b) {
		d.session.hub.wrote(b) // off the lock, because it calls the Observer
	}
	d.session.hub.options.observer.turned(b)
}

// step is what a crew does when the stream's turn comes: it sends what the
// socket did not take before, and then one batch, so that a long replay takes
// turns with others. It reports whether it has written b.
//
// Senders and the hub take turns as well: whoever waits in sendLocked goes before
// the next batch, and after that the batch goes before whoever waits then. So
// neither a hub that always has more nor an application that always sends can
// starve the other.
func (d *detached) step(now time.Time, b *batch) (wrote bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket == nil {
		return false
	}
	d.queued.Store(false) // from here on a wake-up means another turn
	if len(d.unsent) > 0 && !d.resumeLocked(now, d.session.stream.over()) || d.paused || d.going > 0 {
		return false // the last of those who are going asks for the next turn
	}
	d.served = false
	wrote, more, _ := d.session.step((*crewed)(d), b, now)
	if d.socket == nil {
		return wrote
	}
	d.behind.Store(more || d.session.catching != nil)
	if len(d.unsent) == 0 {
		if more && d.drained == nil {
			d.ready()
		}
		d.releaseLocked()
	}
	d.restLocked(now)
	return wrote
}

// crewed is a detached stream as its session drives it, with the lock held.
type crewed detached

func (c *crewed) write(b *batch, now time.Time) error {
	d := (*detached)(c)
	if b.size() == 0 {
		return nil // a chunk of nothing would be the last one
	}
	for _, piece := range b.framed(d.chunked) {
		if d.writeLocked(piece, now); d.socket == nil {
			return d.session.stream.over()
		}
	}
	return nil
}

func (c *crewed) finish(cause error, now time.Time) { (*detached)(c).finishLocked(cause, now) }

func (c *crewed) reset(reset Reset) { (*detached)(c).pauseLocked(reset) }

// pauseLocked calls OnReset, and goes on when it has returned.
func (d *detached) pauseLocked(reset Reset) {
	if d.session.stream.options.onReset == nil {
		d.session.tell(reset)
		return
	}
	d.paused = true
	d.session.hub.timeline.hold()
	go func() {
		defer d.session.hub.timeline.release()
		d.callback(func() { d.session.tell(reset) })
		d.mu.Lock()
		d.paused = false
		d.mu.Unlock()
		d.ready()
	}()
}

// resumeLocked sends what is left of an earlier write, and reports whether that is
// all gone and the stream goes on at once. It gives up on a client that has taken
// too little for the write timeout, and on a stream that is over, or whose time is:
// what is unsent may be what its client may no longer see.
func (d *detached) resumeLocked(now time.Time, cause error) bool {
	if cause == nil {
		cause = d.session.feed.overdue(now)
	}
	if cause != nil && !polite(cause) && !errors.Is(cause, ErrEnded) && d.leaving == nil {
		d.abortLocked(cause)
		return false
	}
	for len(d.unsent) > 0 {
		n := d.pushLocked(d.unsent[0], now)
		if d.socket == nil {
			return false
		}
		if n < len(d.unsent[0]) {
			d.unsent[0] = d.unsent[0][n:]
			break
		}
		if d.unsent = d.unsent[1:]; len(d.unsent) == 0 {
			d.unsent = nil
		}
	}
	timeout := d.session.stream.options.writeTimeout
	switch {
	case len(d.unsent) == 0 && d.leaving != nil:
		d.closeLocked(d.leaving)
	case len(d.unsent) == 0 && d.drained != nil && (!d.served || d.paused):
		d.releaseLocked()
	case len(d.unsent) == 0:
		return true
	case d.session.feed.overdue(now.Add(-grace)) != nil:
		d.abortLocked(d.session.feed.over)
	case timeout > 0 && now.Sub(d.stalled) >= timeout:
		d.abortLocked(fmt.Errorf("ssegin: write: %w", os.ErrDeadlineExceeded))
	default:
		d.restLocked(now)
	}
	return false
}

// releaseLocked lets those write who wait for unsent to be empty.
func (d *detached) releaseLocked() {
	if d.drained != nil {
		close(d.drained)
		d.drained, d.served = nil, true
		d.going, d.waiting = d.going+d.waiting, 0
	}
}

// writeLocked hands p to the socket, after what it did not take before, and keeps
// what it does not take: a frame as it is, because that never changes, and a copy of
// anything else.
func (d *detached) writeLocked(p piece, now time.Time) {
	n := 0
	if len(d.unsent) == 0 {
		if n = d.pushLocked(p.bytes, now); n == len(p.bytes) || d.socket == nil {
			return
		}
	}
	rest := p.bytes[n:]
	if !p.shared {
		rest = append([]byte(nil), rest...)
	}
	d.unsent = append(d.unsent, rest)
}

// pushLocked hands p to the socket and says how much it took. If it fails, the
// stream is over. A client has the write timeout for all that is due to it, or for as
// much as one write carries; so one that takes a byte now and then is not taken for
// one that reads.
func (d *detached) pushLocked(p []byte, now time.Time) int {
	n, err := d.socket.Write(p)
	d.taken += n
	switch {
	case err != nil:
		d.abortLocked(leftBy(err, false))
		return 0
	case n == len(p) && len(d.unsent) <= 1:
		d.stalled, d.taken = time.Time{}, 0
	case d.stalled.IsZero() || d.taken >= writeBytes:
		d.stalled, d.taken = now, 0
	}
	return n
}

// restLocked sets when the stream is looked at again without being woken.
func (d *detached) restLocked(now time.Time) {
	rest := d.session.feed.rest(now)
	if timeout := d.session.stream.options.writeTimeout; len(d.unsent) > 0 && timeout > 0 {
		rest = min(rest, d.stalled.Add(timeout).Sub(now))
	}
	d.alarm.Store(int64(now.Sub(d.fleet.born) + min(rest, time.Hour)))
}

// finishLocked ends the response after everything that was written.
func (d *detached) finishLocked(cause error, now time.Time) {
	d.session.stream.end(cause)
	if d.chunked && !d.session.stream.breaks() { // without its last chunk the response is broken
		if len(d.unsent) > 0 {
			d.unsent = append(d.unsent, []byte(lastChunk))
		} else if d.writeLocked(piece{bytes: []byte(lastChunk)}, now); d.socket == nil {
			return
		}
	}
	if d.leaving = cause; len(d.unsent) == 0 {
		d.closeLocked(cause)
	}
}

// abortLocked closes the connection; what the kernel still holds for it is dropped.
func (d *detached) abortLocked(cause error) {
	if len(d.unsent) > 0 || !d.stalled.IsZero() {
		d.socket.ResetOnClose()
	}
	d.closeLocked(cause)
}

// closeLocked ends the stream, and tells the hub and the application, on a goroutine
// of its own, because the application may take its time.
func (d *detached) closeLocked(cause error) {
	d.session.stream.end(cause)
	d.fleet.remove(d.socket)
	d.socket, d.unsent = nil, nil
	d.queued.Store(true) // not to be put in the queue any more
	d.releaseLocked()
	d.session.leave(d.session.hub.timeline.leaveAtOnce, func(callbacks func()) { go d.callback(callbacks) })
}

// callback calls the application. A panic ends this stream only and is logged,
// as net/http would do for a request.
func (d *detached) callback(f func()) {
	defer func() {
		if p := recover(); p != nil {
			d.panicked(p)
			d.session.stream.end(ErrClosed)
		}
	}()
	f()
}

func (d *detached) panicked(p any) {
	d.session.stream.logger().Error("ssegin: panic in a callback of a detached stream", "panic", p, "stack", string(debug.Stack()))
}

// Send writes blocks of the application. It waits until what was written
// before has left.
func (d *detached) Send(blocks []byte, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sendLocked(blocks, now)
}

// Last is Send, and nothing can be written after it.
func (d *detached) Last(blocks []byte, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.sendLocked(blocks, now); err != nil {
		return err
	}
	d.session.stream.end(ErrEnded)
	return nil
}

// sendLocked lets go of the lock while it waits.
func (d *detached) sendLocked(blocks []byte, now time.Time) error {
	waited := false
	for d.socket != nil && len(d.unsent) > 0 {
		if d.drained == nil {
			d.drained = make(chan struct{})
		}
		drained := d.drained
		d.waiting++
		d.mu.Unlock()
		<-drained // until the client has taken it, or is cut
		d.mu.Lock()
		d.going--
		now, waited = time.Now(), true
	}
	if waited {
		defer d.ready() // the hub's batch has let those go first who waited
	}
	if d.socket != nil && d.session.stream.over() == nil {
		if until := d.session.feed.until; !until.IsZero() && !now.Before(until) {
			d.session.stream.end(d.session.feed.over)
		} else {
			b := newBatch(chunkRoom)
			defer b.release()
			b.data = append(b.data, blocks...)
			if (*crewed)(d).write(b, now) == nil {
				d.restLocked(now)
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %w", ErrClosed, d.session.stream.over())
}

// Cut drops the connection.
func (d *detached) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket != nil {
		d.stalled = time.Now() // what the kernel holds is not waited for
		d.abortLocked(ErrShutdown)
	}
}

// Hurry does nothing: a turn ends a stream with something unsent whose time is over,
// and end has asked for a turn.
func (d *detached) Hurry() {}

// alarmAt is when the stream is looked at again without being woken.
func (d *detached) alarmAt() int64 { return d.alarm.Load() }

// gone is called when the peer has closed the connection.
func (d *detached) gone() { d.session.stream.end(context.Canceled) }

// canDetach reports whether a request's connection can be taken over: one of
// plain TCP with HTTP/1, no middleware's writer that hides the server's, and no body that
// the server may still have to read. Whether a middleware encodes the response shows when
// that has begun: see session.stay.
func canDetach(c *gin.Context, s *Stream) bool {
	o := s.options
	if !o.detach || o.polling > 0 || o.undetachable.Load() || !epoll.Available ||
		c.Request.ProtoMajor != 1 || c.Request.TLS != nil || c.Request.ContentLength != 0 {
		return false
	}
	if s.writer.Hijacker() == nil {
		o.reportAttached(s, c, "a middleware's writer hides the server's (it has no Unwrap method), or has headers of its own")
		return false
	}
	return true
}

// reportAttached says once for each route why its streams are not detached.
func (o *streamOptions) reportAttached(s *Stream, c *gin.Context, why string) {
	o.report(s.logger(), c.FullPath(), "ssegin: WithDetached: streams of this route stay with net/http",
		"because", why, "writer", s.writer.Kind())
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
