package response

import (
	"maps"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// A handler behind Middleware may turn out to stream or to answer with anything else,
// and what is no stream must pass as if nobody was there. So the decision is made by
// evidence, and as late as possible: by a block of the format, or a content type and a
// byte, or Stream.Send. Asking the writer something decides nothing.
//
// Until then the handler's headers and its status are a draft: they have not reached
// the writer beneath, because a stream may also begin on another goroutine, in Send or
// when Quiet has passed, while the handler goes on to set headers.

// Quiet is how long a response that may be a stream stays undecided after the handler
// has entered c.Stream, or has flushed without having written anything. In this time an
// error still gets its own status. After it the stream begins, so that its client has
// the headers and the heartbeats, and the choice stands.
const Quiet = 500 * time.Millisecond

// A draft is what a handler that writes by itself has chosen and written.
type draft struct {
	partial

	header   http.Header // in place of the real ones; nil where the handler sees those
	status   int
	encoding string      // the Content-Encoding that was set before this layer
	judged   int         // how much of what is held are blocks without data
	waiting  *time.Timer // until Quiet has passed; nil if nobody waits
	gone     chan bool   // what CloseNotify returns; nil until somebody asks
	stream   bool        // the response is plain, but an event stream: encoded, or with another beginning
	paced    bool        // the response is plain, and bounded in each write
	flushes  int         // of a plain response, up to 2
}

// newDraft begins with what was set before.
func newDraft(beneath gin.ResponseWriter) *draft {
	d := &draft{}
	d.copy(beneath)
	return d
}

func (d *draft) copy(beneath gin.ResponseWriter) {
	d.header, d.status = beneath.Header().Clone(), beneath.Status()
	if d.header == nil {
		d.header = http.Header{}
	}
	d.encoding = d.header.Get("Content-Encoding")
}

// holds reports whether something was written that has not gone on.
func (d *draft) holds() bool { return d != nil && len(d.held) > 0 }

// drop lets go of what the handler has begun of an event.
func (d *draft) drop() {
	if d != nil {
		d.partial = partial{failures: d.failures}
	}
}

// stopWaiting is for a response that is decided.
func (d *draft) stopWaiting() {
	if d != nil && d.waiting != nil {
		d.waiting.Stop()
	}
}

// rest is what a draft is for when the handler has returned: a loop that was kept ends.
func (d *draft) rest() *draft {
	if d == nil || d.gone == nil {
		return nil
	}
	return &draft{gone: d.gone}
}

// beginning looks at the first bytes of what is held with piece after it.
func (d *draft) beginning(piece []byte) beginning {
	const enough = len("event:")
	if len(d.held) == 0 {
		return beginningOf(piece)
	}
	if len(d.held) >= enough {
		return beginningOf(d.held)
	}
	var first [2 * enough]byte
	n := copy(first[:], d.held)
	n += copy(first[n:], piece)
	return beginningOf(first[:n])
}

// drafting returns the draft. Where a stream has a loop, there is one only when a
// callback writes by itself.
func (w *Writer) drafting() *draft {
	if w.draft == nil {
		w.draft = &draft{encoding: w.ResponseWriter.Header().Get("Content-Encoding")}
	}
	return w.draft
}

// headerLocked returns the headers that the handler sees. Of a stream these are still
// the draft, because the real ones are the server's once it has them.
func (w *Writer) headerLocked() http.Header {
	if w.draft != nil && w.draft.header != nil && (w.phase == undecided || w.phase == inherited || w.phase == streaming) {
		return w.draft.header
	}
	return w.ResponseWriter.Header()
}

func (w *Writer) statusLocked() int {
	if w.draft != nil && w.draft.header != nil && w.phase == undecided {
		return w.draft.status
	}
	return w.ResponseWriter.Status()
}

// settleLocked gives the draft to the writer beneath. Only the handler's goroutine may
// do that, or Send in place of it.
func (w *Writer) settleLocked() {
	if w.draft == nil || w.draft.header == nil || w.phase != undecided && w.phase != inherited {
		return
	}
	header := w.ResponseWriter.Header()
	clear(header)
	maps.Copy(header, w.draft.header.Clone())
	if w.phase == undecided {
		w.ResponseWriter.WriteHeader(w.draft.status)
	}
}

// trailLocked passes on the trailers that the response has announced and the handler
// has set in the draft. It looks at nothing else there, because a goroutine that goes on
// to write events, which it should not, sets headers there with each.
func (w *Writer) trailLocked() {
	if w.draft == nil || w.draft.header == nil {
		return
	}
	header := w.ResponseWriter.Header()
	for _, names := range header.Values("Trailer") {
		for name := range strings.SplitSeq(names, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values, ok := w.draft.header[name]; ok {
				header[name] = values
			}
		}
	}
}

// A verdict on what a response is.
type verdict uint8

const (
	open verdict = iota
	isPlain
	isStream
)

// judgeLocked judges by status and headers alone.
func (w *Writer) judgeLocked() verdict {
	if w.phase == inherited {
		return isStream
	}
	header := w.headerLocked()
	kind := mediaType(header)
	encoding := header.Get("Content-Encoding")
	switch {
	case w.statusLocked() != http.StatusOK,
		kind != "" && kind != eventStream,
		encoding != "" && encoding != "identity" && encoding != w.drafting().encoding:
		return isPlain
	case kind == eventStream:
		return isStream
	}
	return open
}

// considerLocked takes what the handler writes while the response is undecided.
func (w *Writer) considerLocked(p []byte) (int, error) {
	d := w.drafting()
	v := w.judgeLocked()
	if w.phase != inherited && d.beginning(p) == foreign {
		v = isPlain
	}
	switch {
	case v == isPlain:
		if err := w.beginPlainLocked(); err != nil {
			return 0, err
		}
		return w.passLocked(p)
	case v == isStream && d.beginning(p) != unknown:
		if err := w.beginStreamLocked(); err != nil {
			return 0, err
		}
		return w.addLocked(p)
	}
	if !d.hold(p) {
		if err := w.beginPlainLocked(); err != nil {
			return 0, err
		}
		return w.passLocked(p)
	}
	if n := d.place.passAll(p); n > 0 {
		whole := len(d.held) - len(p) + n
		if hasData(d.held[d.judged:whole]) {
			return len(p), w.beginStreamLocked()
		}
		d.judged = whole
	}
	return len(p), nil
}

// decideLocked begins the response if something tells what it is, and reports whether
// it has. begin says that the handler wants it to begin.
func (w *Writer) decideLocked(begin bool) bool {
	v := w.judgeLocked()
	switch {
	case v == isPlain || !begin && v == open:
		_ = w.beginPlainLocked()
	case v == isStream || w.loop:
		_ = w.beginStreamLocked()
	default:
		return false
	}
	return true
}

// beginPlainLocked lets the response pass as it is, with what was held of it.
func (w *Writer) beginPlainLocked() error {
	d := w.drafting()
	d.stopWaiting()
	w.settleLocked()
	stream := mediaType(w.ResponseWriter.Header()) == eventStream && w.ResponseWriter.Status() == http.StatusOK
	w.phase = plain
	w.passes.Store(!stream)
	if w.deadline.restart(); stream {
		d.stream = true
		w.paceLocked()
	}
	_, err := w.passHeldLocked()
	return err
}

func (w *Writer) passHeldLocked() (int, error) {
	if !w.draft.holds() {
		return 0, nil
	}
	return w.passLocked(w.draft.take(nil))
}

// paceLocked bounds each write of a plain response from now on, in place of the
// server's WriteTimeout.
func (w *Writer) paceLocked() {
	w.draft.paced = true
	w.deadline.lift()
}

// beginStreamLocked makes the response a stream, with what was held of it.
func (w *Writer) beginStreamLocked() error {
	d := w.drafting()
	w.settleLocked()
	w.openLocked(!d.holds())
	if !d.holds() || w.phase != streaming {
		return w.usableLocked()
	}
	text := d.take(nil)
	d.held, d.place = nil, place{}
	_, err := w.addLocked(text)
	return err
}

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
		_ = w.beginPlainLocked()
		w.ResponseWriter.Flush()
	default:
		_ = w.beginStreamLocked()
		_ = w.flushLocked(time.Now())
	}
	d.header = header
}

// openLocked begins the stream: headers, and the first bytes with them, because some
// proxies hold the one until there is the other, and some middlewares choose
// their headers only as they see the first bytes. alone says that no event follows at
// once.
func (w *Writer) openLocked(alone bool) {
	w.draft.stopWaiting()
	header := w.ResponseWriter.Header()
	if w.phase == undecided && w.answerLocked(header) {
		return
	}
	begun := w.phase == inherited
	w.phase = streaming
	SetHeaders(header)
	if d := w.draft; d != nil && header.Get("Content-Encoding") != d.encoding {
		header.Del("Content-Encoding") // of a compressing middleware after this layer, which Send passes by
	}
	if w.hangsUp {
		header.Set("Connection", "close")
	}
	if w.deadline.conn == nil {
		w.report("ssegin: this response writer has neither write deadlines nor an Unwrap method: a client that stops reading is not cut, and http.Server.WriteTimeout is not lifted; if it is a middleware's, exclude the paths of streams from that middleware",
			"writer", reflect.TypeOf(w.server).String())
	}
	w.deadline.lift()
	opening := w.opening
	if w.opening = nil; len(opening) == 0 && alone && !begun {
		opening = []byte(Heartbeat)
	}
	_ = w.writeLocked(opening, time.Now()) // the error stays in w.err, and the next write returns it
	if w.pulse != nil {
		w.pulse.timer = time.AfterFunc(w.pulse.every, w.heartbeat)
	}
}

// answerLocked answers a request to which a stream has nothing to say: one with the
// method HEAD, and one of a client that was told the end.
func (w *Writer) answerLocked(header http.Header) bool {
	switch {
	case w.told:
		header.Del("Content-Type")
		header.Del("Content-Length")
		w.ResponseWriter.WriteHeader(http.StatusNoContent)
	case w.context != nil && w.context.Request.Method == http.MethodHead:
		SetHeaders(header)
	default:
		return false
	}
	w.ResponseWriter.WriteHeaderNow()
	w.phase = sealed
	w.owner.Finish(ErrEnded)
	return true
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

// clip shortens what is shown in a log.
func clip(text []byte) string {
	const limit = 40
	if len(text) > limit {
		return string(text[:limit]) + "…"
	}
	return string(text)
}
