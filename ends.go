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
	for e.order.length > 0 && (beyond(len(e.byName), e.limits.events) || beyond(now-e.order.at(0).at, e.limits.age)) {
		if oldest := e.order.pop(); e.isLast(&oldest) {
			delete(e.byName, oldest.topic)
		}
	}
	if e.order.length > 2*len(e.byName)+fewStale {
		var order ring[ending]
		for i := range e.order.length {
			if end := e.order.at(i); e.isLast(end) {
				order.push(*end)
			}
		}
		e.order = order
	}
}

// isLast reports whether the topic has neither gone on nor ended once more since.
func (e *ends) isLast(end *ending) bool {
	position, ended := e.byName[end.topic]
	return ended && position == end.position
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
