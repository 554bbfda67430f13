package ssegin

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A timeline is the log of a hub as this process has it: the newest events, the
// cursors that follow them, and who is still to be woken. It knows no hub, no
// engine, no Gin and no HTTP.
//
// Its lock guards all of that, also the fields of memory, topic, cursor, place and
// tail, which are plain data. Only the methods in timeline*.go take it. They hold it
// for as long as the work on that data takes: no other lock is taken, nobody is
// waited for and nobody is woken while it is held, so it may be taken under every
// other lock of this package.
//
// What a request does, and not an event, takes it through the entrance, where crowds wait.
//
// A method that moves nothing but the caller's own cursor holds the lock for
// reading: only the stream moves its cursor, and whoever else changes or reads one
// holds the lock for writing.
type timeline struct {
	maxStreams    int // set once, like the next one; zero: no limit
	maxStreamsPer int
	observe       func(reach time.Duration) // nil: nobody wants to know
	maxCatchingUp int

	mu        sync.RWMutex // no other lock is taken under it
	entrance  entrance     // how requests take it
	memory    *memory
	tail      tail           // of a log in an engine
	perKey    map[string]int // streams by the key of WithMaxStreamsPer, and requests that wait for the engine
	arriving  int            // requests that wait for the engine before they join
	behind    int            // streams that wait for what is older than memory, or are given it
	closed    bool           // nothing joins and nothing is appended any more
	closing   chan struct{}  // closed when that is so
	published uint64         // events in the log since the hub was made
	reached   time.Duration  // when observe was called last, since the log was born

	called  ring[*topic] // topics whose streams are still to be woken
	calling bool         // a goroutine wakes them

	disconnects  ring[string]  // the newest topics given to disconnect, for requests that are on their way
	disconnected atomic.Uint64 // how many there were in all, and how often they were not known

	// Shutdown waits until there are no streams, and these are zero, too.
	held    atomic.Int64  // by streams that leave, until their callbacks have returned, and by the follower of a log
	helpers int           // goroutines that end by themselves, once there is nothing for them to do
	drained chan struct{} // closed when that is so
}

func newTimeline(o *hubOptions) *timeline {
	t := &timeline{
		maxStreams:    o.maxStreams,
		maxStreamsPer: o.maxStreamsPer,
		maxCatchingUp: orDefault(o.maxCatchingUp, defaultMaxCatchingUp),
		observe:       guarded(o, "Observer.Reach", o.observer.Reach),
		memory:        newMemory(o.retention()),
		perKey:        map[string]int{},
		closing:       make(chan struct{}),
		drained:       make(chan struct{}),
	}
	t.entrance = newEntrance(&t.mu)
	t.tail.memory = t.memory
	t.memory.tail = o.log != nil
	t.memory.audience = o.audience()
	return t
}

// --- Publishing ----------------------------------------------------------------------

// append gives the event the next position and wakes the streams of its topic. It
// returns its ID, and whether it is new: an event that is there already is not
// appended again.
func (t *timeline) append(a addition) (id string, fresh bool, err error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return "", false, ErrClosed
	}
	id, topic := t.memory.append(a)
	if topic == nil {
		t.mu.Unlock()
		return id, false, nil
	}
	audience := t.callLocked(topic)
	if len(a.others) > 0 {
		audience = t.callOthersLocked(audience, a.others)
	}
	t.published++
	reach, tell := t.reachLocked()
	t.mu.Unlock()
	notify(audience)
	if tell {
		t.observe(reach)
	}
	return id, true, nil
}

// fewStreams are woken by the publisher itself: starting a goroutine for them
// would cost as much.
const fewStreams = 32

// callLocked returns the cursors that the caller is to wake once it has let go of
// the lock. For a topic with many streams these are none: a goroutine wakes them, so
// that publishing takes the same time whatever the number of streams, and so that
// what is published while it is at it is covered by its next round instead of a
// round for each event.
func (t *timeline) callLocked(called *topic) []*cursor {
	if called == nil {
		return nil
	}
	if len(called.cursors) <= fewStreams {
		return called.audience()
	}
	t.queueLocked(called)
	return nil
}

// callOthersLocked returns audience, which has been lent out, and the cursors of more
// topics. Where these are many together, the goroutine wakes them, too.
func (t *timeline) callOthersLocked(audience []*cursor, names []string) []*cursor {
	audience = slices.Clone(audience)
	for _, name := range names {
		topic := t.memory.topics[name]
		switch {
		case topic == nil || len(topic.cursors) == 0:
		case len(audience)+len(topic.cursors) <= fewStreams:
			audience = append(audience, topic.cursors...)
		default:
			t.queueLocked(topic)
		}
	}
	return audience
}

// queueLocked leaves the streams of a topic to the goroutine that wakes.
func (t *timeline) queueLocked(called *topic) {
	if !called.called {
		called.called = true
		t.called.push(called)
	}
	if !t.calling {
		t.calling = true
		t.helpers++
		go t.wake()
	}
}

// wake wakes the streams of the topics that were called, until there are none.
func (t *timeline) wake() {
	for {
		t.mu.Lock()
		if t.called.length == 0 {
			t.calling = false
			t.helpers--
			t.settleLocked()
			t.mu.Unlock()
			return
		}
		called := t.called.pop()
		called.called = false
		audience := called.audience()
		t.mu.Unlock()
		notify(audience)
	}
}

func notify(audience []*cursor) {
	for _, c := range audience {
		c.waker.notify()
	}
}

// --- The end -------------------------------------------------------------------------

// hold keeps Shutdown from returning before release is called. Something else must keep it
// when hold is called: a stream that has not left, or that the hub is being made.
func (t *timeline) hold() { t.held.Add(1) }

func (t *timeline) release() {
	if t.held.Add(-1) == 0 && t.isClosed() { // or close finds that
		t.mu.Lock()
		defer t.mu.Unlock()
		t.settleLocked()
	}
}

// run runs f on a goroutine of its own, which Shutdown waits for. f ends by itself
// when there are no streams.
func (t *timeline) run(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.helpers++
	go func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.helpers--
			t.settleLocked()
		}()
		f()
	}()
}

// settleLocked tells Shutdown when there is nothing left to wait for.
func (t *timeline) settleLocked() {
	if !t.closed || len(t.streamsLocked())+t.helpers > 0 || t.held.Load() > 0 {
		return
	}
	select {
	case <-t.drained: // it knows; what came after that has ended again
	default:
		close(t.drained)
	}
}

// close lets nothing join and nothing be appended any more. It returns the streams
// that are to end, to the first caller only.
func (t *timeline) close() []*cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	close(t.closing)
	streams := slices.Clone(t.streamsLocked())
	t.settleLocked()
	return streams
}

// rest returns what Shutdown still waits for: streams, and callbacks or the
// follower.
func (t *timeline) rest() (streams []*cursor, held int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.streamsLocked()), t.held.Load()
}

func (t *timeline) isClosed() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.closed
}

// stats adds the figures of the timeline.
func (t *timeline) stats(s *Stats) {
	t.mu.Lock() // not RLock: streams move their cursors under that
	defer t.mu.Unlock()
	t.trimLocked() // or Reach would promise what the next stream is not given
	s.Streams = len(t.streamsLocked())
	s.Topics = len(t.memory.topics) - 1 // without that of broadcasts
	s.Ends = len(t.memory.ends.byName)
	s.Published = t.published
	s.HistoryEvents = t.memory.count
	s.HistoryBytes = t.memory.bytes
	s.Skipped = t.tail.skipped
	s.Closed = t.closed
	s.Reach = time.Since(t.memory.born) - t.memory.reach
	s.CatchingUp, s.Arriving = t.behind, t.arriving
	s.Behind, s.Lag = t.memory.behind()
}

// streamsLocked are the cursors of all streams.
func (t *timeline) streamsLocked() []*cursor { return t.memory.topics[""].cursors }
