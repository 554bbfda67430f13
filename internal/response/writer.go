package response

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/gin-gonic/gin"
)

// WriteBytes is what one write carries at the most: what is longer is written in
// pieces, and each has the whole write timeout.
const WriteBytes = 64 << 10

// MaxHeld is how much is held at the most of what a handler writes by itself. An event
// that is larger goes on as it comes.
const MaxHeld = 1 << 20

// Heartbeat is a comment: it keeps proxies from cutting an idle connection and
// shows whether the peer is still there (WHATWG HTML §9.2.7). It has no blank line,
// because many clients that are no EventSource take that for an event.
const Heartbeat = ":\n"

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

	// Silent reports whether heartbeats are withheld.
	Silent() bool

	// Report says something in the log that the developer of this route should know,
	// once for each route.
	Report(route, text string, args ...any)
}

// Options say how a response is written.
type Options struct {
	WriteTimeout  time.Duration // for WriteBytes; zero: none
	ServerTimeout time.Duration // what StopServerTimeout has returned
	Heartbeat     time.Duration // how long a stream without a loop is idle before it gets one; zero: none
	Beat          []byte        // what that is
	Loop          bool          // the stream has a loop of its own, which writes heartbeats and watches the context
	Complete      bool          // the client was told the end: a stream is answered with status 204
}

// A Writer stands in place of a request's gin.ResponseWriter and makes it safe
// for streaming, whoever writes: a hub's stream loop, Stream.Send from another
// goroutine, c.SSEvent and c.Stream in the handler, the heartbeat.
//
// It decides as late as it can whether the response is a stream at all, and leaves
// alone what is none; of a stream it lets only whole blocks through, so that nothing
// ever falls between the lines of an event; it sees the errors of flushes, which
// Gin's own writer hides; and when the handler has returned it is over, for good.
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
	loop, told         bool        // see Options.Loop and Complete
	hangsUp            bool        // the connection ends with the response
	failed             bool        // what was sent is not all, and the client must see that
	apart              bool        // the handler has a context of its own, see Next
	carried            bool        // a layer within has written a stream
	passes             atomic.Bool // what is written is none of this layer's streams, for who does not hold the lock
	owner              Owner
	flusher            flusher // the innermost writer; nil if it has no errors to tell
	deadline           deadline

	outside *gin.Context        // that of the handlers around this layer
	context *gin.Context        // that of the handlers within; for its Errors, on the handler's goroutine
	server  http.ResponseWriter // the innermost writer that can be reached
	opening []byte              // goes before everything else
	length  int                 // of a stream that is written as a whole; zero of others
	draft   *draft              // of a handler that writes by itself
	pulse   *pulse              // of a stream without a loop, nil if it has no heartbeat
	outer   *Writer             // the layer around this one, nil if there is none
}

type phase uint8

const (
	undecided phase = iota // nothing was written yet, or too little to tell
	inherited              // nor by this layer: an outer one has begun the stream
	plain                  // the response is no stream, or one whose bytes are none of ours
	streaming
	sealed   // the response is complete, and nothing is to be written after it
	relaying // a layer of this package that is nearer to the handler writes; see takeOver
	over     // the handler has returned
)

// New returns a Writer that stands over the one that c has now. The caller puts it
// in that one's place, and closes it when the handler has returned.
func New(c *gin.Context, owner Owner, options Options) *Writer {
	w := &Writer{
		ResponseWriter: c.Writer,
		owner:          owner,
		outside:        c,
		context:        c,
		loop:           options.Loop,
		told:           options.Complete,
	}
	if options.Heartbeat > 0 && !options.Loop {
		w.pulse = &pulse{every: options.Heartbeat, beat: options.Beat}
	}
	if w.outer = outerLayer(c); w.outer != nil {
		w.takeOver()
	}
	if !options.Loop {
		w.draft = newDraft(w.ResponseWriter)
	}
	inner, depth := innermost(w.ResponseWriter)
	w.server = inner
	w.flusher, _ = inner.(flusher)
	w.chained = depth != 1 || w.flusher == nil // Gin's own writer alone would do the same
	w.deadline.conn = deadlines(c.Request, inner)
	w.deadline.timeout = options.WriteTimeout
	w.deadline.stopped = options.ServerTimeout
	w.deadline.multiplexed = c.Request.ProtoMajor > 1
	return w
}

// Owner returns the stream that w writes.
func (w *Writer) Owner() Owner { return w.owner }

// Hijacker returns what gives the connection away, nil if there is none. Writers that
// lie in between and have an Unwrap method are passed by, so they must not change what
// is written: ask Bare once the response has begun.
func (w *Writer) Hijacker() http.Hijacker {
	_, ok := w.server.(deadliner) // as a server's own writer, and no middleware's
	if !ok || !sameHeader(w.ResponseWriter, w.server) {
		return nil
	}
	server, _ := w.server.(http.Hijacker)
	return server
}

// Foreign reports whether a writer of others lies between w and the server's.
func (w *Writer) Foreign() bool { return w.chained }

// Bare reports whether a response that has begun reaches the server's writer as it is:
// nobody has encoded it.
func (w *Writer) Bare() bool {
	encoding := w.server.Header().Get("Content-Encoding")
	return encoding == "" || encoding == "identity"
}

// Kind is the type of the writer that is nearest to the server and can be reached.
func (w *Writer) Kind() string { return reflect.TypeOf(w.server).String() }

// sameHeader reports whether both writers have one header, and not each its own, as one
// that holds a response back does.
func sameHeader(a, b http.ResponseWriter) bool {
	return reflect.ValueOf(a.Header()).Pointer() == reflect.ValueOf(b.Header()).Pointer()
}

// HangUp says that the connection ends with the response, because pools must not
// keep it. Call it before the response begins.
func (w *Writer) HangUp() { w.hangsUp = true }

// Open sets what goes before everything else. Call it before the response begins.
func (w *Writer) Open(blocks []byte) { w.opening = blocks }

// Write passes on what the handler writes: as it is, if the response is no stream, and
// else in whole blocks.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.usableLocked(); err != nil {
		return 0, err
	}
	switch w.phase {
	case undecided, inherited:
		return w.considerLocked(p)
	case streaming:
		return w.addLocked(p)
	default:
		return w.passLocked(p)
	}
}

// WriteString is Write.
func (w *Writer) WriteString(text string) (int, error) {
	return w.Write(unsafe.Slice(unsafe.StringData(text), len(text))) // nobody beneath changes it (io.Writer)
}

// passLocked writes what is none of ours. A response that is flushed again and again is
// bounded in each write, as a stream is.
func (w *Writer) passLocked(p []byte) (int, error) {
	if w.phase == plain && w.draft != nil && w.draft.paced {
		if err := w.writeLocked(p, time.Now()); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Flush is FlushError for those who do not look.
func (w *Writer) Flush() { _ = w.FlushError() }

// FlushError sends what was written, with the headers if they are still here. While
// nothing tells what the response is, they stay here for a moment more; see Quiet.
func (w *Writer) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == streaming && !w.unsent && w.ResponseWriter.Written() {
		return w.err
	}
	if err := w.usableLocked(); err != nil {
		return err
	}
	if (w.phase == undecided || w.phase == inherited) && !w.decideLocked(true) {
		w.draft.flushed = true
		w.waitLocked()
		return nil
	}
	switch {
	case w.phase == streaming:
		if !w.ResponseWriter.Written() {
			w.ResponseWriter.WriteHeaderNow()
			w.unsent = true
		}
		return w.flushLocked(time.Now())
	case w.phase == plain && w.draft != nil:
		return w.flushPlainLocked()
	case w.phase != sealed:
		w.ResponseWriter.Flush()
	}
	return nil
}

// flushPlainLocked flushes a response that is no stream. From the second time on it is
// taken for one that lasts, such as lines of JSON: so the server's WriteTimeout is
// lifted, and a client that does not read is cut.
func (w *Writer) flushPlainLocked() error {
	if w.draft.flushes++; w.draft.flushes == 2 {
		w.paceLocked()
	}
	if w.draft.paced {
		w.unsent = true
		return w.flushLocked(time.Now())
	}
	w.ResponseWriter.Flush()
	return nil
}

// CloseNotify returns a channel that follows the stream's context, because not every
// server's writer has one. c.Stream asks for it before its first step: a response that
// has not begun when that step has taken a moment begins then, see Quiet.
func (w *Writer) CloseNotify() <-chan bool {
	if w.loop {
		return nil // it watches the context itself
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.drafting()
	if d.gone == nil {
		d.gone = make(chan bool)
		context.AfterFunc(w.owner.Context(), func() { close(d.gone) })
	}
	if w.phase == undecided && calledByStream() {
		w.waitLocked()
	}
	return d.gone
}

// Commit begins the stream, whatever status or content type a
// middleware has set before; what it writes goes out with the next flush. It
// reports whether the response is a stream: a callback may have answered.
func (w *Writer) Commit() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == inherited || w.phase == undecided && !w.ResponseWriter.Written() {
		w.ResponseWriter.WriteHeader(http.StatusOK)
		w.openLocked(true)
	}
	return w.phase == streaming
}

// Answered reports whether the response has begun as something else than a stream.
func (w *Writer) Answered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch w.phase {
	case undecided:
		return w.ResponseWriter.Written()
	case inherited, streaming:
		return false
	}
	return true
}

// Whole writes a stream that is complete, with its length, so that nobody in between has
// to wait for its end.
func (w *Writer) Whole(blocks []byte, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == undecided {
		w.ResponseWriter.WriteHeader(http.StatusOK)
		w.length = len(blocks)
	}
	err := w.sendLocked(blocks, now)
	w.complete = true
	return err
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
		return fmt.Errorf("%w: the response is not a stream, it has begun with status %d, content type %q and content encoding %q",
			ErrClosed, w.ResponseWriter.Status(), w.ResponseWriter.Header().Get("Content-Type"), w.ResponseWriter.Header().Get("Content-Encoding"))
	case undecided, inherited:
		w.settleLocked()
		w.openLocked(false)
	}
	if err := w.interposeLocked(now); err != nil {
		return err
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
	switch w.phase {
	case over:
		return ErrReturned
	case streaming, sealed:
		if cause := w.owner.Over(); cause != nil {
			return fmt.Errorf("%w: %w", ErrClosed, cause)
		}
		if w.phase == sealed {
			return errEnded
		}
	}
	return nil
}

// writeLocked passes whole blocks on.
func (w *Writer) writeLocked(blocks []byte, now time.Time) error {
	if w.err != nil {
		return w.err
	}
	if len(blocks) == 0 {
		return nil
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

// Wait returns when the write that is going on, if there is one, has returned.
func (w *Writer) Wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
}

// report says something in the log once for each route.
func (w *Writer) report(text string, args ...any) {
	w.owner.Report(w.context.FullPath(), text, args...)
}
