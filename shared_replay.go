package ssegin

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"github.com/ssegin/ssegin/eventlog"
)

// What a newcomer may be given of the log beyond the memory of this process.
const (
	replayTopics  = 32      // more of them are not read
	replayEntries = 1000    // of each topic
	replayBytes   = 4 << 20 // of each topic, as large as events are in memory
	replayReads   = 4       // that go on at the same time
)

// A wish is what a newcomer is to get that is older than memory.
type wish struct {
	before uint64         // what lies after this position has come, or comes, from memory
	each   map[string]int // how many of the newest of each topic
	here   map[string]int // how many it has of each of these from memory
	last   int            // how many of the last of all together; zero: no matter
	limit  int            // entries that may be read of each topic
}

// wish returns what c, which begins as a newcomer, lacks because it is older than
// memory, nil if it lacks nothing.
func (t *tail) wish(c *cursor, asked bool) *wish {
	m, r := t.memory, c.replay
	if r == nil || r.each == 0 || r.asked && !asked || m.floor.position < t.oldest {
		return nil
	}
	w := &wish{before: m.floor.position, each: map[string]int{}, here: map[string]int{}, last: r.last, limit: replayEntries}
	if m.count > 0 {
		w.limit = max(1, min(w.limit, replayBytes/(m.bytes/m.count)))
	}
	for i := range c.places {
		t := c.places[i].topic
		most := r.each
		if c.conflate {
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

// grant reads what the newcomer lacks. If that is not all, because the engine cannot be
// read by topic, does not answer, or has more than may be read, the newcomer is told that
// the beginning is missing. If there is nothing of what has ended, it leaves.
func (s *shared) grant(c *cursor, v *verdict) {
	granted, whole := s.readWish(c.stream.Context(), c.life.epoch, v.wish)
	v.granted = granted
	c.fresh = c.fresh || len(granted) > 0
	if !whole {
		v.missing, v.reset = true, Reset{ReasonExpired, -1}
	}
	if v.complete = v.complete && whole && len(granted) == 0 && s.timeline.spent(c); v.complete {
		s.timeline.leave(c)
	}
}

// readWish reads what a newcomer lacks, oldest first, and reports whether that is all.
func (s *shared) readWish(ctx context.Context, epoch string, w *wish) (granted []past, whole bool) {
	reader, ok := s.log.(eventlog.TopicReader)
	if !ok || len(w.each) > replayTopics {
		return nil, false
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, ErrUnavailable)
	defer cancel()
	several, err := s.replays.read(ctx, s, reader, eventlog.SeveralTopics, w.limit)
	if err != nil {
		return nil, false
	}
	whole = true
	for topic, n := range w.each {
		asked := min(w.here[topic]+min(n, w.limit), w.limit) // the sum of all could overflow
		own, err := s.replays.read(ctx, s, reader, topic, asked)
		if err != nil {
			return nil, false
		}
		found, sure := s.merge(w, topic, epoch, [][]Entry{own, several}, []int{asked, w.limit})
		if !sure && asked < w.limit { // what has come since, or is no event, has taken the place of others
			if own, err = s.replays.read(ctx, s, reader, topic, w.limit); err != nil {
				return nil, false
			}
			found, sure = s.merge(w, topic, epoch, [][]Entry{own, several}, []int{w.limit, w.limit})
		}
		whole = whole && sure
		granted = append(granted, found...)
	}
	slices.SortFunc(granted, func(a, b past) int { return cmp.Compare(a.at.position, b.at.position) })
	granted = slices.CompactFunc(granted, func(a, b past) bool { return a.at == b.at }) // one event of several topics
	if w.last > 0 && len(granted) > w.last {
		granted = granted[len(granted)-w.last:]
	}
	return granted, whole
}

// merge returns the newest events of a topic before memory that w wants, of what was read
// up to those limits: its own entries, and those of several topics. It reports whether
// there can be no others. Entries that cannot be sent are none.
func (s *shared) merge(w *wish, topic, epoch string, reads [][]Entry, limits []int) (found []past, sure bool) {
	since := uint64(0) // from here on nothing is left out
	var entries []*Entry
	for i, read := range reads {
		if len(read) >= limits[i] {
			since = max(since, read[0].Position)
		}
		for i := range read {
			if e := &read[i]; e.Position <= w.before && (e.Topic == topic || slices.Contains(e.Topics, topic)) {
				entries = append(entries, e)
			}
		}
	}
	slices.SortFunc(entries, func(a, b *Entry) int { return cmp.Compare(b.Position, a.Position) })
	for _, e := range entries {
		if len(found) == w.each[topic] {
			break
		}
		if block, err := blockOf(e, s.options.maxEventBytes); err == nil && !disconnects(e) {
			at := mark{e.Position, checkOf(e)}
			found = append(found, past{at: at, topic: topic, frame: appendTail(block, epoch, at), end: e.End})
		}
	}
	return found, since == 0 || len(found) == w.each[topic] && found[len(found)-1].at.position >= since
}

// replays are the reads by topic that go on. Newcomers that ask for the same before it is
// read share that.
type replays struct {
	slots chan struct{}
	mu    sync.Mutex // taken before timeline.mu
	calls map[replayKey]*replayCall
}

type replayKey struct {
	topic string
	last  int
}

type replayCall struct {
	done    chan struct{} // closed when the rest is set
	entries []Entry
	err     error
}

func newReplays() replays {
	return replays{slots: make(chan struct{}, replayReads), calls: map[replayKey]*replayCall{}}
}

// read returns the newest entries of that topic, at most so many, as they are at some
// moment after its call.
func (r *replays) read(ctx context.Context, s *shared, reader eventlog.TopicReader, topic string, last int) ([]Entry, error) {
	key := replayKey{topic, last}
	r.mu.Lock()
	call := r.calls[key]
	if call == nil {
		call = &replayCall{done: make(chan struct{})}
		r.calls[key] = call
		s.timeline.run(func() { r.fill(call, s, reader, key) })
	}
	r.mu.Unlock()
	select {
	case <-call.done:
		return call.entries, call.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// fill reads when it is its turn. Whoever asks from then on asks anew.
func (r *replays) fill(call *replayCall, s *shared, reader eventlog.TopicReader, key replayKey) {
	defer close(call.done)
	ctx, cancel := context.WithTimeoutCause(s.ctx, answerTime, ErrUnavailable)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		call.err = context.Cause(ctx)
	}
	r.mu.Lock()
	delete(r.calls, key)
	r.mu.Unlock()
	if call.err != nil {
		return
	}
	for e, err := range reader.ReadTopic(ctx, key.topic, 0, math.MaxUint64, key.last) {
		if err != nil {
			call.err = err
			return
		}
		call.entries = append(call.entries, e)
	}
}
