package response

import (
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// A deadline bounds every write to one client, and lets others cut it short.
// It takes the place of http.Server.WriteTimeout, which would end the stream.
type deadline struct {
	conn        deadliner     // nil if a writer in between hides it
	timeout     time.Duration // zero: none
	stopped     time.Duration // the server's own, for an answer that is no stream; zero: none
	multiplexed bool          // HTTP/2 and 3: a deadline that passes kills the stream, idle or not
	failed      bool          // cut or closed: it is not to be moved any more

	mu      sync.Mutex // guards what follows, and failed; no other lock is taken under it
	until   time.Time  // the deadline that is set
	end     time.Time  // when the stream's time is over; a write that goes on then is given Grace; zero: never
	writing bool       // a write goes on
}

type deadliner interface {
	SetWriteDeadline(deadline time.Time) error
}

// lift takes away the deadline that the server has set, unless the next write
// sets another one.
func (d *deadline) lift() {
	if d.timeout <= 0 {
		d.move(time.Time{})
	}
}

// restart lets the server's own bound an answer that is no stream.
func (d *deadline) restart() {
	if d.stopped > 0 {
		d.move(time.Now().Add(d.stopped))
	}
}

// Grace is how long a write may go on when the stream's time is over. For a client
// that reads it is long enough for what is being written and a farewell.
const Grace = 250 * time.Millisecond

// arm sets the deadline of a write that begins now. Setting it costs, so on a
// connection of its own, where it means nothing between writes, it is moved
// only when a quarter has passed.
func (d *deadline) arm(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = true
	var until time.Time
	if d.timeout > 0 {
		until = now.Add(d.timeout)
	}
	if !d.end.IsZero() {
		last := d.end
		if last.Before(now) {
			last = now
		}
		if last = last.Add(Grace); until.IsZero() || last.Before(until) {
			until = last
		}
	}
	if until.IsZero() || !d.multiplexed && d.until.Sub(now) > d.timeout-d.timeout/4 && !d.until.After(until) {
		return
	}
	d.moveLocked(until)
}

// rest is called after a write, to clear what would kill an idle stream.
func (d *deadline) rest() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = false
	if d.multiplexed && !d.until.IsZero() {
		d.moveLocked(time.Time{})
	}
}

// endAt says when the stream's time is over.
func (d *deadline) endAt(end time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end = end
}

// hurry says that the stream's time is over now, also to a write that goes on.
func (d *deadline) hurry() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.end.IsZero() || now.Before(d.end) {
		d.end = now
	}
	if d.writing {
		d.moveLocked(now.Add(Grace))
	}
}

// last bounds what the server writes to end the response. The server clears
// the deadline after that.
func (d *deadline) last() {
	if d.timeout > 0 {
		d.move(time.Now().Add(d.timeout))
	}
}

func (d *deadline) move(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moveLocked(until)
}

func (d *deadline) moveLocked(until time.Time) {
	if d.conn == nil || d.failed {
		return
	}
	d.until = until
	_ = d.conn.SetWriteDeadline(until) // it fails when the connection is gone, and then so does the write
}

// cut makes the write that is going on fail, and those after it. It does not
// wait for it, and may be called from any goroutine.
func (d *deadline) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil && !d.failed {
		_ = d.conn.SetWriteDeadline(time.Unix(1, 0))
	}
	d.failed = true
}

// close leaves the connection alone from now on: the next request may use it.
func (d *deadline) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = true
}

// StopServerTimeout takes away the WriteTimeout of the server before anything
// that may take its time, and returns it: zero if there is none to stop. Over
// HTTP/2 and 3 it is a timer, which resets a stream that has not begun yet: one
// of a language model that thinks for long, or of a callback that loads a
// snapshot. Over HTTP/1 it is no more than a deadline of the socket, which the
// first write of the stream moves.
func StopServerTimeout(c *gin.Context) time.Duration {
	server, ok := c.Request.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok || server.WriteTimeout <= 0 || c.Request.ProtoMajor < 2 {
		return 0
	}
	setServerTimeout(c, time.Time{})
	return server.WriteTimeout
}

// RestartServerTimeout bounds an answer that is no stream as the server would.
func RestartServerTimeout(c *gin.Context, stopped time.Duration) {
	if stopped > 0 {
		setServerTimeout(c, time.Now().Add(stopped))
	}
}

func setServerTimeout(c *gin.Context, until time.Time) {
	inner, _ := innermost(c.Writer)
	if conn, ok := inner.(deadliner); ok {
		_ = conn.SetWriteDeadline(until) // it fails when the connection is gone, and then so does the answer
	}
}

// A flusher sees the error of a flush.
type flusher interface {
	FlushError() error
}

// passFlush flushes through the chain of writers and sees the error. Gin's writer
// has a Flush without one, and hides the FlushError of the server's: so this goes
// through the chain, for the sake of writers that compress, and then asks the
// innermost one.
func (w *Writer) passFlush() error {
	if w.chained {
		w.ResponseWriter.Flush()
	}
	if w.flusher != nil {
		return w.flusher.FlushError()
	}
	return nil
}

// innermost goes down the chain of writers to the server's, and counts the
// steps. A writer that hides the one beneath it ends the chain, and what lies
// beyond is out of reach.
func innermost(outer http.ResponseWriter) (inner http.ResponseWriter, depth int) {
	for inner = outer; ; depth++ {
		wrapper, ok := inner.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return inner, depth
		}
		inner = wrapper.Unwrap()
	}
}
