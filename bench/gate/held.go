package gate

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"time"
)

// hold opens n streams that take their first bytes and then nothing more, so
// that what publishing costs is seen without what their deliveries cost. They
// stay for as long as the process lives.
func hold(engine http.Handler, n int) {
	var opened sync.WaitGroup
	opened.Add(n)
	for range n {
		w := &heldWriter{header: http.Header{}, opened: sync.OnceFunc(opened.Done)}
		go engine.ServeHTTP(w, httptest.NewRequest(http.MethodGet, attached, nil))
	}
	opened.Wait()
}

// A heldWriter is the response of a client that takes nothing after the opening.
type heldWriter struct {
	header http.Header
	writes int
	opened func()
}

func (w *heldWriter) Header() http.Header { return w.header }
func (w *heldWriter) WriteHeader(int)     {}
func (w *heldWriter) Flush()              { w.opened() }

func (w *heldWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes > 1 {
		select {} // for ever
	}
	return len(p), nil
}

// SetWriteDeadline has nothing to do: a deadline would end the stream.
func (w *heldWriter) SetWriteDeadline(time.Time) error { return nil }
