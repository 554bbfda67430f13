package ssegin

import (
	"cmp"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// A session is the stream of a hub from its joining to its end. What a turn does and
// how the stream ends is here, once for all drivers: the loop on the goroutine of a
// request (attached), the fleet (detached), and what collects a whole response (polled).
type session struct {
	cursor     cursor // a stream touches it together with its feed as it wakes, so the two lie side by side
	feed       feed
	stream     *Stream
	hub        *Hub
	opened     time.Time
	topicNames []string // each once

	detached *detached // what is to drive it once its response has begun; nil if it stays attached
	catching *catchUp  // gives it what is older than memory; nil: it needs nothing of that

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

// waker is what gives the stream a turn at once, whatever WithBatch says.
func (s *session) waker() waker {
	if b, ok := s.cursor.waker.(*batching); ok {
		return b.waker
	}
	return s.cursor.waker
}

// bell is what wakes an attached stream.
func (s *session) bell() bell {
	w := s.waker()
	if e, ok := w.(*either); ok {
		return e.bell
	}
	return w.(bell)
}

// look gives the stream a turn, because what it has asked for is there.
func (s *session) look() { s.waker().notify() }

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
	return s.stream.plain && v.reset.Reason == "" && !v.behind && len(v.granted.events) == 0 && s.hub.timeline.spent(&s.cursor)
}

// follow serves a stream that has joined, and leaves when it is over, whatever
// the callbacks do.
func (s *session) follow(c *gin.Context, r *request, v verdict) {
	detached, returned := false, false
	defer func() {
		if !detached {
			defer s.leave(s.hub.timeline.leave, func(callbacks func()) { callbacks() })
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

// step is a turn: it writes one batch of what is due. It reports whether it has
// written anything, whether more is due already, and whether this was the last turn.
// A stream with a cause to end may have turns left, for what is still due to it.
func (s *session) step(d driver, b *batch, now time.Time) (wrote, more, over bool) {
	s.next(b, now)
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

// next fills b with what is due at now.
func (s *session) next(b *batch, now time.Time) {
	u := s.catching
	if u == nil {
		s.feed.next(now, s.stream.over(), b)
		return
	}
	if u.owes() {
		s.feed.withhold(now, s.stream.over(), b)
	} else {
		u.carry()
		s.feed.next(now, s.stream.over(), b)
	}
	u.next(b, now)
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

// leave takes the stream, which is over, out of its hub as out does, and lets tell call
// what is to be told of that: the Observer, and then OnDisconnect, even if the first one
// panics. Shutdown waits until both have returned.
func (s *session) leave(out func(*cursor), tell func(func())) {
	o, observer, timeline := s.stream.options, &s.hub.options.observer, s.hub.timeline
	if s.catching != nil {
		s.catching.end()
	}
	timeline.hold()
	out(&s.cursor)
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
