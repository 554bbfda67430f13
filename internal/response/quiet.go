package response

import (
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// Quiet is how long a response that may be a stream stays undecided after the handler
// has entered c.Stream, or has flushed without having written anything. In this time an
// error still gets its own status. After it the stream begins, so that its client has
// the headers and the heartbeats, and the choice stands.
const Quiet = 500 * time.Millisecond

// waitLocked begins the response when Quiet has passed, unless something else has
// until then.
func (w *Writer) waitLocked() {
	if w.loop {
		return
	}
	w.settleLocked() // what the timer goes by
	if d := w.draft; d.waiting == nil {
		d.waiting = time.AfterFunc(Quiet, w.quiet)
	}
}

// signLaterLocked is for a handler that has sent the headers and nothing else, as many
// do first: a proxy that holds those until there is a byte gets one when Quiet has
// passed, if there is none until then.
func (w *Writer) signLaterLocked() {
	if w.phase == streaming && w.ResponseWriter.Size() <= 0 {
		w.draft.waiting = time.AfterFunc(Quiet, w.sign)
	}
}

func (w *Writer) sign() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == streaming && w.ResponseWriter.Size() <= 0 && w.owner.Over() == nil {
		now := time.Now()
		_ = w.writeLocked([]byte(Heartbeat), now)
		_ = w.flushLocked(now)
	}
}

// quiet begins a response of which nothing has told what it is. It runs beside the
// handler, so it must not look at the headers of the draft: those that were settled
// count.
func (w *Writer) quiet() {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.draft
	if w.phase != undecided || d.status != http.StatusOK || w.owner.Over() != nil {
		return
	}
	header := d.header
	d.header = nil // in place of it the real ones count, here
	switch v := w.judgeLocked(); {
	case v == isPlain:
		d.header = header // its own first byte begins it
		return
	case v == open && d.holds():
		_ = w.beginPlainLocked() // the handler has flushed it
	default:
		_ = w.beginStreamLocked(true)
		_ = w.flushLocked(time.Now())
	}
	d.header = header
}

// streamMethod is the name of gin.Context.Stream, however the program was built.
var streamMethod = runtime.FuncForPC(reflect.ValueOf((*gin.Context).Stream).Pointer()).Name()

// calledByStream reports whether CloseNotify was called by c.Stream, be it through the
// writers of other middlewares. Others ask for the channel and may answer with anything.
func calledByStream() bool {
	var callers [8]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if frame.Function == streamMethod {
			return true
		}
		if !more || !strings.HasSuffix(frame.Function, ".CloseNotify") {
			return false
		}
	}
}
