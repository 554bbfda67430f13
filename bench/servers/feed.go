package servers

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	feedSegment = 64 << 10 // bytes that one write may hold
	feedMarks   = 2048     // newest events that a client may come back to
)

// A feed is the log that the floors share: one buffer to which events are
// appended, already encoded, and which any number of streams read without a
// lock, each with a cursor of its own. Nothing is copied. A segment is free for
// the garbage collector once the last cursor and the last mark have left it.
type feed struct {
	segmentBytes int

	mu    sync.Mutex
	tail  *segment
	count uint64            // events so far; the last one's ID
	marks [feedMarks]cursor // mark n modulo feedMarks: where event n+1 begins

	ringing sync.Mutex
	bells   []bell
}

// A bell wakes the one stream that it belongs to. It holds one wake-up: when
// there is one already, the stream has yet to look, and will see everything.
type bell chan struct{}

// A segment's bytes up to used are written and never change. There is a next
// one when no more will be written.
type segment struct {
	buf  []byte
	used atomic.Int64
	next atomic.Pointer[segment]
}

func newSegment(size int) *segment { return &segment{buf: make([]byte, size)} }

// A cursor is how far a stream has read.
type cursor struct {
	segment *segment
	offset  int
}

// newFeed makes a feed of segments of that many bytes: what since returns at
// most, save that it always returns whole events. 0 gives one event at a time.
func newFeed(segmentBytes int) *feed {
	f := &feed{
		segmentBytes: segmentBytes,
		tail:         newSegment(segmentBytes),
	}
	f.marks[0] = cursor{segment: f.tail}
	return f
}

// newFeeds makes a feed for each topic.
func newFeeds(topics []string, segmentBytes int) map[string]*feed {
	feeds := make(map[string]*feed, len(topics))
	for _, topic := range topics {
		feeds[topic] = newFeed(segmentBytes)
	}
	return feeds
}

// append adds what encode makes of the event's ID and rings all bells.
func (f *feed) append(encode func(id uint64) []byte) {
	frame := encode(f.count + 1) // nobody else appends
	f.write(frame)
	f.ringing.Lock()
	defer f.ringing.Unlock()
	for _, b := range f.bells {
		select {
		case b <- struct{}{}:
		default: // it has been rung already
		}
	}
}

func (f *feed) write(frame []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	full, used := f.tail, int(f.tail.used.Load())
	if used+len(frame) > len(full.buf) {
		f.tail, used = newSegment(max(f.segmentBytes, len(frame))), 0
		full.next.Store(f.tail)
	}
	used += copy(f.tail.buf[used:], frame)
	f.tail.used.Store(int64(used))
	f.count++
	f.marks[f.count%feedMarks] = cursor{f.tail, used}
}

// join returns a bell that every append rings from now on.
func (f *feed) join() bell {
	b := make(bell, 1) // room for the one wake-up
	f.ringing.Lock()
	defer f.ringing.Unlock()
	f.bells = append(f.bells, b)
	return b
}

// leave takes the bell of a stream that is over.
func (f *feed) leave(b bell) {
	f.ringing.Lock()
	defer f.ringing.Unlock()
	last := len(f.bells) - 1
	f.bells[slices.Index(f.bells, b)] = f.bells[last]
	f.bells = f.bells[:last]
}

// start returns the cursor of a stream that has seen the event lastID, or of a
// new one if lastID is none that the feed still has.
func (f *feed) start(lastID string) cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, err := strconv.ParseUint(lastID, 10, 64)
	if err != nil || id > f.count || id+feedMarks <= f.count {
		id = f.count
	}
	return f.marks[id%feedMarks]
}

// since returns what lies after c, as much as is in one piece, and moves c
// there. It is empty when there is nothing more for now.
func (f *feed) since(c *cursor) (events []byte) {
	for {
		next := c.segment.next.Load() // before used, which is final if there is one
		if used := int(c.segment.used.Load()); c.offset < used {
			events = c.segment.buf[c.offset:used]
			c.offset = used
			return events
		}
		if next == nil {
			return nil
		}
		*c = cursor{segment: next}
	}
}

// block encodes an event as the floors send it.
func block(id uint64, event []byte) []byte {
	b := make([]byte, 0, len("id: \ndata: \n\n")+20+len(event))
	b = append(b, "id: "...)
	b = strconv.AppendUint(b, id, 10)
	b = append(b, "\ndata: "...)
	b = append(b, event...)
	return append(b, "\n\n"...)
}
