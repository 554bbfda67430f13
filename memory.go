package ssegin

import (
	"time"
)

// A memory is the default log, and the recent end of one that lies in an
// engine: the newest events of each topic, bounded by their number, bytes and age,
// so that a stream pays for the events of its own topics only. It is plain data; the
// timeline's lock guards it.
//
// What it has of a topic is always the newest part of that: events leave the topic in
// their order, and topic.evicted is the position of the last one that left. So
// whether a client has missed anything is known exactly, topic by topic. In which order
// the topics lose their events is in history.go.
//
// Of a log in an engine it has all that is after the floor, without holes, and what
// those events say of themselves: by that a log that was rolled back is recognised.
type memory struct {
	life      *life
	born      time.Time // what the times of events are counted from, so that clock steps do not matter
	retention retention
	tail      bool // an engine has what has left
	unsure    bool // and has yet to say what the event at the head is: nobody may be told of that place

	head   mark        // the newest event
	floor  mark        // all positions after it are in the window
	checks ring[check] // of a log in an engine: those of the events after the floor
	topics map[string]*topic
	serial uint64          // of the newest topic
	widest int             // the most topics since the map was made
	sent   map[string]mark // the events that have a message ID, by it
	void   topic           // of positions without an event for anybody

	window    ring[slot]    // the newest part of the log, oldest first
	kept      ring[slot]    // what is older and was kept for the floors of the topics, oldest first
	count     int           // events; one of several topics counts for each
	bytes     int           // what they take
	keptCount int           // of these, those that are kept
	keptBytes int           // likewise
	evicted   uint64        // the newest position of which an event has left
	forgotten uint64        // likewise, whose topic has been forgotten since
	reach     time.Duration // when the newest event was published that has left for the sake of the bounds in all, or the life began

	audience   *audience // nil: nobody wants to know
	departures departures
	ends       ends
}

// A life of a log is a time in which each event follows the one before. A
// cursor that is in an earlier life than its log is told that there is a gap.
// It never changes.
type life struct {
	epoch  string
	why    Reason // of the gap before it
	number uint64 // in the order of their beginnings
}

// An event is a retained event. Its frame is the whole block as it goes on the
// wire, the same bytes for every stream.
type event struct {
	frame     []byte
	messageID string
	at        time.Duration // since the log was born
	position  uint64
	check     check
}

func newMemory(keep retention) *memory {
	return &memory{
		life:      &life{epoch: newEpoch()},
		born:      time.Now(),
		retention: keep,
		topics:    map[string]*topic{"": {}},
		sent:      map[string]mark{},
		ends:      newEnds(keep.ends),
	}
}

// check returns that of the event at a position that is not before the floor. In a log
// that is in memory alone there is none.
func (m *memory) check(position uint64) check {
	switch {
	case position == m.head.position:
		return m.head.check
	case position == m.floor.position || !m.tail:
		return m.floor.check
	}
	return *m.checks.at(int(position - m.floor.position - 1))
}

// advanceFloor notes that the window begins after that position.
func (m *memory) advanceFloor(position uint64) {
	m.floor = mark{position, m.check(position)}
	for m.checks.length > int(m.head.position-position) {
		m.checks.pop()
	}
}

func (m *memory) id(at mark) string { return string(appendID(nil, m.life.epoch, at)) }

// An addition is what is to be kept of an event.
type addition struct {
	topic     string
	others    []string // topics beside that one
	block     []byte   // without the ID and the blank line, and with room for them
	end       bool
	check     check
	messageID string // empty: the event cannot come twice
}

// append gives the event the next position, which ends its block as its ID, and
// keeps it. It returns the ID and the topic, whose streams are to be woken. Of an
// event that is there already it returns the ID alone.
func (m *memory) append(a addition) (id string, t *topic) {
	now := time.Since(m.born)
	if a.messageID != "" {
		m.trim(now)
		if at, twice := m.sent[a.messageID]; twice {
			return m.id(at), nil
		}
	}
	m.step(a.check)
	frame := appendTail(a.block, m.life.epoch, m.head)
	id = view(frame[len(a.block)+len("id: ") : len(frame)-len("\n\n")])
	if a.messageID != "" {
		m.sent[a.messageID] = m.head
	}
	t = m.topic(a.topic)
	e := event{frame: frame, messageID: a.messageID, at: now, position: m.head.position, check: a.check}
	m.add(t, e, a.end)
	e.messageID = "" // one of them has it
	for _, other := range a.others {
		m.add(m.topic(other), e, false)
	}
	m.trim(now)
	return id, t
}

// step takes the head to the next position.
func (m *memory) step(c check) {
	m.head = mark{m.head.position + 1, c}
	if m.tail {
		m.checks.push(c)
	}
}

// pass gives the next position to nothing that anybody could be sent.
func (m *memory) pass(c check) {
	now := time.Since(m.born)
	m.step(c)
	m.add(&m.void, event{at: now, position: m.head.position, check: c}, false)
	m.trim(now)
}

// add adds the event at the head to t.
func (m *memory) add(t *topic, e event, end bool) {
	cost := e.cost()
	if t.events.length == 0 {
		m.bytes += topicCost + len(t.name)
	}
	t.last = e.position
	t.bytes += cost
	t.events.push(e)
	m.count++
	m.bytes += cost
	m.window.push(slot{t, e.position})
	m.trimTopic(t, e.at)
	m.setEnded(t, end, e.at)
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

// beginLife starts a new life after that position. Nothing of what was is left, and
// the cursors are told why.
func (m *memory) beginLife(epoch string, after uint64, why Reason) {
	m.erase(&m.void)
	m.void = topic{} // positions may begin anew below what has left
	for _, t := range m.topics {
		m.erase(t)
		t.last, t.ended, t.evicted, t.since = 0, false, 0, after
	}
	m.window, m.kept, m.checks = ring[slot]{}, ring[slot]{}, ring[check]{}
	m.ends.forget()
	for _, c := range m.topics[""].cursors {
		if c.state != mute {
			c.state = interrupted
		}
	}
	m.departures, m.evicted, m.forgotten = departures{}, 0, after
	m.life, m.unsure = &life{epoch, why, m.life.number + 1}, false
	if why != "" {
		m.reach = time.Since(m.born) // who was here before is told of a gap
	}
	m.head, m.floor = mark{position: after}, mark{position: after}
}

// learn takes over what a cursor has read in the engine: that a topic of which
// there is nothing newer here has ended.
func (m *memory) learn(name string, position uint64) {
	t := m.topics[name]
	if t == nil || t.last >= position {
		return
	}
	t.last = position
	m.setEnded(t, true, time.Since(m.born))
	for _, c := range t.cursors {
		c.unended = false
	}
}

// take collects what is due to c, in order, and moves c past it: as much as one
// write carries. When c has been too slow for the history, it
// collects nothing, makes a newcomer of c and returns the reset.
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
	if c.at.position < m.evicted {
		if left := c.missed(); left > 0 {
			return m.restart(c, ReasonLagged, left).reset
		}
	}
	b.due = m.appendDue(c, b.due)
	if c.conflate {
		for _, p := range b.due {
			p.skip()
		}
	}
	for d := newDue(b.due); len(d) > 0; d.next() {
		p := d[0]
		e := p.event()
		if e.position <= c.at.position {
			continue // another of its topics has given it
		}
		if b.bytes+len(e.frame) > writeBytes && b.events > 0 {
			b.more = true
			return Reset{}
		}
		c.at, c.fresh = mark{e.position, e.check}, false
		b.add(e, c.at)
		if p.topic.ended && p.topic.last == e.position {
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
	few := uint64(len(c.places) / fewPlaces)
	if len(c.places) <= fewPlaces || c.at.position < m.floor.position || m.head.position-c.at.position > few {
		return c.appendDue(due)
	}
	for i := m.window.length - 1; i >= 0 && m.window.at(i).position > c.at.position; i-- {
		s := m.window.at(i)
		if p := c.place(s.topic); p != nil && p.due() > 0 && p.position() == s.position {
			due = append(due, p) // once, with the first event that is due
		}
	}
	return due
}

// behind returns how many cursors have events due, and the age of the oldest of
// these events.
func (m *memory) behind() (cursors int, lag time.Duration) {
	oldest := time.Since(m.born)
	now := oldest
	var due []*place
	for _, c := range m.topics[""].cursors {
		if due = c.appendDue(due[:0]); len(due) > 0 {
			cursors++
		}
		for _, p := range due {
			oldest = min(oldest, p.event().at)
		}
	}
	return cursors, now - oldest
}
