package ssegin

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// A Replay says what WithReplay gives to newcomers.
type Replay struct {
	each  int // the newest of each topic
	last  int // the last ones of all its topics together; zero: no matter
	asked bool
}

// ReplayAll gives a newcomer all that the history has of its topics.
func ReplayAll() Replay { return Replay{each: math.MaxInt} }

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

// isNewcomer reports whether a client with that last event ID is a new one.
func isNewcomer(lastID string) bool { return lastID == "" || lastID == idEarliest }

// welcome puts c where a newcomer begins: at the head, or before what its Replay
// gives. One that asks for what has ended is shown the end at least, so that it learns
// that there is nothing to wait for. It returns how many events c is not given that
// were due to it before.
func (m *memory) welcome(c *cursor, asked bool) (passed int) {
	r := c.replay
	if r == nil || r.asked && !asked {
		r = &Replay{}
	}
	each, after := r.each, uint64(0)
	if r.last > 0 {
		after, _ = c.last(r.last)
	}
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

// last returns the position after which there are the last n events of c, and how many
// there are: fewer only if there are no more. An event of several topics that c follows is
// one.
func (c *cursor) last(n int) (after uint64, found int) {
	total, only := 0, (*topic)(nil)
	for i := range c.places {
		if t := c.places[i].topic; t.events.length > 0 {
			total, only = total+t.events.length, t
		}
	}
	switch {
	case total == 0:
		return 0, 0
	case total == only.events.length: // as mostly: no event comes twice, and nothing is to be put in order
		found = min(n, total)
		return only.events.at(total-found).position - 1, found
	}
	for copies := n; ; copies *= 2 {
		positions := c.positions(c.beforeLast(copies))
		switch found = len(positions); {
		case found >= n:
			return positions[found-n] - 1, n
		case copies >= total:
			return 0, found
		}
	}
}

// beforeLast is the position after which there are so many retained events of c, or
// somewhat less, where one of several topics counts for each. The newest event is there in
// any case; there must be one.
func (c *cursor) beforeLast(copies int) uint64 {
	oldest, newest := uint64(math.MaxUint64), uint64(0)
	for i := range c.places {
		if t := c.places[i].topic; t.events.length > 0 {
			oldest = min(oldest, t.events.at(0).position)
			newest = max(newest, t.events.at(t.events.length-1).position)
		}
	}
	return oldest - 1 + uint64(sort.Search(int(newest-oldest), func(i int) bool {
		later := 0
		for j := range c.places {
			t := c.places[j].topic
			later += t.events.length - t.indexAfter(oldest-1+uint64(i))
		}
		return later <= copies
	}))
}

// positions are those of the retained events of c after that one, in order.
func (c *cursor) positions(after uint64) (positions []uint64) {
	for i := range c.places {
		t := c.places[i].topic
		for j := t.indexAfter(after); j < t.events.length; j++ {
			positions = append(positions, t.events.at(j).position)
		}
	}
	slices.Sort(positions)
	return slices.Compact(positions)
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
