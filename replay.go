package ssegin

import (
	"fmt"
	"math"
	"sort"
)

// A Replay says what WithReplay gives to newcomers.
type Replay struct {
	each  int // the newest of each topic
	last  int // the last ones of all its topics together; zero: no matter
	asked bool
}

// ReplayAll gives a newcomer all that the history has of its topics.
var ReplayAll = Replay{each: math.MaxInt}

// ReplayEach gives a newcomer the newest n events of each of its topics, and of the
// broadcasts.
func ReplayEach(n int) Replay {
	mustBePositive("ReplayEach", n)
	return Replay{each: n}
}

// ReplayLast gives a newcomer the last n events of its topics and of the broadcasts, all
// of them together.
func ReplayLast(n int) Replay {
	mustBePositive("ReplayLast", n)
	return Replay{each: n, last: n}
}

// OnRequest gives it only to those newcomers that ask for it, with the last event ID
// "earliest", which a page may write into the query of its URL:
// new EventSource("/events?lastEventId=earliest").
func (r Replay) OnRequest() Replay {
	r.asked = true
	return r
}

// String says what it is, for logs.
func (r Replay) String() string {
	switch {
	case r.each == 0:
		return "nothing"
	case r.each == math.MaxInt:
		return "all"
	case r.last > 0:
		return fmt.Sprintf("the last %d", r.last)
	default:
		return fmt.Sprintf("the newest %d of each topic", r.each)
	}
}

// idEarliest is the last event ID of a client that asks for what newcomers get. Others
// use this word, too.
const idEarliest = "earliest"

// welcome puts c where a newcomer begins: at the head, or before what its Replay
// gives. One that asks for what has ended is shown the end at least, so that it learns
// that there is nothing to wait for. It returns how many events c is not given that
// were due to it before.
func (m *memory) welcome(c *cursor, asked bool) (passed int) {
	r := c.replay
	if r == nil || r.asked && !asked {
		r = &Replay{}
	}
	each, after := r.each, m.beforeLast(c, r.last)
	if end := c.newest(); each == 0 && c.ended() && c.retains(end) {
		each, after = math.MaxInt, end-1
	}
	first := m.head.position + 1
	for i := range c.places {
		p := &c.places[i]
		passed += p.begin(each, after)
		if p.due() > 0 {
			first = min(first, p.position())
		}
	}
	c.at, c.unended, c.fresh = m.head, false, false
	if first <= m.head.position {
		c.at, c.fresh = m.before(first), true
	}
	return passed
}

// begin moves p to the newest events of its topic, at most so many, and all after that
// position. It returns how many it passes over that were due.
func (p *place) begin(newest int, after uint64) (passed int) {
	t := p.topic
	index := max(t.events.length-min(newest, t.events.length), t.indexAfter(after))
	before := max(p.next, t.departed)
	p.next = t.departed + uint64(index)
	return max(0, int(p.next)-int(before))
}

// beforeLast is the position after which there are the last n events of c, or somewhat
// less: an event of several topics counts for each that c follows. Zero events are all.
func (m *memory) beforeLast(c *cursor, n int) uint64 {
	if n == 0 {
		return 0
	}
	oldest, newest := m.head.position, uint64(0)
	for i := range c.places {
		if t := c.places[i].topic; t.events.length > 0 {
			oldest = min(oldest, t.events.at(0).position)
			newest = max(newest, t.events.at(t.events.length-1).position)
		}
	}
	return oldest - 1 + uint64(sort.Search(int(max(newest, oldest)-oldest), func(i int) bool {
		later := 0
		for j := range c.places {
			t := c.places[j].topic
			later += t.events.length - t.indexAfter(oldest-1+uint64(i))
		}
		return later <= n
	}))
}

// retains reports whether the event at that position, the newest of one of its topics,
// is still here.
func (c *cursor) retains(position uint64) bool {
	for i := 1; i < len(c.places); i++ {
		t := c.places[i].topic
		if n := t.events.length; n > 0 && t.events.at(n-1).position == position {
			return true
		}
	}
	return false
}

// before is the place just before that position.
func (m *memory) before(position uint64) mark {
	if position <= m.floor.position {
		return mark{position: position - 1}
	}
	return mark{position - 1, m.check(position - 1)}
}
