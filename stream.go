package ssegin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
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

	session follower // nil without a hub
	leaves  bool     // it is to be detached, and outlives its request

	mu      sync.Mutex      // no other lock is taken under it
	out     sink            // where blocks go: the writer, or the detached socket
	cause   error           // why the stream is over, once it is
	ctx     context.Context // made for those who ask: most streams can do without
	cancel  context.CancelCauseFunc
	unwatch func() bool // lets ctx go its own way
}

// A follower is the session of a stream that follows a hub, as the stream knows it.
type follower interface {
	wake()                       // the stream is over, or has something else to look at
	overdue(now time.Time) error // the cause, when the stream's time is over
	maxEventBytes() int
	logger() *slog.Logger
}

// A sink is what a stream is written to.
type sink interface {
	Send(blocks []byte, now time.Time) error // whole blocks, and flush
	Last(blocks []byte, now time.Time) error // the same, and nothing comes after them
	Cut()                                    // fail what is being sent, from another goroutine
	Hurry()                                  // fail what is still being sent after a moment, from another goroutine
}

// idEnd is the ID that a client holds when its stream is complete. The server
// needs to remember nothing: whoever comes with this ID has been told the end.
const idEnd = typeEnd

// newStream makes the stream of a request and puts its writer in place. stopped is
// the WriteTimeout that the server had. A stream with a loop follows a hub.
func newStream(c *gin.Context, o *streamOptions, stopped time.Duration, loop bool) *Stream {
	s := &Stream{options: o, request: c.Request.Context(), lastID: lastEventID(c.Request)}
	s.writer = response.New(c, (*owner)(s), response.Options{
		WriteTimeout:  o.writeTimeout,
		ServerTimeout: stopped,
		Heartbeat:     o.heartbeat,
		Loop:          loop,
	})
	s.out = s.writer
	c.Writer = s.writer
	return s
}

// lastEventID is what the client says it has seen: in the header, or in the
// query, for clients that cannot set headers on their first request.
func lastEventID(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" || !strings.Contains(r.URL.RawQuery, "last") {
		return id // the query is parsed for those only who have something in it
	}
	query := r.URL.Query()
	if id := query.Get("lastEventId"); id != "" {
		return id
	}
	return query.Get("last_event_id")
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
	if s.session != nil {
		limit = s.session.maxEventBytes()
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
		if s.leaves {
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
// come to that boundary; when the hub shuts down, the caller of Shutdown says how long.
func (s *Stream) end(cause error) {
	s.mu.Lock()
	request, out := s.request, s.out
	s.mu.Unlock()
	cause = cmp.Or(whyOver(request), cause)
	s.finish(cause)
	for _, due := range []error{ErrDisconnected, ErrExpired, ErrMaxAge, context.DeadlineExceeded} {
		if errors.Is(cause, due) {
			out.Hurry()
		}
	}
}

// whyOver returns why a request is over, nil if it is not: its client has left, or
// its deadline has come, whatever cause was given to that.
func whyOver(request context.Context) error {
	err := request.Err()
	if err == nil {
		return nil
	}
	cause := context.Cause(request)
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return cause
}

// failed ends the stream for what has become of a write. When that failed because
// the stream's time is over, this is the cause.
func (s *Stream) failed(err error) {
	if s.session != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		s.mu.Lock()
		request := s.request
		s.mu.Unlock()
		if over := whyOver(request); errors.Is(over, context.DeadlineExceeded) {
			err = over
		}
		err = cmp.Or(s.session.overdue(time.Now()), err)
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
		s.session.wake()
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
	if s.session != nil {
		return s.session.logger()
	}
	return slog.Default()
}

// An owner is a Stream as its response knows it. It is a type of its own, because
// these methods are not for applications.
type owner Stream

func (o *owner) stream() *Stream { return (*Stream)(o) }

func (o *owner) Context() context.Context { return o.stream().Context() }
func (o *owner) Over() error              { return o.stream().over() }
func (o *owner) End(cause error)          { o.stream().end(cause) }
func (o *owner) Finish(cause error)       { o.stream().failed(cause) }

// Hidden says once for each Handler or Middleware what its streams must do
// without, because a writer hides the server's.
func (o *owner) Hidden(foreign http.ResponseWriter) {
	o.options.lost.Do(func() {
		o.stream().logger().Warn("ssegin: this response writer has neither write deadlines nor an Unwrap method: a client that stops reading is not cut, and http.Server.WriteTimeout is not lifted; if it is a middleware's, exclude the paths of streams from that middleware",
			"writer", fmt.Sprintf("%T", foreign))
	})
}
