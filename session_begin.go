package ssegin

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/gin-gonic/gin"
)

// How a session begins: what is sent first, and who drives the stream from then on.

// begin opens the stream, and reports whether it is to be served here, or goes on
// without the request.
func (s *session) begin(c *gin.Context, r *request, v verdict) (stays, detached bool) {
	opening := s.open(c, r, v)
	if !s.connect(c, v) {
		return false, false
	}
	s.connected = true
	if p := s.poll(); p != nil {
		p.begin(c, opening, r.at, v.reset.Reason != "")
	}
	if v.reset.Reason != "" && !s.stream.plain {
		s.tell(v.reset)
	}
	s.catching = newCatchUp(s, v)
	switch {
	case s.detached == nil:
		return true, false
	case s.stream.writer.FlushError() != nil:
		return false, false
	case s.stream.writer.Foreign() && !s.stream.writer.Bare():
		s.stay(c)
		return true, false
	}
	return false, s.detach(c)
}

// open prepares the feed and the response. Nothing is sent yet.
func (s *session) open(c *gin.Context, r *request, v verdict) (opening []byte) {
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
	opening = f.opening(v, s.stream.lastID)
	if s.poll() == nil {
		s.stream.writer.Open(opening)
	}
	s.stream.writer.EndAt(r.until)
	s.hub.joined(s.stream.lastID, v)
	return opening
}

// connect asks OnConnect, tells a plain client of a gap, and reports whether the response
// is a stream's.
func (s *session) connect(c *gin.Context, v verdict) bool {
	o := s.stream.options
	if o.onConnect != nil {
		if err := cmp.Or(o.onConnect(c, s.stream), aborted(c)); err != nil {
			s.refuse(c, err)
			return false
		}
	}
	if v.reset.Reason != "" && s.stream.plain {
		told := s.stream.spoke.Load() && o.onReset == nil // by what OnConnect has sent
		if !told && !(v.missing && o.onReset == nil) {    // a new client has no gap, and where would it go?
			s.tell(v.reset)
		}
		if err := s.stream.over(); err != nil && !s.stream.writer.Streams() {
			c.Writer.Header().Del("Last-Event-ID")
			s.refuse(c, err)
			return false
		}
	}
	if s.poll() != nil {
		return !s.stream.writer.Answered() // or OnConnect has answered in its own way
	}
	return s.stream.writer.Commit()
}

// refuse answers a client that has joined and gets no stream.
func (s *session) refuse(c *gin.Context, err error) {
	s.hub.options.observer.refused(err)
	s.stream.close() // or the answer would open the stream, and tell of a reset that nothing follows
	refuse(c, s.hub, s.stream.options, err)
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
	d.behind.Store(s.catching != nil)
	d.queued.Store(false)
	d.ready()
	return true
}
