package ssegin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// A catchUp gives a stream what is older than the memory of its hub, before it
// goes on as all streams do.
type catchUp struct {
	loop    loop
	session *session
	stream  *Stream
	feed    *feed
	topics  map[string]bool
	ends    map[string]uint64 // positions of those ends that are the newest event of their topic so far
}

func newCatchUp(s *session, loop loop) *catchUp {
	u := &catchUp{loop: loop, session: s, stream: s.stream, feed: &s.feed, topics: map[string]bool{}, ends: map[string]uint64{}}
	for i := range u.session.cursor.places {
		u.topics[u.session.cursor.places[i].topic.name] = true
	}
	return u
}

// run returns true when the stream has all that there was, and false when it is
// over before that.
func (u *catchUp) run() bool {
	s, c, f := u.stream, &u.session.cursor, u.feed
	ctx := s.Context()
	if !f.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, f.until)
		defer cancel()
	}
	begin := pageOf(c.at.position)
	for {
		beat, stop := context.WithTimeout(ctx, f.rest(time.Now()))
		page, err := u.session.hub.engine.older(beat, c, begin)
		stop()
		if page.ended != "" && u.topics[page.ended] {
			u.ends[page.ended] = c.at.position
		}
		switch {
		case u.over():
			return false
		case err != nil && beat.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable):
			continue // it was time for a heartbeat
		case err != nil:
			s.end(err)
			return false
		case page.why != "":
			return u.reset(page.why)
		case !u.write(u.mine(page.events)):
			return false
		}
		joined, why, err := u.session.hub.timeline.rejoin(c, page.events[len(page.events)-1].at, u.ends)
		switch {
		case err != nil:
			s.end(err)
			return false
		case why != "":
			return u.reset(why)
		case joined:
			return true
		}
		begin = c.at.position
	}
}

// over reports whether the stream is over. What is to be said then has been.
func (u *catchUp) over() bool {
	_, over := u.loop.turn(time.Now())
	return over
}

// mine returns the events that are for this stream.
func (u *catchUp) mine(events []past) (mine []past) {
	newest := map[string]int{}
	for _, e := range events {
		if !u.topics[e.topic] || e.frame == nil {
			continue
		}
		delete(u.ends, e.topic)
		if e.end {
			u.ends[e.topic] = e.at.position
		}
		newest[e.topic] = len(mine)
		mine = append(mine, e)
	}
	if !u.stream.options.conflate {
		return mine
	}
	indices := slices.Sorted(maps.Values(newest))
	for i, index := range indices {
		mine[i] = mine[index]
	}
	return mine[:len(indices)]
}

// write writes the events, in as few writes as a stream makes of them later.
func (u *catchUp) write(events []past) bool {
	for len(events) > 0 {
		n := u.writeBatch(events)
		if n == 0 {
			return false
		}
		events = events[n:]
	}
	return true
}

// writeBatch writes the first events in one write. It returns how many these were,
// or zero when the stream is over.
func (u *catchUp) writeBatch(events []past) (n int) {
	b := newBatch(0)
	defer b.release()
	if first := events[0].frame; len(first) > writeBytes { // so it is no control event
		b.large, n = first, 1
	}
	for b.large == nil && n < len(events) && len(b.data)+len(events[n].frame) <= writeBytes {
		if !u.feed.plain || !isControl(events[n].frame) {
			b.data = append(b.data, events[n].frame...)
		}
		n++
	}
	b.events, b.last = n, events[n-1].at
	if !u.send(b) {
		return 0
	}
	u.feed.sent = b.last
	u.session.hub.timeline.move(&u.session.cursor, b.last)
	return n
}

// reset tells the client that what it missed is gone.
func (u *catchUp) reset(why Reason) bool {
	s := u.stream
	b := newBatch(0)
	defer b.release()
	if b.reset = u.session.hub.timeline.skip(&u.session.cursor, why); b.reset.Reason == "" {
		s.end(ErrDisconnected)
		return false
	}
	b.data = u.feed.appendReset(b.data, b.reset)
	if !u.send(b) {
		return false
	}
	u.session.tell(b.reset)
	return s.over() == nil
}

func (u *catchUp) send(b *batch) bool {
	now := time.Now()
	if u.over() || u.loop.write(b, now) != nil {
		return false
	}
	u.feed.wrote = now
	return true
}
