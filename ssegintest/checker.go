package ssegintest

import (
	"fmt"
	"slices"
)

// A Checker watches the events of one logical client, over all of its
// connections, and finds what was lost on the way. It needs a number in each
// event that counts up by one in the order of publishing; it uses memory only
// for gaps.
//
// A Checker is for one goroutine at a time.
type Checker struct {
	seq  func(Event) (uint64, bool)
	next uint64 // the number after the greatest one seen
	gaps []span // below next and not seen; ascending, apart and not empty
	seen Verdict
}

// span is the numbers from first up to and not including end.
type span struct{ first, end uint64 }

// NewChecker returns a Checker for a client whose first event must have the
// number first. The function seq takes the number from an event; it returns
// false for an event that does not count, such as a reset.
func NewChecker(first uint64, seq func(Event) (uint64, bool)) *Checker {
	return &Checker{seq: seq, next: first}
}

// Check notes that the client has received e.
func (c *Checker) Check(e Event) {
	n, ok := c.seq(e)
	if !ok {
		return
	}
	c.seen.Events++
	switch {
	case n < c.next && c.fill(n):
		c.seen.Reordered++
	case n < c.next:
		c.seen.Duplicated++
	default:
		if n > c.next {
			c.gaps = append(c.gaps, span{c.next, n})
		}
		c.next = n + 1
	}
}

// Next returns the number of the event that must come next: one more than the
// greatest that was seen.
func (c *Checker) Next() uint64 { return c.next }

// Verdict returns what was found so far, given that last is the number of the
// last event that the client ought to have received.
func (c *Checker) Verdict(last uint64) Verdict {
	v := c.seen
	for _, g := range c.gaps {
		v.Missing += g.end - g.first
	}
	if last >= c.next {
		v.Missing += last - c.next + 1
	}
	return v
}

// fill takes n out of the gaps. It is false if n is in none: n was seen
// before, or is smaller than the first number.
func (c *Checker) fill(n uint64) bool {
	i := slices.IndexFunc(c.gaps, func(g span) bool { return g.first <= n && n < g.end })
	if i < 0 {
		return false
	}
	g := c.gaps[i]
	rest := slices.DeleteFunc([]span{{g.first, n}, {n + 1, g.end}}, func(g span) bool { return g.first == g.end })
	c.gaps = slices.Replace(c.gaps, i, i+1, rest...)
	return true
}

// A Verdict is what a Checker has found. A client to which nothing happened
// has Verdict{Events: n}.
type Verdict struct {
	Events     uint64 // received, all of them
	Missing    uint64 // never received
	Duplicated uint64 // received again, or older than the first that was due
	Reordered  uint64 // received after a later one
}

// Plus returns the sums of v and w, for the verdict on many clients.
func (v Verdict) Plus(w Verdict) Verdict {
	return Verdict{
		Events:     v.Events + w.Events,
		Missing:    v.Missing + w.Missing,
		Duplicated: v.Duplicated + w.Duplicated,
		Reordered:  v.Reordered + w.Reordered,
	}
}

// String returns the verdict as a line for the output of a test:
// "lost 0, duplicated 0, reordered 0 over 20000 reads".
func (v Verdict) String() string {
	return fmt.Sprintf("lost %d, duplicated %d, reordered %d over %d reads",
		v.Missing, v.Duplicated, v.Reordered, v.Events)
}
