package ssegin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	cursor   *cursor
	feed     *feed
	bell     bell      // of a stream with a loop
	detached *detached // of a stream that has none, or will have none

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
		s.ctx, s.cancel = context.WithCancelCause(context.WithoutCancel(s.request))
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
	s.writer.Wait()
	s.end(context.Canceled)
}

// end ends the stream at its next event boundary, unless its client has left
// before. The first cause counts.
func (s *Stream) end(cause error) {
	if gone := context.Cause(s.request); gone != nil {
		cause = gone
	}
	s.finish(cause)
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
	if s.cursor != nil {
		s.cursor.waker.notify()
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

// attach gives the stream a cursor for h, and what wakes it.
func (s *Stream) attach(c *gin.Context, h *Hub, key string) {
	s.hub = h
	// What a stream touches as it wakes lies side by side.
	both := new(struct {
		cursor
		feed
	})
	s.cursor, s.feed = &both.cursor, &both.feed
	s.cursor.stream, s.cursor.conflate, s.cursor.key = s, s.options.conflate, key
	if canDetach(c, s.options, s.writer) {
		s.request = context.Background() // that of the request ends with the handler
		s.detached = newDetached(s, h.fleet)
		s.cursor.waker = s.detached
		s.writer.HangUp()
		return
	}
	s.bell = make(bell, 1)
	s.cursor.waker = s.bell
}

// enter joins the hub. If one of the topics was given to Disconnect while the
// request was on its way, the rights that WithTopics saw may be those of before,
// so it is asked once more. A client that is overtaken again comes back later.
func (s *Stream) enter(c *gin.Context, r *request) (verdict, error) {
	ctx := c.Request.Context()
	v, err := s.hub.engine.enter(ctx, s.cursor, r.topics, r.asked, s.lastID)
	if !errors.Is(err, ErrDisconnected) {
		return v, err
	}
	if err := cmp.Or(r.ask(c, s.hub, s.options), aborted(c)); err != nil {
		return verdict{}, err
	}
	return s.hub.engine.enter(ctx, s.cursor, r.topics, r.asked, s.lastID)
}

// follow serves a stream that has joined, and leaves when it is over, whatever
// the callbacks do.
func (s *Stream) follow(c *gin.Context, r *request, v verdict) {
	connected, detached := false, false
	defer func() {
		if detached {
			return
		}
		s.hub.timeline.hold()
		defer s.hub.timeline.release()
		s.close()
		s.hub.timeline.leave(s.cursor)
		s.hub.options.observer.closed(s.over(), time.Since(r.at))
		if connected && s.options.onDisconnect != nil {
			s.options.onDisconnect(s)
		}
	}()
	f := s.feed
	*f = *newFeed(s.hub.timeline, s.cursor, &s.hub.options, &s.options.pace, r.at)
	f.until, f.over = r.until, r.cause
	s.writer.Open(f.opening(v))
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
	connected = true
	if v.reset.Reason != "" && s.options.onReset != nil {
		s.options.onReset(s, v.reset)
	}
	if v.behind && !newCatchUp(s, f).run(c.Request.Context()) {
		return
	}
	if s.detached != nil {
		detached = s.detach(c, f, r.at)
		return
	}
	s.serve(c, f)
}

// serve is the stream loop of a hub's stream: it writes what the feed gives
// and waits until there is more. It returns when the stream is over.
func (s *Stream) serve(c *gin.Context, f *feed) {
	now := time.Now()
	alarm := newAlarm(s.bell.notify, f, now)
	defer alarm.stop()
	gone := s.request.Done()
	more := true // the first look does not wait
	c.Stream(func(io.Writer) bool {
		if !more {
			s.wait(f, gone)
		}
		now = time.Now()
		var over bool
		more, over = s.step(f, now)
		alarm.set(f, now)
		return !over
	})
}

// wait returns when the stream's bell has rung or its client has left. Whatever
// else can feed or end the stream rings the bell, because waiting for the first
// of many channels costs more. What comes during the wait of WithBatch is not waited for.
func (s *Stream) wait(f *feed, gone <-chan struct{}) {
	select {
	case <-s.bell:
	case <-gone:
		s.left()
	}
	if s.options.batch > 0 {
		select {
		case <-time.After(min(s.options.batch, f.rest(time.Now()))):
		case <-s.Context().Done():
		}
	}
}

// step writes what is due. It reports whether more is due already, and whether
// the stream is over.
func (s *Stream) step(f *feed, now time.Time) (more, over bool) {
	b := newBatch(0)
	defer b.release()
	f.next(now, s.over(), b)
	if b.size() > 0 {
		if err := s.writer.Send(b.data, now); err != nil {
			return false, true
		}
		s.hub.wrote(b)
	}
	if b.cause != nil {
		s.end(b.cause)
		return false, true
	}
	if b.reset.Reason != "" && s.options.onReset != nil {
		s.options.onReset(s, b.reset)
	}
	return b.more, false
}

// detach takes the connection over from net/http, once the response has begun.
// If that fails the stream is over; there is no way back.
func (s *Stream) detach(c *gin.Context, f *feed, opened time.Time) bool {
	if s.writer.FlushError() != nil {
		return false
	}
	d := s.detached
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feed, d.opened, d.chunked = f, opened, c.Request.ProtoMinor > 0
	if errors.Is(f.over, ErrExpired) {
		f.until = f.until.Add(-watchEvery) // the watch comes late by as much
	}
	s.mu.Lock()
	s.out = d // who sends from now on waits for the lock of d
	s.mu.Unlock()
	server := s.writer.Hijacker()
	s.writer.Close()
	s.writer = nil
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
