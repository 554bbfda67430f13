package ssegin

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// taking returns the batch in which a stream is given all that is published, with room
// for a chunk's head.
func taking(t *testing.T, events ...string) (b *batch, frames [][]byte) {
	t.Helper()
	h := NewHub()
	p := connect(t, h, "")
	for _, data := range events {
		_, err := h.Broadcast(t.Context(), Event{Data: data})
		require.NoError(t, err)
		frames = append(frames, h.timeline.memory.event(h.timeline.memory.head.position).frame)
	}
	b = newBatch(chunkRoom)
	p.feed.next(p.feed.wrote, nil, b)
	t.Cleanup(p.leave)
	return b, frames
}

// A client that stalls with a large event holds the log's own frame of it, not a copy.
func TestBatch_aLargeFrameIsWrittenFromTheLog(t *testing.T) {
	large := strings.Repeat("x", 2*writeBytes)
	for _, chunked := range []bool{false, true} {
		b, frames := taking(t, large)
		assert.Equal(t, len(frames[0]), b.size())
		var all []byte
		shared := 0
		for _, piece := range b.framed(chunked) {
			all = append(all, piece.bytes...)
			if piece.shared {
				shared++
				assert.Same(t, &frames[0][0], &piece.bytes[0])
			} else {
				assert.Less(t, len(piece.bytes), 64)
			}
		}
		assert.Equal(t, 1, shared)
		if chunked {
			assert.True(t, bytes.Equal(fmt.Appendf(nil, "%x\r\n%s\r\n", len(frames[0]), frames[0]), all))
		} else {
			assert.True(t, bytes.Equal(frames[0], all))
		}
		b.release()
		assert.True(t, bytes.Contains(frames[0], []byte(large)), "it is not given to the pool")
	}
}

// Smaller ones share a write.
func TestBatch_smallFramesAreOnePiece(t *testing.T) {
	b, frames := taking(t, "a", strings.Repeat("b", 1000))
	pieces := b.framed(false)
	require.Len(t, pieces, 1)
	assert.False(t, pieces[0].shared)
	assert.Equal(t, bytes.Join(frames, nil), pieces[0].bytes)
	assert.Len(t, b.framed(true), 1)
	b.release()
}
