package ssegin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin/internal/response"
)

// A Stream is one client's open response. Middleware and Handler make it; a
// handler gets it with From, a callback as its argument. Its methods may be
// called from any goroutine. Once the stream is over they return ErrClosed and
// write nothing, so that a Stream kept for too long can do no harm.
type Stream struct {
	options *streamOptions
	request context.Context // that of the request
	lastID  string
	writer  *response.Writer // nil once the stream is detached

	// Of a stream that follows a hub.
	hub      *Hub
	session  *session
	detached *detached // of a stream without a loop, or that will have none

	mu      sync.Mutex      // no other lock is taken under it
	out     sink            // where blocks go: the writer, or the detached socket
	cause   error           // why the stream is over, once it is
	ctx     context.Context // made for those who ask: most streams can do without
	cancel  context.CancelCauseFunc
	unwatch func() bool // lets ctx go its own way
}

// A sink is what a stream is written to.
type sink interface {
	Send(blocks []byte, now time.Time) error // whole blocks, and flush
	Last(blocks []byte, now time.Time) error // the same, and nothing comes after them
	Cut()                                    // fail what is being sent, from another goroutine
	Hurry()                                  // fail what is still being sent after a moment, from another goroutine
}

// newStream makes the stream of a request and puts its writer in place. h is nil
// if it follows no hub. stopped is the WriteTimeout that the server had.
func newStream(c *gin.Context, h *Hub, o *streamOptions, stopped time.Duration) *Stream {
	s := &Stream{options: o, request: c.Request.Context(), lastID: lastEventID(c.Request)}
	s.writer = response.New(c, (*owner)(s), response.Options{
		WriteTimeout:  o.writeTimeout,
		ServerTimeout: stopped,
		Heartbeat:     o.heartbeat,
		Loop:          h != nil,
	})
	s.out = s.writer
	c.Writer = s.writer
	return s
}

// Send writes e and flushes it. It waits for the client at most as long as the
// write timeout. It returns ErrInvalidEvent or ErrTooLarge if e cannot be sent,
// and ErrClosed, with the cause, when the stream is over; the stream is over
// after a failed write, too. On a stream of a hub the event must have no ID,
// because there the ID says where in the hub's log the client is.
//
// The response commits with the first Send, Comment or event: until then the
// handler may answer with anything else.
func (s *Stream) Send(e Event) error {
	limit := defaultMaxEventBytes
	if s.hub != nil {
		limit = s.hub.options.maxEventBytes
		if e.ID != "" {
			return fmt.Errorf("%w: ID %q: on the stream of a hub the IDs are the hub's, leave it empty", ErrInvalidEvent, clip(e.ID))
		}
	}
	block, err := encode(e, 0, limit)
	if err != nil {
		return err
	}
	return s.send(append(block, '\n'))
}

// Comment writes a comment, which clients ignore, and flushes it: a sign of
// life, or a way to send the headers before there is an event. The text may be
// empty, and must be valid UTF-8 without CR, LF or NUL. Errors are those of
// Send.
func (s *Stream) Comment(text string) error {
	if err := checkText("comment", text); err != nil {
		return err
	}
	if text != "" {
		text = " " + text
	}
	return s.send([]byte(":" + text + "\n\n"))
}

// End completes the stream: the client that comes back after it gets status
// 204 without any code of its own, and stops. The handler should return.
func (s *Stream) End() error {
	return s.through(sink.Last, []byte("event: "+typeEnd+"\ndata:\nid: "+idEnd+"\n\n"))
}

// LastEventID returns the ID that the client says it saw last: from the header
// Last-Event-ID, or from the query parameters lastEventId or last_event_id. It
// is empty for a new client. It comes from the client: it may be anything.
func (s *Stream) LastEventID() string { return s.lastID }

// Context returns a context that ends with the stream. context.Cause says why:
// context.Canceled when the client has left, one of the causes of this package
// (ErrShutdown, ErrMaxAge, …), or the error of the write that failed.
func (s *Stream) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		values := context.WithoutCancel(s.request)
		if s.detached != nil {
			values = context.Background() // the request's must not be kept alive by a stream that outlives it
		}
		s.ctx, s.cancel = context.WithCancelCause(values)
		if s.cause != nil {
			s.cancel(s.cause)
		} else {
			s.unwatch = context.AfterFunc(s.request, s.left)
		}
	}
	return s.ctx
}

// left is called when the request's context has ended. A server ends it, too,
// when a write fails, before the write returns; but that error says more.
func (s *Stream) left() {
	s.mu.Lock()
	w := s.writer
	s.mu.Unlock()
	if w != nil {
		w.Wait()
		s.end(context.Canceled)
	}
}

// end ends the stream at its next event boundary, unless its client has left
// before. The first cause counts. A client that does not read is given a moment to
// come to that boundary, unless it is shutting down, whose time the caller bounds.
func (s *Stream) end(cause error) {
	s.mu.Lock()
	request, out := s.request, s.out
	s.mu.Unlock()
	if gone := context.Cause(request); gone != nil {
		cause = gone
	}
	s.finish(cause)
	if errors.Is(cause, ErrDisconnected) || errors.Is(cause, ErrExpired) || errors.Is(cause, ErrMaxAge) {
		out.Hurry()
	}
}

// failed ends the stream for what has become of a write. When that failed because
// the stream's time is over, this is the cause.
func (s *Stream) failed(err error) {
	if s.session != nil {
		if f := &s.session.feed; !f.until.IsZero() && !time.Now().Before(f.until) && errors.Is(err, os.ErrDeadlineExceeded) {
			err = f.over
		}
	}
	s.finish(err)
}

// finish ends the stream with this very cause.
func (s *Stream) finish(cause error) {
	s.mu.Lock()
	if s.cause == nil {
		s.cause = cause
		if s.ctx != nil {
			s.unwatch()
			s.cancel(cause)
		}
	}
	s.mu.Unlock()
	if s.session != nil {
		s.session.cursor.waker.notify()
	}
}

// over returns why the stream is over, nil if it is not.
func (s *Stream) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// cut fails the write that is going on, if there is one, and all later ones.
func (s *Stream) cut() { s.sink().Cut() }

// send writes a block for the application.
func (s *Stream) send(block []byte) error { return s.through(sink.Send, block) }

// through writes to the sink. If that was closed because the stream moved to
// another one, it goes there.
func (s *Stream) through(write func(sink, []byte, time.Time) error, block []byte) error {
	for {
		if cause := s.over(); cause != nil {
			return fmt.Errorf("%w: %w", ErrClosed, cause)
		}
		out := s.sink()
		err := write(out, block, time.Now())
		if !errors.Is(err, response.ErrReturned) || s.sink() == out {
			return err
		}
	}
}

func (s *Stream) sink() sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out
}

// attach makes the stream one of h, and chooses what wakes it.
func (s *Stream) attach(c *gin.Context, h *Hub, r *request) {
	s.hub = h
	s.session = &session{stream: s, hub: h, opened: r.at}
	cursor := &s.session.cursor
	cursor.stream, cursor.conflate, cursor.key = s, s.options.conflate, r.key
	if canDetach(c, s.options, s.writer) {
		s.detached = newDetached(s.session, h.fleet)
		cursor.waker = s.detached
		s.writer.HangUp()
	} else {
		s.session.bell = make(bell, 1)
		cursor.waker = s.session.bell
	}
	if s.options.batch > 0 {
		cursor.waker = &batching{waker: cursor.waker, stream: s, wait: s.options.batch}
	}
}

// enter joins the hub. If one of the topics was given to Disconnect while the
// request was on its way, the rights that WithTopics saw may be those of before,
// so it is asked once more. A client that is overtaken again comes back later.
func (s *Stream) enter(c *gin.Context, r *request) (verdict, error) {
	v, err := s.hub.engine.enter(&s.session.cursor, r.topics, r.asked, s.lastID)
	if !errors.Is(err, ErrDisconnected) {
		return v, err
	}
	if err := cmp.Or(r.ask(c, s.hub, s.options), aborted(c)); err != nil {
		return verdict{}, err
	}
	return s.hub.engine.enter(&s.session.cursor, r.topics, r.asked, s.lastID)
}

// follow serves a stream that has joined, and leaves when it is over, whatever
// the callbacks do.
func (s *Stream) follow(c *gin.Context, r *request, v verdict) {
	detached := false
	defer func() {
		if !detached {
			s.close()
			s.session.leave(func(callbacks func()) { callbacks() })
		}
	}()
	f := &s.session.feed
	*f = *newFeed(s.hub.timeline, &s.session.cursor, &s.hub.options, &s.options.pace, r.at)
	f.until, f.over = r.until, r.cause
	s.writer.Open(f.opening(v))
	s.writer.EndAt(r.until)
	s.hub.joined(s.lastID, v)
	if s.options.onConnect != nil {
		if err := cmp.Or(s.options.onConnect(c, s), aborted(c)); err != nil {
			s.hub.options.observer.refused(err)
			s.close() // or the answer would open the stream, and tell of a reset that nothing follows
			refuse(c, s.options, err)
			return
		}
	}
	if !s.writer.Commit() {
		return // OnConnect has answered in its own way
	}
	s.session.connected = true
	loop := (*attached)(s.session)
	if v.reset.Reason != "" && s.options.onReset != nil {
		loop.reset(v.reset)
	}
	if v.behind && !newCatchUp(loop).run() {
		return
	}
	if s.detached != nil {
		detached = s.detach(c)
		return
	}
	loop.serve(c)
}

// detach takes the connection over from net/http, once the response has begun.
// If that fails the stream is over; there is no way back.
func (s *Stream) detach(c *gin.Context) bool {
	if s.writer.FlushError() != nil {
		return false
	}
	d, f := s.detached, &s.session.feed
	d.mu.Lock()
	defer d.mu.Unlock()
	d.chunked = c.Request.ProtoMinor > 0
	if errors.Is(f.over, ErrExpired) {
		f.until = f.until.Add(-watchEvery) // the watch comes late by as much
	}
	server := s.writer.Hijacker()
	s.moveTo(d) // who sends from now on waits for the lock of d
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

// moveTo lets the stream go on without its request: it is written through out, and
// the request's context, which ends with the handler, ends it no more.
func (s *Stream) moveTo(out sink) {
	s.mu.Lock()
	w := s.writer
	s.out, s.writer, s.request = out, nil, context.Background()
	if s.unwatch != nil {
		s.unwatch()
	}
	s.mu.Unlock()
	w.Close()
}

// close ends all writing through the request, and the stream, if nothing else
// has.
func (s *Stream) close() {
	if s.writer != nil {
		s.writer.Close()
	}
	s.end(ErrClosed)
}

// logger is where the stream reports what it cannot do, and what went wrong.
func (s *Stream) logger() *slog.Logger {
	if s.hub != nil {
		return s.hub.options.logger()
	}
	return slog.Default()
}
