package ssegin

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A naive is a memory without any index: all events that there ever were, and which of
// them are still there. It looks at all of them all the time.
type naive struct {
	retention retention
	events    []*naiveEvent
}

type naiveEvent struct {
	topic    string
	position uint64
	at       time.Time
	cost     int
	left     bool // it is not retained any more
	kept     bool // it has come out of the window
	ended    bool
}

// of returns the retained events that cond holds of, oldest first.
func (n *naive) of(cond func(*naiveEvent) bool) (found []*naiveEvent) {
	for _, e := range n.events {
		if !e.left && cond(e) {
			found = append(found, e)
		}
	}
	return found
}

func (n *naive) topic(name string) []*naiveEvent {
	return n.of(func(e *naiveEvent) bool { return e.topic == name })
}

// exceeds reports whether these events are more than h.
func exceeds(events []*naiveEvent, h history) bool {
	cost := 0
	for _, e := range events {
		cost += e.cost
	}
	return len(events) > 0 && (beyond(len(events), h.events) || beyond(cost, h.bytes) || beyond(time.Since(events[0].at), h.age))
}

// whole is what the events take with their topics.
func whole(events []*naiveEvent) (bytes int) {
	topics := map[string]bool{}
	for _, e := range events {
		if bytes += e.cost; !topics[e.topic] {
			topics[e.topic] = true
			bytes += topicCost + len(e.topic)
		}
	}
	return bytes
}

// bound lets go of what is beyond the ceiling of that topic, and of what was kept and is
// beyond its floor.
func (n *naive) bound(topic string) {
	for {
		events := n.topic(topic)
		if len(events) == 0 {
			return
		}
		tooMuch := events[0].kept && exceeds(events, n.retention.floor) || exceeds(events, n.retention.ceiling) && len(events) > 1 ||
			beyond(time.Since(events[0].at), n.retention.ceiling.age)
		if !tooMuch {
			return
		}
		events[0].left = true
	}
}

func (n *naive) trim() {
	all := n.retention.all
	for _, e := range n.events {
		if !e.left && beyond(time.Since(e.at), all.age) {
			if !e.kept {
				n.bound(e.topic)
			}
			e.left = true
		}
	}
	for {
		here := n.of(func(*naiveEvent) bool { return true })
		if !beyond(len(here), all.events) && (!beyond(whole(here), all.bytes) || len(here) < 2) {
			return
		}
		kept := n.of(func(e *naiveEvent) bool { return e.kept })
		cost := 0
		for _, e := range kept {
			cost += e.cost
		}
		window := n.of(func(e *naiveEvent) bool { return !e.kept })
		if len(kept) > 0 && (len(window) == 0 || window[0].position == n.events[len(n.events)-1].position || beyond(2*len(kept), all.events) || beyond(2*cost, all.bytes)) {
			kept[0].left = true
			continue
		}
		oldest := window[0]
		n.bound(oldest.topic)
		switch {
		case oldest.left:
		case n.retention.floor != (history{}) && !exceeds(n.topic(oldest.topic), n.retention.floor):
			oldest.kept = true
		default:
			oldest.left = true
		}
	}
}

// due are the positions of what a client of these topics is to be given after that one.
func (n *naive) due(topics []string, after uint64) (positions []uint64) {
	for _, e := range n.of(func(e *naiveEvent) bool { return e.position > after && slices.Contains(topics, e.topic) }) {
		positions = append(positions, e.position)
	}
	return slices.Compact(positions)
}

// missed counts the events of these topics after that position that are gone.
func (n *naive) missed(topics []string, after uint64) (missed int) {
	for _, e := range n.events {
		if e.left && e.position > after && slices.Contains(topics, e.topic) {
			missed++
		}
	}
	return missed
}

// ended reports whether the newest event of each of the topics is its end.
func (n *naive) ended(topics []string) bool {
	newest := map[string]bool{}
	for _, e := range n.events {
		newest[e.topic] = e.ended
	}
	for _, topic := range topics {
		if topic != "" && !newest[topic] {
			return false
		}
	}
	return len(topics) > 1
}

// retentions are bounds of all kinds.
func retentions(r *rand.Rand) retention {
	some := func(n int) int { return r.IntN(2) * (1 + r.IntN(n)) }
	age := func() time.Duration { return time.Duration(some(60)) * time.Minute }
	keep := retention{
		all:     history{some(40), some(20_000), age()},
		floor:   history{some(6), some(4000), age()},
		ceiling: history{some(12), some(6000), age()},
		ends:    history{events: 1 << 20},
	}
	if keep.all.events == 0 && keep.all.bytes == 0 {
		keep.all.events = 30
	}
	return keep
}

// TestMemory_isWhatANaiveOneIs does at random what a hub does. After each step the books
// agree with each other, and what is retained with a memory that has no books.
func TestMemory_isWhatANaiveOneIs(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	names := strings.Split(",a,b,c,d,e", ",")
	joins, exact, replays := 0, 0, 0
	for range 150 {
		synctest.Test(t, func(t *testing.T) {
			n := &naive{retention: retentions(r)}
			m := newMemory(n.retention)
			var cursors []*cursor
			for range 200 {
				topics := names[1+r.IntN(len(names)-1):]
				switch i := r.IntN(12); {
				case i < 6:
					topics = topics[:1]
					if r.IntN(8) == 0 {
						topics = names[:1]
					} else if r.IntN(6) == 0 {
						topics = names[1 : 2+r.IntN(len(names)-1)]
					}
					end := len(topics) == 1 && topics[0] != "" && r.IntN(8) == 0
					block := append(make([]byte, 0, 64+r.IntN(1000)), fmt.Sprintf("data: %d\n", m.head.position+1)...)
					m.append(addition{topic: topics[0], others: topics[1:], block: block, end: end})
					for _, topic := range topics {
						e := &naiveEvent{topic: topic, position: m.head.position, at: time.Now(), cost: cap(block) + eventCost, ended: end}
						n.events = append(n.events, e)
						n.bound(topic)
					}
					n.trim()
				case i < 7:
					time.Sleep(time.Duration(r.IntN(10)) * time.Minute)
				case i < 8 && r.IntN(3) == 0:
					if topic := m.topics[topics[0]]; topic != nil {
						m.erase(topic)
					}
					for _, e := range n.topic(topics[0]) {
						e.left = true
					}
				case i < 10:
					joins++
					c := &cursor{waker: make(bell, 1)}
					lastID, at := "", uint64(0)
					if r.IntN(3) == 0 {
						c.replay = &[]Replay{ReplayAll(), ReplayEach(1 + r.IntN(4)), ReplayLast(1 + r.IntN(9))}[r.IntN(3)]
					} else {
						at = m.head.position - min(m.head.position, uint64(r.IntN(12)))
						if r.IntN(4) == 0 {
							at = uint64(r.Int64N(int64(m.head.position + 1)))
						}
						lastID = m.id(mark{position: at})
					}
					v := m.join(c, topics, lastID)
					n.trim()
					followed := append([]string{""}, topics...)
					for _, topic := range followed {
						n.bound(topic)
					}
					want, gone := n.due(followed, at), n.missed(followed, at)
					switch {
					case c.replay != nil:
						replays++
						requireReplay(t, m, n, c, v, followed)
					case v.complete:
						require.True(t, n.ended(followed), "seed %d", seed)
						require.Empty(t, n.due(topics, at), "seed %d", seed) // broadcasts are no reason to stay
						require.Zero(t, n.missed(topics, at), "seed %d", seed)
					case gone == 0 && v.reset.Reason == "":
						require.Len(t, positionsTaken(t, m, c), len(want), "seed %d", seed)
						exact++
					case gone == 0: // only where a topic that was forgotten cannot be told from one that had events
						require.Equal(t, Reset{ReasonExpired, -1}, v.reset, "seed %d", seed)
					case v.reset.Missed >= 0:
						want := gone + len(n.of(func(e *naiveEvent) bool { return e.position > at && slices.Contains(followed, e.topic) }))
						require.Equal(t, ReasonExpired, v.reset.Reason, "seed %d: silent gap", seed)
						if !n.ended(followed) {
							require.Equal(t, want, v.reset.Missed, "seed %d", seed)
						}
						exact++
					default:
						require.Equal(t, Reset{ReasonExpired, -1}, v.reset, "seed %d", seed)
					}
					if v.complete {
						c.leave(m)
					} else {
						cursors = append(cursors, c)
					}
				case len(cursors) > 0:
					i := r.IntN(len(cursors))
					if r.IntN(2) == 0 {
						taken(t, m, cursors[i])
					} else {
						cursors[i].leave(m)
						cursors = slices.Delete(cursors, i, i+1)
					}
				}
				require.Empty(t, disorder(m, cursors), "seed %d", seed)
				require.Equal(t, positionsOf(n), retainedPositions(m), "seed %d: %+v", seed, n.retention)
			}
		})
	}
	t.Logf("seed %d: %d joins, %d of them judged exactly, %d replays", seed, joins, exact, replays)
}

// requireReplay requires that c is given what its Replay says.
func requireReplay(t *testing.T, m *memory, n *naive, c *cursor, v verdict, topics []string) {
	t.Helper()
	var want []uint64
	r := *c.replay
	for _, topic := range topics {
		events := n.topic(topic)
		for _, e := range events[max(0, len(events)-r.each):] {
			want = append(want, e.position)
		}
	}
	slices.Sort(want)
	if want = slices.Compact(want); r.last > 0 {
		want = want[max(0, len(want)-r.last):]
	}
	if v.complete {
		require.Empty(t, want)
		require.True(t, n.ended(topics))
		return
	}
	require.Equal(t, len(want) > 0, c.fresh)
	require.Equal(t, want, positionsTaken(t, m, c))
	require.Equal(t, m.head, c.at)
}

// positionsTaken takes everything that is due to c.
func positionsTaken(t *testing.T, m *memory, c *cursor) (positions []uint64) {
	t.Helper()
	for {
		var b batch
		require.Zero(t, m.take(c, &b))
		for _, frame := range b.frames {
			e := eventOf(frame)
			_, at, _ := parseID(e.ID)
			positions = append(positions, at.position)
		}
		if !b.more {
			return positions
		}
	}
}

// positionsOf are those of the retained events, by topic.
func positionsOf(n *naive) map[string][]uint64 {
	positions := map[string][]uint64{}
	for _, e := range n.of(func(*naiveEvent) bool { return true }) {
		positions[e.topic] = append(positions[e.topic], e.position)
	}
	return positions
}

func retainedPositions(m *memory) map[string][]uint64 {
	positions := map[string][]uint64{}
	for name, t := range m.topics {
		for i := range t.events.length {
			positions[name] = append(positions[name], t.events.at(i).position)
		}
	}
	return positions
}

// disorder says what is wrong in the books, "" if nothing is.
func disorder(m *memory, cursors []*cursor) string {
	count, bytes, kept, keptBytes := 0, 0, 0, 0
	slots := map[slot]int{}
	for _, r := range []*ring[slot]{&m.kept, &m.window} {
		for i := range r.length {
			s := *r.at(i)
			if slots[s]++; i > 0 && r.at(i-1).position > s.position {
				return "the slots are not in order"
			}
		}
	}
	for name, t := range m.topics {
		own := 0
		for i := range t.events.length {
			e := t.events.at(i)
			own += e.cost()
			switch {
			case slots[slot{t, e.position}] != 1:
				return "an event has no slot, or two"
			case e.position <= t.evicted:
				return "an event has left and is there"
			case i > 0 && t.events.at(i-1).position >= e.position:
				return "the events of a topic are not in order"
			}
			if i < t.kept {
				kept, keptBytes = kept+1, keptBytes+e.cost()
			}
		}
		if own != t.bytes {
			return "a topic has other bytes than its events"
		}
		if count, bytes = count+t.events.length, bytes+own; t.events.length > 0 {
			bytes += topicCost + len(name)
		}
		switch {
		case name != t.name:
			return "a topic has another name"
		case name != "" && t.events.length == 0 && len(t.cursors) == 0:
			return "a topic is there that nothing needs"
		}
	}
	switch {
	case count != m.count || bytes != m.bytes || kept != m.keptCount || keptBytes != m.keptBytes:
		return fmt.Sprintf("counted %d events of %d bytes, %d kept of %d, there are %d of %d, %d of %d",
			m.count, m.bytes, m.keptCount, m.keptBytes, count, bytes, kept, keptBytes)
	case beyond(count, m.retention.all.events) || beyond(bytes, m.retention.all.bytes) && count > 1:
		return "out of bounds"
	case m.window.length+m.kept.length > 2*count+fewStale:
		return "too many stale slots"
	case len(m.topics[""].cursors) != len(cursors):
		return "a cursor has no place among all"
	}
	for _, c := range cursors {
		for _, place := range c.places {
			if place.slot >= len(place.topic.cursors) || place.topic.cursors[place.slot] != c {
				return "a cursor is not in its slot"
			}
		}
	}
	return ""
}

// A flood in one topic costs no other its floor, if the floors fit into half of what there
// is in all.
func TestMemory_aFloodCostsNoTopicItsFloor(t *testing.T) {
	m := newMemory(retention{all: history{bytes: 1 << 20, age: time.Hour}, floor: history{events: 3}})
	var quiet []string
	for i := range 100 {
		quiet = append(quiet, fmt.Sprintf("user:%d", i))
		put(m, quiet[i], quiet[i], quiet[i], quiet[i])
	}
	last := m.id(m.head)
	for range 100_000 {
		put(m, "flood")
	}
	for i, topic := range quiet {
		c := &cursor{replay: new(ReplayAll())}
		m.join(c, []string{topic}, "")
		requireTaken(t, m, c, fmt.Sprint(4*i+2), fmt.Sprint(4*i+3), fmt.Sprint(4*i+4))
		c.leave(m)
		_, v := enter(m, last, topic)
		assert.Equal(t, verdict{}, v, "the flood was not for it")
	}
	flood := m.topics["flood"].events.length
	assert.Greater(t, flood, 1000)
	_, v := enter(m, m.id(mark{position: m.head.position - uint64(flood)}), "flood")
	assert.Equal(t, verdict{}, v)
	_, v = enter(m, m.id(mark{position: m.head.position - uint64(flood) - 1}), "flood")
	assert.Equal(t, Reset{ReasonExpired, flood + 1}, v.reset)
	t.Logf("100 quiet topics have their 3 events each, the flood has its newest %d", flood)
}

// The floors of many quiet topics leave a busy one half of what there is.
func TestMemory_floorsLeaveTheBusyOnesHalf(t *testing.T) {
	m := newMemory(retention{all: history{events: 1000}, floor: history{events: 4}})
	for i := range 5000 {
		put(m, fmt.Sprintf("user:%d", i))
	}
	for range 1000 {
		put(m, "busy")
	}
	assert.GreaterOrEqual(t, m.topics["busy"].events.length, 500)
	assert.LessOrEqual(t, m.keptCount, 500)
	assert.Equal(t, 1000, m.count)
}

// What came and went leaves nothing behind but its end.
func TestMemory_topicsThatCameAndWentLeaveTheirEndsAlone(t *testing.T) {
	m := newMemory(retention{all: history{events: 100}, floor: history{events: 4}, ends: history{events: 1 << 20}})
	for i := range 100_000 {
		name := fmt.Sprintf("job:%d", i)
		put(m, name)
		putEnd(m, name)
	}
	for range 200 {
		put(m, "busy")
	}
	assert.LessOrEqual(t, len(m.topics), 1+51)
	assert.Len(t, m.ends.byName, 100_000)
	m.ends.forget()
	assert.LessOrEqual(t, m.window.length+m.kept.length, 2*100+fewStale)
	assert.LessOrEqual(t, len(m.window.buffer)+len(m.kept.buffer), 8*100)
}

// The bytes of a history are those of the heap, give or take what the rings and maps
// have to spare.
func TestMemory_countsWhole(t *testing.T) {
	for _, tc := range []struct {
		name   string
		topics int
		burst  int // so many events of a topic in a row
		floor  int
		bytes  int
		id     bool
	}{
		{"one topic, tokens", 1, 1, 0, 32, false},
		{"one topic, 1 KiB", 1, 1, 0, 1000, false},
		{"10,000 topics", 10_000, 1, 0, 100, false},
		{"topics that are quiet after a burst", 1 << 20, 33, 1, 32, false},
		{"message IDs", 1, 1, 0, 32, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := heap()
			m := newMemory(retention{all: history{bytes: 4 << 20, age: time.Hour}, floor: history{events: tc.floor}})
			for i := range max(200_000, 12_000*tc.burst) {
				block := append(make([]byte, 0, tc.bytes+maxIDTail), make([]byte, tc.bytes)...)
				a := addition{topic: fmt.Sprintf("topic:%d", i/tc.burst%tc.topics), block: block}
				if tc.id {
					a.messageID = fmt.Sprintf("message-%020d", i)
				}
				m.append(a)
			}
			took := int(heap() - before)
			t.Logf("counted %d bytes of %d events, the heap has %d: %.2f", m.bytes, m.count, took, float64(took)/float64(m.bytes))
			assert.Less(t, m.bytes, 4<<20+1)
			assert.InEpsilon(t, m.bytes, took, 0.4)
			runtime.KeepAlive(m)
		})
	}
}

func heap() uint64 {
	var stats runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// An event of two topics may have left the window for one of them and not for the other.
// A stream of many topics that looks at the window alone must not take that for all.
func TestMemory_anEventOfTwoTopicsIsGivenAlsoWhereTheWindowHasHalfOfIt(t *testing.T) {
	m := newMemory(retention{all: history{events: 4}, floor: history{events: 1}})
	topics := []string{"x"}
	for i := range 100 {
		topics = append(topics, fmt.Sprint(i))
	}
	for range 3 {
		put(m, "y")
	}
	c, _ := enter(m, m.id(m.head), topics...)
	m.append(addition{topic: "x", others: []string{"y"}, block: []byte("data: both\n")})
	for m.window.at(0).topic.name != "x" {
		m.advance(0)
	}
	m.advance(0)
	require.Equal(t, 1, m.keptCount)
	requireTaken(t, m, c, "both")
}

// What the floors of topics keep leaves before the newest event does, however large that is.
func TestMemory_theNewestEventStaysWhateverIsKept(t *testing.T) {
	for name, others := range map[string][]string{"one topic": nil, "several topics": {"b", "c", "d"}} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(retention{all: history{bytes: 100_000}, floor: history{events: 1, bytes: 1000}})
			for i := range 1000 {
				put(m, fmt.Sprint(i))
			}
			require.Greater(t, m.keptCount, 20)
			a := addition{topic: "a", others: others, block: make([]byte, 0, 90_000/(1+len(others)))}
			require.True(t, m.retention.all.holds(&a))
			m.append(a)
			for _, topic := range append(others, "a") {
				require.NotNil(t, m.topics[topic], topic)
				assert.Equal(t, 1, m.topics[topic].events.length, topic)
			}
		})
	}
}

// A client of a topic in which nothing ever was has missed nothing, however many events of
// busy topics have left since: nobody needs to know of each that it was not for it.
func TestMemory_aTopicInWhichNothingWasMissesNothing(t *testing.T) {
	m := newMemory(retention{all: history{events: 100}, ceiling: history{events: 1}})
	put(m, "XAU", "XAG")
	last := m.id(m.head)
	for range 2 * maxDepartures {
		put(m, "XAU", "XAG")
	}
	c, v := enter(m, last, "user:7")
	assert.Equal(t, verdict{}, v)
	c.leave(m)
	m.erase(m.topics["XAG"]) // it is forgotten
	_, v = enter(m, last, "user:7")
	assert.Equal(t, Reset{ReasonExpired, -1}, v.reset, "it cannot be told from one that is forgotten")
}

// A topic that ends again and again pushes no other's end out.
func TestMemory_oneTopicHasOneEnd(t *testing.T) {
	m := newMemory(retention{all: history{events: 3}, ends: history{events: 10}})
	putEnd(m, "job")
	for range 1000 {
		putEnd(m, "noisy")
		putEnd(m, "noisy")
		put(m, "noisy")
	}
	_, v := enter(m, "", "job")
	assert.Equal(t, verdict{complete: true}, v)
	assert.LessOrEqual(t, m.ends.order.length, 2*10+fewStale)
}
