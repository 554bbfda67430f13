package ssegin

import (
	"slices"
	"time"
)

// A memory is the default log: a ring of the newest events, bounded by their
// number, bytes and age, with an index by topic, so that a stream pays for the
// events of its own topics only. It is plain data; the Hub's lock guards it.
type memory struct {
	epoch  string
	born   time.Time // what the times of events are counted from, so that clock steps do not matter
	limits history

	events ring[event]
	head   uint64 // position of the newest event; events holds the newest head-floor ones
	bytes  int    // of the frames in events
	topics map[string]*topic
	widest int // the most topics since the map was made

	// departed says of what topics the events were that left last, so that a
	// client can be told how many it missed; ended keeps the topics that have
	// ended known for a while, whether or not their events are still here.
	departed ring[departure]
	ended    ring[ending]
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
	frame []byte
	topic *topic
	at    time.Duration // since the log was born
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
		epoch:  newEpoch(),
		born:   time.Now(),
		limits: limits,
		topics: map[string]*topic{"": {}},
	}
}

// floor is the position of the newest event that has left.
func (m *memory) floor() uint64 { return m.head - uint64(m.events.length) }

func (m *memory) event(position uint64) *event {
	return m.events.at(int(position - m.floor() - 1))
}

func (m *memory) id(position uint64) string {
	return string(appendID(nil, m.epoch, position))
}

// append gives the block the next position, which ends it as its ID, and keeps
// it. It returns the ID and the topic, whose streams are to be woken.
func (m *memory) append(name string, block []byte, end bool) (id string, t *topic) {
	m.head++
	start := len(block) + len("id: ")
	frame := append(block, "id: "...)
	frame = appendID(frame, m.epoch, m.head)
	id = view(frame[start:])
	frame = append(frame, "\n\n"...)

	t = m.topic(name)
	t.positions.push(m.head)
	t.last, t.ended = m.head, end
	now := time.Since(m.born)
	m.events.push(event{frame, t, now})
	m.bytes += len(frame)
	if end {
		t.endings++
		m.ended.push(ending{t, now})
	}
	m.trim(now)

	return id, t
}

// trim lets go of what is beyond the bounds. Each event leaves once, so an
// append pays for one.
func (m *memory) trim(now time.Duration) {
	for m.events.length > 0 {
		oldest := m.events.at(0)
		if m.events.length <= m.limits.events && m.bytes <= m.limits.bytes && now-oldest.at <= m.limits.age {
			break
		}
		m.depart(oldest.topic)
		m.bytes -= len(oldest.frame)
		m.events.pop()
	}
	for m.ended.length > 0 {
		if m.ended.length <= m.limits.events && now-m.ended.at(0).at <= m.limits.age {
			break
		}
		t := m.ended.pop().topic
		t.endings--
		m.forget(t)
	}
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

// join puts c where a client with that last ID goes on, and says what that
// means for it. It works in the same time whatever the ID is.
func (m *memory) join(c *cursor, topics []string, lastID string) verdict {
	m.trim(time.Since(m.born))
	c.places = slices.Grow(c.few[:0], 1+len(topics))
	c.follow(m.topics[""])
	for _, name := range topics {
		c.follow(m.topic(name))
	}
	if lastID == "" {
		c.seek(m.head)
		return m.newcomer(c)
	}
	epoch, position, ok := parseID(lastID)
	switch {
	case !ok:
		return m.restart(c, Reset{ReasonInvalid, -1})
	case epoch != m.epoch:
		return m.restart(c, Reset{ReasonEpoch, -1})
	case position > m.head:
		return m.restart(c, Reset{ReasonFuture, -1})
	}
	c.seek(position)
	if c.ended() && c.newest() <= position {
		return verdict{complete: true}
	}
	if missed := m.missed(c, position); missed != 0 {
		return m.restart(c, Reset{ReasonExpired, missed})
	}
	return verdict{}
}

// newcomer lets a client that asks for what has ended see the end, so that it
// learns that there is nothing to wait for.
func (m *memory) newcomer(c *cursor) verdict {
	if !c.ended() {
		return verdict{}
	}
	if c.newest() <= m.floor() {
		return verdict{complete: true}
	}
	c.seek(c.newest() - 1)
	return verdict{}
}

// restart puts c at the head, as after every reset: what the client knows is
// no longer the beginning of what is to come. Even if that is complete, the
// client hears of the gap first.
func (m *memory) restart(c *cursor, reset Reset) verdict {
	c.seek(m.head)
	m.newcomer(c)
	if reset.Missed > 0 {
		reset.Missed -= c.due()
	}
	return verdict{reset: reset}
}

// missed counts the events of c that have left the history since position, and
// with them those that the reset that follows passes over: 0 if none have left,
// -1 if it is not known.
func (m *memory) missed(c *cursor, position uint64) int {
	if position >= m.floor() {
		return 0
	}
	missed := 0
	for i := m.departed.length - 1; i >= 0 && m.departed.at(i).last > position; i-- {
		run, before := m.departed.at(i), uint64(0)
		if i > 0 {
			before = m.departed.at(i - 1).last
		} else if m.departed.length == maxDepartures {
			return -1
		}
		if c.misses(run.topic) {
			missed += int(run.last - max(before, position))
		}
	}
	if missed == 0 {
		return 0
	}
	return missed + c.due()
}

// take collects what is due to c, in order, and moves c past it: as much as one
// write carries. When c has been too slow for the history, it
// collects nothing, moves c to the head and returns the reset.
func (m *memory) take(c *cursor, b *batch) Reset {
	if missed := c.missed(); missed > 0 {
		return m.restart(c, Reset{ReasonLagged, missed + c.due()}).reset
	}
	if c.conflate {
		c.skip()
	}
	b.due = c.appendDue(b.due)
	for len(b.due) > 0 {
		i := oldest(b.due)
		p := b.due[i]
		e := m.event(p.position())
		if b.bytes+len(e.frame) > writeBytes && b.events > 0 {
			b.more = true
			return Reset{}
		}
		c.position = p.position()
		b.add(e, c.position)
		if p.next++; p.due() == 0 {
			last := len(b.due) - 1
			b.due[i] = b.due[last]
			b.due = b.due[:last]
		}
	}
	c.position = m.head
	b.ended = c.ended()
	return Reset{}
}
