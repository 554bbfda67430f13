package ssegin

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin/ssegintest"
)

// A stream that writes slowly holds what it writes, and not the page. When the page
// has left, it waits for it again.
func TestCatchUp_holdsNoPageWhileItWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logOf(t, 100, 10<<10)
		h := NewHub(WithLog(log), WithHistory(2, 0, 0), WithLogger(slog.New(slog.DiscardHandler)))
		defer func() { assert.NoError(t, h.Shutdown(context.Background())) }()
		r := gin.New()
		r.GET("/events", Handler(h, WithWriteTimeout(0), WithTopics(func(*gin.Context) ([]string, error) { return []string{"x"}, nil })))
		srv := ssegintest.NewServer(t, r, ssegintest.WithBuffer(1<<10))
		synctest.Wait()
		life := h.timeline.life()
		s, err := srv.Connect(t.Context(), "/events", ssegintest.WithLastEventID(string(appendID(nil, life.epoch, markOf(1)))))
		require.NoError(t, err)
		defer s.Close()
		synctest.Wait() // it writes
		b := h.engine.(*shared).backlog
		assert.InDelta(t, writeBytes, b.held.Load(), 11<<10)
		page := func() weak.Pointer[page] { // so that nothing here holds it
			k := newSeeker(&cursor{}, true, nil)
			k.seek(markOf(1))
			p, why, err := waitForPage(t.Context(), b, life, k)
			require.NoError(t, err)
			require.Empty(t, why)
			return weak.Make(p)
		}()
		b.mu.Lock()
		b.beginLocked(b.life) // so that no page is kept
		b.mu.Unlock()
		for range 10 {
			runtime.GC()
			time.Sleep(time.Second)
		}
		assert.Nil(t, page.Value(), "something holds the page")
		for n := 2; n <= 100; n++ {
			e, err := s.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, string(appendID(nil, life.epoch, markOf(n))), e.ID, fmt.Sprint(n))
		}
		synctest.Wait()
		assert.Zero(t, b.held.Load())
	})
}

// A stream is carried over pages that have nothing for it, up to where memory begins.
func TestBacklog_carriesThoseForWhomThereIsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := logOf(t, 2000, 1)
		b := backlogOf(t, log)
		b.timeline.memory.floor.position = 1500
		for topic, want := range map[string]int{"y": 1280, "x": 5} {
			k := newSeeker(&cursor{}, false, nil)
			k.topics = map[string]bool{topic: true}
			k.seek(markOf(5))
			p, why, err := waitForPage(t.Context(), b, lifeHere, k)
			require.NoError(t, err)
			require.Empty(t, why)
			assert.Equal(t, markOf(want), k.at, topic)
			from, why := p.after(k.at)
			assert.Empty(t, why)
			assert.Equal(t, markOf(want+1), p.events[from].at)
		}
		assert.Equal(t, 6, log.reads)
	})
}

// The more is held, the less each stream takes.
func TestBacklog_whatIsHeldIsBounded(t *testing.T) {
	b := newBacklog(nil, 1<<20, nil)
	held := 0
	for n := range 10_000 {
		room := b.room()
		require.LessOrEqual(t, room, writeBytes)
		require.GreaterOrEqual(t, room, leastBatch)
		held += room
		b.held.Store(int64(held))
		if n == 900 {
			assert.LessOrEqual(t, held, heldBytes)
		}
	}
	assert.LessOrEqual(t, held, heldBytes+10_000*leastBatch)
}

// Newcomers that are slow hold what was read for them. When that is as much as it may be,
// no more is read, and who comes has to come back later; what others hold can be shared.
func TestReplays_whatSlowNewcomersHoldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const topics, each, size = 22, 7, 512 << 10
		log := ssegintest.NewLog()
		h := NewHub(WithLog(log), WithHistory(2, 0, 0), WithLogger(slog.New(slog.DiscardHandler)))
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // if it fails, streams are left that nobody reads
			defer cancel()
			assert.NoError(t, h.Shutdown(ctx))
		}()
		data := strings.Repeat("x", size)
		for n := range topics * each {
			_, err := h.Publish(t.Context(), fmt.Sprint("t", n%topics), Event{Data: data})
			require.NoError(t, err)
		}
		for n := range 2 {
			_, err := h.Publish(t.Context(), fmt.Sprint("new", n), Event{Data: data})
			require.NoError(t, err)
		}
		synctest.Wait()
		r := gin.New()
		r.GET("/events", Handler(h, WithWriteTimeout(0), WithReplay(ReplayEach(each)), WithTopics(func(c *gin.Context) ([]string, error) { return []string{c.Query("topic")}, nil })))
		srv := ssegintest.NewServer(t, r, ssegintest.WithBuffer(1<<10))
		replays := &h.engine.(*shared).replays
		held := func() int {
			replays.mu.Lock()
			defer replays.mu.Unlock()
			return replays.held
		}
		connect := func(topic string) (s *ssegintest.Stream, first string) {
			s, err := srv.Connect(t.Context(), "/events?topic="+topic)
			require.NoError(t, err)
			b, err := s.NextBlock(t.Context())
			require.NoError(t, err)
			for _, field := range b.Fields {
				if field.Name == "event" {
					first = field.Value
				}
			}
			return s, first
		}
		var slow []*ssegintest.Stream
		topic := ""
		for n := 0; held() <= replayHeld; n++ {
			require.Less(t, n, topics, "nothing is counted")
			time.Sleep(2 * replayFor) // what was read before is not kept any more, but for those who hold it
			topic = fmt.Sprint("t", n)
			s, first := connect(topic)
			require.Equal(t, typeCursor, first)
			slow = append(slow, s)
			synctest.Wait() // it is given as much as it takes
		}
		full := held()
		s, first := connect(topic) // which has been read a moment ago
		assert.Equal(t, typeCursor, first)
		slow = append(slow, s)
		synctest.Wait()
		assert.Equal(t, full, held())
		_, first = connect(fmt.Sprint("t", topics-1))
		assert.Equal(t, typeLater, first)
		for i := range slow {
			for range each {
				e, err := slow[i].Next(t.Context())
				require.NoError(t, err)
				require.Len(t, e.Data, size)
			}
			if i%2 == 0 {
				slow[i].Close()
			}
		}
		synctest.Wait()
		assert.Zero(t, held())
		s, first = connect(fmt.Sprint("t", topics-1))
		assert.Equal(t, typeCursor, first)
		s.Close()
		synctest.Wait()
		assert.Zero(t, held())
		for _, s := range slow {
			s.Close()
		}
	})
}
