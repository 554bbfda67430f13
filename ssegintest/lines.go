package ssegintest

import (
	"bytes"
	"io"
)

const (
	firstBuffer   = 4 << 10  // in bytes; doubled until the longest line fits
	maxEmptyReads = 100      // in a row, as in bufio: then the source is broken
	bom           = "\ufeff" // dropped once, at the very start
)

// lines cuts an event stream into its lines. Taking lines from the buffer and
// filling it are two steps, so that a Stream can give up waiting for one.
type lines struct {
	src io.Reader
	err error // of src or ErrTooLarge; what is in buf goes first

	// buf[start:end] is received and not taken yet, and buf[start:scan] holds
	// no line end.
	buf              []byte
	start, scan, end int
	skipLF           bool // the last line ended in CR: an LF next belongs to it
	begun            bool // the first line is over, and with it the place for a BOM
	emptyReads       int
}

// reset begins another stream, and keeps the buffer.
func (l *lines) reset(src io.Reader) {
	*l = lines{src: src, buf: l.buf}
}

// goOn reads src as if it was the rest of the same stream.
func (l *lines) goOn(src io.Reader) {
	l.src, l.err, l.emptyReads = src, nil, 0
}

// pending reports whether there is a part of a line in the buffer.
func (l *lines) pending() bool { return l.start < l.end }

// next takes a line off the buffer, without its end; it is good until fill.
// It is false when there is no whole line, or when the line has more than
// limit bytes, which is measured in the same way whether it is whole or not:
// how a stream was cut into reads must not matter.
func (l *lines) next(limit int) ([]byte, bool) {
	if l.skipLF && l.start < l.end {
		l.skipLF = false
		if l.buf[l.start] == '\n' {
			l.start++
			l.scan = l.start
		}
	}
	i := lineEnd(l.buf[l.scan:l.end])
	whole := i >= 0
	if !whole {
		i = l.end - l.scan
	}
	l.scan += i
	line := l.buf[l.start:l.scan]
	if len(line) > limit {
		l.err = ErrTooLarge
		return nil, false
	}
	if !whole {
		return nil, false
	}
	l.skipLF = l.buf[l.scan] == '\r'
	l.scan++
	l.start = l.scan
	if !l.begun {
		l.begun = true
		line = bytes.TrimPrefix(line, []byte(bom))
	}
	return line, true
}

// fill reads once from the source. It touches nothing but the buffer and err.
func (l *lines) fill() {
	l.end = copy(l.buf, l.buf[l.start:l.end])
	l.scan -= l.start
	l.start = 0
	if l.end == len(l.buf) {
		grown := make([]byte, max(firstBuffer, 2*len(l.buf)))
		copy(grown, l.buf)
		l.buf = grown
	}
	var n int
	n, l.err = l.src.Read(l.buf[l.end:])
	l.end += n
	l.emptyReads++
	if n > 0 {
		l.emptyReads = 0
	}
	if l.err == nil && l.emptyReads >= maxEmptyReads {
		l.err = io.ErrNoProgress
	}
}

// lineEnd is the index of the first LF or CR, or -1.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}
