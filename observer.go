package ssegin

import (
	"time"
)

// An Observer is told what a hub does, for metrics and traces. Each hook may
// be nil, is called on the goroutine that did the work, from many at the same
// time, and should return at once. There is no hook with a topic and a client
// in it on purpose: labels that users can create have no bound.
type Observer struct {
	// Published is called for each event that this hub has published, with its
	// topic ("" for a broadcast) and its size as encoded, without the ID.
	Published func(topic string, bytes int)

	// Opened is called when a stream has joined: resumed says whether its
	// client goes on after its last ID, reset why it cannot, if it cannot.
	Opened func(resumed bool, reset Reset)

	// Refused is called when a client is refused, with the error.
	Refused func(err error)

	// Delivered is called after each write to a client: how many events and
	// bytes it carried, and how long ago the first of them was published.
	Delivered func(events, bytes int, lag time.Duration)

	// EngineDown is called when the hub has lost touch with the engine of WithLog,
	// with the error, and EngineUp when it is back, with how long it was away. They
	// take turns. A panic in them is logged.
	EngineDown func(err error)
	EngineUp   func(after time.Duration)

	// Lagged is called when a stream was too slow for the history: with the reset
	// that it is told, or, with WithLog, would have been if it were not sent to the
	// engine instead.
	Lagged func(reset Reset)

	// Reach is called after something was published, once a second at the most, with
	// Stats.Reach: for how long a client may be away now and still get exactly what it
	// missed. It is not called before the first event has left the history. A panic in it is
	// logged.
	Reach func(reach time.Duration)

	// CaughtUp is called when a stream has been given what was older than the memory of
	// its process, from the engine of WithLog, with the time that this took.
	CaughtUp func(after time.Duration)

	// Closed is called when a stream has left, with its cause and age.
	Closed func(cause error, age time.Duration)
}

func (o *Observer) published(topic string, bytes int) {
	if o.Published != nil {
		o.Published(topic, bytes)
	}
}

func (o *Observer) opened(resumed bool, reset Reset) {
	if o.Opened != nil {
		o.Opened(resumed, reset)
	}
}

func (o *Observer) refused(err error) {
	if o.Refused != nil {
		o.Refused(err)
	}
}

func (o *Observer) delivered(b *batch) {
	if o.Delivered != nil && b.events > 0 {
		o.Delivered(b.events, b.size(), b.lag)
	}
	if b.reset.Reason == ReasonLagged {
		o.lagged(b.reset)
	}
}

func (o *Observer) lagged(reset Reset) {
	if o.Lagged != nil {
		o.Lagged(reset)
	}
}

// turned tells what a turn of a stream has come to beside what was delivered.
func (o *Observer) turned(b *batch) {
	if b.lagged.Reason != "" {
		o.lagged(b.lagged)
	}
	if b.caughtUp > 0 {
		o.caughtUp(b.caughtUp)
	}
}

func (o *Observer) engineDown(err error) {
	if o.EngineDown != nil {
		o.EngineDown(err)
	}
}

func (o *Observer) engineUp(after time.Duration) {
	if o.EngineUp != nil {
		o.EngineUp(after)
	}
}

func (o *Observer) caughtUp(after time.Duration) {
	if o.CaughtUp != nil {
		o.CaughtUp(after)
	}
}

func (o *Observer) closed(cause error, age time.Duration) {
	if o.Closed != nil {
		o.Closed(cause, age)
	}
}

// Stats are the figures of a hub at one moment.
type Stats struct {
	Streams  int `json:"streams"`  // open now
	Detached int `json:"detached"` // of those, how many have left net/http; see WithDetached
	Topics   int `json:"topics"`   // with events in the history or streams
	Ends     int `json:"ends"`     // topics of which it is known that they have ended

	Published uint64 `json:"published"` // events since the hub was made; of a log in an engine those of all processes
	Delivered uint64 `json:"delivered"` // events written to streams, over all of them
	Bytes     uint64 `json:"bytes"`     // of these events, with heartbeats and resets
	Resets    uint64 `json:"resets"`    // streams told of a gap

	HistoryEvents int `json:"history_events"` // retained now
	HistoryBytes  int `json:"history_bytes"`  // counted whole

	// Reach is how long a client may be away and still be given exactly what it missed:
	// the age of the newest event that has left for the sake of the bounds of WithHistory,
	// or of the hub if none has, or of the log if that is newer. Topics may have less, by WithTopicCeiling, or more, by
	// WithTopicFloor. Over an engine (WithLog) it is what this process has in memory; the
	// log itself reaches further.
	Reach time.Duration `json:"reach"`

	// Behind is how many streams have events that are not written yet, and
	// Lag is the age of the oldest such event: how late the slowest stream is.
	Behind int           `json:"behind"`
	Lag    time.Duration `json:"lag"`

	// Of a log in an engine (WithLog): how long the hub has been out of touch
	// with it, zero when it is not, and how many of its entries, written by other
	// programs, could not be sent as events.
	EngineDown time.Duration `json:"engine_down"`
	Skipped    uint64        `json:"skipped"`

	// CatchingUp is how many streams wait for what is older than memory, or are being
	// given it; Arriving is how many requests wait until this process has seen as much
	// as their client. WithMaxCatchingUp bounds both together.
	CatchingUp int `json:"catching_up"`
	Arriving   int `json:"arriving"`

	Closed bool `json:"closed"` // Shutdown has begun
}
