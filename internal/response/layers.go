package response

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// A route may have several layers of this package: Middleware on the engine,
// another one on a group, Handler at the end. Only one of them may write, or two
// goroutines would be in the server's writer at the same time: so the one that is
// nearest to the handler takes the response over, and those around it relay
// whatever is written, until it gives the response back.

// key is where a layer that is around others keeps its writer in a gin.Context.
const key = "github.com/ssegin/ssegin/internal/response.Writer"

// Of returns the writer of the layer that is nearest to the handler, nil if there
// is none.
func Of(c *gin.Context) *Writer {
	if w, ok := c.Writer.(*Writer); ok {
		return w
	}
	w, _ := c.Value(key).(*Writer) // a middleware has put its own writer over ours
	return w
}

// outerLayer returns the writer of the layer around the one that begins now: nil if
// there is none. A context that was served anew, as by gin.Engine.HandleContext, has
// lost its values, but not the writers.
func outerLayer(c *gin.Context) *Writer {
	if value, ok := c.Get(key); ok {
		w, _ := value.(*Writer)
		return w
	}
	for writer := http.ResponseWriter(c.Writer); ; {
		if w, ok := writer.(*Writer); ok {
			return w
		}
		wrapper, ok := writer.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return nil
		}
		writer = wrapper.Unwrap()
	}
}

// takeOver makes w the layer that writes. Where the outer one lies directly
// beneath, w does without it.
func (w *Writer) takeOver() {
	if w.outer.relay() {
		w.phase = inherited
	}
	if w.ResponseWriter == gin.ResponseWriter(w.outer) {
		w.direct = true
		w.ResponseWriter = w.outer.beneath()
	}
}

// uncoverLocked puts back what was there before w. The outer layer goes on if w has
// begun nothing. Where it has written a stream, nobody writes after it: not the
// handlers around it, that is, while writers in between may still end what they have
// begun, as one that compresses does.
func (w *Writer) uncoverLocked() {
	streamed := w.carried || w.phase == streaming || w.phase == sealed || w.phase == plain && w.draft.streams()
	beneath := w.ResponseWriter
	switch {
	case w.outer == nil:
	case streamed:
		w.outer.carry(w.direct)
	case w.phase == undecided:
		w.outer.goOn(undecided)
	case w.phase == inherited:
		w.outer.goOn(streaming)
	}
	switch {
	case w.apart && (w.direct || !streamed):
		return // nothing was put over it
	case w.direct:
		beneath = w.outer
	case streamed:
		beneath = &ended{beneath}
	}
	w.outside.Writer = beneath
}

// relay ends all writing of w's own, and reports whether it has begun a stream.
// What its handler has begun of an event and not ended is left out.
func (w *Writer) relay() (begun bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draft.stopWaiting()
	switch w.phase {
	case undecided:
		if w.draft.holds() {
			_ = w.beginPlainLocked()
			return false
		}
		w.settleLocked()
	case streaming:
		begun = true
		_ = w.flushLocked(time.Now())
		w.pulse.stop()
		w.draft.drop()
	case inherited:
		begun = true
	default:
		return false
	}
	w.phase = relaying
	w.passes.Store(true)
	return begun
}

// goOn takes the response back in the phase in which it was given away.
func (w *Writer) goOn(as phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != relaying {
		return
	}
	w.phase = as
	w.passes.Store(false)
	switch {
	case as == streaming:
		w.pulse.goOn()
	case w.draft != nil:
		w.draft.copy(w.ResponseWriter)
	}
}

// carry takes the response back after a stream. If there is no writer in between,
// nothing more is written.
func (w *Writer) carry(direct bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.carried = true
	if direct && w.phase == relaying {
		w.phase = sealed
	}
}

// Expire ends the stream, whose time is over. An answer that is no stream is left
// alone, and where a layer within has taken over, its options say when that is.
func (w *Writer) Expire(cause error) {
	if !w.passes.Load() {
		w.owner.End(cause)
	}
}

// Streams reports whether the response has begun as a stream.
func (w *Writer) Streams() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.phase == streaming || w.phase == plain && w.draft.streams()
}

// beneath returns the writer that w stands in place of.
func (w *Writer) beneath() gin.ResponseWriter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter
}
