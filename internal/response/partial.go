package response

import (
	"bytes"
	"fmt"
	"time"
)

// A partial is what a handler that writes by itself has begun and not
// completed: c.SSEvent, for one, writes an event in six pieces.
type partial struct {
	held     []byte
	place    place // where the next piece begins
	failures int   // how many errors the handler's context had when it wrote last
	loose    bool  // the event is too large to be held, or is no event: it goes on as it comes, up to its blank line
	foreign  bool  // and is no event
}

// forget drops the half of an event that nobody will complete. failures counts the
// errors of the context: c.SSEvent tells of data that does not encode there only,
// after it has written that half.
func (p *partial) forget(failures int) {
	if failures > p.failures {
		p.failures = failures
		if !p.loose {
			p.held, p.place = p.held[:0], place{}
		}
	}
}

// hold keeps a piece that ends no block, and reports whether there is room for it.
func (p *partial) hold(piece []byte) bool {
	if len(p.held)+len(piece) > MaxHeld {
		return false
	}
	p.held = append(p.held, piece...)
	return true
}

// take returns what is held, followed by tail, and holds it no more. It is good until
// something else is held. Of a large event no room is kept, because the stream may
// stay for days.
func (p *partial) take(tail []byte) (text []byte) {
	text = append(p.held, tail...)
	if p.held = text[:0]; cap(text) > WriteBytes {
		p.held = nil
	}
	return text
}

// addLocked writes the whole blocks of a stream that there are with p, and holds what
// follows. An event that is too large for that goes on as it comes, and so does what is
// no event.
func (w *Writer) addLocked(p []byte) (int, error) {
	d := w.drafting()
	if d.passedBy {
		w.report("ssegin: a middleware that compresses comes after Middleware, and Stream.Send passes it by: what the handler itself writes through it, if anything, is left out; use Send or c.SSEvent, not both, or exclude the route there")
		return len(p), nil
	}
	d.forget(len(w.context.Errors))
	rest := p
	for d.loose && len(rest) > 0 {
		n := d.place.pass(rest)
		if n > 0 {
			d.loose, d.foreign = false, false
		} else {
			n = len(rest)
		}
		if err := w.writeLocked(rest[:n], time.Now()); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	if n := d.place.passAll(rest); n > 0 {
		blocks := rest[:n]
		if len(d.held) > 0 {
			blocks = d.take(blocks)
		}
		if err := w.writeLocked(blocks, time.Now()); err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	if len(rest) == 0 {
		return len(p), nil
	}
	d.foreign = d.beginning(rest) == foreign
	if d.foreign || !d.hold(rest) {
		d.loose = true
		if err := w.writeLocked(d.take(rest), time.Now()); err != nil {
			return 0, err
		}
	}
	if d.foreign {
		w.report("ssegin: what the handler writes into its event stream is no event; it is passed on as it is", "begins", clip(rest))
	}
	return len(p), nil
}

// interposeLocked ends what the handler has written of something that is no event, so
// that a block may follow.
func (w *Writer) interposeLocked(now time.Time) error {
	d := w.draft
	switch {
	case w.phase == sealed:
		return w.usableLocked()
	case d == nil || !d.loose:
		return nil
	case !d.foreign:
		return fmt.Errorf("%w: the handler is in the middle of an event of more than %d bytes, and nothing may fall between its lines; try again", ErrTooLarge, MaxHeld)
	}
	d.loose, d.foreign, d.place = false, false, place{}
	return w.writeLocked([]byte("\n\n"), now)
}

// leaveLocked passes on what the handler has begun of an event and not ended. After a
// failure that is dropped: half of an event looks like a whole one to some clients.
func (w *Writer) leaveLocked() {
	d := w.draft
	if d == nil || !d.holds() || w.failed || w.owner.Over() != nil {
		return
	}
	if before := len(d.held); len(w.context.Errors) > d.failures {
		w.failed = true
		w.report("ssegin: the handler's last event is incomplete, and it has told of an error: the event is left out, and the response ends as broken",
			"bytes", before, "error", w.context.Errors.Last().Err)
		return
	}
	_ = w.writeLocked(d.take(nil), time.Now())
}

// A place in a text says how much of its line there was before it.
type place struct {
	begun    bool // something of it
	returned bool // a CR, to which an LF may belong
}

// pass goes on over text, up to the end of the first blank line in it, and returns
// how far that is: zero if there is none. Lines end with LF, CR or CRLF.
func (p *place) pass(text []byte) (n int) {
	for i := 0; i < len(text); i++ {
		before := *p
		switch text[i] {
		case '\n':
			*p = place{}
			if !before.begun && !before.returned {
				return i + 1
			}
		case '\r':
			*p = place{returned: before.begun} // after a blank line, an LF makes one more
			if !before.begun {
				return i + 1
			}
		default:
			*p = place{begun: true}
			i += lineEnd(text[i:]) - 1
		}
	}
	return 0
}

// passAll is pass up to the last blank line.
func (p *place) passAll(text []byte) (n int) {
	for {
		more := p.pass(text[n:])
		if more == 0 {
			return n
		}
		n += more
	}
}

// lineEnd returns how much of text comes before its first LF or CR.
func lineEnd(text []byte) int {
	n := bytes.IndexByte(text, '\n')
	if n < 0 {
		n = len(text)
	}
	if cr := bytes.IndexByte(text[:n], '\r'); cr >= 0 {
		n = cr
	}
	return n
}

// A beginning is what the first bytes of a text say of it.
type beginning uint8

const (
	unknown beginning = iota // too short to tell
	event                    // it begins with a field of an event, a comment or a blank line
	foreign                  // it does not
)

// beginningOf looks at the first line (WHATWG HTML §9.2.6). A field that clients do
// not know makes no event here.
func beginningOf(text []byte) beginning {
	if len(text) == 0 {
		return unknown
	}
	if c := text[0]; c == ':' || c == '\n' || c == '\r' {
		return event
	}
	for _, name := range []string{"data", "event", "id", "retry"} {
		if len(text) <= len(name) {
			if name[:len(text)] == string(text) {
				return unknown
			}
		} else if string(text[:len(name)]) == name && (text[len(name)] == ':' || text[len(name)] == '\n' || text[len(name)] == '\r') {
			return event
		}
	}
	return foreign
}

// hasData reports whether a text has a data field.
func hasData(text []byte) bool {
	for len(text) > 0 {
		if beginningOf(text) == event && text[0] == 'd' {
			return true
		}
		text = text[min(lineEnd(text)+1, len(text)):]
	}
	return false
}

// clip shortens what is shown in a log.
func clip(text []byte) string {
	const limit = 40
	if len(text) > limit {
		return string(text[:limit]) + "…"
	}
	return string(text)
}
