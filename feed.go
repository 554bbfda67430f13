package ssegin

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A feed decides what a stream of a hub writes next: events, a reset, a
// heartbeat, a farewell. It does no I/O, knows no clock and waits for nothing.
type feed struct {
	hub     *Hub
	cursor  *cursor
	options *streamOptions

	sent  mark      // what the client knows from the last ID it was sent
	wrote time.Time // when there was last something to write
	until time.Time // when the stream's time is over; zero: never
	over  error     // the cause of that end
}

// writeBytes is what one write carries at the most, but for a single event
// that is larger: beyond it, writes get hardly cheaper and a slow client would
// hold more memory.
const writeBytes = 64 << 10

// framing is room for what goes around the events of a batch: a reconnection
// time, the end of a chunk.
const framing = 64

// A batch is what one write carries.
type batch struct {
	data   []byte
	room   int // bytes at the front of data that are left to who frames it
	events int
	bytes  int           // of the events
	last   mark          // the last event
	oldest time.Duration // time of the first event, since the log was born
	lag    time.Duration // how late the first event is; measured for an Observer only

	reset Reset // a gap, told in data
	more  bool  // more is due already
	ended bool  // nothing will ever be due again
	cause error // why this was the last batch; nil if it was not

	frames [][]byte // being collected; empty outside of take
	due    []*place // likewise
}

// Batches are pooled: a stream holds one only while it writes.
var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch(room int) *batch {
	b := batches.Get().(*batch)
	b.room = room
	b.data = slices.Grow(b.data, room)[:room]
	return b
}

// size is how many bytes there are to write.
func (b *batch) size() int { return len(b.data) - b.room }

func (b *batch) release() {
	if cap(b.data) > 2*writeBytes {
		return // a huge event came by; do not keep its room
	}
	clear(b.due[:cap(b.due)]) // like frames, it must not keep what has left alive
	*b = batch{data: b.data[:0], frames: b.frames[:0], due: b.due[:0]}
	batches.Put(b)
}

// add collects an event under the hub's lock; its frame is copied later.
func (b *batch) add(e *event, at mark) {
	if b.events == 0 {
		b.oldest = e.at
	}
	b.events++
	b.bytes += len(e.frame)
	b.frames = append(b.frames, e.frame)
	b.last = at
}

// newFeed returns the feed of a stream whose cursor has joined at now.
func newFeed(h *Hub, c *cursor, o *streamOptions, now time.Time) *feed {
	return &feed{hub: h, cursor: c, options: o, sent: c.at, wrote: now}
}

// opening is the first block of the stream: the reconnection time, and an ID
// for clients that have seen no event yet, or the reset that they are due.
func (f *feed) opening(v verdict) []byte {
	b := appendRetry(nil, f.options.retry)
	if v.reset.Reason != "" {
		b = append(b, '\n')
		return f.appendReset(b, v.reset)
	}
	return f.appendCursor(b)
}

// next fills b with what is due at now; cause is why the stream is to end, nil
// if it is not. When b.cause is set, the stream ends after b.
func (f *feed) next(now time.Time, cause error, b *batch) {
	b.cause = cause
	if b.cause == nil && !f.until.IsZero() && !now.Before(f.until) {
		b.cause = f.over
	}
	if b.cause != nil && !polite(b.cause) {
		return
	}
	f.collect(b)
	if b.more && errors.Is(b.cause, ErrShutdown) {
		b.cause = nil // the log goes with the hub, so what is due comes first
	} else if b.ended && b.cause == nil {
		b.cause = ErrEnded
	} else if b.cause != nil {
		b.data = appendRetry(b.data, spread(f.options.retry, max(f.options.retry, f.hub.options.drain)))
		b.data = append(b.data, '\n')
	}
	if h := f.options.heartbeat; h > 0 && b.size() == 0 && now.Sub(f.wrote) >= h {
		f.appendHeartbeat(b)
	}
	if b.size() > 0 {
		f.wrote = now
	}
}

// polite reports whether a stream that ends for this cause is given more, and
// a moment for its return.
func polite(cause error) bool {
	return errors.Is(cause, ErrShutdown) || errors.Is(cause, ErrMaxAge)
}

// collect takes what is due from the log and copies it, outside of the lock.
func (f *feed) collect(b *batch) {
	b.reset = f.hub.take(f.cursor, b)
	if b.reset.Reason == ReasonLagged && f.hub.remote != nil {
		f.hub.options.observer.lagged(b.reset)
		b.reset, b.cause = Reset{}, ErrLagged // the engine has what was missed, for who comes back
		return
	}
	if b.reset.Reason != "" {
		b.data = f.appendReset(b.data, b.reset)
		b.more = true
		return
	}
	if b.events == 0 {
		return
	}
	b.data = slices.Grow(b.data, b.bytes+framing)
	for _, frame := range b.frames {
		b.data = append(b.data, frame...)
	}
	clear(b.frames) // a pooled batch must not keep events alive
	f.sent = b.last
}

// rest is how long next has nothing to say after now, unless it is woken.
func (f *feed) rest(now time.Time) time.Duration {
	rest := time.Duration(math.MaxInt64)
	if f.options.heartbeat > 0 {
		rest = f.wrote.Add(f.options.heartbeat).Sub(now)
	}
	if !f.until.IsZero() {
		rest = min(rest, f.until.Sub(now))
	}
	return rest
}

// appendHeartbeat adds a sign of life: the position, when it has moved past
// events for others, so that it does not expire while the stream is quiet.
func (f *feed) appendHeartbeat(b *batch) {
	if f.cursor.at == f.sent {
		b.data = append(b.data, heartbeat...)
		return
	}
	f.sent = f.cursor.at
	b.data = f.appendCursor(b.data)
}

// appendReset adds the event that tells of a gap.
func (f *feed) appendReset(b []byte, reset Reset) []byte {
	f.sent = f.cursor.at
	data, _ := json.Marshal(reset) // a struct of a string and a number always encodes
	b = append(b, "event: "+typeReset+"\ndata: "...)
	b = append(b, data...)
	b = append(b, '\n')
	return append(f.appendID(b, f.sent), '\n')
}

// appendCursor adds a block that moves the client's last ID and says nothing
// else. An ID alone would do (WHATWG HTML §9.2.6), but Firefox, WebKit and some
// clients on npm take over no ID from a block without data. A page that has no
// listener for the type does not see it.
func (f *feed) appendCursor(b []byte) []byte {
	b = append(b, "event: "+typeCursor+"\ndata:\n"...)
	return append(f.appendID(b, f.sent), '\n')
}

// appendID adds an ID field.
func (f *feed) appendID(b []byte, at mark) []byte {
	b = append(b, "id: "...)
	b = appendID(b, f.cursor.life.epoch, at)
	return append(b, '\n')
}

// heartbeat is a comment: it keeps proxies from cutting an idle connection and
// shows whether the peer is still there (WHATWG HTML §9.2.7).
const heartbeat = ":\n\n"

// spread gives each client a time of its own, so that those who were sent away
// together do not come back together.
func spread(retry, over time.Duration) time.Duration {
	return retry + rand.N(over).Truncate(time.Millisecond) // what is sent is rounded up
}
