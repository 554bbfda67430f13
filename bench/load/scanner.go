package load

import "bytes"

// maxPartial bounds what a scanner keeps of a frame whose end has not come.
const maxPartial = 4 << 20

// A scanner cuts the bytes of one HTTP/1.1 response into event-stream frames.
// It takes them as the kernel hands them over: a frame may be spread over any
// number of reads and chunks, and a read may hold any number of frames. A frame
// that lies whole within one chunk of one read is not copied.
//
//	s.feed(bytes)
//	for frame, ok := s.next(); ok; frame, ok = s.next() { … }
//	if s.ended() { … }
//
// It reads lines that end in LF or CRLF where HTTP has them, and frames that
// end in two LF, which is what every server here writes.
type scanner struct {
	input   []byte // what feed was given and next has not yet consumed
	partial []byte // of the head, of a chunk's size line, or of a frame
	left    int    // bytes of the chunk still to come
	state   scanState
}

type scanState uint8

const (
	inHead      scanState = iota
	inChunkSize           // reading the line before a chunk
	inChunk               // reading its bytes
	inChunkEnd            // reading the CRLF after it
	inIdentity            // a body without chunks: it ends with the connection
	atEnd                 // the last chunk has been read
	broken                // not HTTP, not status 200, or out of bounds
)

// feed gives the scanner the next bytes. It keeps them until next has returned
// false, so the caller must not touch them before.
func (s *scanner) feed(p []byte) { s.input = p }

// opened reports whether the response's head has come, with status 200.
func (s *scanner) opened() bool { return s.state != inHead && s.state != broken }

// ended reports that no frame can follow.
func (s *scanner) ended() bool { return s.state >= atEnd }

// next returns the next whole frame with its blank line. The frame is valid
// until the next call.
func (s *scanner) next() (frame []byte, ok bool) {
	for len(s.input) > 0 {
		switch s.state {
		case inHead:
			s.readHead()
		case inChunkSize:
			s.readChunkSize()
		case inChunk:
			n := min(s.left, len(s.input))
			frame, used := s.cut(s.input[:n])
			s.consume(used)
			if frame != nil {
				return frame, true
			}
		case inChunkEnd:
			if s.input[0] == '\n' {
				s.state = inChunkSize
			}
			s.input = s.input[1:]
		case inIdentity:
			frame, used := s.cut(s.input)
			s.input = s.input[used:]
			if frame != nil {
				return frame, true
			}
		default:
			s.input = nil
		}
	}
	return nil, false
}

func (s *scanner) readHead() {
	head, ok := s.until("\r\n\r\n")
	if !ok {
		return
	}
	switch {
	case !bytes.HasPrefix(head, []byte("HTTP/1.1 200")):
		s.state = broken
	case bytes.Contains(bytes.ToLower(head), []byte("transfer-encoding: chunked")):
		s.state = inChunkSize
	default:
		s.state = inIdentity
	}
	s.partial = nil // a head is larger than what most streams keep afterwards
}

func (s *scanner) readChunkSize() {
	// A chunk that ends in mid-frame leaves its part in partial, so the size
	// line is read digit by digit and needs no room.
	for i, c := range s.input {
		switch {
		case c == '\n':
			s.input = s.input[i+1:]
			if s.state = inChunk; s.left == 0 {
				s.state = atEnd
			}
			return
		case c == '\r':
		default:
			digit, ok := hexDigit(c)
			if !ok || s.left > maxPartial {
				s.state = broken
				return
			}
			s.left = s.left<<4 | digit
		}
	}
	s.input = nil
}

// consume takes n bytes of the chunk off the input.
func (s *scanner) consume(n int) {
	s.input = s.input[n:]
	if s.left -= n; s.left == 0 && s.state == inChunk {
		s.state = inChunkEnd
	}
}

// cut returns the frame that ends first in body, or nil, and how much of body
// it has used; what has no end yet goes to partial.
func (s *scanner) cut(body []byte) (frame []byte, used int) {
	if len(s.partial) == 0 {
		if i := bytes.Index(body, blankLine); i >= 0 {
			return body[:i+2], i + 2
		}
		s.keep(body)
		return nil, len(body)
	}
	switch i := bytes.Index(body, blankLine); {
	case s.partial[len(s.partial)-1] == '\n' && body[0] == '\n':
		used = 1
	case i >= 0:
		used = i + 2
	default:
		s.keep(body)
		return nil, len(body)
	}
	frame = append(s.partial, body[:used]...)
	s.partial = frame[:0]
	return frame, used
}

// until returns the bytes up to the first end, which may have begun in an
// earlier read.
func (s *scanner) until(end string) ([]byte, bool) {
	before := len(s.partial)
	s.keep(s.input)
	i := bytes.Index(s.partial[max(0, before-len(end)):], []byte(end))
	if i < 0 {
		s.input = nil
		return nil, false
	}
	n := max(0, before-len(end)) + i + len(end)
	s.input = s.input[n-before:]
	return s.partial[:n], true
}

func (s *scanner) keep(p []byte) {
	if len(s.partial)+len(p) > maxPartial {
		s.state = broken
		return
	}
	s.partial = append(s.partial, p...)
}

var blankLine = []byte("\n\n")

func hexDigit(c byte) (int, bool) {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10, true
	}
	return 0, false
}
