package ssegin

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Hub joins publishers and streams: what is published is appended to its
// log, and each stream follows the log from its own place. A Hub is made by
// NewHub and safe for use from any number of goroutines. It has goroutines of
// its own only while it wakes many streams, serves detached ones, or follows a
// log in an engine (WithLog).
type Hub struct {
	options hubOptions // set once

	mu        sync.RWMutex
	log       *memory
	perKey    map[string]int // streams by the key of WithMaxStreamsPer
	closed    bool           // nothing joins and nothing is appended any more
	called    ring[*topic]   // with streams that are still to be woken
	calling   bool           // a goroutine wakes them
	held      int            // by streams that leave, until their callbacks have returned, and by the follower of a log
	published uint64         // events in the log since the hub was made

	disconnects  ring[string] // the newest topics given to Disconnect, for requests that are on their way
	disconnected uint64       // how many there were in all

	remote   *remote       // the log's engine; nil when the log is in memory alone
	fleet    *fleet        // serves the streams that WithDetached took from net/http
	drained  chan struct{} // closed once the hub is closed, its last stream has left, and nobody holds it
	counters counters
}

// counters are what Stats adds up.
type counters struct {
	delivered, bytes, resets atomic.Uint64
}

// NewHub returns a Hub. Without options it keeps the newest 1,024 events, of
// at most 8 MiB and 15 minutes, and takes any number of streams. It panics if
// options contradict each other, as Gin does at set-up.
func NewHub(opts ...HubOption) *Hub {
	options := newHubOptions(opts)
	h := &Hub{
		options: options,
		log:     newMemory(options.history),
		perKey:  map[string]int{},
		fleet:   newFleet(),
		drained: make(chan struct{}),
	}
	if options.log != nil {
		h.remote = startRemote(h, options.log)
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
	return h.append(ctx, "", e, false)
}

// Publish sends e to the streams of topic, in all else like Broadcast. A topic
// is any non-empty text of valid UTF-8 without CR, LF or NUL, of at most 1 KiB;
// it needs no set-up, and nothing of it remains when its events and streams
// are gone.
func (h *Hub) Publish(ctx context.Context, topic string, e Event) (id string, err error) {
	if err := checkTopic(topic); err != nil {
		return "", err
	}
	return h.append(ctx, topic, e, false)
}

// End publishes e as the last event of topic: a job is done, a call is over.
// A stream all of whose topics have ended is closed after the last event, and
// the client that comes back with that event's ID gets status 204, which tells
// an EventSource to stop. A client that comes back with an older ID gets what
// it missed first, a new one the last event. The end is remembered for as long
// as the history's age allows, and as many ends as the history may have events; a later Publish begins the topic anew.
//
// An event without data gets empty data, because some clients take over an ID
// from an event only; without a type, too, it is of the type "ssegin.end".
func (h *Hub) End(ctx context.Context, topic string, e Event) (id string, err error) {
	if err := checkTopic(topic); err != nil {
		return "", err
	}
	return h.append(ctx, topic, e, true)
}

func (h *Hub) append(ctx context.Context, topic string, e Event, end bool) (string, error) {
	h.mustBeMade()
	if ctx.Err() != nil {
		return "", fmt.Errorf("ssegin: not published: %w", context.Cause(ctx))
	}
	if e.ID != "" {
		return "", fmt.Errorf("%w: ID %q: the hub gives the IDs of its events, leave it empty", ErrInvalidEvent, clip(e.ID))
	}
	if err := e.check(); err != nil {
		return "", err
	}
	if end && e.Data == nil {
		e = endOf(e)
	}
	if h.isClosed() {
		return "", ErrClosed
	}
	if h.remote != nil {
		return h.remote.publish(ctx, topic, e, end)
	}
	block, err := e.block(maxIDTail, h.options.maxEventBytes)
	if err != nil {
		return "", err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return "", ErrClosed
	}
	id, t := h.log.append(addition{topic: topic, block: block, end: end, messageID: e.MessageID})
	if t == nil {
		h.mu.Unlock()
		return id, nil // it was there already
	}
	audience := h.call(t)
	h.published++
	h.mu.Unlock()
	notify(audience)
	h.options.observer.published(topic, len(block))
	return id, nil
}

// endOf gives an end without data what it takes to be an event: to some clients
// the ID of anything else says nothing.
func endOf(e Event) Event {
	if e.Type == "" {
		e.Type = typeEnd
	}
	e.Data = ""
	return e
}

// fewStreams are woken by the publisher itself: starting a goroutine for them
// would cost as much.
const fewStreams = 32

// call returns the cursors that the publisher is to wake. For a topic with many
// streams these are none: a goroutine wakes them, so that publishing takes the
// same time whatever the number of streams, and so that what is published while
// it is at it is covered by its next round instead of a round for each event.
func (h *Hub) call(t *topic) []*cursor {
	if len(t.cursors) <= fewStreams {
		return t.audience()
	}
	if !t.called {
		t.called = true
		h.called.push(t)
	}
	if !h.calling {
		h.calling = true
		go h.wake()
	}
	return nil
}

// wake wakes the streams of the topics that were called, until there are none.
func (h *Hub) wake() {
	for {
		h.mu.Lock()
		if h.called.length == 0 {
			h.calling = false
			h.mu.Unlock()
			return
		}
		t := h.called.pop()
		t.called = false
		audience := t.audience()
		h.mu.Unlock()
		notify(audience)
	}
}

func notify(audience []*cursor) {
	for _, c := range audience {
		c.waker.notify()
	}
}

// join registers c and puts it where a client with that last ID goes on. That
// is one step under the lock: what is appended before it is in the log that
// the verdict speaks of, and what is appended after it wakes c, so that there
// is neither a gap nor a duplicate between what is replayed and what is live.
// The rights to the topics were asked for after so many calls of Disconnect; if
// one since then was of these topics, the error is ErrDisconnected.
func (h *Hub) join(c *cursor, topics []string, asked uint64, lastID string) (verdict, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return verdict{}, ErrClosed
	}
	if h.log.unsure {
		return verdict{}, ErrUnavailable // it lost its place since arrive
	}
	if n := h.options.maxStreams; n > 0 && len(h.streams()) >= n {
		return verdict{}, fmt.Errorf("%w: the limit is %d", ErrTooManyStreams, n)
	}
	if n := h.options.maxStreamsPer; n > 0 && h.perKey[c.key] >= n {
		return verdict{}, fmt.Errorf("%w: the limit for each key is %d", ErrTooManyStreams, n)
	}
	v := h.log.join(c, topics, lastID)
	if h.overtaken(c, asked) {
		c.leave(h.log)
		return verdict{}, ErrDisconnected
	}
	if v.complete {
		c.leave(h.log)
		return v, nil
	}
	if h.options.maxStreamsPer > 0 {
		h.perKey[c.key]++
	}
	return v, nil
}

// leave takes a stream that joined out of the hub.
func (h *Hub) leave(c *cursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.leave(h.log)
	if h.options.maxStreamsPer > 0 {
		if h.perKey[c.key]--; h.perKey[c.key] == 0 {
			delete(h.perKey, c.key)
		}
	}
	h.settle()
}

// hold keeps Shutdown from returning before release is called.
func (h *Hub) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held++
}

func (h *Hub) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held--
	h.settle()
}

// settle tells Shutdown when there is nothing left to wait for. The lock must
// be held.
func (h *Hub) settle() {
	if h.closed && len(h.streams()) == 0 && h.held == 0 {
		close(h.drained)
	}
}

// take collects what is due to c. See memory.take.
func (h *Hub) take(c *cursor, b *batch) Reset {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if c.muted || c.behind {
		return Reset{}
	}
	reset := h.log.take(c, b)
	if b.events > 0 && h.options.observer.Delivered != nil {
		b.lag = time.Since(h.log.born) - b.oldest
	}
	return reset
}

// joined counts a stream that has joined.
func (h *Hub) joined(lastID string, v verdict) {
	if v.reset.Reason != "" {
		h.counters.resets.Add(1)
	}
	h.options.observer.opened(lastID != "" && v.reset.Reason == "", v.reset)
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
	if h == nil || h.log == nil {
		panic("ssegin: this Hub was not made by NewHub; neither a nil Hub nor the zero Hub can be used, not by Handler either")
	}
}

// isClosed reports whether Shutdown has begun.
func (h *Hub) isClosed() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.closed
}

// logger is where the hub and its streams report what they cannot do.
func (h *Hub) logger() *slog.Logger {
	if h.options.logger != nil {
		return h.options.logger
	}
	return slog.Default()
}

// streams are the cursors of all streams. The lock must be held.
func (h *Hub) streams() []*cursor { return h.log.topics[""].cursors }
