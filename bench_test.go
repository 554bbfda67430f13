package ssegin

import (
	"encoding/json"
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

// Each event takes the place of the oldest one.
func BenchmarkMemory_append(b *testing.B) {
	m := remembering(defaultHistoryEvents)
	block, err := encode(say(strings.Repeat("x", 128)), maxIDTail, defaultMaxEventBytes)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		m.append(addition{topic: "a", block: append(make([]byte, 0, cap(block)), block...)})
	}
}

func BenchmarkMemory_take100(b *testing.B) {
	m := remembering(defaultHistoryEvents)
	topics := []string{"", "a", "b", "c"}
	for n := range defaultHistoryEvents {
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
