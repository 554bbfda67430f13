package response

import (
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Fail says that the handler has not come to its end: what it has begun and not ended
// is left out, and the response of a stream ends as broken.
func (w *Writer) Fail() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = true
}

// Close ends all writing, and uncovers the writer beneath. When it returns,
// nobody else is writing, and nobody will. What the handler has begun and not
// ended goes on as it is, unless something has failed. Where a stream was written,
// what is written after it goes nowhere.
//
// It reports whether the end is as it should be. If the response is not complete, and
// cannot be broken here because a foreign writer hides the connection, only a panic with
// http.ErrAbortHandler can.
func (w *Writer) Close() (done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == over {
		return true
	}
	w.draft.stopWaiting()
	done = w.concludeLocked()
	w.pulse.stop()
	w.uncoverLocked()
	w.ResponseWriter, w.outside, w.context, w.outer = kept{}, nil, nil, nil // they serve the next request
	w.phase, w.draft = over, w.draft.rest()
	w.deadline.close()
	return done
}

// concludeLocked writes what is left, or breaks the response off.
func (w *Writer) concludeLocked() (done bool) {
	switch w.phase {
	case undecided:
		if w.draft.holds() && !w.failed {
			_ = w.beginPlainLocked() // nobody is left to be told
		} else {
			w.settleLocked()
			w.deadline.restart()
		}
		return true
	case streaming:
		w.leaveLocked()
		w.trailLocked()
		if w.failed || w.context.Request.ProtoMajor > 2 { // over HTTP/1 and 2 the server flushes, and sees the error
			_ = w.flushLocked(time.Now())
		}
		switch {
		case w.failed:
			return w.breakLocked()
		case w.err != nil:
			abortStream(w.server) // HTTP/1 and 2 have ended it so already
		default:
			w.deadline.last()
		}
	case plain:
		w.trailLocked()
		switch {
		case w.draft == nil || !w.draft.paced:
		case w.draft.stream && w.failed:
			return w.breakLocked()
		case w.draft.stream && w.err != nil:
			abortStream(w.server)
		default:
			w.deadline.last()
		}
	case sealed, relaying:
		if w.failed && w.carried {
			return w.breakLocked()
		}
	}
	return true
}

// breakLocked ends the response so that no client takes it for complete: without its
// last chunk on HTTP/1.1, and by a reset of the stream on HTTP/2 and 3. It reports
// whether it could.
func (w *Writer) breakLocked() bool {
	if abortStream(w.server) {
		return true
	}
	w.deadline.cut()
	return w.deadline.conn != nil || !serves(w.context)
}

// serves reports whether a request comes from a server, which knows what to do with
// http.ErrAbortHandler, and not from a test.
func serves(c *gin.Context) bool { return c.Request.Context().Value(http.ServerContextKey) != nil }
