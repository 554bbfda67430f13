package ssegin

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// remembering returns a memory of the newest events.
func remembering(events int) *memory {
	return newMemory(retention{all: history{events: events, bytes: 1 << 30, age: time.Hour}, ends: history{events: 1000, age: time.Hour}})
}

// newestFrame is the frame of the newest event of that topic.
func newestFrame(m *memory, topic string) []byte {
	events := &m.topics[topic].events
	return events.at(events.length - 1).frame
}

// put appends an event to each of the topics in turn; its data is its position.
func put(m *memory, topics ...string) (id string) {
	for _, topic := range topics {
		id = putBlock(m, topic, fmt.Sprintf("data: %d\n", m.head.position+1), false)
	}
	return id
}

// putEnd appends the end of the topic.
func putEnd(m *memory, topic string) (id string) {
	return putBlock(m, topic, fmt.Sprintf("data: %d end\n", m.head.position+1), true)
}

func putBlock(m *memory, topic, block string, end bool) (id string) {
	id, _ = m.append(addition{topic: topic, block: []byte(block), end: end})
	return id
}

// enter joins a new cursor, and takes it out as the hub does if there is
// nothing to wait for.
func enter(m *memory, lastID string, topics ...string) (*cursor, verdict) {
	c := &cursor{waker: make(bell, 1)}
	v := m.join(c, topics, lastID)
	if v.complete {
		c.leave(m)
	}
	return c, v
}

// taken takes everything that is due to c, and returns the data of the events.
func taken(t testing.TB, m *memory, c *cursor) (data []string, reset Reset, ended bool) {
	t.Helper()
	for {
		var b batch
		if reset := m.take(c, &b); reset.Reason != "" {
			return data, reset, false
		}
		for _, e := range roundTrip(t, bytes.Join(b.frames, nil)) {
			data = append(data, e.Data)
		}
		if !b.more {
			return data, Reset{}, b.ended
		}
	}
}

// requireTaken requires that these events are due to c, and no reset.
func requireTaken(t testing.TB, m *memory, c *cursor, want ...string) {
	t.Helper()
	data, reset, _ := taken(t, m, c)
	require.Equal(t, Reset{}, reset)
	require.Equal(t, want, data)
}

func TestMemory_positionsHaveNoHoles(t *testing.T) {
	m := remembering(10)
	for position := 1; position <= 100; position++ {
		topic := []string{"", "a", "b"}[position%3]
		id := put(m, topic)
		require.Equal(t, fmt.Sprintf("%s-%d", m.life.epoch, position), id)
		require.Equal(t, fmt.Sprintf("data: %d\nid: %s\n\n", position, id), string(newestFrame(m, topic)))
	}
}

func TestMemory_isBoundedByWhicheverIsReachedFirst(t *testing.T) {
	block := make([]byte, 0, 64) // so that the frame takes as much
	block = append(block, "data: xxxxxxxxxx\n"...)
	whole, topic := cap(block)+eventCost, topicCost+len("a")
	for _, tc := range []struct {
		name   string
		limits history
		want   int
	}{
		{"events", history{3, 1 << 20, time.Hour}, 3},
		{"bytes", history{100, topic + 5*whole, time.Hour}, 5},
		{"bytes, less one", history{100, topic + 5*whole - 1, time.Hour}, 4},
		{"age", history{100, 1 << 20, 6 * time.Minute}, 7},
		{"age, less a moment", history{100, 1 << 20, 6*time.Minute - 1}, 6},
		{"none", history{9, topic + 9*whole, 8 * time.Minute}, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory(retention{all: tc.limits})
				for range 9 {
					time.Sleep(time.Minute)
					m.append(addition{topic: "a", block: append(make([]byte, 0, cap(block)), block...)})
				}
				assert.Equal(t, tc.want, m.count)
				assert.Equal(t, topic+tc.want*whole, m.bytes)
			})
		})
	}
}

// Nobody gets an event that is too old only because nothing came after it.
func TestMemory_oldEventsAreNotReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(retention{all: history{100, 1 << 20, time.Minute}})
		first := put(m, "a")
		put(m, "a", "a")
		time.Sleep(time.Minute)
		_, v := enter(m, first, "a")
		assert.Equal(t, verdict{}, v)
		time.Sleep(time.Nanosecond)
		_, v = enter(m, first, "a")
		assert.Equal(t, Reset{ReasonExpired, 2}, v.reset)
		assert.Zero(t, m.count)
	})
}

// The age of events is counted on the monotonic clock, and positions on none:
// steps of the wall clock move nothing.
func TestMemory_ageDoesNotFollowTheWallClock(t *testing.T) {
	m := remembering(1)
	assert.NotEqual(t, m.born.Round(0), m.born, "no monotonic reading")
}

// Events 1 to 10, of which the history holds the last four.
func TestMemory_saysToEachLastIDWhatItMissed(t *testing.T) {
	m := remembering(4)
	put(m, "a", "b", "a", "", "b", "a", "b", "a", "b", "a")
	id := func(position uint64) string { return m.id(mark{position: position}) }
	other := remembering(4)

	for _, tc := range []struct {
		name   string
		topics []string
		lastID string
		reset  Reset
		taken  []string
	}{
		{"fresh", []string{"a"}, "", Reset{}, nil},
		{"fresh, of a topic that is not there", []string{"z"}, "", Reset{}, nil},
		{"up to date", []string{"a"}, id(10), Reset{}, nil},
		{"up to date but for others' events", []string{"b"}, id(9), Reset{}, nil},
		{"one missing", []string{"a"}, id(9), Reset{}, []string{"10"}},
		{"an ID that was another's event", []string{"b"}, id(8), Reset{}, []string{"9"}},
		{"two topics, one order", []string{"b", "a"}, id(6), Reset{}, []string{"7", "8", "9", "10"}},
		{"the oldest that can be resumed", []string{"a"}, id(6), Reset{}, []string{"8", "10"}},
		{"what has left was for others", []string{"b"}, id(5), Reset{}, []string{"7", "9"}},
		{"nothing of its topics has left", nil, id(4), Reset{}, nil},
		{"one left", []string{"a"}, id(5), Reset{ReasonExpired, 3}, nil},
		{"the broadcast left", nil, id(3), Reset{ReasonExpired, 1}, nil},
		{"two left, one of them a broadcast", []string{"a"}, id(3), Reset{ReasonExpired, 4}, nil},
		{"from the beginning", []string{"a"}, id(0), Reset{ReasonExpired, 6}, nil},
		{"from the beginning, all topics", []string{"a", "b"}, id(0), Reset{ReasonExpired, 10}, nil},
		{"of another log", []string{"a"}, other.id(mark{position: 9}), Reset{ReasonEpoch, -1}, nil},
		{"of another log, as new as can be", []string{"a"}, other.id(mark{position: 10}), Reset{ReasonEpoch, -1}, nil},
		{"of the future", []string{"a"}, id(11), Reset{ReasonFuture, -1}, nil},
		{"of the far future", []string{"a"}, id(1<<64 - 1), Reset{ReasonFuture, -1}, nil},
		{"not an ID", []string{"a"}, "10", Reset{ReasonInvalid, -1}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, v := enter(m, tc.lastID, tc.topics...)
			defer c.leave(m)
			assert.Equal(t, verdict{reset: tc.reset}, v)
			if tc.reset.Reason != "" {
				assert.Equal(t, m.head, c.at, "a reset goes on live")
			}
			requireTaken(t, m, c, tc.taken...)
			assert.Equal(t, m.head, c.at)
		})
	}
}

func TestMemory_anyLastIDGetsAStream(t *testing.T) {
	m := remembering(4)
	put(m, "a", "a", "a", "a", "a", "a")
	for name, id := range hostileIDs {
		c, v := enter(m, id, "a")
		assert.Equal(t, Reset{ReasonInvalid, -1}, v.reset, name)
		put(m, "a")
		data, _, _ := taken(t, m, c)
		assert.Len(t, data, 1, name)
		c.leave(m)
	}
	t.Logf("%d hostile IDs: panics 0", len(hostileIDs))
}

// An ID is a place in the log and gives no right.
func TestMemory_anIDOfOtherTopicsShowsNothingOfThem(t *testing.T) {
	m := remembering(100)
	ids := []string{put(m, "user:a"), put(m, "user:b"), put(m, "user:a"), put(m, "user:a"), put(m, "user:b")}
	for i, id := range ids {
		c, v := enter(m, id, "user:b")
		assert.Equal(t, verdict{}, v)
		want := []string{"2", "5"}
		if i >= 1 {
			want = want[1:]
		}
		if i >= 4 {
			want = nil
		}
		requireTaken(t, m, c, want...)
	}
	t.Log("0 of A's")
}

func TestMemory_countsWhatHasLeftExactlyOrSaysThatItCannot(t *testing.T) {
	m := remembering(1)
	for range 10_000 {
		put(m, "long") // one run, however long
	}
	put(m, "a")
	_, v := enter(m, m.id(mark{position: 0}), "long")
	assert.Equal(t, Reset{ReasonExpired, 10_000}, v.reset)

	for range maxDepartures {
		put(m, "b", "c")
	}
	newest := m.head.position
	for missed := range uint64(maxDepartures - 2) {
		_, v = enter(m, m.id(mark{position: newest - 1 - missed}), "b", "c")
		if missed == 0 {
			require.Equal(t, Reset{}, v.reset)
		} else {
			require.Equal(t, Reset{ReasonExpired, int(missed) + 1}, v.reset)
		}
	}
	_, v = enter(m, m.id(mark{position: newest - maxDepartures - 2}), "b")
	assert.Equal(t, Reset{ReasonExpired, -1}, v.reset)
	assert.Equal(t, maxDepartures, m.departures.runs.length)
}

func TestMemory_aStreamThatLagsIsToldHowMuchItMissed(t *testing.T) {
	m := remembering(4)
	c, _ := enter(m, "", "a")
	put(m, "a", "b", "a")
	requireTaken(t, m, c, "1", "3")
	put(m, "a", "", "b", "b", "a", "b", "a") // 4 to 10: due are 4, 5, 8, 10
	_, reset, _ := taken(t, m, c)
	assert.Equal(t, Reset{ReasonLagged, 4}, reset)
	assert.Equal(t, m.head, c.at)
	requireTaken(t, m, c)
	put(m, "a")
	requireTaken(t, m, c, "11")
}

func TestMemory_aStreamDoesNotLagBehindTheEventsOfOthers(t *testing.T) {
	m := remembering(4)
	c, _ := enter(m, "", "a")
	put(m, "a", "b", "b", "b")
	requireTaken(t, m, c, "1")
	for range 1000 {
		put(m, "b")
	}
	requireTaken(t, m, c)
	assert.Equal(t, m.head, c.at, "its position goes on, and does not expire")
}

func TestMemory_aQuietTopicCostsNothingOnABusyHub(t *testing.T) {
	resume := func(others int) time.Duration {
		m := remembering(1 << 20)
		c, _ := enter(m, "", "quiet")
		for range others {
			putBlock(m, "busy", "data: x\n", false)
		}
		return quickest(func() {
			_, v := enter(m, m.id(mark{position: 0}), "quiet")
			require.Equal(t, verdict{}, v)
			require.Zero(t, m.take(c, &batch{}))
		})
	}
	took, alone := resume(200_000), resume(1)
	assert.Less(t, took, 20*alone) // to look at the events of others takes a thousand times as long
	t.Logf("%v to resume beside 200,000 events for others, %v beside one", took, alone)
}

func TestMemory_conflationGivesTheNewestEventOfEachTopic(t *testing.T) {
	m := remembering(6)
	c, _ := enter(m, "", "a", "b")
	c.conflate = true
	put(m, "a", "b", "a", "", "z", "a") // 1 to 6
	requireTaken(t, m, c, "2", "4", "6")
	requireTaken(t, m, c)
	put(m, "a", "a", "a", "a", "a", "a", "a", "a") // 7 to 14: more than the history holds
	requireTaken(t, m, c, "14")
	put(m, "b", "a", "a", "a", "a", "a", "a") // 15 is the newest of b, and has left
	_, reset, _ := taken(t, m, c)
	assert.Equal(t, ReasonLagged, reset.Reason)
}

func TestMemory_conflationMissesNothingWhileThereIsANewerEvent(t *testing.T) {
	m := remembering(2)
	put(m, "a", "b", "a", "b", "a", "b") // 1 to 6
	c := &cursor{conflate: true}
	assert.Equal(t, verdict{}, m.join(c, []string{"a", "b"}, m.id(mark{position: 1})))
	requireTaken(t, m, c, "5", "6")
	put(m, "a", "b", "c", "c") // 7 to 10
	c = &cursor{conflate: true}
	assert.Equal(t, ReasonExpired, m.join(c, []string{"a"}, m.id(mark{position: 6})).reset.Reason)
}

func TestMemory_aTopicThatEndedIsCompleteForWhoHasSeenTheEnd(t *testing.T) {
	m := remembering(4)
	put(m, "job")
	live, _ := enter(m, "", "job")
	end := putEnd(m, "job")
	put(m, "other")

	data, _, ended := taken(t, m, live)
	assert.Equal(t, []string{"2 end"}, data)
	assert.True(t, ended, "after the last event")

	for _, tc := range []struct {
		name     string
		lastID   string
		topics   []string
		complete bool
		reset    Reason
		taken    []string
		ended    bool
	}{
		{"has seen the end", end, []string{"job"}, true, "", nil, false},
		{"has seen more", m.id(mark{position: 3}), []string{"job"}, true, "", nil, false},
		{"missed the end", m.id(mark{position: 1}), []string{"job"}, false, "", []string{"2 end"}, true},
		{"is new", "", []string{"job"}, false, "", []string{"2 end"}, true},
		{"is of another log", "abcdefg234-2", []string{"job"}, false, ReasonEpoch, []string{"2 end"}, true},
		{"follows something else too", end, []string{"job", "other"}, false, "", []string{"3"}, false},
		{"follows something that is not there too", end, []string{"job", "none"}, false, "", nil, false},
		{"follows broadcasts only", end, nil, false, "", nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, v := enter(m, tc.lastID, tc.topics...)
			defer c.leave(m)
			require.Equal(t, tc.complete, v.complete)
			assert.Equal(t, tc.reset, v.reset.Reason)
			if v.complete {
				return
			}
			data, _, ended := taken(t, m, c)
			assert.Equal(t, tc.taken, data)
			assert.Equal(t, tc.ended, ended)
		})
	}
}

// Neither the end nor what came before it may be lost silently.
func TestMemory_whoMissedAnEndThatHasLeftIsTold(t *testing.T) {
	m := remembering(2)
	first := put(m, "job")
	lagging, _ := enter(m, first, "job")
	put(m, "job")
	putEnd(m, "job")

	c, v := enter(m, m.id(mark{position: 0}), "job")
	assert.Equal(t, verdict{reset: Reset{ReasonExpired, 2}}, v, "the end can still be given")
	data, _, ended := taken(t, m, c)
	assert.Equal(t, []string{"3 end"}, data)
	assert.True(t, ended)

	put(m, "other", "other")
	_, v = enter(m, "", "job")
	assert.True(t, v.complete, "a new client has missed nothing")

	c, v = enter(m, first, "job")
	assert.Equal(t, verdict{reset: Reset{ReasonExpired, 2}}, v)
	data, reset, ended := taken(t, m, c)
	assert.Empty(t, data)
	assert.Equal(t, Reset{}, reset)
	assert.True(t, ended, "and then it is over")

	_, reset, _ = taken(t, m, lagging)
	assert.Equal(t, Reset{ReasonLagged, 2}, reset)
	_, _, ended = taken(t, m, lagging)
	assert.True(t, ended)
}

func TestMemory_aLaterEventBeginsAnEndedTopicAnew(t *testing.T) {
	m := remembering(10)
	end := putEnd(m, "job")
	put(m, "job")
	c, v := enter(m, end, "job")
	assert.Equal(t, verdict{}, v)
	data, _, ended := taken(t, m, c)
	assert.Equal(t, []string{"2"}, data)
	assert.False(t, ended)

	end = putEnd(m, "job")
	data, _, ended = taken(t, m, c)
	assert.Equal(t, []string{"3 end"}, data)
	assert.True(t, ended)
	_, v = enter(m, end, "job")
	assert.True(t, v.complete)
}

func TestMemory_anEndIsRememberedLongerThanItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(retention{all: history{2, 1 << 20, time.Minute}, ends: history{events: 10, age: time.Hour}})
		first := putEnd(m, "job:1")
		for range 100 {
			put(m, "busy")
		}
		time.Sleep(time.Hour)
		_, v := enter(m, first, "job:1")
		assert.True(t, v.complete)
		assert.Len(t, m.topics, 1, "the end needs no topic")
		_, v = enter(m, "", "job:1")
		assert.True(t, v.complete)
		c, v := enter(m, m.id(mark{}), "job:1")
		assert.Equal(t, verdict{reset: Reset{ReasonExpired, 1}}, v)
		_, reset, ended := taken(t, m, c)
		assert.Equal(t, Reset{}, reset)
		assert.True(t, ended, "it is told of the gap, and of the end")
		c.leave(m)

		second := putEnd(m, "job:2")
		time.Sleep(time.Hour + 1)
		m.trim(time.Since(m.born))
		for topic, end := range map[string]string{"job:1": first, "job:2": second} {
			c, v := enter(m, end, topic)
			assert.Equal(t, verdict{}, v, topic)
			c.leave(m)
		}
		assert.Zero(t, m.ends.order.length)
		assert.Empty(t, m.ends.byName)
	})
}

// Ends are bounded by number as well: a job a second must not add up.
func TestMemory_endsDoNotAddUp(t *testing.T) {
	m := newMemory(retention{all: history{events: 3}, ends: history{events: 10}})
	for i := range 1000 {
		putEnd(m, fmt.Sprintf("job:%d", i))
	}
	assert.Equal(t, 10, m.ends.order.length)
	assert.Len(t, m.ends.byName, 10)
	assert.Len(t, m.topics, 1+3)

	putEnd(m, "again")
	put(m, "again")
	c, v := enter(m, "", "again")
	assert.Equal(t, verdict{}, v)
	_, _, ended := taken(t, m, c)
	assert.False(t, ended, "it goes on")
	c.leave(m)
	put(m, "b", "b", "b")
	_, v = enter(m, "", "again")
	assert.False(t, v.complete, "also when that is forgotten")
}

func TestMemory_forgetsTopicsThatNothingNeeds(t *testing.T) {
	m := remembering(3)
	c, _ := enter(m, "", "followed")
	put(m, "a", "b", "followed", "c")
	assert.Len(t, m.topics, 1+3, "a has left")
	c.leave(m)
	put(m, "c", "c", "c")
	assert.Len(t, m.topics, 1+1)
	assert.Contains(t, m.topics, "c")
}

func TestRing_isAQueueWithPlaces(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	var queue ring[int]
	var want []int
	for i := range 20_000 {
		grows := i%2000 < 1000 // the queue grows and empties many times
		if r.IntN(10) < 4 == grows && len(want) > 0 {
			require.Equal(t, want[0], queue.pop(), "seed %d", seed)
			want = want[1:]
		} else {
			queue.push(i)
			want = append(want, i)
		}
		require.Equal(t, len(want), queue.length, "seed %d", seed)
		if len(want) > 0 {
			at := r.IntN(len(want))
			require.Equal(t, want[at], *queue.at(at), "seed %d", seed)
		}
	}
}

func TestRing_letsGoOfWhatWasPopped(t *testing.T) {
	var queue ring[*int]
	for range 5 {
		queue.push(new(int))
	}
	for range 5 {
		queue.pop()
	}
	for _, slot := range queue.buffer {
		assert.Nil(t, slot)
	}
}

func TestRing_pushAndPopDoNotAllocateOnceItHasRoom(t *testing.T) {
	var queue ring[int]
	for i := range 1000 {
		queue.push(i)
	}
	assert.Zero(t, testing.AllocsPerRun(5000, func() {
		queue.pop()
		queue.push(0)
	}))
	assert.Len(t, queue.buffer, 1024)
}
