package ssegin

import (
	"maps"
	"slices"
	"sort"
)

// A topic is the newest events of one topic, and who listens to it. The topic "" is
// that of broadcasts, which every cursor follows. A topic exists while it has
// events or cursors.
type topic struct {
	name     string
	serial   uint64      // in the order of their making; the topic of broadcasts has 0
	since    uint64      // memory.forgotten when it was made: what of it left before is not known here
	events   ring[event] // those that are retained
	bytes    int         // what they take
	kept     int         // how many of them, the oldest ones, are kept for its floor
	departed uint64      // how many of its events have left: the ordinal of the first retained one
	evicted  uint64      // position of the newest event that has left
	last     uint64      // position of its newest event, retained or not
	ended    bool        // its newest event is its end

	cursors []*cursor
	lent    bool // cursors are being read without the lock: copy before changing what is seen
	called  bool // it is in timeline.called
}

// topic finds or makes the topic of that name.
func (m *memory) topic(name string) *topic {
	t := m.topics[name]
	if t == nil {
		m.serial++
		t = &topic{name: name, serial: m.serial, since: m.forgotten}
		t.last, t.ended = m.ends.of(name)
		m.topics[name] = t
		m.widest = max(m.widest, len(m.topics))
	}
	return t
}

// forget removes a topic that nothing needs any more. A map keeps the room
// of its widest time, so it is made anew when most of it is empty.
func (m *memory) forget(t *topic) {
	if t.name == "" || t.events.length > 0 || len(t.cursors) > 0 || m.topics[t.name] != t {
		return
	}
	delete(m.topics, t.name)
	m.forgotten = max(m.forgotten, t.evicted)
	if m.widest > 64 && len(m.topics) < m.widest/4 {
		topics := make(map[string]*topic, len(m.topics))
		maps.Copy(topics, m.topics)
		m.topics, m.widest = topics, len(topics)
	}
}

// indexAfter returns how many retained events are not after position.
func (t *topic) indexAfter(position uint64) int {
	return sort.Search(t.events.length, func(i int) bool { return t.events.at(i).position > position })
}

// oldestFrom returns the oldest event that is not before that position. There must be
// one.
func (t *topic) oldestFrom(position uint64) *event {
	if e := t.events.at(0); e.position >= position {
		return e
	}
	return t.events.at(t.indexAfter(position - 1))
}

// audience lends out the cursors to be woken. The slice is read without the
// lock, and what it shows is never changed.
func (t *topic) audience() []*cursor {
	t.lent = true
	return t.cursors
}

// add appends a cursor, beyond what any borrower of the slice can see.
func (t *topic) add(c *cursor) (slot int) {
	t.cursors = append(t.cursors, c)
	return len(t.cursors) - 1
}

// remove fills the slot with the last cursor.
func (t *topic) remove(slot int) {
	if t.lent {
		t.cursors, t.lent = slices.Clone(t.cursors), false
	}
	last := len(t.cursors) - 1
	moved := t.cursors[last]
	t.cursors[slot], t.cursors[last] = moved, nil
	t.cursors = t.cursors[:last]
	if last == 0 {
		t.cursors = nil
	} else if slot != last {
		moved.place(t).slot = slot
	}
}
