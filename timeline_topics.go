package ssegin

import "time"

// What an application asks of the topics of a timeline.

// lastID returns the ID of the head, or nothing when that is not known.
func (t *timeline) lastID() string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.memory.unsure || t.memory.tail && !t.tail.ready {
		return ""
	}
	return t.memory.id(t.memory.head)
}

// following returns how many streams follow that topic.
func (t *timeline) following(name string) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if topic := t.memory.topics[name]; topic != nil {
		return len(topic.cursors)
	}
	return 0
}

// retained returns the frames of the events of that topic, which never change.
func (t *timeline) retained(name string) (frames [][]byte) {
	t.mu.Lock() // not RLock: what is too old leaves
	defer t.mu.Unlock()
	t.trimLocked()
	topic := t.memory.topics[name]
	if topic == nil {
		return nil
	}
	t.memory.trimTopic(topic, time.Since(t.memory.born))
	for i := range topic.events.length {
		frames = append(frames, topic.events.at(i).frame)
	}
	return frames
}

// trimLocked lets go of all that is too old. It lets others have the lock in between.
func (t *timeline) trimLocked() {
	for t.memory.trim(time.Since(t.memory.born)) {
		t.mu.Unlock()
		t.mu.Lock()
	}
}

// erase lets the events of that topic go, and returns how many these were. It lets others
// have the lock in between; what they publish stays.
func (t *timeline) erase(name string) (events int) {
	t.mu.Lock()
	topic := t.memory.topics[name]
	if topic != nil {
		for last := topic.last; topic.events.length > 0 && topic.events.at(0).position <= last; {
			before := topic.events.length
			t.memory.evictUpTo(topic, min(last, topic.events.at(min(before, mostAtOnce)-1).position))
			events += before - topic.events.length
			t.mu.Unlock()
			t.mu.Lock()
		}
		t.memory.compact()
	}
	audience := t.callLocked(topic) // those that are behind are told
	t.mu.Unlock()
	notify(audience)
	return events
}

// --- What a newcomer gets first ------------------------------------------------------

// pause lets c, which is to be given what is older first, be given nothing else.
func (t *timeline) pause(c *cursor) {
	t.entrance.Lock()
	defer t.entrance.Unlock()
	if c.state == live {
		c.state = waiting
	}
}

// paused reports whether c may still be given what is older.
func (t *timeline) paused(c *cursor) bool {
	t.entrance.RLock()
	defer t.entrance.RUnlock()
	return c.state == waiting || c.state == mute
}

// goOn lets c go on from memory.
func (t *timeline) goOn(c *cursor) {
	t.entrance.Lock()
	defer t.entrance.Unlock()
	if c.state == waiting {
		c.state = live
	}
}

// wish returns what c, which begins as a newcomer after a reset, lacks.
func (t *timeline) wish(c *cursor) *wish {
	t.entrance.RLock()
	defer t.entrance.RUnlock()
	return t.tail.wish(c, false)
}

// fallBehind lets c, a newcomer that was given what is older than that mark, be given the
// rest by pages, if some of it has left memory in the meantime, and reports whether that is
// so. Otherwise it would be sent away at once, to come back for that.
func (t *timeline) fallBehind(c *cursor, after mark) bool {
	t.entrance.Lock()
	defer t.entrance.Unlock()
	if c.state != live || !c.lags() || t.roomBehindLocked(c) != nil {
		return false
	}
	c.seek(after)
	c.state, c.behind = waiting, true
	t.behind++
	return true
}

// --- The reach of the history --------------------------------------------------------

// reachEvery is how often an Observer is told of the reach, at the most.
const reachEvery = time.Second

// reachLocked returns for how long a client may be away, and whether the observer is to
// be told of that now.
func (t *timeline) reachLocked() (reach time.Duration, tell bool) {
	if t.observe == nil || t.memory.reach == 0 {
		return 0, false
	}
	now := time.Since(t.memory.born)
	if tell = now-t.reached >= reachEvery; tell {
		t.reached = now
	}
	return now - t.memory.reach, tell
}

// --- The first stream of a topic, and the last ---------------------------------------

// An audience tells an application which topics have streams in this process. It tells
// of each topic in turn that it has, and that it has none any more; what has come and
// gone before it could be told is left out. The timeline's lock guards it.
type audience struct {
	first, last func(topic string) // set once

	changed ring[string]    // topics to be looked at
	pending map[string]bool // those that are in changed
	told    map[string]bool // topics of which the application knows that they have streams
	telling bool            // a goroutine tells of them
}

// changedAudience notes that a topic has its first stream, or has none any more.
func (m *memory) changedAudience(t *topic) {
	a := m.audience
	if a == nil || t.name == "" || a.pending[t.name] {
		return
	}
	a.pending[t.name] = true
	a.changed.push(t.name)
}

// tellLocked lets a goroutine tell of what has changed, one topic after the other.
func (t *timeline) tellLocked() {
	a := t.memory.audience
	if a == nil || a.telling || a.changed.length == 0 {
		return
	}
	a.telling = true
	t.helpers++
	go func() {
		for t.tellNext() {
		}
	}()
}

// tellNext tells of one topic, and reports whether there may be another one.
func (t *timeline) tellNext() bool {
	t.mu.Lock()
	a := t.memory.audience
	if a.changed.length == 0 {
		a.telling = false
		t.helpers--
		t.settleLocked()
		t.mu.Unlock()
		return false
	}
	name := a.changed.pop()
	delete(a.pending, name)
	topic := t.memory.topics[name]
	followed := topic != nil && len(topic.cursors) > 0
	known := a.told[name]
	if followed {
		a.told[name] = true
	} else {
		delete(a.told, name)
	}
	t.mu.Unlock()
	switch {
	case followed && !known:
		a.first(name)
	case known && !followed:
		a.last(name)
	}
	return true
}
