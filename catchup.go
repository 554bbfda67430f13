package ssegin

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// past returns events after the place of c, which is behind, or the reason why
// there are none any more. The engine may be ahead of the memory; what is not
// there yet comes from there, so that nothing comes twice.
func (h *Hub) past(ctx context.Context, c *cursor, begin uint64) (events []past, ended string, why Reason, err error) {
	events, ended, why, err = h.remote.backlog.after(ctx, c.life, c.at, begin)
	h.mu.RLock()
	defer h.mu.RUnlock()
	if c.life != h.log.life {
		return nil, "", h.log.life.why, nil
	}
	n := len(events)
	for n > 0 && events[n-1].at.position > h.log.head.position {
		n--
	}
	return events[:n], ended, why, err
}

// pageOf is where the page begins in which everybody looks for a position first.
func pageOf(position uint64) uint64 { return position - position%pageEvents }

// forgo moves c, which is behind, to the head.
func (h *Hub) forgo(c *cursor, why Reason) Reset {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.behind, c.life = false, h.log.life
	return h.log.restart(c, Reset{why, -1}).reset
}

// advance moves c, which is behind, to what it was given last.
func (h *Hub) advance(c *cursor, at mark) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	c.at = at
}

// rejoin lets c, which is behind and has been given everything up to that mark,
// go on from memory, if that reaches back so far. The engine may have been rolled
// back since the memory was filled: then that is the reason why c cannot go on.
func (h *Hub) rejoin(c *cursor, at mark, ends map[string]uint64) (joined bool, why Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := h.log
	c.at = at
	switch {
	case c.life != m.life:
		return false, m.life.why
	case at.position < m.floor.position:
		return false, ""
	case !at.is(m.check(at.position)):
		return false, ReasonEpoch
	case m.torn(at):
		return false, ReasonExpired
	}
	c.behind = false
	c.seek(at)
	for topic, position := range ends {
		m.learn(topic, position)
	}
	return true, ""
}

// A catchUp gives a stream what is older than the memory of its hub, before it
// goes on as all streams do.
type catchUp struct {
	stream *Stream
	feed   *feed
	topics map[string]bool
	ends   map[string]uint64 // positions of those ends that are the newest event of their topic so far
}

// catchUp returns true when the stream has all that there was, and false when it
// is over before that.
func (s *Stream) catchUp(request context.Context, f *feed) bool {
	u := catchUp{stream: s, feed: f, topics: map[string]bool{}, ends: map[string]uint64{}}
	for i := range s.cursor.places {
		u.topics[s.cursor.places[i].topic.name] = true
	}
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	defer context.AfterFunc(request, cancel)() // a stream that is to be detached does not watch it
	if !f.until.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, f.until)
		defer cancel()
	}
	begin := pageOf(s.cursor.at.position)
	for {
		beat, stop := context.WithTimeout(ctx, f.rest(time.Now()))
		events, ended, reason, err := s.hub.past(beat, s.cursor, begin)
		stop()
		if ended != "" && u.topics[ended] {
			u.ends[ended] = s.cursor.at.position
		}
		switch {
		case u.over():
			return false
		case err != nil && beat.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable):
			continue // it was time for a heartbeat
		case err != nil:
			s.end(err)
			return false
		case reason != "":
			return u.reset(reason)
		case !u.write(u.mine(events)):
			return false
		}
		joined, reason := s.hub.rejoin(s.cursor, events[len(events)-1].at, u.ends)
		if reason != "" {
			return u.reset(reason)
		}
		if joined {
			return true
		}
		begin = s.cursor.at.position
	}
}

// over reports whether the stream is over. What is to be said then has been.
func (u *catchUp) over() bool {
	_, over := u.stream.step(u.feed, time.Now())
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
		b := newBatch(0)
		for len(events) > 0 && (b.events == 0 || len(b.data)+len(events[0].frame) <= writeBytes) {
			b.data = append(b.data, events[0].frame...)
			b.events++
			b.last = events[0].at
			events = events[1:]
		}
		if !u.send(b) {
			return false
		}
		u.feed.sent = b.last
		u.stream.hub.advance(u.stream.cursor, b.last)
		b.release()
	}
	return true
}

// reset tells the client that what it missed is gone.
func (u *catchUp) reset(why Reason) bool {
	s := u.stream
	b := newBatch(0)
	defer b.release()
	b.reset = s.hub.forgo(s.cursor, why)
	b.data = u.feed.appendReset(b.data, b.reset)
	if !u.send(b) {
		return false
	}
	if s.options.onReset != nil {
		s.options.onReset(s, b.reset)
	}
	return true
}

func (u *catchUp) send(b *batch) bool {
	now := time.Now()
	if u.over() || u.stream.writer.send(b.data, now) != nil {
		return false
	}
	u.feed.wrote = now
	u.stream.hub.wrote(b)
	return true
}
