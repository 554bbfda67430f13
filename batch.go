package ssegin

import (
	"slices"
	"strconv"
	"sync"
	"time"
)

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

	// The frame of a single event that is larger than a write should be. It goes
	// before data, and is written from where the log has it.
	large []byte

	reset    Reset         // a gap, told in data
	lagged   Reset         // a gap that its client comes back to fill
	caughtUp time.Duration // how long that took, when the stream has just come to what is in memory
	more     bool          // more is due already
	ended    bool          // nothing will ever be due again
	cause    error         // why this was the last batch; nil if it was not

	own bool // it is none of the pooled ones

	frames [][]byte // being collected; empty outside of take
	due    []*place // likewise
	pieces []piece  // room for framed
}

// A piece is a part of what is written. A shared one never changes.
type piece struct {
	bytes  []byte
	shared bool
}

// Batches are pooled: a stream holds one only while it writes. One that may do that for
// long, because it is behind, has its own.
var batches = sync.Pool{New: func() any { return new(batch) }}

func newBatch(room int) *batch {
	b := batches.Get().(*batch)
	b.room = room
	b.data = slices.Grow(b.data, room)[:room]
	return b
}

// newOwnBatch returns one that has just the room that it comes to need.
func newOwnBatch() *batch { return &batch{own: true} }

// size is how many bytes there are to write.
func (b *batch) size() int { return len(b.large) + len(b.data) - b.room }

func (b *batch) release() {
	if b.own || cap(b.data) > 2*writeBytes {
		return // if a huge event came by, its room is not kept
	}
	clear(b.due[:cap(b.due)]) // like frames, it must not keep what has left alive
	clear(b.pieces[:cap(b.pieces)])
	*b = batch{data: b.data[:0], frames: b.frames[:0], due: b.due[:0], pieces: b.pieces[:0]}
	batches.Put(b)
}

// add collects an event under the timeline's lock; its frame is copied later.
func (b *batch) add(e *event, at mark) {
	if b.events == 0 {
		b.oldest = e.at
	}
	b.events++
	b.bytes += len(e.frame)
	b.frames = append(b.frames, e.frame)
	b.last = at
}

// copy makes what was collected the data of the batch, in which a large frame is not
// copied. For a plain client control events are left out.
func (b *batch) copy(plain bool) {
	if plain {
		b.frames = slices.DeleteFunc(b.frames, isControl)
	}
	if len(b.frames) == 0 {
		return
	}
	if b.events == 1 && b.bytes > writeBytes && b.size() == 0 {
		b.large = b.frames[0]
		clear(b.frames)
		return
	}
	b.data = slices.Grow(b.data, b.bytes+framing)
	for _, frame := range b.frames {
		b.data = append(b.data, frame...)
	}
	clear(b.frames) // a pooled batch must not keep events alive
}

// lastChunk ends a chunked response (RFC 9112 §7.1).
const lastChunk = "0\r\n\r\n"

// chunkRoom is what the head of a chunk needs at the most (RFC 9112 §7.1).
const chunkRoom = len("ffffffff\r\n")

// framed returns the batch as a chunk, or as it is: in one piece, but for a large
// frame, which is written from where the log has it.
func (b *batch) framed(chunked bool) []piece {
	pieces := b.pieces[:0]
	if !chunked {
		if b.large != nil {
			pieces = append(pieces, piece{b.large, true})
		}
		b.pieces = append(pieces, piece{bytes: b.data[b.room:]})
		return b.pieces
	}
	var head [chunkRoom]byte
	size := append(strconv.AppendUint(head[:0], uint64(b.size()), 16), "\r\n"...)
	start := b.room - len(size)
	copy(b.data[start:], size)
	b.data = append(b.data, "\r\n"...)
	if b.large != nil {
		b.pieces = append(pieces, piece{bytes: b.data[start:b.room]}, piece{b.large, true}, piece{bytes: b.data[b.room:]})
	} else {
		b.pieces = append(pieces, piece{bytes: b.data[start:]})
	}
	return b.pieces
}
