package ssegin

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// A writer stands in place of a request's gin.ResponseWriter and makes it safe
// for streaming, whoever writes: a hub's stream loop, Stream.Send from another
// goroutine, c.SSEvent and c.Stream in the handler, the heartbeat.
//
// It lets only whole blocks through, so that nothing ever falls between the
// lines of an event; it decides when the first byte comes whether the response
// is a stream at all; it sees the errors of flushes, which Gin's own writer
// hides; and when the handler has returned it is over, for good.
type writer struct {
	// What every event needs comes first, because with many quiet streams it is
	// not in the processor's cache.
	mu                 sync.Mutex // taken before an outer layer's, Stream.mu and deadline.mu
	gin.ResponseWriter            // what Gin, or a middleware before this one, had put there
	err                error      // of the write or flush that failed
	wrote              time.Time  // when something was written last
	phase              phase
	unsent             bool        // something was written since the last flush
	complete           bool        // the last block was written
	direct             bool        // the writer of an outer layer lies beneath, and is passed by
	relays             atomic.Bool // phase is relaying, for who does not hold the lock
	stream             *Stream
	flusher            flusher
	deadline           deadline

	context *gin.Context        // for its Errors, on the handler's goroutine
	server  http.ResponseWriter // the innermost writer that can be reached
	opening []byte              // goes before everything else
	partial *partial            // of a handler that writes by itself
	beat    *time.Timer         // the heartbeat of a stream without a hub
}

type phase uint8

const (
	undecided phase = iota // nothing was written yet
	inherited              // nor by this layer: an outer one has begun the stream
	plain                  // the handler answers with something else
	streaming
	relaying // a layer of this package that is nearer to the handler writes; see takeOver
	over     // the handler has returned
)

func newWriter(c *gin.Context, s *Stream) *writer {
	w := &writer{stream: s, context: c, ResponseWriter: c.Writer}
	if outer := outerLayer(c); outer != nil {
		w.takeOver(outer)
	}
	inner, depth := innermost(w.ResponseWriter)
	w.server = inner
	w.flusher = flusherOf(w.ResponseWriter, inner, depth)
	w.deadline.conn, _ = inner.(deadliner)
	w.deadline.timeout = s.options.writeTimeout
	w.deadline.multiplexed = c.Request.ProtoMajor > 1
	return w
}

// Write passes on what the handler writes, in whole blocks when the response
// is a stream.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usableLocked(); err != nil {
		return 0, err
	}
	if w.decideLocked(); w.passesLocked() {
		return w.ResponseWriter.Write(p)
	}
	if w.partial == nil {
		w.partial = &partial{}
	}
	blocks := w.partial.add(p, len(w.context.Errors))
	if len(blocks) > 0 {
		if err := w.writeLocked(blocks, time.Now()); err != nil {
			return 0, err
		}
	}
	if n := w.partial.keep(len(blocks)); n > defaultMaxEventBytes {
		w.partial = nil
		return 0, w.failLocked(fmt.Errorf("%w: %d bytes without the blank line that ends an event", ErrTooLarge, n))
	}
	return len(p), nil
}

// WriteString is Write.
func (w *writer) WriteString(text string) (int, error) { return w.Write([]byte(text)) }

// WriteHeaderNow sends the headers, of a stream or of another answer.
func (w *writer) WriteHeaderNow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.usableLocked() != nil {
		return
	}
	if w.decideLocked(); w.passesLocked() {
		w.ResponseWriter.WriteHeaderNow()
	}
}

// Flush is FlushError for those who do not look.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError sends what was written, with the headers if they are still here.
func (w *writer) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == streaming && !w.unsent {
		return w.err
	}
	if err := w.usableLocked(); err != nil {
		return err
	}
	if w.decideLocked(); w.passesLocked() {
		w.ResponseWriter.Flush()
		return nil
	}
	return w.flushLocked(time.Now())
}

// CloseNotify is what c.Stream asks for when it begins: the response commits,
// so that the client has its headers before the first event, and the channel
// follows the stream's context, because not every server's writer has one.
func (w *writer) CloseNotify() <-chan bool {
	if w.stream.hub != nil {
		return nil // the hub's loop watches the context itself
	}
	w.Flush()
	gone := make(chan bool)
	context.AfterFunc(w.stream.Context(), func() { close(gone) })
	return gone
}

// commit begins the stream of a hub, whatever status or content type a
// middleware has set before; what it writes goes out with the next flush. It
// reports whether the response is a stream: a callback may have answered.
func (w *writer) commit() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == inherited || w.phase == undecided && !w.ResponseWriter.Written() {
		w.ResponseWriter.WriteHeader(http.StatusOK)
		w.openLocked()
	}
	return w.phase == streaming
}

// send writes blocks and flushes them.
func (w *writer) send(blocks []byte, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sendLocked(blocks, now)
}

// last is send, and nothing can be written after it.
func (w *writer) last(blocks []byte, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.sendLocked(blocks, now); err != nil {
		return err
	}
	w.complete = true
	w.stream.finish(ErrEnded)
	return nil
}

func (w *writer) sendLocked(blocks []byte, now time.Time) error {
	if w.complete {
		return fmt.Errorf("%w: %w", ErrClosed, ErrEnded)
	}
	switch w.phase {
	case over:
		return errKept
	case relaying:
		return fmt.Errorf("%w: a Middleware or Handler that comes later on the route has the response; use the stream that From gives there", ErrClosed)
	case plain:
		return fmt.Errorf("%w: the response is not a stream, it has begun with status %d and content type %q",
			ErrClosed, w.ResponseWriter.Status(), w.ResponseWriter.Header().Get("Content-Type"))
	case undecided, inherited:
		w.openLocked()
	}
	if err := w.writeLocked(blocks, now); err != nil {
		return err
	}
	return w.flushLocked(now)
}

// cut fails the write that is going on, if there is one, and all later ones.
func (w *writer) cut() { w.deadline.cut() }

// hurry fails the write that is going on, if it goes on for longer than a moment.
func (w *writer) hurry() { w.deadline.hurry() }

// usableLocked reports why the handler can write no more.
func (w *writer) usableLocked() error {
	if w.phase == over {
		return errKept
	}
	if cause := w.stream.over(); cause != nil && w.phase == streaming {
		return fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	return nil
}

// decideLocked makes the response a stream unless the handler has chosen a status or
// a content type that says otherwise.
func (w *writer) decideLocked() {
	if w.phase != undecided && w.phase != inherited {
		return
	}
	contentType, _, _ := mime.ParseMediaType(w.ResponseWriter.Header().Get("Content-Type"))
	if w.ResponseWriter.Status() != http.StatusOK || contentType != "" && contentType != "text/event-stream" {
		w.phase = plain
		w.deadline.restart()
		return
	}
	w.openLocked()
}

// openLocked begins the stream: headers, and the first bytes with them, because some
// proxies hold the one until there is the other, and some middlewares choose
// their headers only as they see the first bytes.
func (w *writer) openLocked() {
	w.phase = streaming
	setHeaders(w.ResponseWriter.Header())
	if w.stream.detached != nil { // pools must not keep a connection that ends with the stream
		w.ResponseWriter.Header().Set("Connection", "close")
	}
	if w.deadline.conn == nil {
		w.reportHidden()
	}
	w.deadline.lift()
	_ = w.writeLocked(w.opening, time.Now()) // the error stays in w.err, and the next write returns it
	w.opening = nil
	if every := w.stream.options.heartbeat; every > 0 && w.stream.hub == nil {
		w.beat = time.AfterFunc(every, w.heartbeat)
	}
}

// reportHidden says once for each Handler or Middleware what its streams must do
// without, because a writer hides the server's.
func (w *writer) reportHidden() {
	w.stream.options.lost.Do(func() {
		w.stream.logger().Warn("ssegin: this response writer has neither write deadlines nor an Unwrap method: a client that stops reading is not cut, and http.Server.WriteTimeout is not lifted; if it is a middleware's, exclude the paths of streams from that middleware",
			"writer", fmt.Sprintf("%T", w.server))
	})
}

// setHeaders sets what makes a response a stream that proxies neither buffer,
// change nor keep. HTTP/2 has no Connection header, and HTTP/1.1 needs none as
// long as the connection stays.
func setHeaders(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	h.Del("Content-Length")
}

// writeLocked passes whole blocks on.
func (w *writer) writeLocked(blocks []byte, now time.Time) error {
	if w.err != nil {
		return w.err
	}
	w.wrote, w.unsent = now, true
	for len(blocks) > 0 && w.err == nil {
		piece := blocks[:min(len(blocks), writeBytes)] // one that is slow is not cut over a huge event
		blocks = blocks[len(piece):]
		w.deadline.arm(now)
		_, err := w.ResponseWriter.Write(piece)
		w.deadline.rest()
		_ = w.failLocked(err)
		if len(blocks) > 0 {
			now = time.Now()
		}
	}
	return w.err
}

// flushLocked sends what was written.
func (w *writer) flushLocked(now time.Time) error {
	if w.err != nil || !w.unsent {
		return w.err
	}
	w.unsent = false
	w.deadline.arm(now)
	err := w.flusher.flush()
	w.deadline.rest()
	return w.failLocked(err)
}

// failLocked ends the stream on the first error: the peer is gone, or too slow.
func (w *writer) failLocked(err error) error {
	if err != nil {
		w.err = fmt.Errorf("%w: %w", ErrClosed, err)
		w.stream.failed(err)
	}
	return w.err
}

// heartbeat writes a comment when the stream has been idle for long enough.
func (w *writer) heartbeat() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != streaming || w.err != nil {
		return
	}
	every := w.stream.options.heartbeat
	rest := every - time.Since(w.wrote)
	if rest <= 0 {
		rest = every
		if now := time.Now(); w.writeLocked([]byte(heartbeat), now) != nil || w.flushLocked(now) != nil {
			return
		}
	}
	w.beat.Reset(rest)
}

// wait returns when the write that is going on, if there is one, has returned.
func (w *writer) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
}

// close ends all writing, and uncovers the writer beneath. When it returns,
// nobody else is writing, and nobody will. What the handler has begun and not
// ended is left out, as a client would throw it away (WHATWG HTML §9.2.6).
func (w *writer) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == over {
		return
	}
	switch w.phase {
	case undecided:
		w.deadline.restart()
	case streaming:
		if w.flushLocked(time.Now()) != nil {
			abortStream(w.server)
		}
		w.deadline.last()
	}
	if w.beat != nil {
		w.beat.Stop()
	}
	w.context.Writer = w.ResponseWriter
	w.giveBackLocked(w.context)
	w.ResponseWriter, w.context = kept{}, nil // they serve the next request
	w.phase, w.partial = over, nil
	w.deadline.close()
}
