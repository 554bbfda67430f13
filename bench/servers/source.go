package servers

import (
	"sync/atomic"
	"time"

	"github.com/ssegin/ssegin/bench/payload"
)

// A Plan says what to publish: events to the topics in turn.
type Plan struct {
	Size   int           // bytes of each payload
	Rate   float64       // events a second over all topics; 0: as fast as it goes
	Time   time.Duration // for how long
	Events int           // at most so many; 0: no limit
	Window int           // at most so many ahead of the slowest stream; 0: no limit
	Ackers int           // load generators that tell how far their slowest stream is
	Tokens bool          // by way of /tokens instead of Publish
	Grace  time.Duration // how long after Time a server that blocks is waited for
}

// Published is what became of a plan.
type Published struct {
	Events  int   // given to the server
	Due     int   // that should have been
	First   int64 // payload.Now of the first
	Blocked bool  // the server still sat on the last one when the grace was over
}

// heldUp is how late an event may be before it counts from when it was due: a
// little more than what timers are late by. So a server that holds up its
// publisher cannot hide the delay of the events that follow.
const heldUp = 2 * time.Millisecond

// A source makes the events of a plan, each at its time.
type source struct {
	plan   Plan
	topics int
	window *window
	start  time.Time
	count  int
	given  atomic.Int64 // count, for other goroutines
	first  atomic.Int64
	ended  chan struct{}
}

func newSource(plan Plan, topics int, w *window) *source {
	return &source{plan: plan, topics: topics, window: w, ended: make(chan struct{})}
}

// next waits until an event is due and returns it with its topic, or nil when
// the plan is carried out. One goroutine calls it.
func (s *source) next() (topic int, event []byte) {
	if s.count == 0 {
		s.start = time.Now()
		s.first.Store(payload.Now())
	}
	late, ok := s.wait()
	if !ok {
		close(s.ended)
		return 0, nil
	}
	topic, seq := s.count%s.topics, uint64(s.count/s.topics+1)
	sent := payload.Now()
	if late > heldUp {
		sent -= int64(late)
	}
	s.count++
	s.given.Store(int64(s.count))
	return topic, payload.Append(nil, seq, sent, s.plan.Size)
}

// wait returns when the next event may go, and by how much it is late.
func (s *source) wait() (late time.Duration, ok bool) {
	if s.plan.Events > 0 && s.count >= s.plan.Events {
		return 0, false
	}
	if s.plan.Rate == 0 {
		left := s.plan.Time - time.Since(s.start)
		return 0, left > 0 && (s.plan.Window == 0 || s.window.wait(s.count+1-s.plan.Window, s.plan.Ackers, left))
	}
	due := time.Duration(float64(s.count) / s.plan.Rate * float64(time.Second))
	if due >= s.plan.Time {
		return 0, false
	}
	late = time.Since(s.start) - due
	if late < 0 {
		time.Sleep(-late) // until the event is due: this is the pace that was asked for
		late = time.Since(s.start) - due
	}
	return late, true
}

// published may be called at any time.
func (s *source) published() Published {
	p := Published{Events: int(s.given.Load()), First: s.first.Load()}
	p.Due = p.Events
	if s.plan.Rate > 0 {
		p.Due = max(p.Due, int(s.plan.Rate*s.plan.Time.Seconds()))
	}
	if s.plan.Events > 0 {
		p.Due = min(p.Due, s.plan.Events)
	}
	return p
}
