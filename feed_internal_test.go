package ssegin

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// gives returns what the feed writes next, with its epoch spelt "E", and why
// the stream ends after it.
func gives(f *feed, cause error) (text string, end error) {
	b := &batch{}
	f.next(time.Now(), cause, b)
	return strings.ReplaceAll(string(b.data), f.timeline.memory.life.epoch, "E"), b.cause
}

func TestFeed_openingTellsTheReconnectionTimeAndThePosition(t *testing.T) {
	h := NewHub(WithHistory(1, 0, 0))
	opening := func(lastID string) string {
		p := connect(t, h, lastID)
		defer p.leave()
		return strings.ReplaceAll(string(p.feed.opening(p.verdict, lastID)), h.timeline.memory.life.epoch, "E")
	}
	assert.Equal(t, "retry: 2000\nevent: ssegin.cursor\ndata: {}\nid: E-0\n\n", opening(""))
	first, _ := h.Broadcast(t.Context(), say("1"))
	assert.Equal(t, "retry: 2000\nevent: ssegin.cursor\ndata: {}\nid: E-1\n\n", opening(""))
	h.Broadcast(t.Context(), say("2"))
	assert.Equal(t, "retry: 2000\nevent: ssegin.cursor\ndata: {}\nid: E-1\n\n", opening(first), "the client resumes where it was")
	h.Broadcast(t.Context(), say("3"))
	assert.Equal(t, "retry: 2000\nevent: ssegin.cursor\ndata: {}\nid: E-1\n\nevent: ssegin.reset\ndata: {\"reason\":\"expired\",\"missed\":2}\nid: E-3\n\n", opening(first))
	assert.Equal(t, "retry: 2000\nevent: ssegin.cursor\ndata: {}\nid: \"><script>\n\nevent: ssegin.reset\ndata: {\"reason\":\"invalid\",\"missed\":-1}\nid: E-3\n\n", opening("\"><script>"))
}

func TestFeed_givesAllThatIsDueInOneWrite(t *testing.T) {
	h := NewHub()
	p := connect(t, h, "")
	for _, text := range []string{"1", "2\n", "3"} {
		h.Broadcast(t.Context(), Event{Type: "n", Data: text})
	}
	text, end := gives(p.feed, nil)
	assert.Equal(t, "event: n\ndata: 1\nid: E-1\n\nevent: n\ndata: 2\ndata: \nid: E-2\n\nevent: n\ndata: 3\nid: E-3\n\n", text)
	assert.NoError(t, end)
	text, _ = gives(p.feed, nil)
	assert.Empty(t, text)
}

func TestFeed_writesAreBoundedButForAnEventThatIsLarger(t *testing.T) {
	h := NewHub(WithHistory(0, 64<<20, 0))
	p := connect(t, h, "")
	sizes := []int{1000, writeBytes * 3, 1000, 1000}
	for range 200 {
		sizes = append(sizes, 1000)
	}
	for _, size := range sizes {
		_, err := h.Broadcast(t.Context(), say(strings.Repeat("x", size)))
		require.NoError(t, err)
	}
	var writes []int
	for events := 0; events < len(sizes); {
		b := &batch{}
		p.feed.next(time.Now(), nil, b)
		require.NotZero(t, b.events)
		if b.events > 1 {
			assert.LessOrEqual(t, len(b.data), writeBytes)
		}
		events += b.events
		writes = append(writes, b.events)
		assert.Equal(t, events < len(sizes), b.more)
	}
	assert.Equal(t, 1, writes[0])
	assert.Equal(t, 1, writes[1])
	assert.Less(t, len(writes), 7)
}

// What was written must not be kept by what writes: batches are pooled.
func TestFeed_aBatchKeepsNoEventAlive(t *testing.T) {
	h := NewHub()
	p := connect(t, h, "", "a")
	for range 10 {
		h.Publish(t.Context(), "a", say("x"))
	}
	b := &batch{}
	p.feed.next(time.Now(), nil, b)
	frames, due := b.frames[:cap(b.frames)], b.due[:cap(b.due)]
	require.NotEmpty(t, frames)
	b.release()
	for _, frame := range frames {
		assert.Nil(t, frame)
	}
	for _, place := range due {
		assert.Nil(t, place)
	}
}

func TestFeed_heartbeatIsACommentOrCarriesThePositionForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		p := connect(t, h, "", "quiet")
		heartbeat := func(text string) {
			t.Helper()
			assert.Equal(t, defaultHeartbeat, p.feed.rest(time.Now()))
			time.Sleep(defaultHeartbeat - 1)
			early, _ := gives(p.feed, nil)
			assert.Empty(t, early)
			assert.Equal(t, time.Duration(1), p.feed.rest(time.Now()))
			time.Sleep(time.Nanosecond)
			now, _ := gives(p.feed, nil)
			assert.Equal(t, text, now)
		}
		heartbeat(":\n")
		h.Publish(t.Context(), "busy", say("x"))
		h.Publish(t.Context(), "busy", say("y"))
		heartbeat("event: ssegin.cursor\ndata: {}\nid: E-2\n\n")
		heartbeat(":\n")
	})
}

func TestFeed_anEventPutsTheHeartbeatOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		p := connect(t, h, "")
		time.Sleep(10 * time.Second)
		h.Broadcast(t.Context(), say("x"))
		assert.Len(t, p.read(), 1)
		time.Sleep(10 * time.Second)
		p.read()
		assert.Zero(t, p.client.Comments())
		assert.Equal(t, 5*time.Second, p.feed.rest(time.Now()))
	})
}

func TestFeed_withoutHeartbeatItRestsForEver(t *testing.T) {
	h := NewHub()
	p := connect(t, h, "")
	p.feed.pace = &newStreamOptions([]StreamOption{WithHeartbeat(0)}).pace
	p.feed.wrote = time.Now().Add(-time.Hour)
	text, _ := gives(p.feed, nil)
	assert.Empty(t, text)
	assert.Equal(t, time.Duration(math.MaxInt64), p.feed.rest(time.Now()))
}

// A day beside busy topics, with a history of a minute.
func TestFeed_aQuietStreamDoesNotExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(WithHistory(10, 0, time.Minute))
		p := connect(t, h, "", "quiet")
		go p.serve(ignore)
		for n := range 24 * 60 * 4 {
			time.Sleep(15 * time.Second)
			h.Publish(t.Context(), []string{"busy", "bustling"}[n%2], say("x"))
		}
		p.end(context.Canceled)
		synctest.Wait()
		h.Publish(t.Context(), "quiet", say("at last"))
		back := connect(t, h, p.client.LastEventID(), "quiet")
		assert.Equal(t, verdict{}, back.verdict)
		assert.Equal(t, []string{"at last"}, data(back.read()))
	})
}

// The log goes with the hub: who comes back finds nothing of it.
func TestFeed_beforeShutdownAStreamGetsAllThatIsDueAndATimeOfItsOwn(t *testing.T) {
	h := NewHub()
	p := connect(t, h, "")
	h.Broadcast(t.Context(), say(strings.Repeat("x", writeBytes)))
	h.Broadcast(t.Context(), say("y"))
	_, end := gives(p.feed, ErrShutdown)
	require.NoError(t, end, "there is more")
	text, end := gives(p.feed, ErrShutdown)
	assert.ErrorIs(t, end, ErrShutdown)
	assert.Regexp(t, `^data: y\nid: E-2\n\nretry: [23]\d\d\d\n$`, text)
}

// However much is published, a stream ends at its age: it comes back for the
// rest.
func TestFeed_atItsMaximumAgeAStreamGetsOneMoreWriteAndATimeOfItsOwn(t *testing.T) {
	h := NewHub()
	p := connect(t, h, "")
	h.Broadcast(t.Context(), say("x"))
	h.Broadcast(t.Context(), say(strings.Repeat("y", writeBytes)))
	text, end := gives(p.feed, ErrMaxAge)
	assert.ErrorIs(t, end, ErrMaxAge)
	assert.Regexp(t, `^data: x\nid: E-1\n\nretry: [23]\d\d\d\n$`, text)
}

func TestFeed_aStreamThatHasNoRightAnyMoreGetsNothing(t *testing.T) {
	for _, cause := range []error{ErrDisconnected, ErrExpired, ErrClosed, context.Canceled} {
		h := NewHub()
		p := connect(t, h, "")
		h.Broadcast(t.Context(), say("x"))
		text, end := gives(p.feed, cause)
		assert.ErrorIs(t, end, cause)
		assert.Empty(t, text)
	}
}

func TestFeed_endsAtItsMomentAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		p := connect(t, h, "")
		p.feed.until, p.feed.over = time.Now().Add(20*time.Second), ErrExpired
		time.Sleep(15 * time.Second)
		text, end := gives(p.feed, nil)
		require.NoError(t, end)
		assert.Equal(t, ":\n", text)
		assert.Equal(t, 5*time.Second, p.feed.rest(time.Now()))
		time.Sleep(5*time.Second - 1)
		_, end = gives(p.feed, nil)
		require.NoError(t, end)
		time.Sleep(time.Nanosecond)
		h.Broadcast(t.Context(), say("too late"))
		text, end = gives(p.feed, nil)
		assert.ErrorIs(t, end, ErrExpired)
		assert.Empty(t, text)
		t.Log("events after 0")
	})
}

func TestFeed_endsAfterTheLastEventOfItsLastTopic(t *testing.T) {
	h := NewHub()
	p := connect(t, h, "", "a", "b")
	h.End(t.Context(), "a", say("a is done"))
	assert.Equal(t, []string{"a is done"}, data(p.read()))
	require.NoError(t, p.over())
	h.End(t.Context(), "b", Event{})
	text, end := gives(p.feed, nil)
	assert.ErrorIs(t, end, ErrEnded)
	assert.Equal(t, "event: ssegin.end\ndata: {}\nid: E-2\n\n", text, "no retry: it is not to come back")

	p.receive([]byte(strings.ReplaceAll(text, "E-", h.timeline.memory.life.epoch+"-")))
	back, err := dial(h, &cursor{}, p.client.LastEventID(), "b", "a")
	require.NoError(t, err)
	assert.True(t, back.verdict.complete)
}

func TestFeed_aStreamTooSlowIsToldAndGoesOnLive(t *testing.T) {
	h := NewHub(WithHistory(3, 0, 0))
	p := connect(t, h, "")
	for range 5 {
		h.Broadcast(t.Context(), say("x"))
	}
	b := &batch{}
	p.feed.next(time.Now(), nil, b)
	assert.Equal(t, Reset{ReasonLagged, 5}, b.reset)
	assert.True(t, b.more)
	h.Broadcast(t.Context(), say("live"))
	id := h.timeline.memory.life.epoch
	assert.Equal(t, []ssegintest.Event{{ID: id + "-5", Type: typeReset, Data: `{"reason":"lagged","missed":5}`}}, p.receive(b.data))
	assert.Equal(t, []ssegintest.Event{{ID: id + "-6", Type: "message", Data: "live"}}, p.read())
}

// A stream that is cut and comes back while it lags is not told twice, nor less.
func TestFeed_whoIsCutBeforeItHeardOfTheGapHearsOfItWhenItComesBack(t *testing.T) {
	h := NewHub(WithHistory(3, 0, 0))
	p := connect(t, h, "")
	for range 5 {
		h.Broadcast(t.Context(), say("x"))
	}
	b := &batch{}
	p.feed.next(time.Now(), nil, b) // lost on the way
	p.leave()
	assert.Equal(t, Reset{ReasonExpired, 5}, connect(t, h, p.client.LastEventID()).verdict.reset)
}

// taking returns the batch in which a stream is given all that is published, with room
// for a chunk's head.
func taking(t *testing.T, events ...string) (b *batch, frames [][]byte) {
	t.Helper()
	h := NewHub()
	p := connect(t, h, "")
	for _, data := range events {
		_, err := h.Broadcast(t.Context(), Event{Data: data})
		require.NoError(t, err)
		frames = append(frames, newestFrame(h.timeline.memory, ""))
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
