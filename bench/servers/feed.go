package servers

import (
	"strconv"
	"sync"
)

const (
	feedSegment = 64 << 10 // bytes that one write may hold
	feedMarks   = 2048     // newest events that a client may come back to
)

// A feed is the log that the floors share: one buffer to which events are
// appended, already encoded, and which any number of streams read, each with a
// cursor of its own. Nothing is copied. A segment is free for the garbage
// collector once the last cursor and the last mark have left it.
type feed struct {
	segmentBytes int

	mu    sync.RWMutex
	tail  *segment
	wake  chan struct{}     // closed by the next append
	count uint64            // events so far; the last one's ID
	marks [feedMarks]cursor // mark n modulo feedMarks: where event n+1 begins
}

// A segment's buf grows within its capacity and never moves: bytes that have
// been handed out stay as they are.
type segment struct {
	buf  []byte
	next *segment
}

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
		tail:         &segment{buf: make([]byte, 0, segmentBytes)},
		wake:         make(chan struct{}),
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

// append adds what encode makes of the event's ID and wakes all who wait.
func (f *feed) append(encode func(id uint64) []byte) {
	frame := encode(f.count + 1) // nobody else appends
	f.mu.Lock()
	if t := f.tail; len(t.buf)+len(frame) > cap(t.buf) {
		f.tail = &segment{buf: make([]byte, 0, max(f.segmentBytes, len(frame)))}
		t.next = f.tail
	}
	f.tail.buf = append(f.tail.buf, frame...)
	f.count++
	f.marks[f.count%feedMarks] = cursor{f.tail, len(f.tail.buf)}
	woken := f.wake
	f.wake = make(chan struct{})
	f.mu.Unlock()
	close(woken)
}

// start returns the cursor of a stream that has seen the event lastID, or of a
// new one if lastID is none that the feed still has.
func (f *feed) start(lastID string) cursor {
	f.mu.RLock()
	defer f.mu.RUnlock()
	id, err := strconv.ParseUint(lastID, 10, 64)
	if err != nil || id > f.count || id+feedMarks <= f.count {
		id = f.count
	}
	return f.marks[id%feedMarks]
}

// since returns what lies after c, as much as is in one piece, and moves c
// there. If that is nothing, more comes when wake is closed.
func (f *feed) since(c *cursor) (events []byte, wake <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for c.offset == len(c.segment.buf) && c.segment.next != nil {
		*c = cursor{segment: c.segment.next}
	}
	events = c.segment.buf[c.offset:]
	c.offset += len(events)
	return events, f.wake
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
