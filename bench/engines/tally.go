package engines

import (
	"time"

	"github.com/ssegin/ssegin/bench/load"
	"github.com/ssegin/ssegin/bench/payload"
)

// A tally checks that one receiver, a stream or a bare subscriber, is given
// each event of its topic once, and the events of each publisher in order.
type tally struct {
	topics int
	next   []uint64 // by publisher: the number of the event that is due

	deliveries int
	missed     int // passed over, whether they came later or not
	again      int // below the number that was due: a second time, or late
	last       int64
	latency    load.Histogram
}

// newTally returns the tally of a receiver of one topic, the one with that
// index; all publishers send their events to all topics in turn.
func newTally(topic, topics, publishers int) tally {
	t := tally{topics: topics, next: make([]uint64, publishers)}
	for p := range t.next {
		t.next[p] = uint64((topic-p%topics+topics-1)%topics) + 1
	}
	return t
}

// see takes what a payload says. It reports whether it was an event of the run.
func (t *tally) see(seq uint64, sent, now int64) (publisher int, ok bool) {
	publisher, event := split(seq)
	if event == 0 || publisher >= len(t.next) {
		return 0, false
	}
	t.deliveries++
	t.last = now
	t.latency.Add(time.Duration(now - sent))
	due, step := &t.next[publisher], uint64(t.topics)
	switch {
	case event < *due:
		t.again++
	default:
		t.missed += int((event - *due + step - 1) / step)
		*due = event + step
	}
	return publisher, true
}

// frame takes a frame or the payload itself.
func (t *tally) frame(frame []byte, now int64) (publisher int, ok bool) {
	seq, sent, ok := payload.Parse(frame)
	if !ok { // a control event
		return 0, false
	}
	return t.see(seq, sent, now)
}

// lost is how many of the published events, by publisher, have not come when
// they were due.
func (t *tally) lost(published []uint64) int {
	lost := t.missed
	for p, due := range t.next {
		if p < len(published) && published[p] >= due {
			lost += int((published[p]-due)/uint64(t.topics)) + 1
		}
	}
	return lost
}

// expected is how many events a receiver of that topic is to be given.
func expected(topic, topics int, published []uint64) int {
	t := newTally(topic, topics, len(published))
	return t.lost(published)
}
