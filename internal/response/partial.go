package response

import "bytes"

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
