package ssegin

import (
	"math"
	"time"
)

// A history bounds what is remembered; whichever bound is reached first counts. A zero
// is no bound.
type history struct {
	events int
	bytes  int
	age    time.Duration
}

// A retention says what a memory keeps: at most so much in all, and of each topic at
// least a floor and at most a ceiling. A zero floor is none.
type retention struct {
	all     history
	floor   history // of each topic
	ceiling history // likewise
	ends    history // of ends, without bytes
}

// What it takes to keep an event, a message ID and a topic, beside their own bytes:
// their places in the rings and maps, which have some room to spare.
const (
	eventCost     = 128
	messageIDCost = 96
	topicCost     = 384
)

// cost is what the event takes, as the bounds count it.
func (e *event) cost() int {
	cost := cap(e.frame) + eventCost
	if e.messageID != "" {
		cost += len(e.messageID) + messageIDCost
	}
	return cost
}

// A slot is the place of an event in the order of eviction. Its event may have left
// before its turn comes: then the slot is stale.
type slot struct {
	topic    *topic
	position uint64
}

// stale reports whether the event of s has left.
func (s slot) stale() bool { return s.position <= s.topic.evicted }

// trim lets go of what is beyond the bounds. Each event is moved once and leaves once,
// so an append pays for about one.
//
// The window holds the newest part of the log. What comes out of it at the old end
// leaves, unless it is within the floor of its topic: then it is kept. What is kept may
// take half of what there is in all; beyond that the oldest of it leaves first. So a
// flood in one topic costs no other its floor as long as the floors fit into that half,
// and the floors of many quiet topics leave the busy ones the other half. The newest event
// leaves last. What is too old leaves, whatever the floor.
//
// After a pause there may be many of these. They leave a part at a time, so that nobody
// waits for long, and trim reports whether there are more.
func (m *memory) trim(now time.Duration) (more bool) {
	for i := 0; i < mostAtOnce && m.evictExpired(now); i++ {
		more = i == mostAtOnce-1
	}
	for m.excessive() {
		if m.kept.length > 0 && (m.window.length == 0 || m.window.at(0).position == m.head.position || m.crowded()) {
			m.evictKept()
		} else {
			m.advance(now)
		}
	}
	m.compact()
	m.ends.trim(now)
	return more
}

// evictExpired takes the oldest event out that is too old, or a stale slot, and reports
// whether there was one.
func (m *memory) evictExpired(now time.Duration) bool {
	switch {
	case m.kept.length > 0 && (m.kept.at(0).stale() || m.expired(m.kept.at(0), now)):
		m.evictKept()
	case m.window.length > 0 && (m.window.at(0).stale() || m.expired(m.window.at(0), now)):
		m.advance(now)
	default:
		return false
	}
	return true
}

// mostAtOnce is how many events leave at once, so that the lock is held for a millisecond.
const mostAtOnce = 2000

// fewStale are so few that they need not be counted.
const fewStale = 64

// compact drops the stale slots when they are more than half.
func (m *memory) compact() {
	if m.window.length+m.kept.length > 2*m.count+fewStale {
		m.window, m.kept = withoutStale(m.window), withoutStale(m.kept)
	}
}

// holds reports whether there is room for an event of several topics, which counts for
// each. The newest event would not stay as a whole otherwise.
func (h *history) holds(a *addition) bool {
	frame := event{frame: a.block, messageID: a.messageID}
	bytes := frame.cost() + topicCost + len(a.topic)
	for _, topic := range a.others {
		bytes += cap(a.block) + eventCost + topicCost + len(topic)
	}
	return !beyond(1+len(a.others), h.events) && !beyond(bytes, h.bytes)
}

// excessive reports whether there is more than the bounds allow in all. The newest
// event stays, however large.
func (m *memory) excessive() bool {
	all := &m.retention.all
	return beyond(m.count, all.events) || beyond(m.bytes, all.bytes) && m.count > 1
}

// crowded reports whether what is kept takes more than half of what is allowed in all.
func (m *memory) crowded() bool {
	all := &m.retention.all
	return beyond(2*m.keptCount, all.events) || beyond(2*m.keptBytes, all.bytes)
}

// expired reports whether the event of s is too old.
func (m *memory) expired(s *slot, now time.Duration) bool {
	return beyond(now-s.topic.oldestFrom(s.position).at, m.retention.all.age)
}

// advance takes the oldest event out of the window. Of a log in an engine, whose every
// event after the floor is here, it takes all that is at its position: an event of several
// topics is there once for each.
func (m *memory) advance(now time.Duration) {
	s := m.window.pop()
	for m.tail && m.window.length > 0 && m.window.at(0).position == s.position {
		m.retire(s, now)
		s = m.window.pop()
	}
	m.advanceFloor(s.position)
	m.retire(s, now)
}

// retire keeps the event of s, which has come out of the window, or lets it go.
func (m *memory) retire(s slot, now time.Duration) {
	if s.stale() {
		return
	}
	m.trimTopic(s.topic, now)
	switch {
	case s.stale():
	case m.within(s, now):
		m.keep(s)
	default:
		m.reach = max(m.reach, s.topic.oldestFrom(s.position).at)
		m.evictUpTo(s.topic, s.position)
	}
}

// within reports whether the event of s, which has come out of the window, may be kept.
func (m *memory) within(s slot, now time.Duration) bool {
	floor := &m.retention.floor
	return *floor != (history{}) && !m.expired(&s, now) && !s.topic.beyond(floor, now)
}

// keep moves an event that has come out of the window to those that are kept.
func (m *memory) keep(s slot) {
	cost := s.topic.oldestFrom(s.position).cost()
	m.kept.push(s)
	m.keptCount++
	m.keptBytes += cost
	s.topic.kept++
}

// evictKept lets the oldest kept event go, or a stale slot.
func (m *memory) evictKept() {
	if s := m.kept.pop(); !s.stale() {
		m.reach = max(m.reach, s.topic.events.at(0).at)
		m.evictUpTo(s.topic, s.position)
	}
}

// trimTopic lets go of the events of t that are beyond the ceiling, and of those that
// were kept and are not within the floor any more. The newest event stays, however
// large.
func (m *memory) trimTopic(t *topic, now time.Duration) {
	floor, ceiling := &m.retention.floor, &m.retention.ceiling
	for t.events.length > 0 && (t.kept > 0 && t.beyond(floor, now) || t.beyond(ceiling, now) && (t.events.length > 1 || beyond(now-t.events.at(0).at, ceiling.age))) {
		m.evict(t)
	}
}

// beyond reports whether t holds more than h.
func (t *topic) beyond(h *history, now time.Duration) bool {
	return beyond(t.events.length, h.events) || beyond(t.bytes, h.bytes) || beyond(now-t.events.at(0).at, h.age)
}

func beyond[T int | time.Duration](n, bound T) bool { return bound > 0 && n > bound }

// evictUpTo lets the events of t up to that position go.
func (m *memory) evictUpTo(t *topic, position uint64) {
	for t.events.length > 0 && t.events.at(0).position <= position {
		m.evict(t)
	}
}

// evict lets the oldest event of t go.
func (m *memory) evict(t *topic) {
	e := t.events.pop()
	cost := e.cost()
	t.evicted, t.bytes = e.position, t.bytes-cost
	t.departed++
	m.evicted = max(m.evicted, e.position)
	m.count--
	m.bytes -= cost
	if t.kept > 0 { // those that are kept are older than all others
		t.kept--
		m.keptCount--
		m.keptBytes -= cost
	}
	if e.messageID != "" {
		delete(m.sent, e.messageID)
	}
	m.departures.add(t.name, e.position)
	if t.events.length == 0 {
		m.bytes -= topicCost + len(t.name)
		m.forget(t)
	}
}

// erase lets all events of t go.
func (m *memory) erase(t *topic) {
	m.evictUpTo(t, math.MaxUint64)
	m.compact()
}

// withoutStale returns the slots whose events are still there.
func withoutStale(slots ring[slot]) (live ring[slot]) {
	for i := range slots.length {
		if s := *slots.at(i); !s.stale() {
			live.push(s)
		}
	}
	return live
}

// departures say of what topics the events were that left last, so that a client can be
// told how many it missed.
type departures struct {
	runs    ring[departure]
	unknown uint64 // newest position of an event that left and is not told of any more
}

// A departure is a run of events of one topic, one after the other in the log, that left
// in this order.
type departure struct {
	topic       string
	first, last uint64 // positions
}

// maxDepartures bounds what is known of events that are gone: beyond it, a
// client is told that the number is not known.
const maxDepartures = 1024

// add notes that an event has left.
func (d *departures) add(topic string, position uint64) {
	if n := d.runs.length; n > 0 {
		if run := d.runs.at(n - 1); run.topic == topic && run.last+1 == position {
			run.last = position
			return
		}
	}
	if d.runs.push(departure{topic, position, position}); d.runs.length > maxDepartures {
		d.unknown = max(d.unknown, d.runs.pop().last)
	}
}

// after returns how many events of the run lie after that position.
func (d *departure) after(position uint64) int {
	return int(d.last - min(d.last, max(position, d.first-1)))
}
