package ssegin

// A cursor is a stream's place in the log of its hub. It has no queue: what
// the stream has yet to write lies between its position and the head.
type cursor struct {
	waker  waker
	stream endable
	key    string // that of WithMaxStreamsPer

	// What follows is guarded by Hub.mu. Only the stream itself moves its
	// cursor, so it may do that while it holds the lock for reading.
	at     mark     // everything due up to here has been taken
	life   *life    // of the log in which that was
	places []place  // the first is in the topic of broadcasts
	few    [2]place // where places are, if they fit
	muted  bool     // nothing is due to it any more
	behind bool     // nor now: it is being given what is no longer in memory

	conflate bool // set once; here it takes no room of its own
}

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
	end(cause error) // finish what is being written, and go
	cut()            // fail what is being written
}

// A place is where a cursor stands in one of its topics.
type place struct {
	topic *topic
	next  uint64 // ordinal, within the topic, of the first event not yet taken
	slot  int    // of the cursor in topic.cursors
}

// follow adds a topic, unless it is followed already.
func (c *cursor) follow(t *topic) {
	for i := range c.places {
		if c.places[i].topic == t {
			return
		}
	}
	c.places = append(c.places, place{topic: t, slot: t.add(c)})
}

// leave takes c out of its topics.
func (c *cursor) leave(m *memory) {
	for i := range c.places {
		p := &c.places[i]
		p.topic.remove(p.slot)
		m.forget(p.topic)
	}
	c.places = nil
}

// moved tells c that it stands in another slot of the topic.
func (c *cursor) moved(t *topic, slot int) {
	for i := range c.places {
		if c.places[i].topic == t {
			c.places[i].slot = slot
			return
		}
	}
}

// seek moves c to just after that event.
func (c *cursor) seek(at mark) {
	c.at = at
	for i := range c.places {
		t := c.places[i].topic
		c.places[i].next = t.departed + uint64(t.indexAfter(at.position))
	}
}

// skip moves c to the newest event of each topic.
func (c *cursor) skip() {
	for i := range c.places {
		if p := &c.places[i]; p.due() > 1 {
			p.next += uint64(p.due() - 1)
		}
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

// oldest returns which of the places has the oldest event due.
func oldest(due []*place) (first int) {
	for i := 1; i < len(due); i++ {
		if due[i].position() < due[first].position() {
			first = i
		}
	}
	return first
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
		if !c.conflate || p.topic.positions.length == 0 {
			n += int(p.topic.departed - p.next)
		}
		p.next = p.topic.departed
	}
	return n
}

// misses reports whether an event of that topic that has left the history is
// one that c ought to have been given.
func (c *cursor) misses(topic string) bool {
	for i := range c.places {
		if p := &c.places[i]; p.topic.name == topic {
			return !c.conflate || p.due() == 0
		}
	}
	return false
}

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

// due counts the retained events of the topic that have not been taken.
func (p *place) due() int {
	return int(p.topic.departed) + p.topic.positions.length - int(max(p.next, p.topic.departed))
}

// position is that of the oldest event due: there must be one. Those that have
// left the history before they were taken are not.
func (p *place) position() uint64 {
	return *p.topic.positions.at(int(max(p.next, p.topic.departed) - p.topic.departed))
}
