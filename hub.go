package ssegin

import (
	"context"
	"fmt"
	"sync/atomic"
)

// A Hub joins publishers and streams: what is published is appended to its
// log, and each stream follows the log from its own place. A Hub is made by
// NewHub and safe for use from any number of goroutines. It has goroutines of
// its own only while it wakes many streams, serves detached ones, or follows a
// log in an engine (WithLog).
type Hub struct {
	options hubOptions // set once

	timeline *timeline // the log, as this process has it
	engine   engine    // where the log is kept
	fleet    *fleet    // serves the streams that WithDetached took from net/http
	counters counters
	later    chan struct{} // who is held before being sent away; see later
}

// counters are what Stats adds up.
type counters struct {
	delivered, bytes, resets atomic.Uint64
}

// NewHub returns a Hub. Without options it keeps the newest 8 MiB of events, counted
// whole, for at most 15 minutes, and takes any number of streams. It panics if
// options contradict each other, as Gin does at set-up.
func NewHub(opts ...HubOption) *Hub {
	h := &Hub{options: newHubOptions(opts), later: make(chan struct{}, maxLater)}
	h.timeline = newTimeline(&h.options)
	h.fleet = newFleet(h.timeline.run)
	if h.options.log != nil {
		h.engine = newShared(h.timeline, &h.options)
	} else {
		h.engine = &local{h.timeline, &h.options}
	}
	return h
}

// Broadcast sends e to every stream of the hub, now and, within the history,
// to those that come back. It returns the ID of the event once that is in the
// log, and never waits for a client. The ID shares the memory of the event: to
// keep it for long, keep a strings.Clone.
//
// It returns ErrInvalidEvent or ErrTooLarge if e cannot be sent, the cause of
// ctx if that has ended, and ErrClosed after Shutdown; then nothing was sent.
// With a log in an engine (WithLog) it waits for the engine, and returns
// ErrRefused, too, or an UnknownOutcomeError, when the engine gave no answer or
// ctx or the hub has ended while it waited: that says how to try again.
func (h *Hub) Broadcast(ctx context.Context, e Event) (id string, err error) {
	return h.publish(ctx, publication{event: e})
}

// Publish sends e to the streams of topic, in all else like Broadcast. A topic
// is any non-empty text of valid UTF-8 without CR, LF or NUL, of at most 1 KiB;
// it does not begin with "ssegin.", needs no set-up, and nothing of it remains when its
// events and streams are gone.
func (h *Hub) Publish(ctx context.Context, topic string, e Event) (id string, err error) {
	if err := checkTopic(topic); err != nil {
		return "", err
	}
	return h.publish(ctx, publication{topic: topic, event: e})
}

// End publishes e as the last event of topic: a job is done, a call is over.
// A stream all of whose topics have ended is closed after the last event, and
// the client that comes back with that event's ID gets status 204, which tells
// an EventSource to stop. A client that comes back with an older ID gets what
// it missed first, a new one the last event. The end is remembered much longer than the
// events, as WithEnds has it; a later Publish begins the topic anew.
//
// An event without data and type becomes the control event "ssegin.end"; a client that
// takes every block for the application's is not given that, and its stream just ends.
func (h *Hub) End(ctx context.Context, topic string, e Event) (id string, err error) {
	if err := checkTopic(topic); err != nil {
		return "", err
	}
	return h.publish(ctx, publication{topic: topic, event: e, end: true})
}

func (h *Hub) publish(ctx context.Context, p publication) (string, error) {
	h.mustBeMade()
	e := &p.event
	if ctx.Err() != nil {
		return "", fmt.Errorf("ssegin: not published: %w", context.Cause(ctx))
	}
	if e.ID != "" {
		return "", fmt.Errorf("%w: ID %q: the hub gives the IDs of its events, leave it empty", ErrInvalidEvent, clip(e.ID))
	}
	if err := e.check(); err != nil {
		return "", err
	}
	if p.end && e.Data == nil && e.Type == "" {
		e.Type = typeEnd
	}
	if h.timeline.isClosed() {
		return "", ErrClosed
	}
	return h.engine.publish(ctx, p)
}

// Stats returns the figures of the hub. It looks at every stream, so call it
// once a second rather than once an event.
func (h *Hub) Stats() Stats {
	h.mustBeMade()
	s := Stats{
		Detached:  h.fleet.size(),
		Delivered: h.counters.delivered.Load(),
		Bytes:     h.counters.bytes.Load(),
		Resets:    h.counters.resets.Load(),
	}
	h.timeline.stats(&s)
	h.engine.stats(&s)
	return s
}

// joined counts a stream that has joined.
func (h *Hub) joined(lastID string, v verdict) {
	if v.reset.Reason != "" {
		h.counters.resets.Add(1)
	}
	h.options.observer.opened(!isNewcomer(lastID) && v.reset.Reason == "", v.reset)
}

// wrote counts what a stream has written.
func (h *Hub) wrote(b *batch) {
	h.counters.delivered.Add(uint64(b.events))
	h.counters.bytes.Add(uint64(b.size()))
	if b.reset.Reason != "" {
		h.counters.resets.Add(1)
	}
	h.options.observer.delivered(b)
}

// mustBeMade panics where the hub is nil or its zero value, with words that say
// what to do.
func (h *Hub) mustBeMade() {
	if h == nil || h.timeline == nil {
		panic("ssegin: this Hub was not made by NewHub; neither a nil Hub nor the zero Hub can be used, not by Handler either")
	}
}

// Disconnect ends the streams that follow topic now, because a user's rights
// are gone, say: change the rights first, then call it. Nothing that is published
// after it has returned is sent to them, nor to a client whose request is on its
// way: of that one WithTopics is asked again. The clients of the streams that were
// ended come back, and WithTopics is asked for them, too.
//
// It returns how many streams of this process it has ended, which it does at once,
// also when it then returns an error: ErrInvalidEvent if no stream could follow such a
// topic, or what is said below. It works until the last stream has gone, after
// Shutdown, too. Without an engine it waits for nothing, not for ctx either.
//
// With a log in an engine (WithLog) it puts an entry into the log that every process
// obeys as it comes to it. When it has returned nil, what it promises holds at all of
// them, also at one that is behind, out of touch, or just begins. It waits for the
// engine as Publish does. If that refuses the entry, the error is ErrRefused; if it gives
// no answer, ErrUnavailable, and it is not known whether the other processes obey: call
// it again. The entry is no event: it is sent to nobody, and counts as none.
func (h *Hub) Disconnect(ctx context.Context, topic string) (streams int, err error) {
	h.mustBeMade()
	if err := checkTopic(topic); err != nil {
		return 0, err
	}
	muted := h.timeline.disconnect(topic)
	for _, c := range muted {
		c.stream.end(ErrDisconnected)
	}
	return len(muted), h.engine.disconnect(ctx, topic)
}
