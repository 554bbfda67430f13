package ssegin

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// A polled stream is one response of WithPolling. What the session and the application
// have to say is collected, and when there is something that the client waits for, or
// its time is over, it is written as a whole.
type polled struct {
	session *session
	batched bool // one batch of the hub's is there, and the next one is for the next response
	owes    bool // it tells of a gap that gives its client no ID, so what a newcomer gets is to come with it
	opening int  // bytes at the front of body

	mu     sync.Mutex // guards what follows; no other lock is taken under it
	body   []byte
	due    bool // there is something that the client waits for
	closed bool // the response is being written
}

// poll returns what collects the response, nil if the stream is not polled. It is found
// by what the stream is written to, so that streams that last need no room for it.
func (s *session) poll() *polled {
	p, _ := s.stream.sink().(*polled)
	return p
}

// begin puts the opening before what OnConnect has sent, and says until when to wait. A
// client without an ID gets one at once, and one that has missed something is told. What
// OnConnect has sent is no reason.
func (p *polled) begin(c *gin.Context, opening []byte, at time.Time, told bool) {
	f, s := &p.session.feed, p.session.stream
	p.mu.Lock()
	defer p.mu.Unlock()
	p.body, p.opening = append(opening, p.body...), len(opening)
	p.due = told || isNewcomer(s.lastID) && !s.plain
	until := at.Add(s.options.polling)
	if deadline, ok := c.Request.Context().Deadline(); ok && deadline.Add(-grace).Before(until) {
		until = deadline.Add(-grace) // whoever has set it would answer in its own way
	}
	if f.until.IsZero() || until.Before(f.until) {
		f.until, f.over = until, ErrPolled
	}
}

// serve waits for what is due, and answers.
func (p *polled) serve(c *gin.Context) {
	s, f := p.session.stream, &p.session.feed
	bell, gone, now := p.session.bell(), s.request.Done(), time.Now()
	alarm := newAlarm(bell.notify, f, now)
	defer alarm.stop()
	for {
		more, over := p.turn(now)
		if over || p.answers() && !p.owes {
			break
		}
		if alarm.set(f, now); !more {
			select {
			case <-bell:
			case <-gone:
				s.left()
			}
		}
		now = time.Now()
	}
	f.until = time.Time{} // a write that fails from now on has not failed because the wait is over
	p.respond(c)
}

// answers reports whether there is something to answer.
func (p *polled) answers() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.due
}

// turn collects one batch at the most. It reports whether the stream is over, or the
// response has its batch.
func (p *polled) turn(now time.Time) (more, over bool) {
	if p.batched {
		return false, true
	}
	b := newBatch(0)
	defer b.release()
	_, more, over = p.session.step(p, b, now)
	p.session.hub.options.observer.turned(b)
	return more, over
}

func (p *polled) write(b *batch, _ time.Time) error {
	p.batched = b.events > 0 || b.reset.Reason != "" && !p.session.cursor.fresh
	p.owes = p.owes && !p.batched
	p.mu.Lock()
	p.body = append(append(p.body, b.large...), b.data...)
	p.due = p.due || p.batched || b.reset.Reason != ""
	p.mu.Unlock()
	p.session.hub.wrote(b)
	return nil
}

// finish does not end the stream when only its wait is over, because the response is
// still to be written.
func (p *polled) finish(cause error, _ time.Time) {
	if !errors.Is(cause, ErrPolled) {
		p.session.stream.end(cause)
	}
}

func (p *polled) reset(reset Reset) {
	p.owes = p.session.cursor.fresh
	p.session.tell(reset)
}

// respond writes the response. A plain client that cannot be told of a gap in it is told
// by its status.
func (p *polled) respond(c *gin.Context) {
	s, f := p.session.stream, &p.session.feed
	p.mu.Lock()
	p.closed = true
	body := p.body
	p.mu.Unlock()
	cause := s.over()
	if errors.Is(cause, ErrGap) && len(body) == p.opening {
		c.Writer.Header().Del("Last-Event-ID")
		s.close()
		refuse(c, p.session.hub, s.options, cause)
		return
	}
	if errors.Is(cause, ErrShutdown) {
		hangUp(c)
	}
	if !p.batched && c.Writer.Header().Get("Last-Event-ID") != "" {
		c.Header("Last-Event-ID", f.lastEventID()) // for a plain client; of events it comes back with the last one's
	}
	if s.writer.Whole(body, time.Now()) == nil {
		s.end(ErrPolled)
	}
}

// Send collects blocks of the application.
func (p *polled) Send(blocks []byte, _ time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("%w: %w", ErrClosed, ErrPolled)
	}
	p.body = append(p.body, blocks...)
	if bytes.HasSuffix(blocks, []byte("\n\n")) { // an event, and not a comment
		p.due = true
		p.session.bell().notify()
	}
	return nil
}

// Last is Send, and nothing can be sent after it.
func (p *polled) Last(blocks []byte, now time.Time) error {
	if err := p.Send(blocks, now); err != nil {
		return err
	}
	p.session.stream.finish(ErrEnded)
	return nil
}

// Cut fails the write of the response.
func (p *polled) Cut() { p.session.stream.writer.Cut() }

// Hurry fails it after a moment.
func (p *polled) Hurry() { p.session.stream.writer.Hurry() }
