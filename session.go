package ssegin

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// A session is the stream of a hub from its joining to its end. What a turn does and
// how the stream ends is here, once for both drivers: the loop on the goroutine of a
// request (attached), and the fleet (detached).
type session struct {
	cursor     cursor // a stream touches it together with its feed as it wakes, so the two lie side by side
	feed       feed
	stream     *Stream
	hub        *Hub
	opened     time.Time
	topicNames []string // each once

	detached *detached // what is to drive it once its response has begun; nil if it stays attached

	connected bool // OnConnect has let the client in, so OnDisconnect is due
}

// newSession makes the stream of a request that is admitted to h, and chooses what
// drives it.
func newSession(c *gin.Context, h *Hub, o *streamOptions, stopped time.Duration, r *request) *session {
	s := &session{stream: newStream(c, o, stopped, true), hub: h, opened: r.at}
	s.stream.session = s
	c.Writer = s.stream.writer
	s.cursor.stream, s.cursor.conflate, s.cursor.key = s.stream, o.conflate, r.key
	s.cursor.replay = o.replay
	if o.polling > 0 {
		s.stream.out = &polled{session: s}
	}
	if canDetach(c, s.stream) {
		s.detached = newDetached(s, h.fleet)
		s.cursor.waker, s.stream.leaves = s.detached, true
		if s.stream.writer.Foreign() {
			s.cursor.waker = &either{s.detached, make(bell, 1)}
		}
		s.stream.writer.HangUp()
	} else {
		s.cursor.waker = make(bell, 1)
	}
	if o.batch > 0 {
		s.cursor.waker = &batching{waker: s.cursor.waker, stream: s.stream, wait: o.batch}
	}
	return s
}

// bell is what wakes an attached stream.
func (s *session) bell() bell {
	w := s.cursor.waker
	if b, ok := w.(*batching); ok {
		w = b.waker
	}
	if e, ok := w.(*either); ok {
		return e.bell
	}
	return w.(bell)
}

func (s *session) wake()                       { s.cursor.waker.notify() }
func (s *session) overdue(now time.Time) error { return s.feed.overdue(now) }
func (s *session) maxEventBytes() int          { return s.hub.options.maxEventBytes }
func (s *session) topics() []string            { return s.topicNames }
func (s *session) key() string                 { return s.cursor.key }
func (s *session) logger() *slog.Logger        { return s.hub.options.logger() }

// enter joins the hub. If one of the topics was given to Disconnect while the
// request was on its way, the rights that WithTopics saw may be those of before,
// so it is asked once more. A client that is overtaken again comes back later.
func (s *session) enter(c *gin.Context, r *request) (verdict, error) {
	v, err := s.hub.engine.enter(&s.cursor, r.topics, r.asked, s.stream.lastID)
	if !errors.Is(err, ErrDisconnected) {
		return v, err
	}
	if err := cmp.Or(r.ask(c, s.hub, s.stream.options), aborted(c)); err != nil {
		return verdict{}, err
	}
	return s.hub.engine.enter(&s.cursor, r.topics, r.asked, s.stream.lastID)
}

// spent reports whether a plain client that has joined would be given nothing: all has
// ended, without a last event of the application's. An end with nothing in it would tell
// it nothing, and if it comes back by itself it would do so for ever.
func (s *session) spent(v verdict) bool {
	return s.stream.plain && v.reset.Reason == "" && !v.behind && len(v.granted) == 0 && s.hub.timeline.spent(&s.cursor)
}

// follow serves a stream that has joined, and leaves when it is over, whatever
// the callbacks do.
func (s *session) follow(c *gin.Context, r *request, v verdict) {
	detached, returned := false, false
	defer func() {
		if !detached {
			defer s.leave(func(callbacks func()) { callbacks() })
			s.stream.conclude(returned)
		}
	}()
	stays := false
	if stays, detached = s.begin(c, r, v); stays {
		s.serve(c) // here, because the frames beneath it stay for as long as the stream
	}
	returned = true
}

// serve runs the loop of a stream that stays with its request.
func (s *session) serve(c *gin.Context) {
	if p := s.poll(); p != nil {
		p.serve(c)
	} else {
		(*attached)(s).serve(c)
	}
}

// begin opens the stream, and reports whether it is to be served here, or goes on
// without the request.
func (s *session) begin(c *gin.Context, r *request, v verdict) (stays, detached bool) {
	s.topicNames = r.topics
	f := &s.feed
	*f = *newFeed(s.hub.timeline, &s.cursor, &s.hub.options, &s.stream.options.pace, s.stream.plain, r.at)
	f.until, f.over = r.until, r.cause
	if s.detached == nil && errors.Is(r.cause, context.DeadlineExceeded) {
		// The request's context wakes the loop when its deadline comes, and not before:
		// whoever has set the deadline, http.TimeoutHandler for one, is the first to act.
		f.until = time.Time{}
	}
	if v.reset.Reason == "" && !s.cursor.fresh {
		c.Writer.Header()["Last-Event-Id"] = []string{f.lastEventID()} // for clients that see headers: they need no event to have an ID
	}
	poll, opening := s.poll(), f.opening(v, s.stream.lastID)
	if poll == nil {
		s.stream.writer.Open(opening)
	}
	s.stream.writer.EndAt(r.until)
	s.hub.joined(s.stream.lastID, v)
	if s.stream.options.onConnect != nil {
		if err := cmp.Or(s.stream.options.onConnect(c, s.stream), aborted(c)); err != nil {
			s.hub.options.observer.refused(err)
			s.stream.close() // or the answer would open the stream, and tell of a reset that nothing follows
			refuse(c, s.hub, s.stream.options, err)
			return false, false
		}
	}
	reset := v.reset.Reason != ""
	if reset && s.stream.plain {
		told := s.stream.spoke.Load() && s.stream.options.onReset == nil // by what OnConnect has sent
		if !told && !(v.missing && s.stream.options.onReset == nil) {    // a new client has no gap, and where would it go?
			s.tell(v.reset)
		}
		if err := s.stream.over(); err != nil && !s.stream.writer.Streams() {
			s.hub.options.observer.refused(err)
			s.stream.close()
			c.Writer.Header().Del("Last-Event-ID")
			refuse(c, s.hub, s.stream.options, err)
			return false, false
		}
		reset = false
	}
	if poll != nil && s.stream.writer.Answered() || poll == nil && !s.stream.writer.Commit() {
		return false, false // OnConnect has answered in its own way
	}
	s.connected = true
	var loop loop = (*attached)(s)
	if poll != nil {
		poll.begin(c, opening, r.at, v.reset.Reason != "")
		loop = poll
	}
	if reset {
		s.tell(v.reset)
	}
	if !s.give(loop, v.granted) {
		return poll != nil, false
	}
	if v.wish != nil && poll == nil && s.hub.timeline.fallBehind(&s.cursor, v.wish.before) {
		v.behind = true
	}
	if v.behind && !newCatchUp(s, loop).run() {
		return poll != nil, false
	}
	if s.detached == nil {
		return true, false
	}
	if s.stream.writer.FlushError() != nil {
		return false, false
	}
	if s.stream.writer.Foreign() && !s.stream.writer.Bare() {
		s.stay(c)
		return true, false
	}
	return false, s.detach(c)
}

// stay keeps a stream that was to be detached with its request, because a middleware
// has chosen with the first bytes to encode it.
func (s *session) stay(c *gin.Context) {
	s.stream.mu.Lock()
	s.stream.leaves = false
	s.stream.mu.Unlock()
	s.detached = nil
	s.stream.options.reportAttached(s.stream, c, "a middleware encodes the response: "+c.Writer.Header().Get("Content-Encoding"))
}

// give writes what a newcomer gets of what is older than memory, and reports whether the
// stream goes on.
func (s *session) give(loop loop, granted []past) bool {
	if len(granted) == 0 {
		return true
	}
	s.hub.timeline.pause(&s.cursor)
	for len(granted) > 0 {
		if _, over := loop.turn(time.Now()); over {
			return false
		}
		if !s.hub.timeline.paused(&s.cursor) {
			return true // the turn has told it of a gap
		}
		b, n := s.excerpt(granted)
		err := loop.write(b, s.feed.wrote)
		b.release()
		if err != nil {
			return false
		}
		granted = granted[n:]
	}
	s.hub.timeline.goOn(&s.cursor)
	return true
}

// excerpt returns what one write takes of these events, and how many they are.
func (s *session) excerpt(events []past) (b *batch, n int) {
	b = newBatch(0)
	if first := events[0].frame; len(first) > writeBytes { // so it is no control event
		b.large, n = first, 1
	}
	for b.large == nil && n < len(events) && len(b.data)+len(events[n].frame) <= writeBytes {
		if !s.stream.plain || !isControl(events[n].frame) {
			b.data = append(b.data, events[n].frame...)
		}
		n++
	}
	b.events, b.last = n, events[n-1].at
	s.cursor.fresh, s.feed.sent, s.feed.wrote = false, b.last, time.Now()
	s.hub.timeline.move(&s.cursor, b.last) // a heartbeat must not vouch for the rest
	return b, n
}

// detach takes the connection over from net/http, once the response has begun.
// If that fails the stream is over; there is no way back.
func (s *session) detach(c *gin.Context) bool {
	d, f := s.detached, &s.feed
	d.mu.Lock()
	defer d.mu.Unlock()
	// As net/http has framed the response, whatever a middleware has set.
	d.chunked = c.Request.ProtoMinor > 0 && s.stream.writer.Header().Get("Transfer-Encoding") != "identity"
	server := s.stream.writer.Hijacker()
	s.stream.moveTo(d) // who sends from now on waits for the lock of d
	if errors.Is(f.over, ErrExpired) {
		f.until = f.until.Add(-watchEvery) // the watch comes late by as much
	}
	conn, _, err := server.Hijack()
	if err != nil {
		return false
	}
	if err := d.takeLocked(conn); err != nil {
		s.logger().Warn("ssegin: a connection could not be detached; its client comes back", "error", err)
		d.farewell(conn)
		return false
	}
	d.queued.Store(false)
	d.ready()
	return true
}

// A driver writes what a session has to say.
type driver interface {
	// write sends b, or keeps what the client does not take yet. It returns an
	// error when the stream is over.
	write(b *batch, now time.Time) error

	// finish ends the stream after everything that was written.
	finish(cause error, now time.Time)

	// reset lets session.tell return before anything more of the hub is written.
	reset(reset Reset)
}

// A loop is a driver on the goroutine of a request.
type loop interface {
	driver

	// turn writes what is due, and reports whether there is more, and whether the
	// stream is over.
	turn(now time.Time) (more, over bool)
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
	case b.reset.Reason != "":
		d.reset(b.reset)
	}
	return wrote, b.more, false
}

// tell calls OnReset. A plain client learns of the gap by what that sends; if it sends
// nothing, the stream is over. So is one whose client may have lost its rights in the gap.
func (s *session) tell(reset Reset) {
	s.stream.spoke.Store(false)
	if s.stream.options.onReset != nil {
		s.stream.options.onReset(s.stream, reset)
	}
	if s.stream.plain && !s.stream.spoke.Load() {
		s.stream.end(&gapError{reset})
	}
	if s.hub.options.log != nil && s.hub.timeline.isMute(&s.cursor) {
		s.stream.end(errDoubtful)
	}
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

// An either wakes a stream that is to be detached, or else stays attached: a middleware
// whose writer lies in between may yet choose to encode it.
type either struct {
	detached *detached
	bell     bell
}

func (e *either) notify() {
	e.bell.notify()
	e.detached.notify()
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
