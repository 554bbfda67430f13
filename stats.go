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
