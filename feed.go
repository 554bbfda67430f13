package ssegin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// A pace is what an application has set of the times of a stream.
type pace struct {
	heartbeat  time.Duration // zero: none
	beat       []byte        // what a heartbeat is
	retry      time.Duration
	retryAsked bool          // the application has asked for it; it is not the default
	away       time.Duration // for which a client that is sent away stays away at the least, where that is more than retry
}

// farewell is the reconnection time of a client that is sent away.
func (p *pace) farewell() time.Duration {
	away := max(orDefault(p.retry, defaultRetry), p.away)
	return spread(away, away)
}

// A feed decides what a stream of a hub writes next: events, a reset, a
// heartbeat, a farewell. It does no I/O, knows no clock and waits for nothing.
type feed struct {
	timeline *timeline
	cursor   *cursor
	hub      *hubOptions
	pace     *pace
	plain    bool // the client takes each block for the application's, so it gets no other

	sent  mark      // what the client knows from the last ID it was sent
	wrote time.Time // when there was last something to write
	until time.Time // when the stream's time is over; zero: never
	over  error     // the cause of that end
}

// newFeed returns the feed of a stream whose cursor has joined at now.
func newFeed(t *timeline, c *cursor, o *hubOptions, p *pace, plain bool, now time.Time) *feed {
	return &feed{timeline: t, cursor: c, hub: o, pace: p, plain: plain, sent: c.at, wrote: now}
}

// opening is what the stream begins with: the reconnection time, an ID for clients
// that have seen no event yet, and the reset if they are due one. In front of a reset
// the first block has the client's own ID, or one that is cut in between would never be
// told. The block is there all the same, because WebKit goes on with the half of a block
// in which its last response broke: it loses the line that comes first, and keeps the ID
// of that half, unless there is another one.
//
// A newcomer to whom a replay is due gets no ID before the first event of that: if it is
// cut in between, it is to come back as a newcomer. The empty ID says so to a WebKit that
// has kept the half of that first event from its last response.
//
// A plain client gets the reconnection time only, and that if the application has asked
// for it: as a line that joins the first event.
func (f *feed) opening(v verdict, lastID string) (b []byte) {
	switch {
	case f.plain && !f.pace.retryAsked:
		return append(b, heartbeat...)
	case f.plain:
		return appendRetry(b, f.pace.retry)
	case v.reset.Reason != "":
		return f.appendReset(appendOwn(appendRetry(b, f.pace.retry), typeCursor, lastID), v.reset)
	}
	return f.appendCursor(appendRetry(b, f.pace.retry))
}

// next fills b with what is due at now; cause is why the stream is to end, nil
// if it is not. When b.cause is set, the stream ends after b.
func (f *feed) next(now time.Time, cause error, b *batch) {
	if b.cause = cause; cause == nil {
		b.cause = f.overdue(now)
	}
	if b.cause != nil && !polite(b.cause) {
		return
	}
	f.collect(b)
	polled := errors.Is(b.cause, ErrPolled)
	switch {
	case b.more && (polled || errors.Is(b.cause, ErrShutdown)):
		b.cause = nil // what is due comes first: the log goes with the hub, and a poll's answer has room
	case b.ended && (polled || b.cause == nil):
		b.cause = ErrEnded
	case polled:
		f.appendPosition(b)
	case f.pace.away > 0 && errors.Is(b.cause, ErrLagged): // who polls comes back soon enough as it is
	case b.cause != nil && !f.plain:
		b.data = appendRetry(b.data, f.pace.farewell()) // a drain has spread the ends already
	}
	if h := f.pace.heartbeat; h > 0 && b.size() == 0 && now.Sub(f.wrote) >= h {
		f.appendHeartbeat(b)
		f.wrote = now // also when it is withheld
	}
	if b.size() > 0 {
		f.wrote = now
	}
}

// withhold is next while the client may be told nothing that has an ID. It is sent away
// like any other.
func (f *feed) withhold(now time.Time, cause error, b *batch) {
	f.wrote = now // as if it was a heartbeat that is withheld
	b.cause = cmp.Or(cause, f.overdue(now))
	if b.cause != nil && polite(b.cause) && !errors.Is(b.cause, ErrPolled) && !f.plain {
		b.data = appendRetry(b.data, f.pace.farewell())
	}
}

// overdue is the cause of the end of a stream whose time is over, nil of others.
func (f *feed) overdue(now time.Time) error {
	if f.until.IsZero() || now.Before(f.until) {
		return nil
	}
	return f.over
}

// polite reports whether a stream that ends for this cause is given more, if anything
// is due to it still, and a moment for its return.
func polite(cause error) bool {
	for _, graceful := range []error{ErrPolled, ErrShutdown, ErrMaxAge, context.DeadlineExceeded, errDoubtful} {
		if errors.Is(cause, graceful) {
			return true
		}
	}
	return false
}

// collect takes what is due from the log and copies it, outside of the lock.
func (f *feed) collect(b *batch) {
	b.reset = f.timeline.take(f.cursor, b, f.hub.observer.Delivered != nil)
	if b.reset.Reason == ReasonLagged && f.hub.log != nil {
		b.lagged, b.reset, b.cause = b.reset, Reset{}, ErrLagged // the engine has what was missed, for who comes back
		return
	}
	if b.reset.Reason != "" {
		b.data = f.appendReset(b.data, b.reset)
		b.more = true
		return
	}
	if b.events == 0 {
		return
	}
	b.copy(f.plain)
	f.sent = b.last
}

// rest is how long next has nothing to say after now, unless it is woken.
func (f *feed) rest(now time.Time) time.Duration {
	rest := time.Duration(math.MaxInt64)
	if f.pace.heartbeat > 0 {
		rest = f.wrote.Add(f.pace.heartbeat).Sub(now)
	}
	if !f.until.IsZero() {
		rest = min(rest, f.until.Sub(now))
	}
	return rest
}

// appendHeartbeat adds a sign of life: the position, when it has moved past
// events for others, so that it does not expire while the stream is quiet.
func (f *feed) appendHeartbeat(b *batch) {
	if f.cursor.stream.silent() {
		return
	}
	if !f.plain && f.cursor.at != f.sent {
		f.sent = f.cursor.at
		b.data = f.appendCursor(b.data)
		if string(f.pace.beat) == heartbeat {
			return
		}
	}
	b.data = append(b.data, f.pace.beat...)
}

// appendPosition ends a poll that has waited for nothing: the position may have moved
// past events for others. The header tells a plain client of it.
func (f *feed) appendPosition(b *batch) {
	if b.events > 0 || f.cursor.at == f.sent {
		return
	}
	if f.sent = f.cursor.at; !f.plain {
		b.data = f.appendCursor(b.data)
	}
}

// appendReset adds the event that tells of a gap. A plain client has to be told in
// another way.
func (f *feed) appendReset(b []byte, reset Reset) []byte {
	if f.sent = f.cursor.at; f.plain {
		return b
	}
	data, _ := json.Marshal(reset) // a struct of a string and a number always encodes
	b = append(b, "event: "+typeReset+"\ndata: "...)
	b = append(b, data...)
	b = append(b, '\n')
	if !f.cursor.fresh { // or the first event of the replay has the ID
		b = f.appendID(b, f.sent)
	}
	return append(b, '\n')
}

// appendCursor adds a block that moves the client's last ID and says nothing
// else. An ID alone would do (WHATWG HTML §9.2.6), but Firefox, WebKit and some
// clients on npm take over no ID from a block without data. A page that has no
// listener for the type does not see it.
func (f *feed) appendCursor(b []byte) []byte {
	b = append(b, "event: "+typeCursor+"\ndata: {}\n"...)
	if f.cursor.fresh {
		return append(b, "id:\n\n"...)
	}
	return append(f.appendID(b, f.sent), '\n')
}

// appendOwn adds a control event that leaves the client its own last ID, if that may be
// sent back.
func appendOwn(b []byte, kind, lastID string) []byte {
	b = append(b, "event: "+kind+"\ndata: {}\n"...)
	if isClean(lastID) {
		b = appendField(b, "id: ", lastID)
	}
	return append(b, '\n')
}

// lastEventID is the ID of the place up to which the client has seen everything.
func (f *feed) lastEventID() string { return string(appendID(nil, f.cursor.life.epoch, f.sent)) }

// appendID adds an ID field.
func (f *feed) appendID(b []byte, at mark) []byte {
	b = append(b, "id: "...)
	b = appendID(b, f.cursor.life.epoch, at)
	return append(b, '\n')
}

// spread gives each client a time of its own, so that those who were sent away
// together do not come back together.
func spread(retry, over time.Duration) time.Duration {
	return retry + rand.N(over).Truncate(time.Millisecond) // what is sent is rounded up
}
