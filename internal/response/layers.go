package response

import (
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

// Enclose lets the layers that come later on the route find w. Give what it
// returns to Restore before w is closed.
func (w *Writer) Enclose(c *gin.Context) (outer *Writer) {
	outer = outerLayer(c)
	c.Set(key, w)
	return outer
}

// Restore is for a layer whose handler has returned: others are to find the one
// around it again. The outermost one stays.
func Restore(c *gin.Context, outer *Writer) {
	if outer != nil {
		c.Set(key, outer)
	}
}

// Of returns the writer of the layer that is nearest to the handler, nil if there
// is none.
func Of(c *gin.Context) *Writer {
	if w, ok := c.Writer.(*Writer); ok {
		return w
	}
	w, _ := c.Value(key).(*Writer) // a middleware has put its own writer over ours
	return w
}

// outerLayer returns the writer of the layer around the one that begins, or that
// ends, now: nil if there is none.
func outerLayer(c *gin.Context) *Writer {
	value, _ := c.Get(key)
	w, _ := value.(*Writer)
	return w
}

// takeOver makes w the layer that writes. Where the outer one lies directly
// beneath, w does without it.
func (w *Writer) takeOver(outer *Writer) {
	if outer.relay() {
		w.phase = inherited
	}
	if w.ResponseWriter == gin.ResponseWriter(outer) {
		w.direct = true
		w.ResponseWriter = outer.beneath()
	}
}

// giveBackLocked uncovers the outer layer, which goes on if w has begun nothing.
func (w *Writer) giveBackLocked(c *gin.Context) {
	outer := outerLayer(c)
	if outer == nil || outer == w { // w is the outermost
		return
	}
	if w.direct {
		c.Writer = outer
	}
	switch w.phase {
	case undecided:
		outer.goOn(undecided)
	case inherited:
		outer.goOn(streaming)
	}
}

// relay ends all writing of w's own, and reports whether it has begun a stream.
// What its handler has begun of an event and not ended is left out.
func (w *Writer) relay() (begun bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun = w.phase == streaming || w.phase == inherited
	if w.phase == streaming {
		_ = w.flushLocked(time.Now())
	}
	w.pulse.stop()
	w.partial = nil
	if w.phase != plain && w.phase != over {
		w.phase = relaying
		w.relays.Store(true)
	}
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
	w.relays.Store(false)
	if as == streaming {
		w.pulse.goOn()
	}
}

// Expire ends the stream, whose time is over. Where a layer within has taken
// over, its options say when that is.
func (w *Writer) Expire(cause error) {
	if !w.relays.Load() {
		w.owner.End(cause)
	}
}

// passesLocked reports whether what is written goes on as it is.
func (w *Writer) passesLocked() bool { return w.phase == plain || w.phase == relaying }

// beneath returns the writer that w stands in place of.
func (w *Writer) beneath() gin.ResponseWriter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter
}
