package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ssegin/ssegin"
)

// topicStats carries the hub's figures, over the hub itself.
const topicStats = "stats"

const statsEvery = 500 * time.Millisecond

// A sample is one point of the charts.
type sample struct {
	N  int       `json:"n"`
	At time.Time `json:"at"`

	ssegin.Stats
	EventsPerSecond float64 `json:"events_per_second"`
	BytesPerSecond  float64 `json:"bytes_per_second"`
	DeliveryLagMS   float64 `json:"delivery_lag_ms"` // from Publish until written, the slowest of all streams
}

// broadcastStats publishes a sample twice a second until ctx or the hub ends.
func (a *app) broadcastStats(ctx context.Context) {
	ticker := time.NewTicker(statsEvery)
	defer ticker.Stop()
	at, before := time.Now(), a.hub.Stats()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, stats := time.Now(), a.hub.Stats()
		seconds := now.Sub(at).Seconds()
		_, err := a.hub.Publish(ctx, topicStats, ssegin.Event{Type: "stats", Data: sample{
			N:               n,
			At:              now,
			Stats:           stats,
			EventsPerSecond: float64(stats.Delivered-before.Delivered) / seconds,
			BytesPerSecond:  float64(stats.Bytes-before.Bytes) / seconds,
			DeliveryLagMS:   float64(a.meter.slowest().Microseconds()) / 1000,
		}})
		if err != nil {
			return // ErrClosed: the hub shuts down
		}
		at, before = now, stats
	}
}

// A meter keeps the longest time that an event took from Publish until it was
// written to a client.
type meter struct{ lag atomic.Int64 }

// delivered is a hook of ssegin.Observer. Many streams call it at the same
// time, so it does next to nothing.
func (m *meter) delivered(_, _ int, lag time.Duration) {
	for {
		longest := m.lag.Load()
		if int64(lag) <= longest || m.lag.CompareAndSwap(longest, int64(lag)) {
			return
		}
	}
}

// slowest returns the longest time since it was last asked.
func (m *meter) slowest() time.Duration { return time.Duration(m.lag.Swap(0)) }
