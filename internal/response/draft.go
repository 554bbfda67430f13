package response

import (
	"maps"
	"net/http"
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

// A draft is what a handler that writes by itself has chosen and written.
type draft struct {
	partial

	header   http.Header // in place of the real ones; nil where the handler sees those
	status   int
	encoding string      // the Content-Encoding that was set before this layer
	passedBy bool        // the stream is written beneath what encodes the handler's own writes, so those must go
	judged   int         // how much of what is held are blocks without data
	waiting  *time.Timer // until Quiet has passed; nil if nobody waits
	flushed  bool        // the handler has flushed what is still here
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

// streams reports whether a plain response is an event stream all the same.
func (d *draft) streams() bool { return d != nil && d.stream }

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
