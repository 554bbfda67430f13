package ssegin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// idle is how many streams wait in the benchmarks of a hub.
const idle = 10_000

func BenchmarkEncode(b *testing.B) {
	object, err := json.Marshal(map[string]string{"text": strings.Repeat("x", 4<<10)})
	require.NoError(b, err)
	for _, bc := range []struct {
		name string
		data any
	}{
		{"128 B", strings.Repeat("x", 128)},
		{"4 KB JSON", object},
		{"100 lines", strings.Repeat("a line of text\n", 100)},
		{"128 B to JSON", map[string]string{"text": strings.Repeat("x", 128)}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := encode(Event{Type: "message", Data: bc.data}, maxIDTail, defaultMaxEventBytes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchmarked is how many events a history holds here.
const benchmarked = 1024

// Each event takes the place of the oldest one.
func BenchmarkMemory_append(b *testing.B) {
	m := remembering(benchmarked)
	block, err := encode(say(strings.Repeat("x", 128)), maxIDTail, defaultMaxEventBytes)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		m.append(addition{topic: "a", block: append(make([]byte, 0, cap(block)), block...)})
	}
}

func BenchmarkMemory_take100(b *testing.B) {
	m := remembering(benchmarked)
	topics := []string{"", "a", "b", "c"}
	for n := range benchmarked {
		put(m, topics[n%len(topics)])
	}
	c, _ := enter(m, "", topics[1:]...)
	batch := &batch{}
	b.ReportAllocs()
	for b.Loop() {
		batch.frames, batch.due, batch.events, batch.bytes = batch.frames[:0], batch.due[:0], 0, 0
		c.seek(mark{position: m.head.position - 100})
		m.take(c, batch)
	}
	require.Equal(b, 100, batch.events)
}

func BenchmarkHub_publishToNobody(b *testing.B) {
	h, e := NewHub(), say(strings.Repeat("x", 128))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Publish(b.Context(), "a", e); err != nil {
			b.Fatal(err)
		}
	}
}

// Nobody takes: this is what a publisher pays.
func BenchmarkHub_broadcastToIdle(b *testing.B) {
	h, e := NewHub(), say(strings.Repeat("x", 128))
	for range idle {
		connect(b, h, "", "a")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Broadcast(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

// What it costs to wake everyone, and to let everyone take the event, beside
// what it costs to wake as many goroutines for nothing.
func BenchmarkHub_wakeIdle(b *testing.B) {
	var woken sync.WaitGroup
	b.Run("bare", func(b *testing.B) {
		var wakes []chan struct{}
		for range idle {
			wake := make(chan struct{}, 1)
			wakes = append(wakes, wake)
			go func() {
				for range wake {
					woken.Done()
				}
			}()
		}
		for b.Loop() {
			woken.Add(idle)
			for _, wake := range wakes {
				wake <- struct{}{}
			}
			woken.Wait()
		}
		for _, wake := range wakes {
			close(wake)
		}
	})
	b.Run("streams", func(b *testing.B) {
		h, e := NewHub(), say(strings.Repeat("x", 128))
		var peers []*peer
		for range idle {
			p := connect(b, h, "", "a")
			peers = append(peers, p)
			go func() {
				for range p.cursor.waker.(bell) {
					b := batches.Get().(*batch)
					p.feed.next(time.Now(), nil, b)
					b.release()
					woken.Done()
				}
			}()
		}
		for b.Loop() {
			woken.Add(idle)
			if _, err := h.Broadcast(b.Context(), e); err != nil {
				b.Fatal(err)
			}
			woken.Wait()
		}
		for _, p := range peers {
			close(p.cursor.waker.(bell))
		}
	})
}

// topicsOf returns the names of n topics.
func topicsOf(n int) (topics []string) {
	for i := range n {
		topics = append(topics, strconv.Itoa(i))
	}
	return topics
}

// One event for a stream with many topics costs about what it costs one with a
// single topic, whether it comes for one of them or as a broadcast, and while
// others are sent events, too.
func BenchmarkMemory_takeOneEvent(b *testing.B) {
	for _, topics := range []int{1, 16, 17, 1000, 10_000} {
		for _, others := range []int{0, 10} {
			b.Run(fmt.Sprint(topics, " topics, ", others, " events for others"), func(b *testing.B) {
				m := remembering(benchmarked)
				c, _ := enter(m, "", topicsOf(topics)...)
				batch := &batch{}
				for n := 0; b.Loop(); n++ {
					for range others {
						put(m, "another's")
					}
					put(m, []string{"", strconv.Itoa(n % topics)}[n%2])
					batch.frames, batch.due, batch.events, batch.bytes = batch.frames[:0], batch.due[:0], 0, 0
					m.take(c, batch)
				}
			})
		}
	}
}

// Joining and leaving cost what there are topics, and no more for each of them
// when there are many.
func BenchmarkMemory_joinAndLeave(b *testing.B) {
	for _, topics := range []int{1, 16, 1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(topics, " topics"), func(b *testing.B) {
			m := remembering(benchmarked)
			names := topicsOf(topics)
			enter(m, "", names...) // somebody else, who stays, so that leaving moves places
			for b.Loop() {
				c, _ := enter(m, "", names...)
				c.leave(m)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(topics), "ns/topic")
		})
	}
}

// What a newcomer is given costs what it costs to give it to a client that resumes.
func BenchmarkMemory_give1000(b *testing.B) {
	m := remembering(1 << 20)
	for range 20_000 {
		put(m, "a", "b")
	}
	last := m.id(mark{position: m.head.position - 2000})
	for name, to := range map[string]struct {
		replay *Replay
		lastID string
	}{
		"to a client that resumes": {nil, last},
		"to a newcomer, each":      {new(ReplayEach(1000)), ""},
		"to a newcomer, last":      {new(ReplayLast(1000)), ""},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			batch, given := newBatch(0), 0
			defer batch.release()
			for b.Loop() {
				c := &cursor{waker: make(bell, 1), replay: to.replay}
				m.join(c, []string{"a"}, to.lastID)
				for given = 0; ; {
					batch.frames, batch.due, batch.events, batch.bytes, batch.more = batch.frames[:0], batch.due[:0], 0, 0, false
					m.take(c, batch)
					if given += batch.events; !batch.more {
						break
					}
				}
				c.leave(m)
			}
			if given != 1000 {
				b.Fatal(given)
			}
		})
	}
}
