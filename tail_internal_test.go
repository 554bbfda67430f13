package ssegin

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tailing returns a memory of a log in an engine, in a life that began after
// that position.
func tailing(events int, after uint64, why Reason) *memory {
	m := remembering(events)
	m.tail = true
	m.begin(epochHere, after, why)
	return m
}

// putChecked appends an event of topic a with that check.
func putChecked(m *memory, c check) {
	m.append(addition{topic: "a", block: []byte("data: x\n"), check: c})
}

func TestMemory_aLifeBeginsWithNothing(t *testing.T) {
	m := remembering(3)
	c, _ := enter(m, "", "a", "b")
	put(m, "a", "b", "c", "c", "a")
	putEnd(m, "b")
	putEnd(m, "c")
	before := m.life
	m.begin("abcdefg234", 41, ReasonEpoch)
	assert.NotSame(t, before, m.life)
	assert.Equal(t, life{"abcdefg234", ReasonEpoch}, *m.life)
	assert.Equal(t, mark{position: 41}, m.head)
	assert.Equal(t, m.head, m.floor)
	assert.Zero(t, m.events.length)
	assert.Zero(t, m.bytes)
	assert.Zero(t, m.ended.length)
	assert.Zero(t, m.departed.length)
	assert.Len(t, m.topics, 3, "those of broadcasts and of the cursor")
	assert.False(t, c.ended())
	assert.Zero(t, c.newest())

	put(m, "a", "b")
	data, reset, _ := taken(t, m, c)
	assert.Empty(t, data)
	assert.Equal(t, Reset{ReasonEpoch, -1}, reset)
	assert.Equal(t, mark{position: 41}, c.at, "what came since is still due")
	requireTaken(t, m, c, "42", "43")
}

func TestMemory_anIDOfATailIsJudgedByItsCheck(t *testing.T) {
	const ours, other = 7, 8
	m := tailing(2, 10, "")
	m.unsure = true
	require.True(t, m.meet(ours), "what the event at the head is, is learnt")
	require.True(t, m.meet(ours))
	require.False(t, m.meet(other))
	for range 4 {
		putChecked(m, ours) // 11 to 14, of which 13 and 14 are kept
	}
	require.False(t, m.meet(other))
	for _, tc := range []struct {
		name string
		at   mark
		want verdict
	}{
		{"the newest", mark{14, ours}, verdict{}},
		{"another in its place", mark{14, other}, verdict{reset: Reset{ReasonEpoch, -1}}},
		{"of the floor", mark{12, ours}, verdict{}},
		{"another in the place of the floor", mark{12, other}, verdict{reset: Reset{ReasonEpoch, -1}}},
		{"below the floor, whatever it is", mark{11, other}, verdict{behind: true}},
		{"without a check", mark{position: 12}, verdict{}},
		{"of the future", mark{15, ours}, verdict{reset: Reset{ReasonFuture, -1}}},
	} {
		c, v := enter(m, m.id(tc.at), "a")
		assert.Equal(t, tc.want, v, tc.name)
		assert.Equal(t, tc.want.behind, c.state == waiting, tc.name)
		c.leave(m)
	}
}

// The floor of a life that began at its head is what the head was.
func TestMemory_theFloorIsLearntWithTheHead(t *testing.T) {
	m := tailing(2, 10, "")
	m.unsure = true
	require.True(t, m.meet(7))
	assert.False(t, m.unsure)
	putChecked(m, 9)
	_, v := enter(m, m.id(mark{10, 8}), "a")
	assert.Equal(t, Reset{ReasonEpoch, -1}, v.reset)
	_, v = enter(m, m.id(mark{10, 7}), "a")
	assert.Equal(t, verdict{}, v)
}

// Who has seen the entry that a hole begins or ends with cannot be told from
// who has not.
func TestMemory_whoStandsInAHoleIsTold(t *testing.T) {
	m := tailing(2, 10, ReasonExpired)
	putChecked(m, 1)
	_, v := enter(m, m.id(mark{10, 5}), "a")
	assert.Equal(t, Reset{ReasonExpired, -1}, v.reset)
	_, v = enter(m, m.id(mark{position: 10}), "a")
	assert.Equal(t, verdict{}, v, "the ID of the reset itself")
	_, v = enter(m, m.id(mark{11, 1}), "a")
	assert.Equal(t, verdict{}, v)

	putChecked(m, 2)
	putChecked(m, 3) // the floor is an event again
	_, v = enter(m, m.id(mark{11, 1}), "a")
	assert.Equal(t, verdict{}, v)
}

// Where a hub begins, what is at its first place is not in question.
func TestMemory_whoStandsWhereTheFirstLifeBeginsIsTakenAtItsWord(t *testing.T) {
	m := tailing(2, 10, "")
	_, v := enter(m, m.id(mark{10, 5}), "a")
	assert.Equal(t, verdict{}, v)
}

func TestMemory_tellsNobodyOfAPlaceThatItDoesNotKnow(t *testing.T) {
	m := tailing(2, 10, "")
	c, _ := enter(m, "", "a")
	m.begin(epochHere, 20, ReasonEpoch)
	m.unsure = true
	requireTaken(t, m, c)
	require.True(t, m.meet(7))
	_, reset, _ := taken(t, m, c)
	assert.Equal(t, Reset{ReasonEpoch, -1}, reset)
	assert.Equal(t, mark{20, 7}, c.at)
	m.unsure = true
	m.begin(epochHere, 30, ReasonEpoch)
	assert.False(t, m.unsure, "of what comes next it knows all")
}

func TestMemory_whatNobodyCanBeSentTakesAPositionAndLeaves(t *testing.T) {
	m := tailing(3, 0, "")
	c, _ := enter(m, "", "a")
	for n := range 100 {
		m.pass(check(n + 1))
	}
	assert.Equal(t, mark{100, 100}, m.head)
	assert.Equal(t, 3, m.events.length)
	assert.Equal(t, mark{97, 97}, m.floor)
	assert.True(t, m.meet(100))
	requireTaken(t, m, c)
	assert.Equal(t, m.head, c.at)
	_, v := enter(m, m.id(mark{99, 1}), "a")
	assert.Equal(t, Reset{ReasonEpoch, -1}, v.reset)
}

func TestMemory_learnsOfAnEndThatIsNewsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(history{10, 1 << 20, time.Minute})
		put(m, "b", "b", "b", "b", "b")
		c, _ := enter(m, "", "a", "b")
		m.learn("z", 3) // nobody is there
		m.learn("a", 3)
		m.learn("a", 3)
		m.learn("b", 3) // there was more
		assert.Equal(t, 1, m.ended.length)
		assert.EqualValues(t, 5, c.newest())
		assert.False(t, c.ended())
		m.learn("b", 6)
		assert.True(t, c.ended())
		assert.EqualValues(t, 6, c.newest())
		c.leave(m)

		assert.NotNil(t, m.topics["a"], "the end is remembered")
		time.Sleep(time.Minute + 1)
		m.trim(time.Since(m.born))
		assert.Zero(t, m.ended.length)
		assert.Len(t, m.topics, 1, "and forgotten")
	})
}

func TestMemory_messageIDsAreKeptAsLongAsTheirEvents(t *testing.T) {
	m := remembering(3)
	var ids []string
	for n := range 100 {
		id, topic := m.append(addition{topic: "a", block: []byte("data: x\n"), messageID: fmt.Sprint(n)})
		require.NotNil(t, topic)
		ids = append(ids, id)
		put(m, "a") // without one
	}
	assert.Len(t, m.sent, 1)
	again, topic := m.append(addition{topic: "a", block: []byte("data: x\n"), messageID: "99"})
	assert.Nil(t, topic)
	assert.Equal(t, ids[99], again)
	_, topic = m.append(addition{topic: "a", block: []byte("data: x\n"), messageID: "98"})
	assert.NotNil(t, topic)
}

// A log that breaks the rules costs no order, and nothing comes twice.
func TestTail_takesPositionsInOrderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := tell(t, &teller{})
		p := connect(t, h, "", "x")
		entry := func(position uint64) Entry {
			return Entry{Position: position, Topic: "x", Data: fmt.Append(nil, position), MessageID: fmt.Sprint(position)}
		}
		require.NoError(t, h.engine.(*shared).deliver(entry(1)))
		require.NoError(t, h.engine.(*shared).deliver(entry(2)))
		assert.Error(t, h.engine.(*shared).deliver(entry(2)))
		assert.Error(t, h.engine.(*shared).deliver(entry(1)))
		require.NoError(t, h.engine.(*shared).deliver(entry(3)))
		events := p.read()
		require.Len(t, events, 3)
		for i, e := range events {
			assert.Equal(t, fmt.Sprint(i+1), e.Data)
			assert.Equal(t, string(appendID(nil, epochOf("e"), markOf(i+1))), e.ID)
		}
		require.NoError(t, h.engine.(*shared).deliver(entry(5)))
		events = p.read()
		require.Len(t, events, 2)
		assert.Equal(t, typeReset, events[0].Type)
		assert.Equal(t, "5", events[1].Data)
		p.leave()
	})
}

// From the moment at which it finds another entry at its place, it lets nobody
// in before it knows where the log ends now.
func TestTail_letsNobodyInWhileItDoesNotKnowItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := tell(t, &teller{})
		require.NoError(t, h.engine.(*shared).deliver(Entry{Position: 1, MessageID: "1"}))
		h.timeline.mu.Lock()
		h.timeline.tail.recheckTo = 1 // as after a moment without touch
		h.timeline.mu.Unlock()
		assert.ErrorContains(t, h.engine.(*shared).deliver(Entry{Position: 1, MessageID: "another"}), "rolled back")
		_, err := dial(h, &cursor{}, "")
		assert.ErrorIs(t, err, ErrUnavailable)
	})
}
