package ssegin

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCursor_notifyNeverWaits(t *testing.T) {
	c := &cursor{waker: make(bell, 1)}
	for range 3 {
		c.waker.notify()
	}
	assert.Len(t, c.waker.(bell), 1, "more would say nothing new")
}

// A cursor with many topics finds its places in other ways than one with a few,
// and must be given the same.
func TestCursor_withManyTopicsIsGivenWhatOneWithFewIs(t *testing.T) {
	const topics = 20 * fewPlaces
	r := rand.New(rand.NewPCG(1, 2))
	m := remembering(300)
	name := func(i int) string { return fmt.Sprint("topic ", i) }
	var names []string
	for i := range topics {
		names = append(names, name(i))
	}
	for conflate := range 2 {
		wide, _ := enter(m, "", names...)
		wide.conflate = conflate == 1
		narrow := make([]*cursor, topics/fewPlaces)
		for i := range narrow {
			narrow[i], _ = enter(m, "", names[i*fewPlaces:(i+1)*fewPlaces]...)
			narrow[i].conflate = wide.conflate
		}
		for range 200 {
			for range r.IntN(3 * fewPlaces) {
				put(m, name(r.IntN(topics+50))) // some are nobody's
			}
			got, reset, _ := taken(t, m, wide)
			require.Equal(t, Reset{}, reset)
			require.True(t, slices.IsSortedFunc(got, byNumber), "%v", got)
			var want []string
			for _, c := range narrow {
				data, _, _ := taken(t, m, c)
				want = append(want, data...)
			}
			slices.SortFunc(want, byNumber)
			require.Equal(t, want, got)
			require.Equal(t, m.head, wide.at)
		}
		for _, c := range append(narrow, wide) {
			c.leave(m)
		}
	}
	for _, topic := range m.topics {
		require.Empty(t, topic.cursors, topic.name)
	}
}

// byNumber compares the data of events that put has made.
func byNumber(a, b string) int {
	left, _ := strconv.Atoi(a)
	right, _ := strconv.Atoi(b)
	return left - right
}

func TestDistinct_keepsEachTopicOnceInItsOrder(t *testing.T) {
	assert.Equal(t, []string{"a", "b"}, distinct([]string{"a", "a", "b", "a"}))
	var twice, once []string
	for i := range 10 * fewPlaces {
		topic := fmt.Sprint(i % (5 * fewPlaces))
		if twice = append(twice, topic); i < 5*fewPlaces {
			once = append(once, topic)
		}
	}
	assert.Equal(t, once, distinct(twice))
	assert.Empty(t, distinct(nil))
}

func TestCursor_seekGoesToJustAfterAnyPosition(t *testing.T) {
	m := remembering(6)
	put(m, "a", "", "b", "a", "a", "b", "", "a", "b", "a") // 5 to 10 are here
	c, _ := enter(m, "", "a")
	for position, want := range map[uint64][]string{
		0: {"5", "7", "8", "10"}, 4: {"5", "7", "8", "10"}, 5: {"7", "8", "10"}, 6: {"7", "8", "10"},
		7: {"8", "10"}, 8: {"10"}, 9: {"10"}, 10: nil,
	} {
		c.seek(mark{position: position})
		assert.Equal(t, len(want), c.due(), "after %d", position)
		requireTaken(t, m, c, want...)
	}
}

// A publisher wakes the cursors that it was lent without holding the lock:
// whoever joins or leaves meanwhile must not change what it reads.
func TestCursor_whatAPublisherWasLentDoesNotChange(t *testing.T) {
	m := remembering(10)
	r := rand.New(rand.NewPCG(1, 2))
	var cursors []*cursor
	for range 200 {
		_, topic := m.append(addition{topic: "a"})
		audience := topic.audience()
		want := slices.Clone(audience)
		for range r.IntN(4) {
			if r.IntN(2) == 0 || len(cursors) == 0 {
				c, _ := enter(m, "", "a")
				cursors = append(cursors, c)
				continue
			}
			n := r.IntN(len(cursors))
			cursors[n].leave(m)
			cursors = slices.Delete(cursors, n, n+1)
		}
		require.Equal(t, want, audience)
		require.Empty(t, disorder(m, cursors))
	}
}

// A slot that is empty holds on to nothing.
func TestCursor_nothingIsKeptOfAStreamThatHasLeft(t *testing.T) {
	m := remembering(10)
	first, _ := enter(m, "")
	for range 3 {
		c, _ := enter(m, "")
		c.leave(m)
		assert.Empty(t, c.places)
	}
	everyone := m.topics[""].cursors
	for _, slot := range everyone[:cap(everyone)] {
		assert.True(t, slot == nil || slot == first)
	}
	first.leave(m)
	assert.Nil(t, m.topics[""].cursors)
}
