package ssegin

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// A cursor is a stream's place in the log of its hub. It has no queue: what
// the stream has yet to write lies between its position and the head.
type cursor struct {
	waker  waker
	stream endable
	key    string // that of WithMaxStreamsPer

	// What follows is guarded by the timeline's lock.
	at      mark     // everything due up to here has been taken
	life    *life    // of the log in which that was
	places  []place  // in the order of their topics' serials, so the first is in that of broadcasts
	few     [2]place // where places are, if they fit
	state   state
	unended bool // some topic had not ended at the last look, and no end has come since

	fresh    bool // what it is given next is what a newcomer gets: no ID vouches for that before its first event
	behind   bool // it is one of timeline.behind
	arriving bool // it is one of timeline.arriving

	conflate bool    // set once, like the next one
	replay   *Replay // what it gets as a newcomer; nil: nothing
}

// A state says what a cursor is given next. A cursor is in exactly one, and these
// are all the ways from one to another:
//
//	from                              to           by
//	absent                            live         memory.join: what it missed is in memory, or gone
//	absent                            waiting      memory.join: what it missed is older than memory
//	waiting                           catchingUp   timeline.begin: the page is there
//	catchingUp                        waiting      timeline.await: it needs the next page
//	catchingUp                        live         memory.rejoin: memory reaches back to its place
//	live                              waiting      timeline.pause: a newcomer is given what is older first
//	waiting                           live         timeline.goOn: it has been
//	live                              waiting      timeline.fallBehind: what follows has left memory meanwhile
//	live, waiting, catchingUp         interrupted  memory.beginLife: the log has another life
//	interrupted                       live, mute   memory.take: its reset is told
//	interrupted                       live, mute   memory.skip: the same
//	waiting, catchingUp               live         memory.skip: no page will do, its reset is told
//	any but absent                    mute         timeline.disconnect
//	any                               absent       cursor.leave
//
// No state needs a goroutine: a live cursor is woken by its waker, and so is one that
// waits, when its page is there.
type state uint8

const (
	absent      state = iota // in no topic: it has not joined yet, or has left
	live                     // memory has what is due to it, and its waker rings for more
	waiting                  // the page with its next events is not there yet
	catchingUp               // it is being given a page
	interrupted              // what it was to be given is of another life of the log, so it gets a reset next
	mute                     // nothing is due to it any more
)

// fewPlaces is up to how many of a cursor's places are simply looked at one by
// one. A cursor may have a thousand and more, and must cost little more than one
// with a single topic when one event comes.
const fewPlaces = 16

// A waker tells a stream to look at the log. It never waits.
type waker interface {
	notify()
}

// A bell is the waker of a stream that has a goroutine. It holds one wake-up:
// when there is one already, the stream has yet to look, and will see
// everything.
type bell chan struct{}

func (b bell) notify() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// endable is what a hub can do to a stream, from any goroutine, without
// waiting for it.
type endable interface {
	end(cause error)          // finish what is being written, and go
	silent() bool             // no heartbeats for now
	cut()                     // fail what is being written
	Context() context.Context // ends with the stream; made for those who ask
}

// A place is where a cursor stands in one of its topics.
type place struct {
	topic *topic
	next  uint64 // ordinal, within the topic, of the first event not yet taken
	slot  int    // of the cursor in topic.cursors
}

// follow puts c into the topic of broadcasts and into those others, of which
// none may come twice.
func (c *cursor) follow(m *memory, others []*topic) {
	broadcasts := m.topics[""]
	c.places = append(slices.Grow(c.few[:0], 1+len(others)), place{topic: broadcasts, slot: broadcasts.add(c)})
	for _, t := range others {
		c.places = append(c.places, place{topic: t, slot: t.add(c)})
		if len(t.cursors) == 1 {
			m.changedAudience(t)
		}
	}
	if len(c.places) > fewPlaces {
		slices.SortFunc(c.places, func(a, b place) int { return cmp.Compare(a.topic.serial, b.topic.serial) })
	}
}

// place returns where c stands in t, nil if it does not follow t.
func (c *cursor) place(t *topic) *place {
	if len(c.places) > fewPlaces {
		i, found := slices.BinarySearchFunc(c.places, t.serial, func(p place, serial uint64) int { return cmp.Compare(p.topic.serial, serial) })
		if !found || c.places[i].topic != t {
			return nil
		}
		return &c.places[i]
	}
	for i := range c.places {
		if c.places[i].topic == t {
			return &c.places[i]
		}
	}
	return nil
}

// context ends when nobody wants what c is given any more.
func (c *cursor) context() context.Context { return c.stream.Context() }

// leave takes c out of its topics.
func (c *cursor) leave(m *memory) {
	for i := range c.places {
		p := &c.places[i]
		if p.topic.remove(p.slot); len(p.topic.cursors) == 0 {
			m.changedAudience(p.topic)
		}
		m.forget(p.topic)
	}
	c.places, c.state = nil, absent
}

// errInterrupted says that a cursor is to be told of another life of the log. It is told
// to nobody.
var errInterrupted = errors.New("ssegin: the log has become another one")

// interruption is why c, which waits for a page or is given one, can have no more
// of it: the log has another life, or nothing is due to c any more.
func (c *cursor) interruption() error {
	switch c.state {
	case interrupted:
		return errInterrupted
	case mute, absent:
		return ErrDisconnected
	default:
		return nil
	}
}

// resume lets c go on in the life of the log that has begun, if it follows no topics.
// If it does, nobody knows whether an entry that this process has not seen was to end its
// stream, so nothing more is due to it, but for the reset.
func (c *cursor) resume(m *memory) {
	if c.life, c.state = m.life, live; len(c.places) > 1 {
		c.state = mute
	}
}

// seek moves c to just after that event.
func (c *cursor) seek(at mark) {
	c.at, c.unended, c.fresh = at, false, false
	for i := range c.places {
		t := c.places[i].topic
		c.places[i].next = t.departed + uint64(t.indexAfter(at.position))
	}
}

// appendDue appends the places that have events due: most often one, however
// many topics there are.
func (c *cursor) appendDue(due []*place) []*place {
	for i := range c.places {
		if p := &c.places[i]; p.due() > 0 {
			due = append(due, p)
		}
	}
	return due
}

// due counts the retained events that c has not taken.
func (c *cursor) due() (n int) {
	for i := range c.places {
		n += c.places[i].due()
	}
	return n
}

// missed counts the events that have left the history before c took them. A
// cursor that conflates misses nothing while the topic has a newer event.
func (c *cursor) missed() (n int) {
	for i := range c.places {
		p := &c.places[i]
		if p.next >= p.topic.departed {
			continue
		}
		if !c.conflate || p.topic.events.length == 0 {
			n += int(p.topic.departed - p.next)
		}
		p.next = p.topic.departed
	}
	return n
}

// lags reports whether events have left the history before c took them, as missed counts
// them.
func (c *cursor) lags() bool {
	return slices.ContainsFunc(c.places, func(p place) bool {
		return p.next < p.topic.departed && (!c.conflate || p.topic.events.length == 0)
	})
}

// misses reports whether an event of t that has left the history is one that c
// ought to have been given. Of a topic that is forgotten, nil, it is none.
func (c *cursor) misses(t *topic) bool {
	if t == nil {
		return false
	}
	p := c.place(t)
	return p != nil && !p.replaced(c)
}

// replaced reports whether c, because it conflates, misses nothing of the topic's
// past: there is a newer event.
func (p *place) replaced(c *cursor) bool { return c.conflate && p.due() > 0 }

// ended reports whether c has topics and all of them have ended.
func (c *cursor) ended() bool {
	for i := 1; i < len(c.places); i++ {
		if !c.places[i].topic.ended {
			return false
		}
	}
	return len(c.places) > 1
}

// newest is the position of the newest event of the topics of c, without the
// broadcasts.
func (c *cursor) newest() (position uint64) {
	for i := 1; i < len(c.places); i++ {
		position = max(position, c.places[i].topic.last)
	}
	return position
}

// skip moves p to the newest event of its topic.
func (p *place) skip() {
	if n := p.due(); n > 1 {
		p.next = max(p.next, p.topic.departed) + uint64(n-1)
	}
}

// due counts the retained events of the topic that have not been taken.
func (p *place) due() int {
	return int(p.topic.departed) + p.topic.events.length - int(max(p.next, p.topic.departed))
}

// position is that of the oldest event due: there must be one. Those that have
// left the history before they were taken are not.
func (p *place) position() uint64 {
	return p.event().position
}

// event is the oldest one due: there must be one.
func (p *place) event() *event {
	return p.topic.events.at(int(max(p.next, p.topic.departed) - p.topic.departed))
}

// due are the places of one cursor that have events due, as a heap: the first
// has the oldest. Taking the events of many topics in their order so costs what
// is taken, and not for each event a look at every topic.
type due []*place

// newDue orders the places.
func newDue(places []*place) due {
	d := due(places)
	for i := len(d)/2 - 1; i >= 0; i-- {
		d.sink(i)
	}
	return d
}

// next moves the first place past its oldest event. The place leaves when that
// was its last one.
func (d *due) next() {
	p := (*d)[0]
	if p.next++; p.due() == 0 {
		last := len(*d) - 1
		(*d)[0] = (*d)[last]
		*d = (*d)[:last]
	}
	d.sink(0)
}

// sink puts the place at i where it belongs among those below it.
func (d due) sink(i int) {
	for {
		child := 2*i + 1
		if child >= len(d) {
			return
		}
		if right := child + 1; right < len(d) && d[right].position() < d[child].position() {
			child = right
		}
		if d[i].position() <= d[child].position() {
			return
		}
		d[i], d[child] = d[child], d[i]
		i = child
	}
}
