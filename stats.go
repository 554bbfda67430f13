package ssegin

import "time"

// Stats are the figures of a hub at one moment.
type Stats struct {
	Streams  int `json:"streams"`  // open now
	Detached int `json:"detached"` // of those, how many have left net/http; see WithDetached
	Topics   int `json:"topics"`   // with events in the history, streams, or a recent end

	Published uint64 `json:"published"` // events since the hub was made; of a log in an engine those of all processes
	Delivered uint64 `json:"delivered"` // events written to streams, over all of them
	Bytes     uint64 `json:"bytes"`     // of these events, with heartbeats and resets
	Resets    uint64 `json:"resets"`    // streams told of a gap

	HistoryEvents int `json:"history_events"` // retained now
	HistoryBytes  int `json:"history_bytes"`

	// Behind is how many streams have events that are not written yet, and
	// Lag is the age of the oldest such event: how late the slowest stream is.
	Behind int           `json:"behind"`
	Lag    time.Duration `json:"lag"`

	// Of a log in an engine (WithLog): how long the hub has been out of touch
	// with it, zero when it is not, and how many of its entries, written by other
	// programs, could not be sent as events.
	EngineDown time.Duration `json:"engine_down"`
	Skipped    uint64        `json:"skipped"`

	Closed bool `json:"closed"` // Shutdown has begun
}

// Stats returns the figures of the hub. It looks at every stream, so call it
// once a second rather than once an event.
func (h *Hub) Stats() Stats {
	h.mustBeMade()
	h.mu.Lock() // not RLock: streams move their cursors under that
	defer h.mu.Unlock()
	s := Stats{
		Streams:       len(h.streams()),
		Detached:      h.fleet.size(),
		Topics:        len(h.log.topics) - 1, // without that of broadcasts
		Published:     h.published,
		Delivered:     h.counters.delivered.Load(),
		Bytes:         h.counters.bytes.Load(),
		Resets:        h.counters.resets.Load(),
		HistoryEvents: h.log.events.length,
		HistoryBytes:  h.log.bytes,
		Closed:        h.closed,
	}
	if r := h.remote; r != nil {
		s.Skipped = r.skips
		if !r.away.IsZero() {
			s.EngineDown = time.Since(r.away)
		}
	}
	first := h.log.head.position + 1
	var due []*place
	for _, c := range h.streams() {
		if due = c.appendDue(due[:0]); len(due) > 0 {
			s.Behind++
		}
		for _, p := range due {
			first = min(first, p.position())
		}
	}
	if s.Behind > 0 {
		s.Lag = time.Since(h.log.born) - h.log.event(first).at
	}
	return s
}
