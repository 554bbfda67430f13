package ssegin

import (
	"time"

	"github.com/gin-gonic/gin"
)

// A route may have several layers of this package: Middleware on the engine,
// another one on a group, Handler at the end. Only one of them may write, or two
// goroutines would be in the server's writer at the same time: so the one that is
// nearest to the handler takes the response over, and those around it relay
// whatever is written, until it gives the response back.

// outerLayer returns the writer of the layer around the one that begins, or that
// ends, now: nil if there is none.
func outerLayer(c *gin.Context) *writer {
	value, _ := c.Get(streamKey)
	s, ok := value.(*Stream)
	if !ok {
		return nil
	}
	return s.writer
}

// takeOver makes w the layer that writes. Where the outer one lies directly
// beneath, w does without it.
func (w *writer) takeOver(outer *writer) {
	if outer.relay() {
		w.phase = inherited
	}
	if w.ResponseWriter == gin.ResponseWriter(outer) {
		w.direct = true
		w.ResponseWriter = outer.beneath()
	}
}

// giveBackLocked uncovers the outer layer, which goes on if w has begun nothing.
func (w *writer) giveBackLocked(c *gin.Context) {
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
func (w *writer) relay() (begun bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begun = w.phase == streaming || w.phase == inherited
	if w.phase == streaming {
		_ = w.flushLocked(time.Now())
	}
	if w.beat != nil {
		w.beat.Stop()
	}
	w.partial = nil
	if w.phase != plain && w.phase != over {
		w.phase = relaying
		w.relays.Store(true)
	}
	return begun
}

// goOn takes the response back in the phase in which it was given away.
func (w *writer) goOn(as phase) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != relaying {
		return
	}
	w.phase = as
	w.relays.Store(false)
	if as == streaming && w.beat != nil {
		w.beat.Reset(w.stream.options.heartbeat)
	}
}

// expire ends the stream, whose time is over. Where a layer within has taken
// over, its options say when that is.
func (w *writer) expire(cause error) {
	if !w.relays.Load() {
		w.stream.end(cause)
	}
}

// passesLocked reports whether what is written goes on as it is.
func (w *writer) passesLocked() bool { return w.phase == plain || w.phase == relaying }

// beneath returns the writer that w stands in place of.
func (w *writer) beneath() gin.ResponseWriter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter
}
