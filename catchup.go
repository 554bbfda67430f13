package ssegin

import (
	"context"
	"errors"
	"time"
)

// A catchUp gives a stream what is older than the memory of its hub, before it goes on
// as all streams do: first what a newcomer was granted, and then what pages have. It
// adds to the stream's turns and never waits; what it asks for rings the stream. While
// that writes, it holds what it writes, and no page.
type catchUp struct {
	session *session
	begun   time.Time
	held    int // bytes that were given to the stream, until its next turn

	granted granted // what is left of what a newcomer gets
	wish    *wish   // what that was; nil: nothing
	owed    *owed   // the reset that comes next, when what follows it has been read; nil: none does

	seeker *seeker           // nil: it needs no pages, or has not asked for one
	done   bool              // all up to the next mark has been given
	past   mark              // of the page that was given last
	ends   map[string]uint64 // positions of those ends that are the newest event of their topic so far
}

// An owed reset waits for what a newcomer gets after it, because what it says depends on
// that.
type owed struct {
	drop    context.CancelFunc
	verdict verdict
	read    chan struct{} // closed when the verdict is complete, or err is set
	err     error
}

// newCatchUp returns what gives a stream that has begun with that verdict what is older
// than memory, nil if there is nothing.
func newCatchUp(s *session, v verdict) *catchUp {
	if !v.behind && v.wish == nil {
		return nil
	}
	u := &catchUp{session: s, begun: time.Now()}
	if v.wish != nil {
		u.give(v)
	}
	return u
}

// give lets a newcomer have what it was granted before anything else.
func (u *catchUp) give(v verdict) {
	u.granted, u.wish = v.granted, v.wish
	u.granted.hold(1)
	u.timeline().pause(u.cursor())
}

// owes reports whether the stream's client is to be told of a gap before anything else. A
// sign of life would vouch for what it has missed.
func (u *catchUp) owes() bool { return u.owed != nil }

// next adds to a turn of the stream, after what its feed has said, what is older. That may
// be a heartbeat, in each turn where they come seldom; so it takes no turn of its own.
func (u *catchUp) next(b *batch, now time.Time) {
	u.hold(0)
	switch {
	case b.cause != nil:
		return // its client comes back for the rest
	case b.reset.Reason != "":
		u.end() // it goes on from that gap
		u.timeline().caughtUp(u.cursor())
		return
	case u.owed != nil:
		u.pay(b)
	case u.wish != nil:
		u.replay(b)
	case u.done:
		u.rejoin(b)
	default:
		u.seek(b)
	}
	if u.session.catching == u {
		u.hold(b.size())
	}
	if b.size() > 0 {
		u.session.feed.wrote = now
	}
}

// end is for a stream that needs no more of it, or is over.
func (u *catchUp) end() {
	u.hold(0)
	u.granted.hold(-1)
	u.granted = granted{}
	if u.seeker != nil {
		u.seeker.leave()
	}
	if u.owed != nil {
		u.owed.drop()
	}
	u.session.catching = nil
}

// carry moves the stream over what has nothing for it, so that a heartbeat says so.
func (u *catchUp) carry() {
	if u.seeker == nil || !u.seeker.waits {
		return
	}
	if at := u.seeker.place(); at != u.cursor().at {
		u.timeline().move(u.cursor(), at)
	}
}

// replay adds what fits into one write of what a newcomer gets.
func (u *catchUp) replay(b *batch) {
	events := u.granted.events
	if len(events) > 0 && !u.timeline().paused(u.cursor()) {
		return // it is to be told of a gap, once that is known
	}
	n, bytes := 0, 0
	for n < len(events) && (n == 0 || bytes+len(events[n].frame) <= writeBytes) {
		u.add(b, events[n])
		bytes += len(events[n].frame)
		n++
	}
	if n > 0 {
		u.cursor().fresh = false
		u.move(b.last) // a heartbeat must not vouch for the rest
	}
	clear(events[:n]) // what was given is not held any more
	b.more = true
	if u.granted.events = events[n:]; n < len(events) {
		return
	}
	before := u.wish.before
	u.granted.hold(-1)
	u.granted, u.wish = granted{}, nil
	if u.timeline().goOn(u.cursor()); u.session.poll() != nil || !u.timeline().fallBehind(u.cursor(), before) {
		u.end()
	}
}

// seek adds what fits into one write of a page, if there is one.
func (u *catchUp) seek(b *batch) {
	if u.seeker == nil {
		u.seeker, u.ends = newSeeker(u.cursor(), false, u.session.look), map[string]uint64{}
	}
	found, ready, err := u.session.hub.engine.older(u.cursor(), u.seeker)
	switch {
	case errors.Is(err, errInterrupted): // which the feed tells, once the log is known
	case err != nil:
		u.fail(b, err)
	case !ready:
	case found.why != "":
		u.reset(b, found.why)
	default:
		u.take(b, found)
	}
}

// take adds what fits into one write of a page.
func (u *catchUp) take(b *batch, found older) {
	p := found.page
	if topic := p.ended(found.from, u.seeker.topics); topic != "" {
		u.ends[topic] = p.events[found.from-1].at.position
	}
	due := p.due(found.from, found.to, u.seeker.topics, u.session.stream.options.conflate)
	bytes, n, room := 0, 0, u.session.hub.engine.room()
	for n < len(due) && (n == 0 || bytes+len(p.events[due[n]].frame) <= room) {
		bytes += len(p.events[due[n]].frame)
		n++
	}
	for _, i := range due[:n] {
		e := &p.events[i]
		delete(u.ends, e.topic)
		for _, topic := range e.others {
			delete(u.ends, topic)
		}
		if e.end {
			u.ends[e.topic] = e.at.position
		}
		u.add(b, e)
	}
	if n > 0 {
		u.move(b.last)
	}
	b.more = true
	u.done, u.past = n == len(due), p.events[found.to-1].at
}

// add adds an event to what is written. A large one comes alone, and is written from
// where the page has it. For a plain client control events are left out.
func (u *catchUp) add(b *batch, e *past) {
	b.events++
	b.last = e.at
	switch {
	case b.size() == 0 && len(e.frame) > writeBytes: // so it is no control event
		b.large = e.frame
	case !u.session.feed.plain || !isControl(e.frame):
		b.data = append(b.data, e.frame...)
	}
}

// move notes up to where the client has been given everything.
func (u *catchUp) move(at mark) {
	u.session.feed.sent = at
	u.timeline().move(u.cursor(), at)
}

// rejoin lets the stream go on from memory, if that reaches back far enough.
func (u *catchUp) rejoin(b *batch) {
	u.done = false
	joined, why, err := u.timeline().rejoin(u.cursor(), u.past, u.ends)
	switch {
	case errors.Is(err, errInterrupted): // which the feed tells, once the log is known
	case err != nil:
		u.fail(b, err)
	case why != "":
		u.reset(b, why)
	case joined:
		b.caughtUp, b.more = max(1, time.Since(u.begun)), true // zero means that it has not
		u.end()
	default:
		u.seek(b)
	}
}

// fail ends the stream.
func (u *catchUp) fail(b *batch, err error) {
	u.session.stream.end(err)
	b.cause = u.session.stream.over()
}

// reset makes a newcomer of the stream, because what its client missed is gone. If it
// gets something that has to be read, that goes on without the stream.
func (u *catchUp) reset(b *batch, why Reason) {
	engine := u.session.hub.engine
	u.seeker.leave()
	u.seeker = nil
	v := engine.skip(u.cursor(), why)
	if v.wish == nil {
		u.tell(b, v)
		return
	}
	u.timeline().pause(u.cursor())
	ctx, drop := context.WithCancel(context.Background())
	o := &owed{drop: drop, verdict: v, read: make(chan struct{})}
	u.owed = o
	u.timeline().run(func() {
		defer drop()
		o.err = engine.grant(ctx, u.cursor(), &o.verdict)
		close(o.read)
		u.session.look()
	})
}

// pay tells the reset that is owed, when what follows it has been read.
func (u *catchUp) pay(b *batch) {
	select {
	case <-u.owed.read:
	default:
		return
	}
	o := u.owed
	if u.owed = nil; o.err != nil {
		u.fail(b, o.err)
		return
	}
	u.tell(b, o.verdict)
}

// tell adds the reset, and goes on with what is granted after it.
func (u *catchUp) tell(b *batch, v verdict) {
	if v.reset.Reason == "" {
		u.fail(b, ErrDisconnected)
		return
	}
	b.reset, b.more = v.reset, true
	b.data = u.session.feed.appendReset(b.data, v.reset)
	if v.wish == nil {
		u.end()
	} else {
		u.give(v)
	}
}

// hold counts what the stream holds now in place of what it held before.
func (u *catchUp) hold(bytes int) {
	u.session.hub.engine.hold(bytes - u.held)
	u.held = bytes
}

func (u *catchUp) timeline() *timeline { return u.session.hub.timeline }
func (u *catchUp) cursor() *cursor     { return &u.session.cursor }
