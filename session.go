package ssegin

import (
	"sync/atomic"
	"time"
)

// A session is the stream of a hub from its joining to its end. What a turn does and
// how the stream ends is here, once for both drivers: the loop on the goroutine of a
// request (attached), and the fleet (detached).
type session struct {
	cursor cursor // a stream touches it together with its feed as it wakes, so the two lie side by side
	feed   feed
	stream *Stream
	hub    *Hub
	bell   bell // of an attached stream
	opened time.Time

	connected bool // OnConnect has let the client in, so OnDisconnect is due
}

// A driver writes what a session has to say.
type driver interface {
	// write sends b, or keeps what the client does not take yet. It returns an
	// error when the stream is over.
	write(b *batch, now time.Time) error

	// finish ends the stream after everything that was written.
	finish(cause error, now time.Time)

	// reset calls OnReset. Until that has returned nothing of the hub is written.
	reset(reset Reset)
}

// step is a turn: it writes one batch of what is due. It reports whether it has
// written anything, whether more is due already, and whether this was the last turn.
// A stream with a cause to end may have turns left, for what is still due to it.
func (s *session) step(d driver, b *batch, now time.Time) (wrote, more, over bool) {
	s.feed.next(now, s.stream.over(), b)
	if b.size() > 0 {
		if d.write(b, now) != nil {
			return false, false, true
		}
		wrote = true
	}
	switch {
	case b.cause != nil:
		d.finish(b.cause, now)
		return wrote, false, true
	case b.reset.Reason != "" && s.stream.options.onReset != nil:
		d.reset(b.reset)
	}
	return wrote, b.more, false
}

// leave takes the stream, which is over, out of its hub, and lets tell call what is
// to be told of that: the Observer, and then OnDisconnect, even if the first one
// panics. Shutdown waits until both have returned.
func (s *session) leave(tell func(func())) {
	o, observer, timeline := s.stream.options, &s.hub.options.observer, s.hub.timeline
	timeline.hold()
	timeline.leave(&s.cursor)
	connected := s.connected && o.onDisconnect != nil
	if observer.Closed == nil && !connected {
		timeline.release()
		return
	}
	tell(func() {
		defer timeline.release()
		if connected {
			defer o.onDisconnect(s.stream)
		}
		observer.closed(s.stream.over(), time.Since(s.opened))
	})
}

// A batching waker waits for more, as WithBatch has it, before it wakes another one.
type batching struct {
	waker   waker
	stream  *Stream
	wait    time.Duration
	waiting atomic.Bool
}

// notify does not wait when the stream is over.
func (b *batching) notify() {
	if b.stream.over() != nil {
		b.waker.notify()
	} else if b.waiting.CompareAndSwap(false, true) {
		time.AfterFunc(b.wait, func() {
			b.waiting.Store(false)
			b.waker.notify()
		})
	}
}
