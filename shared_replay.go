package ssegin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ssegin/ssegin/eventlog"
)

// What a newcomer may be given of the log beyond the memory of this process.
const (
	replayTopics  = 32      // more of them are not read
	replayEntries = 1000    // of each topic
	replayBytes   = 4 << 20 // of each topic, as large as events are in memory
	replayReads   = 4       // that go on at the same time

	replayFor      = time.Second // is how long it is kept for others
	replayKept     = 16 << 20    // bytes, of all together
	replayHeld     = 64 << 20    // bytes that newcomers hold who take their time, before more is read for others
	replayOverhead = 256         // bytes that an event takes beside its frame, generously
)

// A wish is what a newcomer is to get that is older than memory.
type wish struct {
	before   mark           // what lies after this position has come, or comes, from memory
	each     map[string]int // how many of the newest of each topic
	here     map[string]int // how many it has of each of these from memory
	last     int            // how many of the last of all together; zero: no matter
	conflate bool           // and of these the newest of each topic
	limit    int            // entries that may be read of each topic
}

// wish returns what c, which begins as a newcomer, lacks because it is older than
// memory, nil if it lacks nothing.
func (t *tail) wish(c *cursor, asked bool) *wish {
	m, r := t.memory, c.replay
	if r == nil || r.each == 0 || r.asked && !asked || m.floor.position < t.oldest {
		return nil
	}
	w := &wish{before: m.floor, each: map[string]int{}, here: map[string]int{}, last: r.last, conflate: c.conflate, limit: replayEntries}
	for m.count > 0 && w.limit > 1 && w.limit*(m.bytes/m.count) > replayBytes {
		w.limit /= 2 // in few steps, so that newcomers share what is read
	}
	for i := range c.places {
		t := c.places[i].topic
		most := r.each
		if c.conflate && r.last == 0 {
			most = 1
		}
		if n := most - min(most, t.events.length); n > 0 {
			w.each[t.name], w.here[t.name] = n, t.events.length
		}
	}
	if r.last > 0 {
		_, here := c.last(r.last)
		w.last = r.last - here
	}
	if len(w.each) == 0 || r.last > 0 && w.last == 0 {
		return nil
	}
	return w
}

// A granted is what a newcomer gets that is older than memory, oldest first.
type granted struct {
	events []*past
	reads  []*reading // which have them
}

// hold counts one stream more, or one less, that holds these events.
func (g *granted) hold(by int) {
	for _, r := range g.reads {
		r.hold(by)
	}
}

// grant reads what the newcomer lacks. If that is not all, because the engine cannot be
// read by topic, does not answer, or has more than may be read, the newcomer is told that
// the beginning is missing. If there is nothing of what has ended, it leaves. While others
// hold as much as they may, it has to come back later.
func (s *shared) grant(ctx context.Context, c *cursor, v *verdict) error {
	g, whole, err := s.readWish(ctx, c.life, v.wish)
	if err != nil {
		return err
	}
	v.granted = g
	c.fresh = c.fresh || len(g.events) > 0
	if !whole && v.reset.Reason == "" {
		v.missing, v.reset = true, Reset{ReasonExpired, -1}
	}
	if v.complete = v.complete && whole && len(g.events) == 0 && s.timeline.spent(c); v.complete {
		s.timeline.leave(c)
	}
	return nil
}

// readWish reads what a newcomer lacks, and reports whether that is all.
func (s *shared) readWish(ctx context.Context, now *life, w *wish) (g granted, whole bool, err error) {
	reader, ok := s.log.(eventlog.TopicReader)
	if !ok || len(w.each) > replayTopics {
		return granted{}, false, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, proofFor, ErrUnavailable) // it may have to wait for the turn of its topics
	defer cancel()
	read := func(topic string, last int) (*reading, error) {
		return s.replays.read(ctx, s, reader, replayKey{topic, last}, now, w.before.position)
	}
	failed := func(err error) (granted, bool, error) {
		if !errors.Is(err, ErrTooManyCatchingUp) {
			err = nil // the beginning is missing
		}
		return granted{}, false, err
	}
	several, err := read(eventlog.SeveralTopics, w.limit)
	if err != nil {
		return failed(err)
	}
	g.reads = append(g.reads, several)
	since := uint64(0) // from here on nothing is left out
	for topic, n := range w.each {
		most := min(w.here[topic]+min(n, w.limit), w.limit) // without the inner one it may overflow
		own, err := read(topic, most)
		if err != nil {
			return failed(err)
		}
		found, from := w.merge(topic, n, own, several)
		if from > 0 && most < w.limit {
			// Among the newest are some that came in the meantime, or are no events.
			if own, err = read(topic, w.limit); err != nil {
				return failed(err)
			}
			found, from = w.merge(topic, n, own, several)
		}
		since = max(since, from)
		g.reads = append(g.reads, own)
		g.events = append(g.events, found...)
	}
	slices.SortFunc(g.events, byPosition)
	g.events = slices.CompactFunc(g.events, func(a, b *past) bool { return a.at == b.at }) // one event of several topics
	whole = since == 0
	if n := len(g.events); w.last > 0 && n >= w.last {
		g.events = g.events[n-w.last:]
		whole = g.events[0].at.position >= since
	}
	if w.conflate {
		g.events = w.newest(g.events)
	}
	return g, whole, nil
}

// newest returns those events that nothing newer of their topic replaces.
func (w *wish) newest(events []*past) (kept []*past) {
	replaced := map[string]bool{}
	for _, e := range slices.Backward(events) {
		keep := false
		for _, topic := range append([]string{e.topic}, e.others...) {
			_, lacks := w.each[topic]
			keep = keep || lacks && w.here[topic] == 0 && !replaced[topic]
			replaced[topic] = true
		}
		if keep {
			kept = append(kept, e)
		}
	}
	slices.Reverse(kept)
	return kept
}

func byPosition(a, b *past) int { return cmp.Compare(a.at.position, b.at.position) }

// merge returns the newest n events of a topic before memory, of its own and of those of
// several topics, and from which position on there are no others: zero if these are all
// that it is to get.
func (w *wish) merge(topic string, n int, own, several *reading) (found []*past, from uint64) {
	reads := []*reading{own, several}
	if topic == "" {
		reads = reads[:1] // everybody is not one of several
	}
	for _, read := range reads {
		from = max(from, read.since)
		for i := range read.events {
			e := &read.events[i]
			if e.at.position <= w.before.position && (e.topic == topic || slices.Contains(e.others, topic)) {
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, byPosition)
	if len(found) > n {
		found = found[len(found)-n:]
	}
	if len(found) == n && found[0].at.position >= from {
		from = 0
	}
	return found, from
}

// replays are the reads by topic that go on, and what was read a moment ago. Newcomers
// that ask for the same share that, as long as memory reaches back to where it ends.
type replays struct {
	slots chan struct{}
	mu    sync.Mutex // taken before timeline.mu
	reads map[replayKey]*reading
	bytes int // of what was read a moment ago
	held  int // of what streams hold
	late  int // how many reads the engine has not answered in time
}

type replayKey struct {
	topic string
	last  int
}

// A reading is what one read by topic gives, or gave.
type reading struct {
	of   *replays
	used int    // by so many streams
	life *life  // nil: it has not begun
	head uint64 // of memory when it began: it has all of the topic up to there, but for what is older than its oldest

	done   chan struct{} // closed when the rest is set
	events []past
	since  uint64 // the position of the oldest, if there may be older ones; zero: there are none
	bytes  int
	err    error
}

// hold counts one stream more, or one less, that holds what was read.
func (r *reading) hold(by int) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	was := r.used
	switch r.used += by; {
	case was == 0:
		r.of.held += r.bytes
	case r.used == 0:
		r.of.held -= r.bytes
	}
}

// serves reports whether it has what a newcomer lacks who has joined in that life, and
// is given from memory what lies after that position.
func (r *reading) serves(now *life, before uint64) bool {
	return r.life == nil || r.life == now && r.head >= before
}

func newReplays() replays {
	return replays{slots: make(chan struct{}, replayReads), reads: map[replayKey]*reading{}}
}

// read returns the newest events of that topic, as they are in the log at some moment
// after that position was its newest.
func (r *replays) read(ctx context.Context, s *shared, reader eventlog.TopicReader, key replayKey, now *life, before uint64) (*reading, error) {
	r.mu.Lock()
	read := r.reads[key]
	if read == nil || !read.serves(now, before) {
		if r.held > replayHeld {
			r.mu.Unlock()
			return nil, fmt.Errorf("%w: those who are slow hold %d bytes of what is older than memory", ErrTooManyCatchingUp, replayHeld)
		}
		read = &reading{of: r, done: make(chan struct{})}
		r.reads[key] = read
		s.timeline.run(func() { r.fill(read, s, reader, key) })
	}
	r.mu.Unlock()
	select {
	case <-read.done:
		if read.err == nil && read.life != now {
			return nil, ErrUnavailable // the log has become another one, which the newcomer is told
		}
		return read, read.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fill reads when it is its turn, and keeps for a moment what it has read. The engine has
// its time for each read from then on. If one was too late for it meanwhile, no other is
// tried, because as many turns would take as much time each.
func (r *replays) fill(read *reading, s *shared, reader eventlog.TopicReader, key replayKey) {
	late := r.lateReads()
	select {
	case r.slots <- struct{}{}:
		read.err = r.try(read, s, reader, key, late)
		<-r.slots
	case <-s.ctx.Done():
		read.err = context.Cause(s.ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(read.done)
	if read.err != nil || r.bytes+read.bytes > replayKept {
		r.forgetLocked(key, read)
		return
	}
	r.bytes += read.bytes
	time.AfterFunc(replayFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.bytes -= read.bytes
		r.forgetLocked(key, read)
	})
}

// try reads, unless the engine was too late for another one since there were so many.
func (r *replays) try(read *reading, s *shared, reader eventlog.TopicReader, key replayKey, late int) error {
	if r.lateReads() != late {
		return ErrUnavailable
	}
	ctx, cancel := context.WithTimeoutCause(s.ctx, answerTime, ErrUnavailable)
	defer cancel()
	r.mu.Lock()
	read.life, read.head = s.timeline.place()
	r.mu.Unlock()
	read.fill(ctx, s, reader, key)
	if ctx.Err() != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.late++
	}
	return read.err
}

func (r *replays) lateReads() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.late
}

func (r *replays) forgetLocked(key replayKey, read *reading) {
	if r.reads[key] == read {
		delete(r.reads, key)
	}
}

// fill reads, and leaves out what cannot be sent.
func (r *reading) fill(ctx context.Context, s *shared, reader eventlog.TopicReader, key replayKey) {
	n := 0
	for e, err := range reader.ReadTopic(ctx, key.topic, 0, math.MaxUint64, key.last) {
		if err != nil {
			r.err = err
			return
		}
		if n++; n == 1 {
			r.since = e.Position
		}
		block, err := blockOf(&e, s.options.maxEventBytes)
		if err != nil {
			continue
		}
		event := past{at: mark{e.Position, checkOf(&e)}, time: e.Time, end: e.End}
		event.topic, event.others = entryTopics(&e)
		event.frame = appendTail(block, r.life.epoch, event.at)
		r.events = append(r.events, event)
		r.bytes += len(event.frame) + replayOverhead
	}
	if n < key.last {
		r.since = 0
	}
}
