package ssegin

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A traveller is a passenger that does nothing.
type traveller int

func (traveller) turn(time.Time) {}
func (traveller) ready()         {}
func (traveller) gone()          {}
func (traveller) alarmAt() int64 { return 0 }

// Those who are up to date go first, and each few of them are followed by one who is
// behind, so that neither waits for all of the others.
func TestCrew_whoIsBehindGoesAfterTheOthersAndIsNotForgotten(t *testing.T) {
	c := &crew{work: make(chan struct{}, 1)}
	push := func(from, to int, behind bool) {
		for n := from; n < to; n++ {
			c.push(traveller(n), behind)
		}
	}
	next := func() (turn []int) {
		select {
		case <-c.work:
		default:
			t.Fatal("it is not told that there is work")
		}
		for _, p := range c.next(nil) {
			turn = append(turn, int(p.(traveller)))
		}
		return turn
	}
	push(1000, 1100, true)
	push(0, 3, false)
	assert.Equal(t, []int{0, 1, 2, 1000}, next())
	push(3, 3+4*perBehind, false)
	turn := next()
	assert.True(t, slices.IsSorted(turn))
	assert.Equal(t, []int{1001, 1002, 1003, 1004, 1005}, turn[4*perBehind:])
	for n := 1006; n < 1100; n++ {
		assert.Equal(t, []int{n}, next(), "they have their turns also when nobody else has any")
	}
	assert.Empty(t, c.work)
}
