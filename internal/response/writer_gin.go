package response

import (
	"bufio"
	"net"
	"net/http"
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

// Header returns the headers. Once the response has begun they change nothing.
func (w *Writer) Header() http.Header {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Header()
}

// WriteHeader chooses the status of a response that has not begun.
func (w *Writer) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

// Status returns the status chosen so far.
func (w *Writer) Status() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Status()
}

// Size returns how many bytes were passed on, or -1 if the response has not
// begun.
func (w *Writer) Size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Size()
}

// Written reports whether the response has begun.
func (w *Writer) Written() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Written()
}

// Hijack takes the connection over, for a handler that does not stream.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Hijack()
}

// Pusher returns what HTTP/2 once could push with.
func (w *Writer) Pusher() http.Pusher {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseWriter.Pusher()
}
