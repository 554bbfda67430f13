package ssegin

import (
	"context"
	"errors"
	"time"
)

// A catchUp gives a stream what is older than the memory of its hub, before it
// goes on as all streams do. While it writes, it holds what it writes, and no page.
type catchUp struct {
	loop    loop
	session *session
	stream  *Stream
	feed    *feed
	seeker  *seeker
	ends    map[string]uint64 // positions of those ends that are the newest event of their topic so far
}

func newCatchUp(s *session, loop loop) *catchUp {
	return &catchUp{loop: loop, session: s, stream: s.stream, feed: &s.feed, seeker: newSeeker(&s.cursor, false), ends: map[string]uint64{}}
}

// run returns true when the stream has all that there was, and false when it is
// over before that.
func (u *catchUp) run() bool {
	begun := time.Now()
	ctx := u.stream.Context()
	if until := u.feed.until; !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	poll := u.session.poll()
	if poll == nil && u.stream.writer.FlushError() != nil { // the opening is not to wait for what may take long
		return false
	}
	for {
		beat, stop := context.WithTimeout(ctx, u.feed.rest(time.Now()))
		b, why, err := u.next(beat)
		stop()
		switch {
		case u.over():
			return false
		case err != nil && beat.Err() != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable):
			if u.session.hub.timeline.isLive(&u.session.cursor) {
				return true // the turn has told it of a gap
			}
			continue // it was time for a heartbeat
		case err != nil:
			u.stream.end(err)
			return false
		case u.session.hub.timeline.isLive(&u.session.cursor):
			return true
		case why != "":
			return u.reset(why)
		case b.events > 0 && (!u.write(b) || poll != nil): // a poll has its batch
			return false
		case b.more:
			continue
		}
		joined, why, err := u.session.hub.timeline.rejoin(&u.session.cursor, b.past, u.ends)
		switch {
		case err != nil:
			u.stream.end(err)
			return false
		case why != "":
			return u.reset(why)
		case joined:
			u.session.hub.options.observer.caughtUp(time.Since(begun))
			return true
		}
	}
}

// over reports whether the stream is over. What is to be said then has been.
func (u *catchUp) over() bool {
	_, over := u.loop.turn(time.Now())
	return over
}

// An excerpt is what one write takes of a page.
type excerpt struct {
	*batch
	past mark // everything due up to here is in it, and in what was written before
}

// next waits for a page, and returns what one write takes of it.
func (u *catchUp) next(ctx context.Context) (excerpt, Reason, error) {
	found, err := u.session.hub.engine.older(ctx, &u.session.cursor, u.seeker)
	if found.why != "" {
		err = u.session.hub.timeline.wait(ctx, (*tail).isSure) // or the reset would have an ID that proves nothing
	}
	if found.why != "" || err != nil {
		return excerpt{}, found.why, err
	}
	p := found.page
	if topic := p.ended(found.from, u.seeker.topics); topic != "" {
		u.ends[topic] = p.events[found.from-1].at.position
	}
	due := p.due(found.from, found.to, u.seeker.topics, u.stream.options.conflate)
	bytes, n, room := 0, 0, u.session.hub.engine.room()
	for n < len(due) && (n == 0 || bytes+len(p.events[due[n]].frame) <= room) {
		bytes += len(p.events[due[n]].frame)
		n++
	}
	return excerpt{u.take(p, due[:n], bytes, n < len(due)), p.events[found.to-1].at}, "", nil
}

// take takes these events of a page.
func (u *catchUp) take(p *page, due []int, bytes int, more bool) *batch {
	b := &batch{events: len(due), more: more} // none of the pooled ones: a slow stream holds it for long
	if len(due) == 1 && bytes > writeBytes {  // so it is no control event
		b.large = p.events[due[0]].frame
	} else {
		b.data = make([]byte, 0, bytes)
	}
	for _, i := range due {
		e := &p.events[i]
		delete(u.ends, e.topic)
		for _, topic := range e.others {
			delete(u.ends, topic)
		}
		if e.end {
			u.ends[e.topic] = e.at.position
		}
		if b.large == nil && (!u.feed.plain || !isControl(e.frame)) {
			b.data = append(b.data, e.frame...)
		}
		b.last = e.at
	}
	return b
}

// write writes a batch, and reports whether the stream goes on.
func (u *catchUp) write(e excerpt) bool {
	size := e.size()
	u.session.hub.engine.hold(size)
	defer u.session.hub.engine.hold(-size)
	if !u.send(e.batch) {
		return false
	}
	u.feed.sent = e.last
	u.session.hub.timeline.move(&u.session.cursor, e.last)
	return true
}

// reset tells the client that what it missed is gone, and gives it what a newcomer gets.
func (u *catchUp) reset(why Reason) bool {
	s := u.stream
	b := newBatch(0)
	defer b.release()
	v := u.session.hub.engine.skip(&u.session.cursor, why)
	if b.reset = v.reset; b.reset.Reason == "" {
		s.end(ErrDisconnected)
		return false
	}
	b.data = u.feed.appendReset(b.data, b.reset)
	if !u.send(b) {
		return false
	}
	u.session.tell(b.reset)
	return s.over() == nil && u.session.give(u.loop, v.granted)
}

func (u *catchUp) send(b *batch) bool {
	now := time.Now()
	u.feed.wrote = now
	return u.loop.write(b, now) == nil
}
