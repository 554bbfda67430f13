package ssegin

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin/internal/response"
)

// Middleware makes the responses of the handlers after it fit for streaming:
// headers that proxies understand, heartbeats between the events, a bound on
// every write in place of the server's WriteTimeout, and an end when the
// client leaves. It serves handlers that use From, and those that use c.Stream
// and c.SSEvent as they are.
//
// Whatever is no event stream passes as if Middleware was not there, so it may stand
// before a whole engine: JSON, files, HEAD, upgrades, compressed answers, relays. A
// response becomes a stream with the first Send, with the first byte that is of the
// content type text/event-stream, with the first block of data in the format of events
// where no content type is set, and when c.Stream, or a Flush before the first byte, has
// been quiet for half a second. Until then the handler may still answer with
// c.JSON(503, …); an error status that comes later breaks the response off, so that no
// client takes it for complete. A response that is no stream and is flushed more than
// once, such as lines of JSON, is bounded in its writes as a stream is, without
// heartbeats.
//
// Of a stream, whole blocks go on at once, and what is not complete is held up to 1 MiB;
// a larger event goes on as it comes. When the handler returns, what is left without its
// blank line goes on, too; but if it panics, or has answered with an error, the response
// ends as broken. Over HTTP/1.0 no end can be told from another.
//
// A client that was told the end (Stream.End) and comes back gets status 204 in place of
// a stream. Its handler runs once more, up to the beginning of that, and may see it
// before: LastEventID is "ssegin.end" then.
//
// A handler that sends in a loop must end it when the client leaves: with c.Stream, or
// with <-c.Request.Context().Done() in each select and a look at the error of each write.
// One that runs on after that is named in the log, once for each route.
//
// Handlers get a gin.Context of their own, which Gin does not give to another request: a
// goroutine that was forgotten and still renders into it does no harm.
//
// Where another Middleware or a Handler comes after it on the same route, that
// one takes over: its options count, and From gives its stream.
func Middleware(opts ...StreamOption) gin.HandlerFunc {
	o := newStreamOptions(opts)
	o.mustDoWithoutHub()
	return func(c *gin.Context) {
		stopped := response.StopServerTimeout(c)
		now := time.Now()
		until, cause := o.end(c, now)
		if !until.IsZero() && !now.Before(until) {
			response.RestartServerTimeout(c, stopped)
			refuse(c, nil, o, cause)
			return
		}
		s := newStream(c, o, stopped, false)
		returned := false
		defer func() { s.conclude(returned) }()
		s.writer.Open(s.opening())
		if !until.IsZero() {
			defer time.AfterFunc(until.Sub(now), func() { s.writer.Expire(cause) }).Stop()
		}
		defer s.watch(c.FullPath())()
		s.writer.Next(s.Context())
		returned = true
	}
}

// opening is what a stream without a hub begins with. For a new client it is nothing
// that was not asked for, because many clients take every block for the application's.
//
// An EventSource that comes back is given a block of ours, with its own ID. WebKit keeps
// the line in which its last response broke and reads the first line of this one as the
// rest of it, so that line must be one that may be lost, and what follows must not be
// half of an event of the application's. An ID is echoed only if it is short and clean,
// because one that comes in the query may hold a line end.
func (s *Stream) opening() (b []byte) {
	if s.options.retryAsked {
		b = appendRetry(b, s.options.retry)
	}
	if !isClean(s.lastID) || s.plain {
		return b
	}
	if len(b) == 0 {
		b = append(b, heartbeat...)
	}
	return appendOwn(b, typeCursor, s.lastID)
}

// watch names a handler in the log that runs on for more than a heartbeat after the end
// of its stream. Call what it returns when the handler has returned.
func (s *Stream) watch(route string) (returned func()) {
	wait := s.options.heartbeat
	if wait == 0 {
		wait = defaultHeartbeat
	}
	done := make(chan struct{})
	stop := context.AfterFunc(s.Context(), func() {
		select {
		case <-done:
		case <-time.After(wait):
			if s.writer.Streams() {
				s.options.report(s.logger(), route, "ssegin: the stream is over, and its handler still runs: let its loop end with c.Request.Context().Done(), and look at the errors of its writes",
					"for", wait, "cause", s.over())
			}
		}
	})
	return func() {
		stop()
		close(done)
	}
}

// From returns the stream of a request that Middleware or Handler serves. It
// panics if neither does, because then the route is set up wrongly.
func From(c *gin.Context) *Stream {
	w := response.Of(c)
	if w == nil {
		panic("ssegin: From needs ssegin.Middleware on the route " + c.FullPath())
	}
	return w.Owner().(*owner).stream()
}

// Handler serves the streams of h: each client gets the broadcasts and the
// topics that WithTopics gives it, from the moment on that its last event ID
// says, or from now. It returns when the client leaves, the hub ends the
// stream, or all of its topics have ended. It panics if options contradict
// each other, as Gin does at set-up.
func Handler(h *Hub, opts ...StreamOption) gin.HandlerFunc {
	h.mustBeMade()
	o := newStreamOptions(opts)
	o.forHub()
	o.mustSuit(h.options.history.age)
	return func(c *gin.Context) {
		if answered(c) {
			return
		}
		stopped := response.StopServerTimeout(c)
		r, err := admit(c, h, o)
		if err != nil {
			h.options.observer.refused(err)
			response.RestartServerTimeout(c, stopped)
			refuse(c, h, o, err)
			return
		}
		s := newSession(c, h, o, stopped, &r)
		v, err := s.enter(c, &r)
		switch {
		case err != nil:
			s.stream.close()
			h.options.observer.refused(err)
			refuse(c, h, o, err)
		case v.complete, s.spent(v):
			s.stream.close()
			if !v.complete {
				h.timeline.leave(&s.cursor)
			}
			response.KeepOut(c.Writer.Header())
			c.AbortWithStatus(http.StatusNoContent)
		case !r.until.IsZero() && !time.Now().Before(r.until): // over, while it waited for the log
			s.stream.close()
			h.timeline.leave(&s.cursor)
			refuse(c, h, o, r.cause)
		default:
			s.follow(c, &r, v)
		}
	}
}
