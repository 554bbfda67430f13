package ssegin

import "time"

// ends remember which topics have ended, whether or not their events are still here: a
// client may come back long after that, and must hear that there is nothing to wait
// for. They are bounded by their number and age.
type ends struct {
	limits history
	byName map[string]uint64 // the position of the end of each topic that has not gone on
	order  ring[ending]
}

// An ending is the end of a topic. The topic may have gone on since.
type ending struct {
	topic    string
	position uint64
	at       time.Duration // since the log was born
}

func newEnds(limits history) ends { return ends{limits: limits, byName: map[string]uint64{}} }

// of returns where the topic has ended, and whether it has.
func (e *ends) of(topic string) (position uint64, ended bool) {
	position, ended = e.byName[topic]
	return position, ended
}

// add remembers an end.
func (e *ends) add(end ending) {
	e.byName[end.topic] = end.position
	e.order.push(end)
}

// trim forgets what is beyond the limits.
func (e *ends) trim(now time.Duration) {
	for e.order.length > 0 {
		oldest := e.order.at(0)
		if !beyond(e.order.length, e.limits.events) && !beyond(now-oldest.at, e.limits.age) {
			return
		}
		e.pop()
	}
}

// pop forgets the oldest end.
func (e *ends) pop() {
	oldest := e.order.pop()
	if e.byName[oldest.topic] == oldest.position {
		delete(e.byName, oldest.topic)
	}
}

// forget forgets all ends.
func (e *ends) forget() { e.byName, e.order = map[string]uint64{}, ring[ending]{} }

// setEnded notes whether the newest event of t is its end.
func (m *memory) setEnded(t *topic, ended bool, now time.Duration) {
	switch {
	case ended:
		m.ends.add(ending{t.name, t.last, now})
		m.ends.trim(now)
	case t.ended:
		delete(m.ends.byName, t.name)
	}
	t.ended = ended
}
