package ssegin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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
	plain   bool     // its client takes each block for the application's

	multiplexed bool // HTTP/2 or 3

	spoke   atomic.Bool // the application has sent something since OnReset was called
	noBeats atomic.Bool // heartbeats are withheld

	mu      sync.Mutex      // no other lock is taken under it
	out     sink            // where blocks go: the writer, or the detached socket
	cause   error           // why the stream is over, once it is
	ctx     context.Context // made for those who ask: most streams can do without
	cancel  context.CancelCauseFunc
	unwatch func() bool // lets ctx go its own way
	values  map[any]any // see Set
}

// A follower is the session of a stream that follows a hub, as the stream knows it.
type follower interface {
	wake()                       // the stream is over, or has something else to look at
	overdue(now time.Time) error // the cause, when the stream's time is over
	maxEventBytes() int
	topics() []string
	key() string
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

// newStream makes the stream of a request, with its writer. stopped is the
// WriteTimeout that the server had. A stream with a loop follows a hub.
func newStream(c *gin.Context, o *streamOptions, stopped time.Duration, loop bool) *Stream {
	s := &Stream{options: o, request: c.Request.Context(), lastID: lastEventID(c.Request), plain: o.isPlain(c), multiplexed: c.Request.ProtoMajor > 1}
	s.writer = response.New(c, (*owner)(s), response.Options{
		WriteTimeout:  o.writeTimeout,
		ServerTimeout: stopped,
		Heartbeat:     o.heartbeat,
		Beat:          o.beat,
		Loop:          loop,
		Complete:      s.lastID == idEnd,
	})
	s.out = s.writer
	return s
}

// lastEventID is what the client says it has seen: in the header, or in the
// query, for clients that cannot set headers on their first request. There it may be
// spelled in any way: lastEventId, lastEventID, last_event_id, Last-Event-ID.
func lastEventID(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" || r.URL.RawQuery == "" {
		return id
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if len(name) < len("lasteventid") {
			continue // most have other parameters only
		}
		name, _ = url.QueryUnescape(name)
		if strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name)) != "lasteventid" {
			continue
		}
		if id, err := url.QueryUnescape(value); err == nil && id != "" {
			return id
		}
	}
	return ""
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
	if s.session != nil && e.ID != "" {
		return fmt.Errorf("%w: ID %q: on the stream of a hub the IDs are the hub's, leave it empty", ErrInvalidEvent, clip(e.ID))
	}
	if e.Data == nil && e.Type == "" && (e.ID == "" || s.plain) {
		return s.sendRetry(e) // a plain client takes over an ID from an event only
	}
	block, err := encode(e, 0, s.maxEventBytes())
	if err != nil {
		return err
	}
	if err = s.send(append(block, '\n')); err == nil {
		s.spoke.Store(true)
	}
	return err
}

// sendRetry sends an event that has nothing but a reconnection time. That is taken over
// as soon as its line is there, so it needs no block (WHATWG HTML §9.2.6).
func (s *Stream) sendRetry(e Event) error {
	if err := e.check(); err != nil {
		return err
	}
	if e.Retry == 0 {
		return s.Comment("")
	}
	return s.send(appendRetry(nil, e.Retry))
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
	return s.send([]byte(":" + text + "\n"))
}

// End completes the stream with a last event, such as the "[DONE]" that the clients of
// language models wait for. A client that comes back with its ID gets status 204
// without any code of its own, and stops. For the zero Event a native client gets the
// control event "ssegin.end", and a plain one (WithPlain) just the end. The event's ID
// must be empty: it is that of the end. Errors are those of Send. The handler should
// return.
func (s *Stream) End(e Event) error {
	if e.ID != "" {
		return fmt.Errorf("%w: ID %q: the ID of a last event says that it was the last, leave it empty", ErrInvalidEvent, clip(e.ID))
	}
	if err := e.check(); err != nil {
		return err
	}
	if e.Data == nil && e.Type == "" {
		if s.plain {
			return s.through(sink.Last, nil)
		}
		e.Type = typeEnd
	}
	e.ID = idEnd
	block, err := e.block(0, s.maxEventBytes())
	if err != nil {
		return err
	}
	return s.through(sink.Last, append(block, '\n'))
}

// HoldHeartbeats withholds the stream's heartbeats, or lets them go on: while an
// upstream is dead, say, so that its client and the proxies notice. A client that leaves
// meanwhile may be noticed late.
func (s *Stream) HoldHeartbeats(hold bool) { s.noBeats.Store(hold) }

// silent reports whether heartbeats are withheld.
func (s *Stream) silent() bool { return s.noBeats.Load() }

// Topics returns what the stream of a hub follows: what WithTopics gave, each once. It
// must not be changed. Without a hub it is nil.
func (s *Stream) Topics() []string {
	if s.session == nil {
		return nil
	}
	return s.session.topics()
}

// Key returns what the function of WithMaxStreamsPer gave for the stream's client; empty
// without that.
func (s *Stream) Key() string {
	if s.session == nil {
		return ""
	}
	return s.session.key()
}

// Set keeps a value of the application's with the stream, for OnDisconnect, say. Values
// of the request's context are not kept, because a detached stream outlives its request.
func (s *Stream) Set(key, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[any]any{}
	}
	s.values[key] = value
}

// Value returns what Set has kept under the key, nil if nothing.
func (s *Stream) Value(key any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key]
}

// maxEventBytes is how large an event may be.
func (s *Stream) maxEventBytes() int {
	if s.session != nil {
		return s.session.maxEventBytes()
	}
	return defaultMaxEventBytes
}

// LastEventID returns the ID that the client says it saw last: from the header
// Last-Event-ID, or from the query parameter lastEventId, in any spelling. It
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
// its deadline has come, whatever cause was given to that. (HTTP/3 gives its own.)
func whyOver(request context.Context) error {
	err := request.Err()
	if err == nil {
		return nil
	}
	cause := context.Cause(request)
	if !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return cause
}

// breaks reports whether a stream that is over ends as broken, so that its client does
// not take what it has for complete: see WithBrokenEnds. A plain client that could not
// be told of a gap, or that is to come back for what it missed, must see that.
func (s *Stream) breaks() bool {
	cause := s.over()
	switch {
	case cause == nil || errors.Is(cause, ErrEnded) || errors.Is(cause, context.Canceled) || s.options.polling > 0:
		return false // whoever polls comes back after any end
	case s.plain && (errors.Is(cause, ErrGap) || errors.Is(cause, ErrLagged) || errors.Is(cause, ErrUnavailable)):
		return true
	}
	return s.options.brokenEnds && !errors.Is(cause, ErrClosed)
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
	s.finish(leftBy(err, s.multiplexed))
}

// leftBy adds to the error of a write that the client has left, if that is what it means.
// Over HTTP/2 and 3, where a connection has many streams, each server has an error of its
// own for that, and hardly another.
func leftBy(err error, multiplexed bool) error {
	if errors.Is(err, ErrEnded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	if multiplexed || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return err
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
// has. It reports whether the end is as it should be; see response.Writer.Close.
func (s *Stream) close() (done bool) {
	if done = s.writer == nil; !done {
		if s.breaks() {
			s.writer.Fail()
		}
		done = s.writer.Close()
	}
	s.end(ErrClosed)
	return done
}

// conclude is close for who has served the stream. If that has not returned, but
// panicked, the response is not complete.
func (s *Stream) conclude(returned bool) {
	if !returned && s.writer != nil {
		s.writer.Fail()
	}
	if done := s.close(); returned && !done {
		panic(http.ErrAbortHandler)
	}
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
func (o *owner) Silent() bool             { return o.stream().silent() }

func (o *owner) Report(route, text string, args ...any) {
	o.options.report(o.stream().logger(), route, text, args...)
}
