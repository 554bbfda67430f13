package ssegin

import (
	"math/rand/v2"
	"slices"
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

func TestCursor_hasOnePlaceInATopicHoweverOftenItIsAsked(t *testing.T) {
	m := remembering(10)
	c, _ := enter(m, "", "a", "a", "b", "a")
	assert.Len(t, c.places, 3, "broadcasts, a and b")
	put(m, "a")
	requireTaken(t, m, c, "1")
	c.leave(m)
	assert.Len(t, m.topics, 2)
	assert.Empty(t, m.topics["a"].cursors)
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
