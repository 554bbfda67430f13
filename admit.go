package ssegin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin/internal/response"
)

// A request is what the application says of a client that wants a stream.
type request struct {
	at     time.Time
	topics []string // each once
	asked  uint64   // how many calls of Disconnect there were before the topics were asked for
	key    string
	until  time.Time
	cause  error
}

// admit asks the application's callbacks.
func admit(c *gin.Context, h *Hub, o *streamOptions) (r request, err error) {
	r.at = time.Now()
	if err = r.ask(c, h, o); err != nil {
		return r, err
	}
	if h.options.key != nil {
		r.key = h.options.key(c)
	}
	r.until, r.cause = o.end(c, r.at)
	r.bound(c, h, o)
	if !r.until.IsZero() && !r.at.Before(r.until) {
		return r, r.cause
	}
	return r, aborted(c)
}

// bound lets the stream end with the deadline of the request's context, as one of a
// middleware for timeouts, on whatever path it is. That is hardly ever meant for a
// stream, so it is said once for each Handler.
func (r *request) bound(c *gin.Context, h *Hub, o *streamOptions) {
	deadline, ok := c.Request.Context().Deadline()
	if !ok || o.polling > 0 || !r.until.IsZero() && r.until.Before(deadline) {
		return // a poll is answered before it
	}
	r.until, r.cause = deadline, context.DeadlineExceeded
	o.bounded.Do(func() {
		h.options.logger().Warn("ssegin: the context of a request has a deadline, and so has its stream: the client is sent away then, and comes back; exclude the route from the middleware that sets it, or use WithMaxAge",
			"route", c.FullPath(), "in", deadline.Sub(r.at).Round(time.Millisecond))
	})
}

// ask asks WithTopics what the client may follow.
func (r *request) ask(c *gin.Context, h *Hub, o *streamOptions) error {
	r.asked, r.topics = h.timeline.disconnections(), nil
	if o.topics == nil {
		return nil
	}
	topics, err := o.topics(c)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		if err := checkTopic(topic); err != nil {
			return err
		}
	}
	r.topics = distinct(topics)
	if n, limit := len(r.topics), orDefault(o.maxTopics, defaultMaxTopics); n > limit {
		o.reportTopics(c, h, n, limit)
		return fmt.Errorf("%w: %d, the limit of WithMaxTopics is %d", ErrTooManyTopics, n, limit)
	}
	return nil
}

// distinct returns the topics without those that come again. Up to a few it looks
// through them, which is cheaper than a map.
func distinct(topics []string) []string {
	if len(topics) < 2 {
		return topics
	}
	kept := make([]string, 0, len(topics))
	var seen map[string]bool
	if len(topics) > fewPlaces {
		seen = make(map[string]bool, len(topics))
	}
	for _, topic := range topics {
		if seen == nil && slices.Contains(kept, topic) || seen[topic] {
			continue
		}
		kept = append(kept, topic)
		if seen != nil {
			seen[topic] = true
		}
	}
	return kept
}

// reportTopics says once for each Handler that WithTopics gives too many topics:
// the list is the application's, so somebody should look at it.
func (o *streamOptions) reportTopics(c *gin.Context, h *Hub, n, limit int) {
	o.crowded.Do(func() {
		h.options.logger().Warn("ssegin: WithTopics gave a client more topics than WithMaxTopics allows; it is refused with status 403, and so is each one that follows, without another line here",
			"route", c.FullPath(), "topics", n, "limit", limit)
	})
}

// aborted reports whether a callback has refused the client in the way of
// Gin's handlers, without an error.
func aborted(c *gin.Context) error {
	if c.IsAborted() {
		return errors.New("ssegin: refused: a callback aborted the request")
	}
	return nil
}

// answered answers what needs no stream: a HEAD request gets the headers, OPTIONS what
// may be asked for, and a client that was told the end is told again, in the way that
// stops it.
func answered(c *gin.Context) bool {
	switch {
	case c.Request.Method == http.MethodHead:
		response.SetHeaders(c.Writer.Header())
		c.Writer.WriteHeaderNow()
	case c.Request.Method == http.MethodOptions:
		c.Header("Allow", "GET, HEAD, OPTIONS, POST")
		c.Status(http.StatusNoContent)
	case lastEventID(c.Request) == idEnd:
		response.KeepOut(c.Writer.Header())
		c.Status(http.StatusNoContent)
	default:
		return false
	}
	c.Abort()
	return true
}

// A gapError is why a plain client gets no stream, or no more of one: it has missed
// events, and nothing has told it.
type gapError struct{ reset Reset }

// Error implements error.
func (e *gapError) Error() string {
	return fmt.Sprintf("%v: reason %q, missed %d", ErrGap, e.reset.Reason, e.reset.Missed)
}

// Unwrap is for errors.Is.
func (e *gapError) Unwrap() error { return ErrGap }

// refuse answers a client that gets no stream: as the callback that refused it
// has answered already, or with a status that says what the client should do.
func refuse(c *gin.Context, h *Hub, o *streamOptions, err error) {
	_ = c.Error(err)
	var gap *gapError
	switch {
	case c.Writer.Written() || c.IsAborted() || c.Writer.Status() != http.StatusOK:
	case errors.Is(err, ErrEnded):
		response.KeepOut(c.Writer.Header())
		c.Status(http.StatusNoContent) // which stops an EventSource
	case errors.As(err, &gap):
		response.KeepOut(c.Writer.Header())
		c.JSON(http.StatusGone, gap.reset)
	case errors.Is(err, ErrTooManyStreams) || errors.Is(err, ErrTooManyCatchingUp) || errors.Is(err, ErrClosed) || errors.Is(err, ErrShutdown) || errors.Is(err, ErrUnavailable) ||
		errors.Is(err, ErrDisconnected) || errors.Is(err, ErrMaxAge) || errors.Is(err, context.DeadlineExceeded):
		if errors.Is(err, ErrClosed) || errors.Is(err, ErrShutdown) {
			hangUp(c)
		}
		later(c, h, o)
	case errors.Is(err, ErrInvalidEvent):
		c.Status(http.StatusBadRequest)
	default:
		c.Status(http.StatusForbidden)
	}
	c.Abort()
}

// later tells a client to come back. A native one does that only after a 200 with an
// event, because some clients take over no reconnection time from a block without
// data; a plain one understands 503.
//
// Some native clients come back at once all the same. So the answer is held open for a
// moment, of at most maxLater clients at a time, and of none once the hub shuts down.
func later(c *gin.Context, h *Hub, o *streamOptions) {
	retry := o.farewell()
	if o.isPlain(c) {
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(retry.Seconds()))))
		c.Status(http.StatusServiceUnavailable)
		return
	}
	response.SetHeaders(c.Writer.Header())
	b := appendOwn(appendRetry(nil, retry), typeLater, lastEventID(c.Request))
	if o.polling > 0 {
		defer func() { _, _ = c.Writer.Write(b) }() // as a whole, at the end
	} else if _, err := c.Writer.Write(b); err != nil {
		return
	}
	if h == nil {
		return
	}
	select {
	case h.later <- struct{}{}:
		defer func() { <-h.later }()
	default:
		return
	}
	if o.polling == 0 {
		c.Writer.Flush()
	}
	select {
	case <-time.After(retry / 2):
	case <-c.Request.Context().Done():
	case <-h.timeline.closing:
	}
}

// hangUp closes the connection after the answer, so that a balancer gives the next
// request to a process that lives: over a connection that is kept alive it would
// come back to this one. On HTTP/2 net/http sends GOAWAY instead, which leaves the
// other streams alone; HTTP/3 has no such header. A hub that is full or whose engine
// is away keeps its connections, because a crowd that comes back every few seconds
// would cost it as many handshakes more.
func hangUp(c *gin.Context) {
	if c.Request.ProtoMajor < 3 {
		c.Header("Connection", "close")
	}
}
