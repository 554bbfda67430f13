package ssegintest

import (
	"errors"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrTooLarge is returned by a Reader, and by all that use one, for a block
// or a comment with more bytes than Reader.Limit allows.
var ErrTooLarge = errors.New("ssegintest: block larger than the reader's limit")

// defaultLimit is four times the largest event that ssegin sends by default.
const defaultLimit = 4 << 20

// A Reader reads an event stream as a browser does, to the letter of WHATWG
// HTML §9.2.5 and §9.2.6:
//
//   - the bytes are decoded as UTF-8, broken sequences become U+FFFD, and one
//     byte order mark at the very start is dropped;
//   - LF, CR and CRLF end a line, and nothing else does;
//   - exactly one space after a field's colon is removed;
//   - an ID with a NUL is ignored whole, and an empty one resets the last ID;
//   - the last event ID moves at the blank line, even of a block without data;
//   - retry counts if it is made of ASCII digits only, at once;
//   - a block that the stream ends in is thrown away, its ID with it.
//
// It is a browser whose page listens for every type but "ssegin.cursor" and
// "ssegin.end": these are bookmarks, see Bookmarks, and not events. Other
// clients have other habits; see Habit.
//
// A line that ends in CR is complete at once: the Reader never waits for the
// byte after it. A Reader reads no more from its source than it needs to
// return, except for what one Read gives.
//
// A Reader is for one goroutine at a time.
type Reader struct {
	in    lines
	limit int // in bytes, of a block
	habit Habit

	// The block in progress: size counts the bytes of its lines.
	fields   []Field
	comments []string
	size     int

	lastID    string
	nextID    string // by the habit WebKit: one that waits for data
	hasNextID bool
	retry     time.Duration
	hasRetry  bool
	nComments int
	bookmarks int
}

// NewReader returns a Reader of the event stream r. It does not close r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: lines{src: r}, limit: defaultLimit}
}

// Limit sets how many bytes the lines of one block may have together, line
// ends not counted, and a comment on its own; zero or less means the default
// of 4 MiB. Beyond it, reading fails with ErrTooLarge.
func (r *Reader) Limit(bytes int) {
	if bytes <= 0 {
		bytes = defaultLimit
	}
	r.limit = bytes
}

// Habit makes r read as clients of habit h do. Call it before anything is read;
// the default is Standard.
func (r *Reader) Habit(h Habit) { r.habit = h }

// Reset makes r read src from the start of a stream, as an EventSource does
// when it reconnects: what was received and not returned is thrown away; the
// last event ID, the retry time and the counters stay. (By the letter of the
// standard the ID buffer begins empty on each connection, so that a first
// event without an ID would reset the last ID. The engines keep it, and so
// does Reset.)
//
// By the habit WebKit, the unfinished block at the end of what was received
// stays, unless the last source was read to its io.EOF or, as net/http has it
// after a FIN before the end of the body, io.ErrUnexpectedEOF.
func (r *Reader) Reset(src io.Reader) {
	if r.habit == WebKit && !errors.Is(r.in.err, io.EOF) && !errors.Is(r.in.err, io.ErrUnexpectedEOF) {
		r.dropWhole()
		r.in.goOn(src)
		return
	}
	r.in.reset(src)
	r.fields, r.comments, r.size, r.hasNextID = r.fields[:0], r.comments[:0], 0, false
}

// Next returns the next event and passes over comments and blocks without
// data. It returns io.EOF when the stream has ended, in the midst of a block
// or not (see Truncated); any other error is that of the source, or
// ErrTooLarge. After an error it returns the same error for ever.
func (r *Reader) Next() (Event, error) {
	for {
		b, err := r.next()
		if err != nil {
			return Event{}, err
		}
		if b.Event != nil {
			return *b.Event, nil
		}
	}
}

// NextBlock returns the next block, be it an event, a bookmark, a comment or
// fields that mean nothing, in the order of the stream. Its errors are those
// of Next, and the calls may be mixed.
func (r *Reader) NextBlock() (Block, error) {
	b, err := r.next()
	return b.clone(), err
}

// Events returns the events that are left. It ends with the stream; an error
// other than io.EOF is the last thing that it yields.
func (r *Reader) Events() iter.Seq2[Event, error] {
	return events(r.Next)
}

// LastEventID returns what an EventSource would send back as Last-Event-ID
// now.
func (r *Reader) LastEventID() string { return r.lastID }

// Retry returns the reconnection time that the stream has set, and false if
// it has set none. One too long for a time.Duration becomes the longest.
func (r *Reader) Retry() (time.Duration, bool) { return r.retry, r.hasRetry }

// Comments returns the number of comment lines seen so far.
func (r *Reader) Comments() int { return r.nComments }

// Bookmarks returns the number of blocks seen so far that moved the last event
// ID and nothing else: those without data, and the events "ssegin.cursor" and
// "ssegin.end", which ssegin sends for that because not every browser takes
// over an ID without data. A page that has no listener for these types does
// not see them, and so they are not among the events of Next.
func (r *Reader) Bookmarks() int { return r.bookmarks }

// Truncated reports, after Next has returned an error, whether the stream
// ended in the midst of a block or line, which was therefore thrown away.
func (r *Reader) Truncated() bool {
	return r.in.err != nil && (len(r.fields) > 0 || r.in.pending())
}

func (r *Reader) next() (Block, error) {
	for {
		if b, ok := r.parse(); ok {
			return b, nil
		}
		if r.in.err != nil {
			return Block{}, r.in.err
		}
		r.in.fill()
	}
}

// parse takes lines from the buffer until they complete a block. It is false
// when the buffer holds no whole line any more. The slices of the block are
// good until the next call.
func (r *Reader) parse() (Block, bool) {
	for {
		raw, ok := r.in.next(r.limit - r.size)
		if !ok {
			return Block{}, false
		}
		line := decode(raw)
		switch {
		case line == "":
			if len(r.fields) > 0 || r.habit == Strict {
				return r.dispatch(), true
			}
		case line[0] == ':':
			r.nComments++
			r.comments = append(r.comments, line[1:])
			r.size += len(raw)
			if len(r.fields) == 0 && r.habit != Strict {
				return r.flush(), true
			}
		default:
			r.field(line)
			r.size += len(raw)
		}
	}
}

func (r *Reader) field(line string) {
	f := parseField(line)
	r.fields = append(r.fields, f)
	if f.Name == "retry" {
		r.reconnectAfter(f.Value)
	}
}

// reconnectAfter takes over the value of a field retry, if it is one.
func (r *Reader) reconnectAfter(value string) {
	if r.habit == WebKit {
		if value == "" {
			r.retry, r.hasRetry = 0, false
		}
		value = strings.TrimPrefix(strings.Trim(value, " \t\v\f"), "+")
	}
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return
	}
	const most = math.MaxInt64 / int64(time.Millisecond)
	ms, err := strconv.ParseInt(value, 10, 64)
	if err != nil { // out of range: nothing else can be wrong with digits
		ms = most
	}
	r.retry, r.hasRetry = time.Duration(min(ms, most))*time.Millisecond, true
}

// dispatch ends the block in progress at its blank line.
func (r *Reader) dispatch() Block {
	d := interpret(r.fields)
	moved := r.takeID(d)
	switch {
	case r.habit == Strict:
		d.event = true
	case d.isBookmark():
		d.event = false // as on a page without a listener for it
	}
	if moved && !d.event {
		r.bookmarks++
	}
	b := r.flush()
	if d.event {
		b.Event = &Event{ID: r.lastID, Type: d.typ, Data: d.data}
	}
	return b
}

// takeID moves the last event ID at the end of a block. It is false if that
// has no ID to take over, or must wait for data.
func (r *Reader) takeID(d digest) (moved bool) {
	if d.hasID {
		r.nextID, r.hasNextID = d.id, true
	}
	moved = r.hasNextID && (d.event || r.habit != WebKit)
	if moved {
		r.lastID, r.hasNextID = r.nextID, false
	}
	return moved
}

// dropWhole throws away the whole blocks that were received and not returned,
// as if they had never come. What is unfinished stays.
func (r *Reader) dropWhole() {
	lastID, nextID, hasNextID := r.lastID, r.nextID, r.hasNextID
	for dropped := true; dropped; {
		_, dropped = r.parse()
	}
	r.lastID, r.nextID, r.hasNextID = lastID, nextID, hasNextID
}

// flush hands over the lines of the block in progress and begins another.
func (r *Reader) flush() Block {
	b := Block{Fields: r.fields, Comments: r.comments, LastEventID: r.lastID}
	r.fields, r.comments, r.size = r.fields[:0], r.comments[:0], 0
	return b
}

// events repeats next until it fails, and does not yield io.EOF.
func events(next func() (Event, error)) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			e, err := next()
			if errors.Is(err, io.EOF) || !yield(e, err) || err != nil {
				return
			}
		}
	}
}
