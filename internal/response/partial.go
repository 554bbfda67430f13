package response

// A partial is what a handler that writes by itself has begun and not
// completed: c.SSEvent, for one, writes an event in six pieces.
type partial struct {
	held     []byte
	failures int // how many errors the handler's context had when it wrote last
}

// add takes the next piece and returns the whole blocks that there are now.
// They are good until keep is called. failures counts the errors of the
// context: c.SSEvent tells of data that does not encode there only, after it
// has written half of the event, and nobody will complete that.
func (p *partial) add(piece []byte, failures int) (blocks []byte) {
	if failures > p.failures {
		p.held, p.failures = p.held[:0], failures
	}
	from := len(p.held)
	p.held = append(p.held, piece...)
	return p.held[:blockEnd(p.held, from)]
}

// keep lets go of the first n bytes and returns how many are left. Of a large
// event that has gone it keeps no room, because the stream may stay for days.
func (p *partial) keep(n int) (left int) {
	switch left = len(p.held) - n; {
	case n == 0:
	case left == 0 && cap(p.held) > WriteBytes:
		p.held = nil
	default:
		p.held = append(p.held[:0], p.held[n:]...)
	}
	return left
}

// blockEnd returns how much of b is whole blocks, looking for the end in what
// came after the first from bytes: a blank line, after LF, CR or CRLF.
func blockEnd(b []byte, from int) int {
	for n := len(b); n > from; n-- {
		if !isLineEnd(b[n-1]) {
			continue
		}
		line := b[:n-1]
		if b[n-1] == '\n' && len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if len(line) == 0 || isLineEnd(line[len(line)-1]) {
			return n
		}
	}
	return 0
}

func isLineEnd(c byte) bool { return c == '\n' || c == '\r' }
