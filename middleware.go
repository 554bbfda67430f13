package ssegin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// streamKey is where From finds the stream in a gin.Context.
const streamKey = "github.com/ssegin/ssegin.Stream"

// Middleware makes the responses of the handlers after it fit for streaming:
// headers that proxies understand, heartbeats between the events, a bound on
// every write in place of the server's WriteTimeout, and an end when the
// client leaves. It serves handlers that use From, and those that use c.Stream
// and c.SSEvent as they are.
//
// Nothing is sent before the handler begins to stream, so it may still answer
// with c.JSON(400, …): the response becomes a stream with the first Send, the
// first event, or the start of c.Stream. A request with the method HEAD gets
// the headers, and one from a client that was told the end gets 204; neither
// reaches the handler.
//
// Where another Middleware or a Handler comes after it on the same route, that
// one takes over: its options count, and From gives its stream.
func Middleware(opts ...StreamOption) gin.HandlerFunc {
	o := newStreamOptions(opts)
	o.mustDoWithoutHub()
	return func(c *gin.Context) {
		if answered(c) {
			return
		}
		stopped := stopServerTimeout(c)
		now := time.Now()
		until, cause := o.end(c, now)
		if !until.IsZero() && !now.Before(until) {
			restartServerTimeout(c, stopped)
			refuse(c, o, cause)
			return
		}
		s := newStream(c, o, stopped)
		defer s.close()
		s.writer.opening = append(appendRetry(nil, o.retry), '\n')
		if !until.IsZero() {
			defer time.AfterFunc(until.Sub(now), func() { s.writer.expire(cause) }).Stop()
		}
		if outer, ok := c.Get(streamKey); ok {
			defer c.Set(streamKey, outer)
		}
		c.Set(streamKey, s)
		c.Request = c.Request.WithContext(s.Context())
		c.Next()
	}
}

// From returns the stream of a request that Middleware or Handler serves. It
// panics if neither does, because then the route is set up wrongly.
func From(c *gin.Context) *Stream {
	if w, ok := c.Writer.(*writer); ok {
		return w.stream
	}
	s, ok := c.Value(streamKey).(*Stream) // a middleware has put its own writer over ours
	if !ok {
		panic("ssegin: From needs ssegin.Middleware on the route " + c.FullPath())
	}
	return s
}

// Handler serves the streams of h: each client gets the broadcasts and the
// topics that WithTopics gives it, from the moment on that its last event ID
// says, or from now. It returns when the client leaves, the hub ends the
// stream, or all of its topics have ended. It panics if options contradict
// each other, as Gin does at set-up.
func Handler(h *Hub, opts ...StreamOption) gin.HandlerFunc {
	h.mustBeMade()
	o := newStreamOptions(opts)
	o.mustSuit(h)
	return func(c *gin.Context) {
		if answered(c) {
			return
		}
		stopped := stopServerTimeout(c)
		r, err := admit(c, h, o)
		if err != nil {
			h.options.observer.refused(err)
			restartServerTimeout(c, stopped)
			refuse(c, o, err)
			return
		}
		s := newStream(c, o, stopped)
		s.attach(c, h, r.key)
		v, err := s.enter(c, &r)
		switch {
		case err != nil:
			s.close()
			h.options.observer.refused(err)
			refuse(c, o, err)
		case v.complete:
			s.close()
			c.AbortWithStatus(http.StatusNoContent)
		case !r.until.IsZero() && !time.Now().Before(r.until): // over, while it waited for the log
			s.close()
			h.leave(s.cursor)
			refuse(c, o, r.cause)
		default:
			s.follow(c, &r, v)
		}
	}
}

// aborted reports whether a callback has refused the client in the way of
// Gin's handlers, without an error.
func aborted(c *gin.Context) error {
	if c.IsAborted() {
		return errors.New("ssegin: refused: a callback aborted the request")
	}
	return nil
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
		s.detached = h.fleet.newStream(s)
		s.cursor.waker = s.detached
		return
	}
	s.bell = make(bell, 1)
	s.cursor.waker = s.bell
}

// follow serves a stream that has joined, and leaves when it is over, whatever
// the callbacks do.
func (s *Stream) follow(c *gin.Context, r *request, v verdict) {
	connected, detached := false, false
	defer func() {
		if detached {
			return
		}
		s.hub.hold()
		defer s.hub.release()
		s.close()
		s.hub.leave(s.cursor)
		s.hub.options.observer.closed(s.over(), time.Since(r.at))
		if connected && s.options.onDisconnect != nil {
			s.options.onDisconnect(s)
		}
	}()
	f := s.feed
	*f = *newFeed(s.hub, s.cursor, s.options, r.at)
	f.until, f.over = r.until, r.cause
	s.writer.opening = f.opening(v)
	s.hub.joined(s.lastID, v)
	if s.options.onConnect != nil {
		if err := cmp.Or(s.options.onConnect(c, s), aborted(c)); err != nil {
			s.hub.options.observer.refused(err)
			s.close() // or the answer would open the stream, and tell of a reset that nothing follows
			refuse(c, s.options, err)
			return
		}
	}
	if !s.writer.commit() {
		return // OnConnect has answered in its own way
	}
	connected = true
	if v.reset.Reason != "" && s.options.onReset != nil {
		s.options.onReset(s, v.reset)
	}
	if s.cursor.behind && !s.catchUp(c.Request.Context(), f) {
		return
	}
	if s.detached != nil {
		detached = s.detach(c, f, r.at)
		return
	}
	s.serve(c, f)
}

// close ends all writing through the request, and the stream, if nothing else
// has.
func (s *Stream) close() {
	if s.writer != nil {
		s.writer.close()
	}
	s.end(ErrClosed)
}

// answered answers what needs no stream: a HEAD request gets the headers, and
// a client that was told the end is told again, in the way that stops it.
func answered(c *gin.Context) bool {
	switch {
	case c.Request.Method == http.MethodHead:
		setHeaders(c.Writer.Header())
		c.Writer.WriteHeaderNow()
	case lastEventID(c.Request) == idEnd:
		c.Status(http.StatusNoContent)
	default:
		return false
	}
	c.Abort()
	return true
}

// refuse answers a client that gets no stream: as the callback that refused it
// has answered already, or with a status that says what the client should do.
func refuse(c *gin.Context, o *streamOptions, err error) {
	_ = c.Error(err)
	switch {
	case c.Writer.Written() || c.IsAborted() || c.Writer.Status() != http.StatusOK:
	case errors.Is(err, ErrTooManyStreams) || errors.Is(err, ErrClosed) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrDisconnected):
		later(c, o)
	case errors.Is(err, ErrInvalidEvent):
		c.Status(http.StatusBadRequest)
	default:
		c.Status(http.StatusForbidden)
	}
	c.Abort()
}

// later tells a client to come back. A native EventSource does that only after
// a 200; others understand 503.
func later(c *gin.Context, o *streamOptions) {
	retry := spread(o.retry, o.retry)
	if o.retryAfter || !strings.Contains(c.GetHeader("Accept"), "text/event-stream") {
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
		c.Status(http.StatusServiceUnavailable)
		return
	}
	setHeaders(c.Writer.Header())
	_, _ = c.Writer.Write(append(appendRetry(nil, retry), '\n'))
}

// reportLost says once for each Handler or Middleware what its streams must do
// without, because a writer hides the server's.
func (s *Stream) reportLost() {
	s.options.lost.Do(func() {
		s.logger().Warn("ssegin: this response writer has neither write deadlines nor an Unwrap method: a client that stops reading is not cut, and http.Server.WriteTimeout is not lifted; if it is a middleware's, exclude the paths of streams from that middleware",
			"writer", fmt.Sprintf("%T", s.writer.server))
	})
}

// logger is where the stream reports what it cannot do, and what went wrong.
func (s *Stream) logger() *slog.Logger {
	if s.hub != nil {
		return s.hub.logger()
	}
	return slog.Default()
}
