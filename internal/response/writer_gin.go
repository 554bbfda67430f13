package response

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"time"
)

// What follows are the parts of gin.ResponseWriter that others ask for, while a
// heartbeat or a Stream.Send may be writing, or, if they have kept the writer,
// when the handler has returned and the writer beneath serves another request.

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter
}

// Header returns the headers. Once the response has begun they change nothing, but for
// trailers.
func (w *Writer) Header() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.headerLocked()
}

// WriteHeader chooses the status of a response that has not begun. An error that comes
// when a stream has begun breaks that off, because its client must not take it for
// complete.
func (w *Writer) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.phase == undecided && w.draft != nil && w.draft.header != nil:
		if status > 0 && !w.draft.holds() {
			w.draft.status = status
		}
	case (w.phase == streaming || w.phase == inherited) && status >= http.StatusBadRequest:
		if w.err != nil || w.owner.Over() != nil {
			return
		}
		_ = w.flushLocked(time.Now())
		w.failed = true
		_ = w.failLocked(fmt.Errorf("the handler has answered with status %d after its stream had begun", status))
		w.report("ssegin: a handler has answered with an error after its stream had begun; the response ends as broken, so that its client does not take it for complete",
			"status", status)
	case w.phase != sealed:
		w.ResponseWriter.WriteHeader(status)
	}
}

// WriteHeaderNow sends the headers, of a stream or of another answer.
func (w *Writer) WriteHeaderNow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.usableLocked() != nil {
		return
	}
	if w.phase == undecided || w.phase == inherited {
		w.decideLocked(false)
	}
	if w.phase == plain || w.phase == relaying {
		w.ResponseWriter.WriteHeaderNow()
	}
}

// Status returns the status chosen so far.
func (w *Writer) Status() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.statusLocked()
}

// Size returns how many bytes the handler has written, with those that are held, or -1
// if the response has not begun.
func (w *Writer) Size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	size := w.ResponseWriter.Size()
	if w.draft.holds() {
		size = max(size, 0) + len(w.draft.held)
	}
	return size
}

// Written reports whether the response has begun, or the handler has written something
// that it will have.
func (w *Writer) Written() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.draft.holds() || w.ResponseWriter.Written()
}

// Hijack takes the connection over, for a handler that does not stream.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == sealed || w.carried {
		return nil, nil, errEnded
	}
	w.settleLocked() // who switches protocols sends these headers
	conn, buffered, err := w.ResponseWriter.Hijack()
	if err == nil && w.phase == undecided {
		w.draft.stopWaiting()
		w.phase = plain
		w.passes.Store(true)
	}
	return conn, buffered, err
}

// Pusher returns what HTTP/2 once could push with.
func (w *Writer) Pusher() http.Pusher {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Pusher()
}
