package ssegin

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
