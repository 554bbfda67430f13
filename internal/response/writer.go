package response

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

// WriteBytes is what one write carries at the most: what is longer is written in
// pieces, and each has the whole write timeout.
const WriteBytes = 64 << 10

// MaxEventBytes is how large an event may be that a handler writes by itself, and
// any other one if the application sets no limit.
const MaxEventBytes = 1 << 20

// Heartbeat is a comment: it keeps proxies from cutting an idle connection and
// shows whether the peer is still there (WHATWG HTML §9.2.7).
const Heartbeat = ":\n\n"

// An Owner is the stream whose response a Writer writes. Its methods may be
// called with the Writer's lock held, so none of them calls the Writer.
type Owner interface {
	// Context returns a context that ends with the stream.
	Context() context.Context

	// Over returns why the stream is over, nil if it is not.
	Over() error

	// End ends the stream, unless its client has left before.
	End(cause error)

	// Finish ends the stream with this very cause: ErrEnded, or why a write has
	// failed.
	Finish(cause error)

	// Hidden is told that the stream must do without write deadlines, because a
	// foreign writer hides the server's.
	Hidden(foreign http.ResponseWriter)
}

// Options say how a response is written.
type Options struct {
	WriteTimeout  time.Duration // for WriteBytes; zero: none
	ServerTimeout time.Duration // what StopServerTimeout has returned
	Heartbeat     time.Duration // how long a stream without a loop is idle before it gets one; zero: none
	Loop          bool          // the stream has a loop of its own, which writes heartbeats and watches the context
}

// A Writer stands in place of a request's gin.ResponseWriter and makes it safe
// for streaming, whoever writes: a hub's stream loop, Stream.Send from another
// goroutine, c.SSEvent and c.Stream in the handler, the heartbeat.
//
// It lets only whole blocks through, so that nothing ever falls between the
// lines of an event; it decides when the first byte comes whether the response
// is a stream at all; it sees the errors of flushes, which Gin's own writer
// hides; and when the handler has returned it is over, for good.
type Writer struct {
	// What every event needs comes first, because with many quiet streams it is
	// not in the processor's cache.
	mu                 sync.Mutex // taken before an outer layer's, those of the Owner and deadline.mu
	gin.ResponseWriter            // what Gin, or a middleware before this one, had put there
	err                error      // of the write or flush that failed
	phase              phase
	unsent             bool        // something was written since the last flush
	complete           bool        // the last block was written
	direct             bool        // the writer of an outer layer lies beneath, and is passed by
	chained            bool        // what is beneath is more than Gin's own writer, and is to be flushed itself
	loop               bool        // see Options
	hangsUp            bool        // the connection ends with the response
	relays             atomic.Bool // phase is relaying, for who does not hold the lock
	owner              Owner
	flusher            flusher // the innermost writer; nil if it has no errors to tell
	deadline           deadline

	context *gin.Context        // for its Errors, on the handler's goroutine
	server  http.ResponseWriter // the innermost writer that can be reached
	opening []byte              // goes before everything else
	partial *partial            // of a handler that writes by itself
	pulse   *pulse              // of a stream without a loop, nil if it has no heartbeat
}

// A pulse is the heartbeat of a stream without a loop.
type pulse struct {
	every time.Duration
	timer *time.Timer // nil until the stream begins
	wrote time.Time   // when something was written last
}

// stop lets it rest. Without a pulse, and before it begins, there is nothing to do.
func (p *pulse) stop() {
	if p != nil && p.timer != nil {
		p.timer.Stop()
	}
}

// goOn begins it anew.
func (p *pulse) goOn() {
	if p != nil && p.timer != nil {
		p.timer.Reset(p.every)
	}
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

// New returns a Writer that stands over the one that c has now. The caller puts it
// in that one's place, and closes it when the handler has returned.
func New(c *gin.Context, owner Owner, options Options) *Writer {
	w := &Writer{
		ResponseWriter: c.Writer,
		owner:          owner,
		context:        c,
		loop:           options.Loop,
	}
	if options.Heartbeat > 0 && !options.Loop {
		w.pulse = &pulse{every: options.Heartbeat}
	}
	if outer := outerLayer(c); outer != nil {
		w.takeOver(outer)
	}
	inner, depth := innermost(w.ResponseWriter)
	w.server = inner
	w.flusher, _ = inner.(flusher)
	w.chained = depth != 1 || w.flusher == nil // Gin's own writer alone would do the same
	w.deadline.conn, _ = inner.(deadliner)
	w.deadline.timeout = options.WriteTimeout
	w.deadline.stopped = options.ServerTimeout
	w.deadline.multiplexed = c.Request.ProtoMajor > 1
	return w
}

// Owner returns the stream that w writes.
func (w *Writer) Owner() Owner { return w.owner }

// Hijacker returns what gives the connection away, nil if there is none or a
// foreign writer lies in between.
func (w *Writer) Hijacker() http.Hijacker {
	if w.chained {
		return nil
	}
	server, _ := w.server.(http.Hijacker)
	return server
}

// HangUp says that the connection ends with the response, because pools must not
// keep it. Call it before the response begins.
func (w *Writer) HangUp() { w.hangsUp = true }

// Open sets what goes before everything else. Call it before the response begins.
func (w *Writer) Open(blocks []byte) { w.opening = blocks }

// Write passes on what the handler writes, in whole blocks when the response
// is a stream.
func (w *Writer) Write(p []byte) (int, error) {
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
	if n := w.partial.keep(len(blocks)); n > MaxEventBytes {
		w.partial = nil
		return 0, w.failLocked(fmt.Errorf("%w: %d bytes without the blank line that ends an event", ErrTooLarge, n))
	}
	return len(p), nil
}

// WriteString is Write.
func (w *Writer) WriteString(text string) (int, error) { return w.Write([]byte(text)) }

// WriteHeaderNow sends the headers, of a stream or of another answer.
func (w *Writer) WriteHeaderNow() {
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
func (w *Writer) Flush() { _ = w.FlushError() }

// FlushError sends what was written, with the headers if they are still here.
func (w *Writer) FlushError() error {
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
func (w *Writer) CloseNotify() <-chan bool {
	if w.loop {
		return nil // it watches the context itself
	}
	w.Flush()
	gone := make(chan bool)
	context.AfterFunc(w.owner.Context(), func() { close(gone) })
	return gone
}

// Commit begins the stream, whatever status or content type a
// middleware has set before; what it writes goes out with the next flush. It
// reports whether the response is a stream: a callback may have answered.
func (w *Writer) Commit() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == inherited || w.phase == undecided && !w.ResponseWriter.Written() {
		w.ResponseWriter.WriteHeader(http.StatusOK)
		w.openLocked()
	}
	return w.phase == streaming
}

// Send writes blocks and flushes them.
func (w *Writer) Send(blocks []byte, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sendLocked(blocks, now)
}

// Last is Send, and nothing can be written after it.
func (w *Writer) Last(blocks []byte, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.sendLocked(blocks, now); err != nil {
		return err
	}
	w.complete = true
	w.owner.Finish(ErrEnded)
	return nil
}

func (w *Writer) sendLocked(blocks []byte, now time.Time) error {
	if w.complete {
		return fmt.Errorf("%w: %w", ErrClosed, ErrEnded)
	}
	switch w.phase {
	case over:
		return ErrReturned
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

// Cut fails the write that is going on, if there is one, and all later ones.
func (w *Writer) Cut() { w.deadline.cut() }

// Hurry fails the write that is going on, if it goes on for longer than a moment.
func (w *Writer) Hurry() { w.deadline.hurry() }

// EndAt says when the stream's time is over; the zero time means never. A write that
// goes on then is given a moment.
func (w *Writer) EndAt(end time.Time) { w.deadline.endAt(end) }

// usableLocked reports why the handler can write no more.
func (w *Writer) usableLocked() error {
	if w.phase == over {
		return ErrReturned
	}
	if cause := w.owner.Over(); cause != nil && w.phase == streaming {
		return fmt.Errorf("%w: %w", ErrClosed, cause)
	}
	return nil
}

// decideLocked makes the response a stream unless the handler has chosen a status or
// a content type that says otherwise.
func (w *Writer) decideLocked() {
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
func (w *Writer) openLocked() {
	w.phase = streaming
	SetHeaders(w.ResponseWriter.Header())
	if w.hangsUp {
		w.ResponseWriter.Header().Set("Connection", "close")
	}
	if w.deadline.conn == nil {
		w.owner.Hidden(w.server)
	}
	w.deadline.lift()
	_ = w.writeLocked(w.opening, time.Now()) // the error stays in w.err, and the next write returns it
	w.opening = nil
	if w.pulse != nil {
		w.pulse.timer = time.AfterFunc(w.pulse.every, w.heartbeat)
	}
}

// SetHeaders sets what makes a response a stream that proxies neither buffer,
// change nor keep. HTTP/2 has no Connection header, and HTTP/1.1 needs none as
// long as the connection stays.
func SetHeaders(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	h.Del("Content-Length")
}

// writeLocked passes whole blocks on.
func (w *Writer) writeLocked(blocks []byte, now time.Time) error {
	if w.err != nil {
		return w.err
	}
	w.unsent = true
	if w.pulse != nil {
		w.pulse.wrote = now
	}
	for len(blocks) > 0 && w.err == nil {
		piece := blocks[:min(len(blocks), WriteBytes)] // one that is slow is not cut over a huge event
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
func (w *Writer) flushLocked(now time.Time) error {
	if w.err != nil || !w.unsent {
		return w.err
	}
	w.unsent = false
	w.deadline.arm(now)
	err := w.passFlush()
	w.deadline.rest()
	return w.failLocked(err)
}

// failLocked ends the stream on the first error: the peer is gone, or too slow.
func (w *Writer) failLocked(err error) error {
	if err != nil {
		w.err = fmt.Errorf("%w: %w", ErrClosed, err)
		w.owner.Finish(err)
	}
	return w.err
}

// heartbeat writes a comment when the stream has been idle for long enough.
func (w *Writer) heartbeat() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != streaming || w.err != nil {
		return
	}
	rest := w.pulse.every - time.Since(w.pulse.wrote)
	if rest <= 0 {
		rest = w.pulse.every
		if now := time.Now(); w.writeLocked([]byte(Heartbeat), now) != nil || w.flushLocked(now) != nil {
			return
		}
	}
	w.pulse.timer.Reset(rest)
}

// Wait returns when the write that is going on, if there is one, has returned.
func (w *Writer) Wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
}

// Close ends all writing, and uncovers the writer beneath. When it returns,
// nobody else is writing, and nobody will. What the handler has begun and not
// ended is left out, as a client would throw it away (WHATWG HTML §9.2.6).
func (w *Writer) Close() {
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
	w.pulse.stop()
	w.context.Writer = w.ResponseWriter
	w.giveBackLocked(w.context)
	w.ResponseWriter, w.context = kept{}, nil // they serve the next request
	w.phase, w.partial = over, nil
	w.deadline.close()
}
