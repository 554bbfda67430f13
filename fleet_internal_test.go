package ssegin

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Each stream takes two numbers of its fleet, one of them as it is taken over.
func TestFleet_spreadsItsStreamsOverAllCrews(t *testing.T) {
	f := newFleet(func(f func()) { go f() })
	streams := map[*crew]int{}
	for range 10 * len(f.crews) {
		streams[newDetached(nil, f).crew]++
		f.next++
	}
	assert.Len(t, streams, runtime.GOMAXPROCS(0))
	for _, n := range streams {
		assert.Equal(t, 10, n)
	}
}
