package ssegin

import (
	"time"
)

// A memory is the default log, and the recent end of one that lies in an
// engine: a ring of the newest events, bounded by their number, bytes and age,
// with an index by topic, so that a stream pays for the events of its own topics
// only. It is plain data; the timeline's lock guards it.
type memory struct {
	life   *life
	born   time.Time // what the times of events are counted from, so that clock steps do not matter
	limits history
	tail   bool // an engine has what has left
	unsure bool // and has yet to say what the event at the head is: nobody may be told of that place

	events ring[event]
	head   mark // the newest event; events holds the newest ones up to it
	floor  mark // the newest event that has left
	bytes  int  // of the frames in events
	topics map[string]*topic
	serial uint64          // of the newest topic
	widest int             // the most topics since the map was made
	sent   map[string]mark // the events that have a message ID, by it
	void   topic           // of positions without an event for anybody

	// departed says of what topics the events were that left last, so that a
	// client can be told how many it missed; ended keeps the topics that have
	// ended known for a while, whether or not their events are still here.
	departed ring[departure]
	ended    ring[ending]
}

// A life of a log is a time in which each event follows the one before. A
// cursor that is in an earlier life than its log is told that there is a gap.
// It never changes.
type life struct {
	epoch  string
	why    Reason // of the gap before it
	number uint64 // in the order of their beginnings
}

// history bounds a log; whichever bound is reached first counts.
type history struct {
	events int
	bytes  int
	age    time.Duration
}

// An event is a retained event. Its frame is the whole block as it goes on the
// wire, the same bytes for every stream.
type event struct {
	frame     []byte
	topic     *topic
	at        time.Duration // since the log was born
	check     check
	messageID string
}

// A departure is a run of events of one topic that left one after the other.
type departure struct {
	topic string
	last  uint64 // position of the last one; the run begins where the one before ended
}

// An ending remembers when a topic ended.
type ending struct {
	topic *topic
	at    time.Duration
}

// maxDepartures bounds what is known of events that are gone: beyond it, a
// client is told that the number is not known.
const maxDepartures = 1024

func newMemory(limits history) *memory {
	return &memory{
		life:   &life{epoch: newEpoch()},
		born:   time.Now(),
		limits: limits,
		topics: map[string]*topic{"": {}},
		sent:   map[string]mark{},
	}
}

func (m *memory) event(position uint64) *event {
	return m.events.at(int(position - m.floor.position - 1))
}

// check returns that of the event at a position that is not before the floor.
func (m *memory) check(position uint64) check {
	if position == m.floor.position {
		return m.floor.check
	}
	return m.event(position).check
}

func (m *memory) id(at mark) string { return string(appendID(nil, m.life.epoch, at)) }

// An addition is what is to be kept of an event.
type addition struct {
	topic     string
	block     []byte // without the ID and the blank line, and with room for them
	end       bool
	check     check
	messageID string // empty: the event cannot come twice
}

// append gives the event the next position, which ends its block as its ID, and
// keeps it. It returns the ID and the topic, whose streams are to be woken. Of an
// event that is there already it returns the ID alone.
func (m *memory) append(a addition) (id string, t *topic) {
	if a.messageID != "" {
		m.trim(time.Since(m.born))
		if at, twice := m.sent[a.messageID]; twice {
			return m.id(at), nil
		}
	}
	m.head = mark{m.head.position + 1, a.check}
	frame := appendTail(a.block, m.life.epoch, m.head)
	id = view(frame[len(a.block)+len("id: ") : len(frame)-len("\n\n")])

	t = m.topic(a.topic)
	t.last, t.ended = m.head.position, a.end
	if a.messageID != "" {
		m.sent[a.messageID] = m.head
	}
	now := m.keep(event{frame: frame, topic: t, check: a.check, messageID: a.messageID})
	if a.end {
		t.endings++
		m.ended.push(ending{t, now})
	}
	m.trim(now)
	return id, t
}

// pass gives the next position to nothing that anybody could be sent.
func (m *memory) pass(c check) {
	m.head = mark{m.head.position + 1, c}
	m.trim(m.keep(event{topic: &m.void, check: c}))
}

// meet is told what the event at the head is, and reports whether that is what
// it was. Of a head that is not in memory it learns it.
func (m *memory) meet(c check) bool {
	if m.unsure {
		m.unsure = false
		m.head.check, m.floor.check = c, c
	}
	return m.head.check == c
}

// keep adds the event at the head to the ring and to the index.
func (m *memory) keep(e event) (now time.Duration) {
	e.at = time.Since(m.born)
	e.topic.positions.push(m.head.position)
	m.events.push(e)
	m.bytes += len(e.frame)
	return e.at
}

// beginLife starts a new life after that position. Nothing of what was is left, and
// the cursors are told why.
func (m *memory) beginLife(epoch string, after uint64, why Reason) {
	for m.events.length > 0 {
		m.leave()
	}
	for m.ended.length > 0 {
		m.forgetEnd()
	}
	for _, t := range m.topics {
		t.last, t.ended = 0, false
	}
	for _, c := range m.topics[""].cursors {
		if c.state != mute {
			c.state = interrupted
		}
	}
	m.departed = ring[departure]{}
	m.life, m.unsure = &life{epoch, why, m.life.number + 1}, false
	m.head, m.floor = mark{position: after}, mark{position: after}
}

// learn takes over what a cursor has read in the engine: that a topic of which
// there is nothing newer here has ended.
func (m *memory) learn(name string, position uint64) {
	t := m.topics[name]
	if t == nil || t.last >= position {
		return
	}
	t.last, t.ended = position, true
	t.endings++
	m.ended.push(ending{t, time.Since(m.born)})
	for _, c := range t.cursors {
		c.unended = false
	}
}

// trim lets go of what is beyond the bounds. Each event leaves once, so an
// append pays for one.
func (m *memory) trim(now time.Duration) {
	for m.events.length > 0 {
		oldest := m.events.at(0)
		if m.events.length <= m.limits.events && m.bytes <= m.limits.bytes && now-oldest.at <= m.limits.age {
			break
		}
		m.leave()
	}
	for m.ended.length > 0 {
		if m.ended.length <= m.limits.events && now-m.ended.at(0).at <= m.limits.age {
			break
		}
		m.forgetEnd()
	}
}

// leave lets the oldest event go.
func (m *memory) leave() {
	e := m.events.pop()
	m.bytes -= len(e.frame)
	m.floor = mark{m.floor.position + 1, e.check}
	if e.messageID != "" {
		delete(m.sent, e.messageID)
	}
	m.depart(e.topic)
}

// forgetEnd lets the oldest ending go.
func (m *memory) forgetEnd() {
	t := m.ended.pop().topic
	t.endings--
	m.forget(t)
}

// depart takes the oldest event out of the index of its topic t.
func (m *memory) depart(t *topic) {
	position := t.positions.pop()
	t.departed++
	if n := m.departed.length; n > 0 && m.departed.at(n-1).topic == t.name {
		m.departed.at(n - 1).last = position
	} else {
		m.departed.push(departure{t.name, position})
	}
	// The oldest run stays only as the place where the next one begins.
	if m.departed.length > maxDepartures {
		m.departed.pop()
	}
	m.forget(t)
}

// take collects what is due to c, in order, and moves c past it: as much as one
// write carries. When c has been too slow for the history, it
// collects nothing, moves c to the head and returns the reset.
func (m *memory) take(c *cursor, b *batch) Reset {
	switch {
	case m.unsure:
		return Reset{}
	case c.state == interrupted:
		c.resume(m)
		c.seek(m.floor) // all that is here came after the gap
		c.at = c.at.tell()
		return Reset{m.life.why, -1}
	case c.state != live:
		return Reset{}
	}
	if c.at.position < m.floor.position {
		if missed := c.missed(); missed > 0 {
			return m.restart(c, Reset{ReasonLagged, missed + c.due()}).reset
		}
	}
	b.due = m.appendDue(c, b.due)
	if c.conflate {
		for _, p := range b.due {
			p.skip()
		}
	}
	for d := newDue(b.due); len(d) > 0; d.next() {
		at := d[0].position()
		e := m.event(at)
		if b.bytes+len(e.frame) > writeBytes && b.events > 0 {
			b.more = true
			return Reset{}
		}
		c.at = mark{at, e.check}
		b.add(e, c.at)
		if e.topic.ended && e.topic.last == at {
			c.unended = false
		}
	}
	c.at = m.head
	b.ended = !c.unended && c.ended()
	c.unended = !b.ended
	return Reset{}
}

// appendDue appends the places of c that have events due. What has come since c
// looked last is in the newest part of the log, and a cursor with more topics
// than events have come looks there.
func (m *memory) appendDue(c *cursor, due []*place) []*place {
	after := max(c.at.position, m.floor.position)
	if len(c.places) <= fewPlaces || m.head.position-after > uint64(len(c.places)/fewPlaces) {
		return c.appendDue(due)
	}
	for position := after + 1; position <= m.head.position; position++ {
		if p := c.place(m.event(position).topic); p != nil && p.due() > 0 && p.position() == position {
			due = append(due, p) // once, with the first event that is due
		}
	}
	return due
}

// behind returns how many cursors have events due, and the age of the oldest of
// these events.
func (m *memory) behind() (cursors int, lag time.Duration) {
	first := m.head.position + 1
	var due []*place
	for _, c := range m.topics[""].cursors {
		if due = c.appendDue(due[:0]); len(due) > 0 {
			cursors++
		}
		for _, p := range due {
			first = min(first, p.position())
		}
	}
	if cursors > 0 {
		lag = time.Since(m.born) - m.event(first).at
	}
	return cursors, lag
}
