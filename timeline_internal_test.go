package ssegin

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ways are all from one state of a cursor to another, as the type says.
var ways = map[[2]state]string{
	{absent, live}:            "join",
	{absent, waiting}:         "join",
	{waiting, catchingUp}:     "begin",
	{catchingUp, waiting}:     "await",
	{catchingUp, live}:        "rejoin",
	{live, interrupted}:       "align",
	{waiting, interrupted}:    "align",
	{catchingUp, interrupted}: "align",
	{interrupted, live}:       "take skip",
	{waiting, live}:           "skip",
	{live, mute}:              "disconnect",
	{waiting, mute}:           "disconnect",
	{catchingUp, mute}:        "disconnect",
	{interrupted, mute}:       "disconnect take skip",
	{live, absent}:            "leave",
	{waiting, absent}:         "leave",
	{catchingUp, absent}:      "leave",
	{interrupted, absent}:     "leave",
	{mute, absent}:            "leave",
}

// A timeline does at random what hubs do to cursors. Each changes its state in the
// ways that are named, and all of these ways are taken.
func TestTimeline_movesCursorsFromStateToStateInTheWaysThatAreNamed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	o := newHubOptions([]HubOption{WithHistory(4, 0, 0), WithLog(&teller{})})
	line := newTimeline(&o)
	last, epoch := uint64(20), 0
	bounds := func() Bounds {
		return Bounds{Epoch: fmt.Sprint(epoch), First: 1, Last: last}
	}
	follow := func() {
		after, _ := line.align(bounds())
		for p := after + 1; p <= last; p++ {
			_, err := line.receive(&Entry{Position: p, Topic: "x", MessageID: fmt.Sprint(p)}, []byte("data: x\n"))
			require.NoError(t, err)
		}
	}
	follow()
	type client struct {
		*cursor
		topics []string
	}
	var clients []client
	for range 8 {
		clients = append(clients, client{&cursor{waker: make(bell, 1), stream: &peer{}}, [][]string{{"x"}, nil}[len(clients)%2]})
	}
	taken := map[[2]state]int{}
	for range 20_000 {
		before := make([]state, len(clients))
		for i := range clients {
			before[i] = clients[i].state
		}
		c, by := clients[r.IntN(len(clients))], ""
		switch {
		case r.IntN(60) == 0:
			by, epoch = "align", epoch+1
			follow()
		case r.IntN(60) == 0:
			by = "disconnect"
			line.disconnect("x")
		case r.IntN(6) == 0:
			last++
			follow()
		case c.state == absent:
			at := mark{last - uint64(r.IntN(8)), 0}
			at.check = checkOf(&Entry{MessageID: fmt.Sprint(at.position)})
			id := string(appendID(nil, line.memory.life.epoch, at))
			by = "join"
			_, err := line.join(c.cursor, c.topics, line.disconnections(), id, nil)
			require.NoError(t, err)
		case r.IntN(10) == 0:
			by = "leave"
			line.leave(c.cursor)
		case c.state == catchingUp && r.IntN(2) == 0:
			by = "await"
			_, _, _ = line.await(c.cursor)
		case c.state == catchingUp:
			by = "rejoin"
			at := line.memory.head
			if r.IntN(2) == 0 && line.memory.floor.position > 1 {
				at = mark{position: line.memory.floor.position - 1}
			}
			_, _, err := line.rejoin(c.cursor, at, nil)
			require.NoError(t, err)
		case c.state == waiting && r.IntN(2) == 0, c.state == interrupted && r.IntN(3) == 0:
			by = "skip"
			line.skip(c.cursor, ReasonExpired)
		case c.state == waiting:
			by = "begin"
			_, _ = line.begin(c.cursor)
		default:
			by = "take"
			b := newBatch(0)
			line.take(c.cursor, b, false)
			b.release()
		}
		for i := range clients {
			if step := [2]state{before[i], clients[i].state}; step[0] != step[1] {
				taken[step]++
				require.Contains(t, strings.Fields(ways[step]), by, "%v", step)
			}
		}
	}
	for step := range ways {
		assert.NotZero(t, taken[step], "from %d to %d by %s was never taken", step[0], step[1], ways[step])
	}
}

// Whoever wakes a crowd is awaited, and so is a page that is being read.
func TestShutdown_waitsForTheGoroutinesOfTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		ended := false
		h.timeline.run(func() {
			time.Sleep(time.Minute)
			ended = true
		})
		begin := time.Now()
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, time.Minute, time.Since(begin))
		assert.True(t, ended)
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBacklog(slowReader{}, 1<<20, newTimeline(&hubOptions{}))
		go func() { _, _, _ = following(t.Context(), b, mark{position: 1}) }()
		synctest.Wait()
		begin := time.Now()
		b.close(t.Context())
		assert.Equal(t, time.Minute, time.Since(begin))
	})
}

// A slowReader is a log that reads for a minute, whatever it is told.
type slowReader struct{ Log }

func (slowReader) Read(context.Context, uint64, uint64) iter.Seq2[Entry, error] {
	return func(func(Entry, error) bool) { time.Sleep(time.Minute) }
}

// tailing returns a memory of a log in an engine, in a life that began after
// that position.
func tailing(events int, after uint64, why Reason) *memory {
	m := remembering(events)
	m.tail = true
	m.beginLife(epochHere, after, why)
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
	m.beginLife("abcdefg234", 41, ReasonEpoch)
	assert.NotSame(t, before, m.life)
	assert.Equal(t, life{"abcdefg234", ReasonEpoch, before.number + 1}, *m.life)
	assert.Equal(t, mark{position: 41}, m.head)
	assert.Equal(t, m.head, m.floor)
	assert.Zero(t, m.count)
	assert.Zero(t, m.bytes)
	assert.Zero(t, m.window.length)
	assert.Empty(t, m.ends.byName)
	assert.Zero(t, m.departures.runs.length)
	assert.Len(t, m.topics, 3, "those of broadcasts and of the cursor")
	assert.False(t, c.ended())
	assert.Zero(t, c.newest())

	put(m, "a", "b")
	data, reset, _ := taken(t, m, c)
	assert.Empty(t, data)
	assert.Equal(t, Reset{ReasonEpoch, -1}, reset)
	assert.Equal(t, mark{position: 41}, c.at, "what came since is still due to the client")
	requireTaken(t, m, c)
	assert.Equal(t, mute, c.state, "but not before it was asked what it may follow")
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
	for _, why := range []Reason{ReasonExpired, ReasonEpoch} { // after a rollback the epoch is the same
		m := tailing(2, 10, why)
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
	m.beginLife(epochHere, 20, ReasonEpoch)
	m.unsure = true
	requireTaken(t, m, c)
	require.True(t, m.meet(7))
	_, reset, _ := taken(t, m, c)
	assert.Equal(t, Reset{ReasonEpoch, -1}, reset)
	assert.Equal(t, mark{20, 7}.tell(), c.at)
	m.unsure = true
	m.beginLife(epochHere, 30, ReasonEpoch)
	assert.False(t, m.unsure, "of what comes next it knows all")
}

func TestMemory_whatNobodyCanBeSentTakesAPositionAndLeaves(t *testing.T) {
	m := tailing(3, 0, "")
	c, _ := enter(m, "", "a")
	for n := range 100 {
		m.pass(check(n + 1))
	}
	assert.Equal(t, mark{100, 100}, m.head)
	assert.Equal(t, 3, m.count)
	assert.Equal(t, mark{97, 97}, m.floor)
	assert.True(t, m.meet(100))
	requireTaken(t, m, c)
	assert.Equal(t, m.head, c.at)
	_, v := enter(m, m.id(mark{99, 1}), "a")
	assert.Equal(t, Reset{ReasonEpoch, -1}, v.reset)
}

func TestMemory_learnsOfAnEndThatIsNewsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(retention{all: history{10, 1 << 20, time.Minute}, ends: history{10, 0, time.Minute}})
		put(m, "b", "b", "b", "b", "b")
		c, _ := enter(m, "", "a", "b")
		m.learn("z", 3) // nobody is there
		m.learn("a", 3)
		m.learn("a", 3)
		m.learn("b", 3) // there was more
		assert.Len(t, m.ends.byName, 1)
		assert.EqualValues(t, 5, c.newest())
		assert.False(t, c.ended())
		m.learn("b", 6)
		assert.True(t, c.ended())
		assert.EqualValues(t, 6, c.newest())
		c.leave(m)

		assert.NotContains(t, m.topics, "a", "the end is remembered without the topic")
		_, ended := m.ends.of("a")
		assert.True(t, ended)
		time.Sleep(time.Minute + 1)
		m.trim(time.Since(m.born))
		assert.Empty(t, m.ends.byName, "and forgotten")
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
		p := connect(t, h, "")
		entry := func(position uint64) Entry {
			return Entry{Position: position, Data: fmt.Append(nil, position), MessageID: fmt.Sprint(position)}
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
		assert.ErrorIs(t, err, errUnjudged)
	})
}

// Two clients of one key wait for the engine, and its answer wakes both.
func TestTimeline_countsOnceWhoHasArrived(t *testing.T) {
	o := newHubOptions([]HubOption{WithMaxStreams(2), WithMaxCatchingUp(2)})
	o.maxStreamsPer = 2
	line := newTimeline(&o)
	one, other := &cursor{key: "k"}, &cursor{key: "k"}
	left, err := line.arrive(one)
	require.NoError(t, err)
	otherLeft, err := line.arrive(other)
	require.NoError(t, err)
	_, err = line.join(one, nil, 0, "", nil)
	require.NoError(t, err)
	_, err = line.join(other, nil, 0, "", nil) // before the first one has said that it has left
	require.NoError(t, err)
	left()
	otherLeft()
	assert.Zero(t, line.arriving)
	assert.Equal(t, 2, line.perKey["k"])
	line.leave(one)
	line.leave(other)
	assert.Empty(t, line.perKey)
}

// After a rollback positions begin below those of what has left.
func TestMemory_aLifeMayBeginBelowWhatHasLeft(t *testing.T) {
	m := tailing(3, 100, "")
	for n := range 20 {
		m.pass(check(n + 1))
		put(m, "a")
	}
	m.beginLife(epochHere, 100, ReasonEpoch)
	for n := range 20 {
		m.pass(check(n + 1))
		put(m, "a")
		require.LessOrEqual(t, m.count, 3)
		require.Equal(t, m.count, m.void.events.length+m.topics["a"].events.length)
	}
}

// An event of a thousand topics, each with a few streams, costs its publisher the waking
// of a few of them; a goroutine wakes the others.
func TestTimeline_anEventOfManyTopicsIsWokenForByAGoroutine(t *testing.T) {
	o := newHubOptions(nil)
	line := newTimeline(&o)
	var topics []string
	var bells []bell
	for i := range 1000 {
		topics = append(topics, fmt.Sprint(i))
		for range 3 {
			b := make(bell, 1)
			bells = append(bells, b)
			_, err := line.join(&cursor{waker: b}, topics[i:], 0, "", nil)
			require.NoError(t, err)
		}
	}
	line.mu.Lock()
	audience := line.callOthersLocked(line.callLocked(line.memory.topics["0"]), topics[1:])
	line.mu.Unlock()
	assert.LessOrEqual(t, len(audience), fewStreams)
	notify(audience)
	for i, b := range bells {
		select {
		case <-b:
		case <-time.After(time.Minute):
			t.Fatalf("stream %d is not woken", i)
		}
	}
}

// Clients that come and are refused at once leave nothing behind, whatever they follow.
func TestTimeline_whoIsRefusedLeavesNothingForTheAudience(t *testing.T) {
	o := newHubOptions([]HubOption{WithLocalAudience(func(string) {}, func(string) {})})
	line := newTimeline(&o)
	for i := range 100 {
		topic := fmt.Sprint(i)
		line.memory.ends.add(ending{topic: topic, position: 1})
		v, err := line.join(&cursor{waker: make(bell, 1)}, []string{topic}, 0, "", nil)
		require.NoError(t, err)
		require.True(t, v.complete)
	}
	require.Eventually(t, func() bool {
		line.mu.Lock()
		defer line.mu.Unlock()
		return len(line.memory.audience.pending) == 0
	}, time.Minute, time.Millisecond)
}

// After a pause there is much that is too old. A publisher lets go of a part of it, whoever
// needs to know what is there of all, and none of them keeps the lock for all.
func TestTimeline_whatIsTooOldLeavesAPartAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5 * mostAtOnce
		o := newHubOptions([]HubOption{WithHistory(0, 0, time.Minute)})
		line := newTimeline(&o)
		publish := func() {
			_, _, err := line.append(addition{topic: "a", block: []byte("data: x\n")})
			require.NoError(t, err)
		}
		for range n {
			publish()
		}
		require.Equal(t, n, line.memory.count)
		time.Sleep(time.Hour)
		publish()
		assert.Equal(t, n+1-mostAtOnce, line.memory.count)
		c := &cursor{waker: make(bell, 1), replay: new(ReplayAll())}
		_, err := line.join(c, []string{"a"}, 0, "", nil)
		require.NoError(t, err)
		assert.Equal(t, 1, c.due())

		for range n {
			publish()
		}
		assert.Equal(t, n+1, line.erase("a"))
		assert.Zero(t, line.memory.count)
	})
}
