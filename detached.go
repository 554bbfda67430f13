package ssegin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A detached stream has left net/http: its connection was hijacked after the
// response had begun, and its goroutine, buffers and request are gone. What is
// left is a cursor, a feed and a socket, which the fleet of the hub serves.
//
// That is why it needs a tenth of the memory, and why an event costs little
// more than the kernel's send: there is no goroutine to wake, and no buffer
// between the batch and the socket.
type detached struct {
	stream *Stream
	feed   *feed
	fleet  *fleet
	crew   *crew

	queued  atomic.Bool  // it is in the crew's queue, or not to be put there
	alarm   atomic.Int64 // when to look again without being woken, since the fleet was made
	waiting atomic.Bool  // the timer of WithBatch is running

	mu      sync.Mutex
	socket  *socket       // nil until the connection is taken over, and after its end
	chunked bool          // HTTP/1.1; HTTP/1.0, which nginx speaks to its upstreams, ends by closing
	paused  bool          // OnReset is being called: its snapshot comes first
	served  bool          // who waited in sendNow has written since the hub's last batch, whose turn it is
	unsent  []byte        // what the socket did not take; nil when that is nothing, so that no room is kept
	stalled time.Time     // since when it takes nothing; zero if it does
	drained chan struct{} // closed when those who wait in sendNow may write; nil if nobody waits
	leaving error         // the cause with which the stream ends once unsent is empty
	opened  time.Time
}

// lastChunk ends a chunked response (RFC 9112 §7.1).
const lastChunk = "0\r\n\r\n"

// chunkRoom is what the head of a chunk needs at the most (RFC 9112 §7.1).
const chunkRoom = len("ffffffff\r\n")

// notify puts the stream in the queue of its crew, now or after the wait of
// WithBatch.
func (d *detached) notify() {
	wait := d.stream.options.batch
	if wait <= 0 || d.stream.over() != nil {
		d.ready()
	} else if d.waiting.CompareAndSwap(false, true) {
		time.AfterFunc(wait, func() {
			d.waiting.Store(false)
			d.ready()
		})
	}
}

// ready puts the stream in the queue, unless it is there already.
func (d *detached) ready() {
	if d.queued.CompareAndSwap(false, true) {
		d.crew.push(d)
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
				d.abort(ErrClosed)
			}
		}
	}()
	if d.step(now, b) {
		d.stream.hub.wrote(b) // off the lock, because it calls the Observer
	}
}

// step is what a crew does when the stream's turn comes: it sends what the
// socket did not take before, and then one batch, so that a long replay takes
// turns with others. It reports whether it has written b.
//
// Senders and the hub take turns as well: whoever waits in sendNow goes before
// the next batch, and after that the batch goes before whoever waits then. So
// neither a hub that always has more nor an application that always sends can
// starve the other.
func (d *detached) step(now time.Time, b *batch) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket == nil {
		return false
	}
	d.queued.Store(false) // from here on a wake-up means another turn
	cause := d.stream.over()
	if len(d.unsent) > 0 && !d.resume(now, cause) || d.paused {
		return false
	}
	d.feed.next(now, cause, b)
	d.served = false
	if b.size() > 0 {
		if d.write(b.framed(d.chunked), now); d.socket == nil {
			return false
		}
	}
	switch {
	case b.cause != nil:
		d.finish(b.cause, now)
	case b.reset.Reason != "" && d.stream.options.onReset != nil:
		d.pause(b.reset)
	case b.more && len(d.unsent) == 0 && d.drained == nil:
		d.ready()
	}
	if d.socket != nil && len(d.unsent) == 0 {
		d.release()
	}
	d.rest(now)
	return b.size() > 0
}

// pause calls OnReset, and goes on when it has returned.
func (d *detached) pause(reset Reset) {
	d.paused = true
	go func() {
		d.callback(func() { d.stream.options.onReset(d.stream, reset) })
		d.mu.Lock()
		d.paused = false
		d.mu.Unlock()
		d.ready()
	}()
}

// resume sends what is left of an earlier write, and reports whether that is all
// gone and the stream goes on at once. It gives up on a client that has taken
// nothing for the write timeout, and on a stream that is over: what is unsent
// may be what its client may no longer see.
func (d *detached) resume(now time.Time, cause error) bool {
	if cause != nil && !polite(cause) && !errors.Is(cause, ErrEnded) && d.leaving == nil {
		d.abort(cause)
		return false
	}
	n := d.push(d.unsent, now)
	if d.socket == nil {
		return false
	}
	if d.unsent = d.unsent[n:]; len(d.unsent) == 0 {
		d.unsent = nil
	}
	timeout := d.stream.options.writeTimeout
	switch {
	case len(d.unsent) == 0 && d.leaving != nil:
		d.close(d.leaving)
	case len(d.unsent) == 0 && d.drained != nil && (!d.served || d.paused):
		d.release() // and the last of them asks for the next turn
	case len(d.unsent) == 0:
		return true
	case timeout > 0 && now.Sub(d.stalled) >= timeout:
		d.abort(fmt.Errorf("ssegin: write: %w", os.ErrDeadlineExceeded))
	default:
		d.rest(now)
	}
	return false
}

// release lets those write who wait for unsent to be empty.
func (d *detached) release() {
	if d.drained != nil {
		close(d.drained)
		d.drained, d.served = nil, true
	}
}

// write hands p to the socket and keeps what it does not take.
func (d *detached) write(p []byte, now time.Time) {
	if n := d.push(p, now); n < len(p) && d.socket != nil {
		d.unsent = append([]byte(nil), p[n:]...)
	}
}

// push hands p to the socket, says how much it took, and notes since when it
// takes nothing. If it fails, the stream is over.
func (d *detached) push(p []byte, now time.Time) int {
	n, err := d.socket.write(p)
	switch {
	case err != nil:
		d.abort(err)
		return 0
	case n == len(p):
		d.stalled = time.Time{}
	case n > 0 || d.stalled.IsZero():
		d.stalled = now
	}
	return n
}

// rest sets when the stream is looked at again without being woken.
func (d *detached) rest(now time.Time) {
	rest := d.feed.rest(now)
	if timeout := d.stream.options.writeTimeout; len(d.unsent) > 0 && timeout > 0 {
		rest = min(rest, d.stalled.Add(timeout).Sub(now))
	}
	d.alarm.Store(int64(now.Sub(d.fleet.born) + min(rest, time.Hour)))
}

// finish ends the response after everything that was written.
func (d *detached) finish(cause error, now time.Time) {
	d.stream.end(cause)
	if d.chunked {
		if len(d.unsent) > 0 {
			d.unsent = append(d.unsent, lastChunk...)
		} else if d.write([]byte(lastChunk), now); d.socket == nil {
			return
		}
	}
	if d.leaving = cause; len(d.unsent) == 0 {
		d.close(cause)
	}
}

// abort closes the connection; what the kernel still holds for it is dropped.
func (d *detached) abort(cause error) {
	if len(d.unsent) > 0 || !d.stalled.IsZero() {
		_ = d.socket.conn.SetLinger(0)
	}
	d.close(cause)
}

// close ends the stream, and tells the hub and the application, on a goroutine
// of its own, because the application may take its time.
func (d *detached) close(cause error) {
	d.stream.end(cause)
	d.fleet.remove(d.socket)
	d.socket, d.unsent = nil, nil
	d.queued.Store(true) // not to be put in the queue any more
	d.release()
	hub := d.stream.hub
	hub.hold()
	hub.leave(d.stream.cursor)
	if hub.options.observer.Closed == nil && d.stream.options.onDisconnect == nil {
		hub.release()
		return
	}
	go func() {
		defer hub.release()
		d.callback(func() { hub.options.observer.closed(d.stream.over(), time.Since(d.opened)) })
		if d.stream.options.onDisconnect != nil {
			d.callback(func() { d.stream.options.onDisconnect(d.stream) })
		}
	}()
}

// callback calls the application. A panic ends this stream only and is logged,
// as net/http would do for a request.
func (d *detached) callback(f func()) {
	defer func() {
		if p := recover(); p != nil {
			d.panicked(p)
			d.stream.end(ErrClosed)
		}
	}()
	f()
}

func (d *detached) panicked(p any) {
	d.stream.logger().Error("ssegin: panic in a callback of a detached stream", "panic", p, "stack", string(debug.Stack()))
}

// send writes blocks of the application. It waits until what was written
// before has left.
func (d *detached) send(blocks []byte, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sendNow(blocks, now)
}

// last is send, and nothing can be written after it.
func (d *detached) last(blocks []byte, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.sendNow(blocks, now); err != nil {
		return err
	}
	d.stream.end(ErrEnded)
	return nil
}

// sendNow is send for who holds the lock; it lets go of it while it waits.
func (d *detached) sendNow(blocks []byte, now time.Time) error {
	waited := false
	for d.socket != nil && len(d.unsent) > 0 {
		if d.drained == nil {
			d.drained = make(chan struct{})
		}
		drained := d.drained
		d.mu.Unlock()
		<-drained // until the client has taken it, or is cut
		d.mu.Lock()
		now, waited = time.Now(), true
	}
	if waited {
		defer d.ready() // the hub's batch has let this one go first
	}
	if d.socket != nil && d.stream.over() == nil {
		if until := d.feed.until; !until.IsZero() && !now.Before(until) {
			d.stream.end(d.feed.over)
		} else {
			b := newBatch(chunkRoom)
			defer b.release()
			b.data = append(b.data, blocks...)
			if d.write(b.framed(d.chunked), now); d.socket != nil {
				d.rest(now)
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %w", ErrClosed, d.stream.over())
}

// cut drops the connection.
func (d *detached) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket != nil {
		d.stalled = time.Now() // what the kernel holds is not waited for
		d.abort(ErrShutdown)
	}
}

// gone is called when the peer has closed the connection.
func (d *detached) gone() { d.stream.end(context.Canceled) }

// framed returns the batch as a chunk, or as it is.
func (b *batch) framed(chunked bool) []byte {
	if !chunked {
		return b.data[b.room:]
	}
	var head [chunkRoom]byte
	size := append(strconv.AppendUint(head[:0], uint64(b.size()), 16), "\r\n"...)
	start := b.room - len(size)
	copy(b.data[start:], size)
	return append(b.data, "\r\n"...)[start:]
}
