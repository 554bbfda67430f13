package ssegin

import (
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
		stopped := response.StopServerTimeout(c)
		now := time.Now()
		until, cause := o.end(c, now)
		if !until.IsZero() && !now.Before(until) {
			response.RestartServerTimeout(c, stopped)
			refuse(c, o, cause)
			return
		}
		s := newStream(c, o, stopped, false)
		defer s.close()
		s.writer.Open(append(appendRetry(nil, o.retry), '\n'))
		if !until.IsZero() {
			defer time.AfterFunc(until.Sub(now), func() { s.writer.Expire(cause) }).Stop()
		}
		defer response.Restore(c, s.writer.Enclose(c))
		// The stream's context ends with this layer, which those around it would take for a client that has left.
		defer func(before *http.Request) { c.Request = before }(c.Request)
		c.Request = c.Request.WithContext(s.Context())
		c.Next()
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
			refuse(c, o, err)
			return
		}
		s := newSession(c, h, o, stopped, &r)
		v, err := s.enter(c, &r)
		switch {
		case err != nil:
			s.stream.close()
			h.options.observer.refused(err)
			refuse(c, o, err)
		case v.complete:
			s.stream.close()
			c.AbortWithStatus(http.StatusNoContent)
		case !r.until.IsZero() && !time.Now().Before(r.until): // over, while it waited for the log
			s.stream.close()
			h.timeline.leave(&s.cursor)
			refuse(c, o, r.cause)
		default:
			s.follow(c, &r, v)
		}
	}
}
