package ssegintest

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// An Event is what a browser would hand to its listeners: the fields of a
// MessageEvent (WHATWG HTML §9.2.6, the steps to dispatch the event).
type Event struct {
	// ID is the last event ID at the moment of the dispatch: the ID of this
	// event or, if it had none, the one before it. Empty when no event had any
	// yet, and after an event with an empty ID.
	ID string

	// Type is the event's type: "message" when the stream gave none or an
	// empty one.
	Type string

	// Data is the payload: the values of the data fields joined by LF.
	Data string
}

// A Field is one line of a block that is not a comment, as it was received:
// its name may be one that the format does not know, and its value has lost
// the one space after the colon and nothing else.
type Field struct {
	Name, Value string
}

// A Block is what an event stream is made of: some lines and the blank line
// that ends them. Blank lines alone are no block, but by the habit Strict.
type Block struct {
	// Comments are the texts of the comment lines: everything after the colon,
	// a leading space included. A comment ahead of the first field is a block
	// of its own, handed over when its line ends, so that a heartbeat is seen
	// at once, with a blank line after it or without.
	Comments []string

	// Fields are the other lines in their order. The fields that were ignored
	// are here, too: an unknown name, an ID with NUL, a retry of letters.
	Fields []Field

	// Event is what was dispatched, nil for a block without data and for a
	// bookmark.
	Event *Event

	// LastEventID is the last event ID after this block. A block that moves it
	// and nothing else is a bookmark; see Reader.Bookmarks.
	LastEventID string
}

// HasData reports whether b has a line of data, be it an empty one. By the
// standard a block has an event only then; by the habit Strict each one has.
func (b Block) HasData() bool {
	return slices.ContainsFunc(b.Fields, func(f Field) bool { return f.Name == "data" })
}

// clone makes b independent of the memory that its reader uses again, with nil
// for what is empty, so that tests can compare blocks.
func (b Block) clone() Block {
	b.Fields = append([]Field(nil), b.Fields...)
	b.Comments = append([]string(nil), b.Comments...)
	return b
}

// digest is what the fields of one block come to.
type digest struct {
	typ   string
	data  string
	id    string
	hasID bool // there was an ID that counts, the empty one included
	event bool // there was data, be it empty
}

// isBookmark reports whether ssegin sends such an event for its ID alone. The
// type "ssegin.end" with other data is an application's last event.
func (d digest) isBookmark() bool {
	return d.typ == "ssegin.cursor" || d.typ == "ssegin.end" && (d.data == "" || d.data == "{}")
}

// interpret applies the rules of WHATWG HTML §9.2.6 to the fields of a block,
// except for retry, which takes effect before the block ends.
func interpret(fields []Field) digest {
	var d digest
	var lines []string // only from the second data field on
	for _, f := range fields {
		switch f.Name {
		case "event":
			d.typ = f.Value
		case "data":
			if d.event && lines == nil {
				lines = append(lines, d.data)
			}
			if d.event {
				lines = append(lines, f.Value)
			}
			d.data, d.event = f.Value, true
		case "id":
			if !strings.Contains(f.Value, "\x00") {
				d.id, d.hasID = f.Value, true
			}
		}
	}
	if lines != nil {
		d.data = strings.Join(lines, "\n")
	}
	if d.typ == "" {
		d.typ = "message"
	}
	return d
}

// parseField splits a line at its first colon and removes one space after it.
// A line without a colon is a name with an empty value.
func parseField(line string) Field {
	name, value, _ := strings.Cut(line, ":")
	return Field{Name: name, Value: strings.TrimPrefix(value, " ")}
}

// decode is "UTF-8 decode without BOM" of the WHATWG Encoding Standard: each
// maximal part of a broken sequence becomes one U+FFFD, where a Go conversion
// would make one of every byte and strings.ToValidUTF8 one of every run. No
// sequence reaches over a line end, so that lines can be decoded one by one.
func decode(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(b)
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// brokenLen is the length of the maximal part at the start of b, which is no
// rune, that could have been the beginning of one.
func brokenLen(b []byte) int {
	for n := min(len(b), utf8.UTFMax-1); n > 1; n-- {
		if !utf8.FullRune(b[:n]) {
			return n
		}
	}
	return 1
}
