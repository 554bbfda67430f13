package response

import (
	"net/http"
	"strconv"
	"time"
)

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
		if err := w.beginStreamLocked(false); err != nil {
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
			return len(p), w.beginStreamLocked(false)
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
		_ = w.beginStreamLocked(false)
		w.signLaterLocked()
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
	if d.holds() {
		if _, err := w.passLocked(d.take(nil)); err != nil {
			return err
		}
	}
	if d.flushed { // what follows is not looked at for a content type, or counted for a length
		return w.flushPlainLocked()
	}
	return nil
}

// paceLocked bounds each write of a plain response from now on, in place of the
// server's WriteTimeout.
func (w *Writer) paceLocked() {
	w.draft.paced = true
	w.deadline.lift()
}

// beginStreamLocked makes the response a stream, with what was held of it. See openLocked
// for sign.
func (w *Writer) beginStreamLocked(sign bool) error {
	d := w.drafting()
	w.settleLocked()
	w.openLocked(sign)
	if !d.holds() || w.phase != streaming {
		return w.usableLocked()
	}
	text := d.take(nil)
	d.held, d.place = nil, place{}
	_, err := w.addLocked(text)
	return err
}

// openLocked begins the stream: headers, and the first bytes with them, because some
// proxies hold the one until there is the other, and some middlewares choose
// their headers only as they see the first bytes. sign says that there must be some,
// because no event follows at once.
func (w *Writer) openLocked(sign bool) {
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
		d.passedBy = true
	}
	if encoding := header.Get("Content-Encoding"); w.length > 0 && (encoding == "" || encoding == "identity") {
		header.Set("Content-Length", strconv.Itoa(w.length))
	}
	if w.hangsUp {
		header.Set("Connection", "close")
	}
	w.reportLimits()
	w.deadline.lift()
	opening := w.opening
	if w.opening = nil; len(opening) == 0 && sign && !begun {
		opening = []byte(Heartbeat)
	}
	_ = w.writeLocked(opening, time.Now()) // the error stays in w.err, and the next write returns it
	if w.pulse != nil {
		w.pulse.timer = time.AfterFunc(w.pulse.every, w.heartbeat)
	}
}

// reportLimits says what the innermost writer that can be reached does not let a stream
// do.
func (w *Writer) reportLimits() {
	kind := w.Kind()
	switch {
	case w.length > 0: // a response that is whole needs nothing of it
	case !flushes(w.server):
		w.report("ssegin: this response writer cannot flush: no event will arrive before the response ends, which a stream does not do by itself; if it is a middleware's, or http.TimeoutHandler's, exclude the paths of streams from that, or use WithPolling",
			"writer", kind)
	case w.deadline.conn == nil:
		w.report("ssegin: this response writer has neither write deadlines nor an Unwrap method: a client that stops reading is not cut, and http.Server.WriteTimeout is not lifted; over HTTP/1 set http.Server.ConnContext to ssegin.ConnContext, or, if it is a middleware's, exclude the paths of streams from that middleware",
			"writer", kind)
	}
}

// answerLocked answers a request to which a stream has nothing to say: one with the
// method HEAD, and one of a client that was told the end.
func (w *Writer) answerLocked(header http.Header) bool {
	switch {
	case w.told:
		header.Del("Content-Type")
		header.Del("Content-Length")
		KeepOut(header)
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
